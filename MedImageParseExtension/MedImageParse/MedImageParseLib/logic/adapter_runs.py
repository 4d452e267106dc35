"""Labels and adapters as Jobs: what the worker does. Nothing here touches the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..models import VECTORS
from ..progress import Cancellation, Progress
from ..search.index import EmbeddingIndex
from ..search.labels import label_of_record
from ..search.records import Hit
from .question_runs import Question
from .runs import Connecting

if TYPE_CHECKING:
    from ..api.adapters import AppliedResult


@dataclass(slots=True, frozen=True)
class ImagePage:
    """Some images of an index.

    Attributes:
        total: how many there are. start: the place of the first of these, from 0.
        images: as a search gives them, with a similarity that means nothing.
        labels: of each in the set that was asked for, by number; images without any are left out.
    """

    total: int
    start: int
    images: tuple[Hit, ...]
    labels: dict[int, tuple[str, ...]]


def pageOf(path: str, series: str, start: int, count: int, labels: str) -> ImagePage:
    """In the worker: the images from `start` on.

    Raises:
        IndexFault: the index cannot be read.
    """
    with EmbeddingIndex.open(path, create=False) as index:
        numbers = index.numbers(series=series)
        start = max(0, min(start, (len(numbers) - 1) // count * count))
        records = index.records(numbers[start : start + count])
        known = {one.set for one in index.label_sets()}
        own = index.labels_of(records, labels) if labels in known else {}
    return ImagePage(len(numbers), start, tuple(Hit(0.0, record, number) for number, record in records.items()), own)


def labelPlaces(path: str, ids: list[int], name: str, label: str) -> int:
    """In the worker: label images. Returns how many places have it that had not.

    Raises:
        UsageError: a label that cannot be kept, or images that cannot have one. IndexFault.
    """
    with EmbeddingIndex.open(path, create=False) as index:
        records = index.records(ids)
        made = [label_of_record(name.strip(), label.strip(), record) for record in records.values() if record.series]
        if not made:
            raise UsageError("These images cannot be labelled: they are no longer in the index, or nothing is known of their series.")
        return index.add_labels(made)


def askIndex(adapter: str, path: str, write: str) -> Callable[..., AppliedResult]:
    """The work of a job: the adapter is asked about everything in the index."""

    def work(_prepared: object, _progress: Progress, _switch: Cancellation) -> AppliedResult:
        from ..api.adapters import adapter_apply
        from ..api.insight_options import ApplyOptions

        return adapter_apply(adapter, path, options=ApplyOptions(write=write))

    return work


def askVolume(adapter: str, connecting: Connecting) -> Callable[..., AppliedResult]:
    """The work of a job: the slices of a volume become vectors, and the adapter is asked about these."""

    def work(question: Question, progress: Progress, switch: Cancellation) -> AppliedResult:
        from ..api.adapters import adapter_apply
        from ..api.insight_options import ApplyOptions

        with connecting.open(VECTORS.name, switch) as client:
            given: Any = question.volume
            return adapter_apply(adapter, given, client=client, options=ApplyOptions(), progress=progress, cancellation=switch)

    return work
