"""The console API for MedImageInsight: labels without training, and outliers. Option names are those of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.write import after_requests, check_writable
from ..progress import Cancellation, Progress, no_progress
from ..tasks.embed import MODEL
from .calls import in_sentences
from .connections import connected
from .embed import open_index, read_one
from .inputs import check_kind, files_of, tell_input
from .insight_options import ClassifyOptions, OutlierOptions, Path_
from .sources import Input

if TYPE_CHECKING:
    from ..search.label_sets import Label
    from ..tasks.classify import ClassificationResult
    from ..tasks.outliers import OutlierResult, RankedItem
    from ..transport.client import EndpointClient


@in_sentences
def classify(
    input: Input,
    *,
    endpoint: str | None = None,
    profile: str | None = None,
    client: EndpointClient | None = None,
    options: ClassifyOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection: object,
) -> ClassificationResult:
    """Compare an image with labels, without training: each slice, and the whole.

    Args:
        input: a path or an image in memory: a Volume, a nibabel or SimpleITK image, a tuple (array in kji order, affine to RAS in mm).
        endpoint: scoring URL of the endpoint to ask.
        profile: name of a stored profile, in place of `endpoint`.
        client: a connection to use in place of both; it is not closed.
        progress: told what is going on.
        cancellation: stops the run; what is on its way is given up.
        connection: further options of `connect` (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent).
        options: the labels, which slices, what is written; each of its fields is a keyword too.

    Returns:
        ClassificationResult: `.ranked` for the whole, `.slices` (slices, labels), `.report`.
    """
    from ..tasks.classify import classify as run

    check_kind(input)
    path = check_writable(options.picture, (".png",)) if options.picture else None
    check_outputs({"picture": path}, [input, options.labels, *files_of(connection)])
    chosen = _labels(options)
    if options.tuned and chosen:
        raise UsageError("A fine-tuned classifier has labels of its own; leave the labels out.")
    reading = read_one(input, options.modality, progress, options.series, options.frame)
    with connected(client, endpoint, profile, MODEL, cancellation, connection) as used:
        common: dict = {"preprocessing": options.preprocessing, "selection": options.selection, "batch": options.batch}
        common |= {"progress": progress, "cancellation": cancellation}
        if options.tuned:
            from ..tasks.classify import classify_tuned

            result = classify_tuned(reading[0], used, **common)
        else:
            result = run(reading[0], chosen, used, at_once=options.at_once, **common)
    tell_input(result.report, reading[1], reading[2])
    if path:
        from ..files.figures import write_label_chart

        names = [one.name for one in result.labels]
        title = f"Labels of {Path(reading[1]).name}" if reading[1] else "Labels"
        with after_requests(result.report):
            write_label_chart(
                path,
                names,
                result.volume,
                result.slices,
                result.indices,
                title=title,
                note=result.report["note"],
                thumbnail=result.thumbnail,
            )
    return result


@in_sentences
def outliers(
    index: Path_,
    *,
    reference: str | Iterable[str],
    options: OutlierOptions,
) -> OutlierResult:
    """Rank what is in an index by its distance to a reference set; no endpoint takes part.

    Args:
        index: the file.
        reference: what is usual: names (with * and ?), paths, folders or series in the index.
        options: how things are measured, and what is drawn; each of its fields is a keyword too.

    Returns:
        OutlierResult: `.items`, the most unusual first.
    """
    from ..tasks.outliers import find_outliers

    path = check_writable(options.map, (".png",)) if options.map else None
    check_outputs({"map": path}, [index])
    names = [reference] if isinstance(reference, str) else list(reference)
    with open_index(index) as opened:
        result = find_outliers(
            opened,
            names,
            by=options.by,
            neighbors=options.neighbors,
            recipe=options.recipe,
            map_method=options.map_method,
            method=options.method,
            false_alarms=options.false_alarms,
            labels=options.labels,
            unusual=list(options.unusual),
        )
    if path:
        _write_map(path, result)
    return result


def _labels(options: ClassifyOptions) -> list[Label]:
    from ..search.label_sets import read_label_sets, ready_set
    from ..tasks.classify import make_labels

    labels, label_set = options.labels, options.label_set
    given = make_labels([options.label] if isinstance(options.label, str) else list(options.label), options.prefix)
    if labels is None:
        return given
    path = Path(labels).expanduser()
    if not path.exists() and path.suffix.lower() != ".csv":
        return [*given, *ready_set(str(labels)).labels]
    sets = {one.name: one for one in read_label_sets(path)}
    if label_set not in sets and (label_set or len(sets) > 1):
        raise UsageError("Say which set of {name} to use with --set; it has {listed}.", name=path.name, listed=", ".join(sets))
    return [*given, *(sets[label_set] if label_set else next(iter(sets.values()))).labels]


def _write_map(path: Path, result: OutlierResult) -> None:
    from ..files.figures import MapPoint, write_index_map
    from ..tasks.find_similar import name_of, place_of

    def point(item: RankedItem, distance: float | None) -> MapPoint:
        place = place_of(item.record) if item.slices == 1 else f"{item.slices} slices"
        return MapPoint(*item.point, f"{name_of(item.record)}, {place}", distance, item.distance if item.in_reference else None)

    outside = [item for item in result.items if not item.in_reference]
    points = [point(item, None if outside else item.distance) for item in result.members] + [point(item, item.distance) for item in outside]
    method = {"pca": "principal components", "umap": "UMAP"}[result.map_method]
    made = f"Vectors by the {result.provenance.engine}." if result.provenance.engine else f"Vectors by {result.provenance.model}."
    write_index_map(
        path, points, title="Distance to the reference set", note=f"Map by {method}: near points are images that are alike. {made}"
    )
