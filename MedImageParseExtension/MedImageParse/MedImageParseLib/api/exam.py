"""The console API for exam parameters: what a series is by its pixels, beside what its header says."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.write import after_requests, check_folder, check_writable, csv_text, make_folder, write_atomically
from ..progress import Cancellation, Progress, no_progress
from .adapters import is_one_index
from .calls import in_sentences
from .embed import embed, open_index
from .inputs import files_of, listed
from .insight_options import ExamOptions, Path_
from .sources import Input

if TYPE_CHECKING:
    from ..tasks.exam import ExamResult, ExamRow
    from ..transport.client import EndpointClient


@in_sentences
def exam_train(
    index: Path_,
    *,
    output: Path_,
    options: ExamOptions,
) -> ExamResult:
    """Learn exam parameters from the DICOM headers of an index's files: an adapter for each, in a folder.

    Args:
        index: the file; its sets of labels "exam plane" and so on are made from the headers.
        output: the folder.
        options: which attributes, and how they are learned; each of its fields is a keyword too.

    Returns:
        ExamResult: `.heads`, `.report`, whose `warnings` name what could not be learned.
    """
    from ..files.headers import read_fields
    from ..search.heads import Learning, save_head
    from ..tasks.exam import ATTRIBUTES, FIELDS, label_from_headers, train_exam

    chosen = list(options.attributes) or list(ATTRIBUTES)
    unknown = [name for name in chosen if name not in ATTRIBUTES]
    if unknown:
        raise UsageError("There is no exam parameter '{name}'; there are {all}.", name=unknown[0][:40], all=", ".join(ATTRIBUTES))
    paths = {name: Path(output).expanduser() / f"{name.replace(' ', '-')}.npz" for name in chosen}
    check_folder(output, "exam parameters")
    check_outputs({str(path): path for path in paths.values()}, [index], [output])
    with open_index(index) as opened:
        if options.headers:
            label_from_headers(opened, lambda path, uid: read_fields(path, FIELDS, uid), chosen)
        result = train_exam(opened, chosen, Learning(options.kind), patients=options.patients, recipe=options.recipe, seed=options.seed)
    make_folder(output)
    for name, made in result.heads.items():
        save_head(made.head, paths[name])
    result.report["outputs"] = [str(paths[name]) for name in result.heads]
    return result


@in_sentences
def exam_apply(
    exam: Path_,
    inputs: Input | Iterable[Input],
    *,
    endpoint: str | None = None,
    profile: str | None = None,
    client: EndpointClient | None = None,
    csv: Path_ | None = None,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection: object,
) -> ExamResult:
    """What series are by their pixels, beside what their headers say.

    Args:
        exam: the folder of `exam_train`.
        inputs: images as `embed` takes them, or an index, which needs no endpoint.
        endpoint: scoring URL of the endpoint to ask.
        profile: name of a stored profile, in place of `endpoint`.
        client: a connection to use in place of both; it is not closed.
        progress: told what is going on.
        cancellation: stops the run; what is on its way is given up.
        connection: further options of `connect` (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent).
        csv: .csv to write: a row an attribute of a series.

    Returns:
        ExamResult: `.rows`, `.contradictions`, `.report`.
    """
    from ..files.headers import read_fields
    from ..search.heads import load_head
    from ..tasks import adapters
    from ..tasks.exam import ATTRIBUTES, FIELDS, compare_exam
    from ..tasks.preprocessing import Preprocessing

    path = check_writable(csv, (".csv",)) if csv else None
    given = listed(inputs)
    check_outputs({"csv": path}, [exam, *given, *files_of(connection)])
    folder = Path(exam).expanduser()
    held = {name: folder / f"{name.replace(' ', '-')}.npz" for name in ATTRIBUTES}
    heads = {name: load_head(file) for name, file in held.items() if file.is_file()}
    if not heads:
        raise UsageError("The folder {folder} holds no exam parameters; make them with `exam train`.", folder=folder)
    if is_one_index(given):
        with open_index(given[0]) as opened:
            told = {name: adapters.apply_to_index(opened, head) for name, head in heads.items()}
        asked: dict = {}
        failure = ""
    else:
        recipe = Preprocessing.parse(next(iter(heads.values())).provenance.preprocessing)
        if recipe is None:
            raise UsageError("The exam parameters' recipe is none of this version's; train them anew.")
        made = embed(
            given, endpoint=endpoint, profile=profile, client=client, window=recipe.window, fit=recipe.fit, pool=recipe.pool,
            progress=progress, cancellation=cancellation, **connection,  # type: ignore[arg-type]
        )  # fmt: skip
        told = {name: adapters.apply_to_records(made.records, head, made.provenance) for name, head in heads.items()}
        asked, failure = made.report, made.failure
    result = compare_exam(heads, told, lambda source, uid: read_fields(source, FIELDS, uid))
    warnings = [*asked.get("warnings", ()), *result.report["warnings"]]
    result.report, result.failure = result.report | asked | {"warnings": warnings}, failure
    if path:
        with after_requests(result.report) if asked else nullcontext():
            write_atomically(path, _table(result.rows).encode())
    return result


def _table(rows: list[ExamRow]) -> str:
    cells = (
        [row.record.source, row.record.series, row.attribute, row.pixels, f"{row.probability:.4f}", row.tag, row.header, row.state]
        for row in rows
    )
    return csv_text(["source", "series", "attribute", "pixels", "probability", "tag", "header", "state"], cells)
