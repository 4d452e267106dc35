"""The console API for MedImageInsight: labels without training, and outliers. Option names are those of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.write import after_requests, check_writable
from ..progress import Cancellation, Progress, no_progress
from ..tasks.embed import AT_ONCE, BATCH, MODEL, Selection
from ..tasks.preprocessing import Preprocessing
from .calls import in_sentences
from .connections import connected
from .embed import Path_, open_index, read_one
from .inputs import check_kind, files_of
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
    label: Iterable[str] = (),
    labels: Path_ | None = None,
    label_set: str = "",
    prefix: str = "",
    tuned: bool = False,
    endpoint: str | None = None,
    profile: str | None = None,
    client: EndpointClient | None = None,
    picture: Path_ | None = None,
    slices: str | list[int] = "all",
    every: int = 1,
    content: bool = False,
    plane: str = "auto",
    window: str = "auto",
    fit: str = "pad",
    at_once: int = AT_ONCE,
    batch: int = BATCH,
    modality: str = "",
    series: str | int = "",
    frame: int | str | None = None,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection: object,
) -> ClassificationResult:
    """Compare an image with labels, without training: each slice, and the whole.

    Args:
        input: a path or an image in memory: a Volume, a nibabel or SimpleITK image, a tuple (array in kji order, affine to RAS in mm).
        label: labels; `prefix` begins each one's text ("x-ray chest anteroposterior").
        labels: a CSV file of labels, or the name of a ready set ("CT chest"); adds to `label`. label_set: which set of a file of several.
        picture: .png to write: the probabilities as a chart.
        series: UID or number of a folder's DICOM series. frame: which volume, from 0, of an image with several.

    Returns:
        ClassificationResult: `.ranked` for the whole, `.slices` (slices, labels), `.report`.
    """
    from ..tasks.classify import classify as run

    check_kind(input)
    path = check_writable(picture, (".png",)) if picture else None
    check_outputs({"picture": path}, [input, labels, *files_of(connection)])
    chosen = _labels(label, labels, label_set, prefix)
    if tuned and chosen:
        raise UsageError("A fine-tuned classifier has labels of its own; leave the labels out.")
    reading = read_one(input, modality, progress, series, frame)
    with connected(client, endpoint, profile, MODEL, cancellation, connection) as used:
        common: dict = {"preprocessing": Preprocessing(window, fit), "selection": Selection(slices, every, content, plane), "batch": batch}
        common |= {"progress": progress, "cancellation": cancellation}
        if tuned:
            from ..tasks.tuned import classify_tuned

            result = classify_tuned(reading[0], used, **common)
        else:
            result = run(reading[0], chosen, used, at_once=at_once, **common)
    result.report["input"]["path"] = reading[1]
    result.report["warnings"] = [*reading[2], *result.report["warnings"]]
    if path:
        from ..files.figures import write_label_chart

        names = [one.name for one in result.labels]
        title = f"Labels of {Path(reading[1]).name}" if reading[1] else "Labels"
        with after_requests():
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
    by: str = "slice",
    neighbors: int = 1,
    recipe: str = "",
    map: Path_ | None = None,
    map_method: str = "auto",
    method: str = "knn",
    false_alarms: float = 0.05,
    labels: str = "",
    unusual: Iterable[str] = (),
) -> OutlierResult:
    """Rank what is in an index by its distance to a reference set; no endpoint takes part.

    Args:
        reference: what is usual: names (with * and ?), paths, folders or series in the index.
        by: "slice" or "study" (a volume, by seven statistics of its slices' vectors).
        map: .png to write: the index as points in the plane.
        method: "knn", or with scikit-learn "lof" or "forest". false_alarms: the expected rate, which sets the threshold.
        labels: a set of labels that says what is unusual, for the ROC curve. unusual: which of its labels do.

    Returns:
        OutlierResult: `.items`, the most unusual first.
    """
    from ..tasks.outliers import find_outliers

    path = check_writable(map, (".png",)) if map else None
    check_outputs({"map": path}, [index])
    names = [reference] if isinstance(reference, str) else list(reference)
    with open_index(index) as opened:
        result = find_outliers(
            opened,
            names,
            by=by,
            neighbors=neighbors,
            recipe=recipe,
            map_method=map_method,
            method=method,
            false_alarms=false_alarms,
            labels=labels,
            unusual=list(unusual),
        )
    if path:
        _write_map(path, result)
    return result


def _labels(label: Iterable[str], labels: Path_ | None, label_set: str, prefix: str) -> list[Label]:
    from ..search.label_sets import read_label_sets, ready_set
    from ..tasks.classify import make_labels

    given = make_labels([label] if isinstance(label, str) else list(label), prefix)
    if labels is None:
        return given
    path = Path(labels).expanduser()
    if not path.exists() and path.suffix.lower() != ".csv":
        return [*given, *ready_set(str(labels)).labels]
    sets = {one.name: one for one in read_label_sets(path)}
    if label_set not in sets and (label_set or len(sets) > 1):
        raise UsageError(f"Say which set of {path.name} to use with --set; it has {', '.join(sets)}.")
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
