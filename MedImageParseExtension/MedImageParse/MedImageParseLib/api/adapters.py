"""The console API for adapters: small heads on MedImageInsight's vectors. Option names are those of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.write import after_requests, check_writable, csv_text, write_atomically
from ..progress import Cancellation, Progress, no_progress
from .calls import in_sentences
from .embed import embed, open_index
from .inputs import files_of, is_path, listed
from .insight_options import ApplyOptions, EmbedOptions, MeasureOptions, Path_, TrainOptions
from .sources import Input

if TYPE_CHECKING:
    from ..search.heads import Head
    from ..search.measures import Figures
    from ..tasks.adapters import AdapterResult, Told
    from ..transport.client import EndpointClient

_MAGIC = b"SQLite format 3\0"


@dataclass(slots=True)
class AppliedResult:
    """What an adapter says of images.

    Attributes:
        labels: of the adapter, in the order of the probabilities.
        answers: one an image (or series): `.record`, `.probabilities`, `.ranked(labels)`.
        report: plain JSON types. failure: what stopped the run half-way, "" where it went through.
    """

    labels: tuple[str, ...]
    answers: list[Told]
    report: dict = field(default_factory=dict)
    failure: str = ""


@in_sentences
def adapter_train(
    index: Path_,
    *,
    labels: str,
    output: Path_,
    options: TrainOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> AdapterResult:
    """Learn a small head on the vectors of an index; no endpoint takes part.

    Args:
        index: the file.
        labels: the set of labels to learn, see `index_label`.
        output: .npz to write: the adapter with its split and figures.
        options: how it learns, and what is drawn; each of its fields is a keyword too.
        progress: told what is going on.
        cancellation: stops the run; nothing is written then.

    Returns:
        AdapterResult: `.head`, `.figures` of the test part, `.report`.

    Raises:
        UsageError, InputError, IndexFault: one sentence; nothing is written.

    Example:
        >>> adapter_train("studies.index", labels="modality", output="modality.npz").figures.overall["accuracy"]  # doctest: +SKIP
        0.97
    """
    from ..search.heads import ENDING, Learning, save_head
    from ..search.network import Recipe
    from ..tasks.adapters import train

    path = check_writable(output, ENDING)
    drawn = check_writable(options.picture, (".png",)) if options.picture else None
    check_outputs({"output": path, "picture": drawn}, [index])
    least = min(options.epochs, options.patience, options.batch, options.width)
    if least < 1 or options.width > 8192 or not 0 < options.rate < 1:
        raise UsageError("Epochs, patience, batch and width must be at least 1 (width at most 8192), and the rate between 0 and 1.")
    network = Recipe(options.epochs, options.patience, options.batch, options.rate, width=options.width, seed=options.seed)
    how = Learning(options.kind, options.weights, options.strength, options.engine, network)
    with open_index(index) as opened:
        result = train(
            opened, labels, how, by=options.by, patients=options.patients, recipe=options.recipe, only=list(options.only),
            several=options.several, test=options.test, validate=options.validate, seed=options.seed, progress=progress, cancellation=cancellation,
        )  # fmt: skip
    save_head(result.head, path)
    _draw(drawn, result.head, result.figures)
    result.report["outputs"] = [str(one) for one in (path, drawn) if one]
    return result


@in_sentences
def adapter_evaluate(adapter: Path_, index: Path_, *, options: MeasureOptions) -> AdapterResult:
    """Measure an adapter on an index; no endpoint takes part.

    Args:
        adapter: a file of `adapter_train`.
        index: the file; its vectors must be of the same model and preprocessing.
        options: on which labels and part, and what is drawn; each of its fields is a keyword too.

    Returns:
        AdapterResult: `.figures`, `.report`.
    """
    from ..search.heads import load_head
    from ..tasks.adapters import evaluate

    drawn = check_writable(options.picture, (".png",)) if options.picture else None
    check_outputs({"picture": drawn}, [adapter, index])
    head = load_head(adapter)
    with open_index(index) as opened:
        result = evaluate(opened, head, name=options.labels, part=options.part, patients=options.patients)
    _draw(drawn, head, result.figures)
    return result


@in_sentences
def adapter_apply(
    adapter: Path_,
    inputs: Input | Iterable[Input],
    *,
    endpoint: str | None = None,
    profile: str | None = None,
    client: EndpointClient | None = None,
    options: ApplyOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection: object,
) -> AppliedResult:
    """Ask an adapter about images, which are embedded first, or about an index, whose vectors are there.

    Args:
        adapter: a file of `adapter_train`.
        inputs: images as `embed` takes them; or an index file.
        endpoint: scoring URL; an index needs no endpoint, profile or client.
        profile: name of a stored profile, in place of `endpoint`.
        client: a connection to use in place of both; it is not closed.
        progress: told what is going on.
        cancellation: stops the run; what is on its way is given up.
        connection: further options of `connect` (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent).
        options: which slices, and where the answers go; each of its fields is a keyword too.

    Returns:
        AppliedResult.

    Raises:
        UsageError: vectors of another model or preprocessing, among others.
    """
    from ..search.heads import load_head
    from ..tasks import adapters
    from ..tasks.preprocessing import Preprocessing

    path = check_writable(options.csv, (".csv",)) if options.csv else None
    given = listed(inputs)
    check_outputs({"csv": path}, [adapter, *given, *files_of(connection)])
    head = load_head(adapter)
    failure = ""
    if is_one_index(given):
        with open_index(given[0]) as opened:
            answers = adapters.apply_to_index(opened, head, write=options.write, least=options.least)
        report = adapters.report_of(head, None, [])
    else:
        recipe = Preprocessing.parse(head.provenance.preprocessing)
        if options.write or recipe is None:
            raise UsageError(
                "Answers can be kept in an index only."
                if options.write
                else "The adapter's recipe is none of this version's; train it anew."
            )
        how = EmbedOptions(
            slices=options.slices, every=options.every, content=options.content, plane=options.plane, modality=options.modality,
            at_once=options.at_once, batch=options.batch, window=recipe.window, fit=recipe.fit, pool=recipe.pool,
        )  # fmt: skip
        made = embed(
            given, endpoint=endpoint, profile=profile, client=client, options=how, progress=progress, cancellation=cancellation,
            **connection,
        )  # fmt: skip
        answers = adapters.apply_to_records(made.records, head, made.provenance)
        report, failure = made.report | {"adapter": head.kind, "set": head.name, "labels": list(head.labels)}, made.failure
    report["answers"] = [_described(one, head) for one in answers]
    if path:
        with nullcontext() if is_one_index(given) else after_requests(report):
            write_atomically(path, _table(answers, head).encode())
    return AppliedResult(head.labels, answers, report, failure)


def is_one_index(given: list) -> bool:
    """Whether inputs are one file that begins as an index does: its vectors are there, and no endpoint is needed."""
    if len(given) != 1 or not is_path(given[0]):
        return False
    try:
        with open(Path(given[0]).expanduser(), "rb") as file:
            return file.read(16) == _MAGIC
    except OSError:
        return False


def _described(one: Told, head: Head) -> dict:
    from ..tasks.find_similar import name_of, place_of

    place = place_of(one.record) if head.by == "slice" else "series"
    shares = {label: round(float(share), 6) for label, share in zip(head.labels, one.probabilities, strict=True)}
    return {"name": name_of(one.record), "source": one.record.source, "series": one.record.series, "place": place, "probabilities": shares}


def _table(answers: list[Told], head: Head) -> str:
    from ..tasks.find_similar import name_of

    rows = []
    for one in answers:
        record = one.record
        place = [record.plane, record.slice_index] if head.by == "slice" else ["", ""]
        shares = [f"{share:.6f}" for share in one.probabilities]
        rows.append([name_of(record), record.source, record.series, *place, one.ranked(head.labels)[0][0], *shares])
    return csv_text(["name", "source", "series", "plane", "slice", "best", *head.labels], rows)


def _draw(path: Path | None, head: Head, figures: Figures | None) -> None:
    if path is None:
        return
    if figures is None:
        raise UsageError("There is nothing to draw, as no image was kept for testing; give --test a share.")
    from ..files.head_chart import write_head_chart

    note = f"{figures.items} images of {figures.groups} patients. Vectors of {head.provenance.describe()}."
    write_head_chart(path, figures, title=f"Adapter for {head.name} ({head.kind})", note=note)
