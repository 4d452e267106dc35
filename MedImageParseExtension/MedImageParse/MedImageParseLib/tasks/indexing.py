"""Many images into an index, or into a list: what is there already is not sent again, and what comes is kept as it comes.

A run that is killed, cancelled or failed by its endpoint leaves what it had got in the index; the next run of the same inputs goes on
from there, because each picture is known by the hash of what would be sent.

Where the records of a run go: an index on disk, or a list in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import Cancelled, InputError, MedImageParseError, PartlyDone, UsageError
from ..imaging.volume import Volume
from ..progress import Cancellation, Progress, no_progress
from ..remedies import KEEP_EMPTY_SLICES, Sentence
from ..search.index import EmbeddingIndex
from ..search.records import Provenance, Record, content_hash, series_name
from .embed import AT_ONCE, BATCH, MODEL, Embedded, Embedder, Picture, Selection, pictures_of, pool_vectors
from .preprocessing import SIDE, PictureMaker, Preprocessing, make_thumbnail
from .run import Client, RunLog

_FLUSH_S, _FLUSH_COUNT = 0.25, 128  # what a kill may lose, against the cost of a commit
_SEVERAL_EMPTY = "Nothing is seen on any of the chosen slices"


@dataclass(slots=True, frozen=True)
class Source:
    """One input: a name for people, its path ("" where there is none), and how to read it ((volume, warnings) when called)."""

    name: str
    path: str
    read: Callable[[], tuple[Volume, list[str]]]


@dataclass(slots=True)
class Tally:
    """What became of one input; counts are pictures (volumes where the run pools)."""

    name: str
    path: str
    series: str = ""
    size_kji: list[int] | None = None
    spacing_mm: list[float] | None = None
    modality: str | None = None
    window: str = ""
    chosen: int = 0
    embedded: int = 0
    already_there: int = 0
    without_content: int = 0
    error: str = ""

    def report(self) -> dict:
        """Plain JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True, frozen=True)
class IndexingOptions:
    """How a run is to go.

    Attributes:
        preprocessing, selection: the recipe and the slices.
        at_once, batch: requests on their way, images in each.
        thumbnails: keep a small picture of each image. paths: keep the file's path and name.
    """

    preprocessing: Preprocessing = Preprocessing()
    selection: Selection = Selection()
    at_once: int = AT_ONCE
    batch: int = BATCH
    thumbnails: bool = True
    paths: bool = True


@dataclass(slots=True)
class IndexingResult:
    """How a run went.

    Attributes:
        tallies: one an input, in their order.
        report: plain JSON types.
        failure: the sentence of what stopped the run half-way or of the inputs that could not be used; "" where all went through.
    """

    tallies: list[Tally]
    report: dict
    failure: str = ""

    @property
    def embedded(self) -> int:
        return sum(tally.embedded for tally in self.tallies)

    @property
    def already_there(self) -> int:
        return sum(tally.already_there for tally in self.tallies)


def embed_sources(
    sources: Iterable[Source],
    client: Client,
    keeper: Keeper,
    options: IndexingOptions = IndexingOptions(),
    *,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> IndexingResult:
    """Embed inputs and keep their vectors.

    Inputs are read one at a time, when their turn comes; one that cannot be used is passed over and named at the end.

    Returns:
        IndexingResult; its `failure` is set where some of it was done and some was not.

    Raises:
        MedImageParseError: nothing was done at all (the first reason). Cancelled: what had come is kept.
    """
    run = _Run(list(sources), client, keeper, options, progress, cancellation or Cancellation())
    failure: MedImageParseError | None = None
    try:
        run.go()
    except Cancelled:
        raise
    except MedImageParseError as error:
        failure = error
    finally:
        run.close()
    return run.finish(failure)


class _Run:
    def __init__(
        self,
        sources: list[Source],
        client: Client,
        keeper: Keeper,
        options: IndexingOptions,
        progress: Progress,
        cancellation: Cancellation,
    ) -> None:
        self._client, self._keeper, self._options, self._progress = client, keeper, options, progress
        self._sources = sources
        self._tallies = [Tally(source.name, source.path) for source in sources]
        self._errors: list[MedImageParseError] = []
        # Several requests at once each tell of their own upload; a person wants to see pictures counted.
        self._log = RunLog(MODEL, cancellation=cancellation)
        self._embedder = Embedder(client, self._log, at_once=options.at_once, batch=options.batch)
        # Hashing a whole volume takes a while; nobody has to wait for it before the first picture is sent.
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="medimageinsight series")
        self._hashes: dict[int, Future[str]] = {}
        self._seen: set[str] = set()
        self._first: Volume | None = None
        self._opened = 0
        self._began = time.perf_counter()
        self._provenance = Provenance(MODEL, getattr(client, "deployment", ""), "", options.preprocessing.text)

    def go(self) -> None:
        engines = self._keeper.engines(self._provenance)
        if engines - {""}:
            self._learn_engine()
        if self._options.preprocessing.pool == "none":
            self._keep_all(self._embedder.images(self._pictures()))
        else:
            for number in range(len(self._sources)):
                self._pool_one(number)

    def close(self) -> None:
        """End the thread that hashes, when it is done with what it has."""
        self._hasher.shutdown(wait=True)

    def finish(self, failure: MedImageParseError | None) -> IndexingResult:
        """The result, or the first error where nothing was done."""
        done = sum(tally.embedded + tally.already_there for tally in self._tallies)
        added = sum(tally.embedded for tally in self._tallies)
        first = failure or next(iter(self._errors), None)
        if first is not None and not (added or (done and failure is None)):
            if isinstance(failure, InputError) and self._log.tries:
                raise PartlyDone("{error} The endpoint had answered by then.", error=failure, cause=failure) from failure
            raise first
        if first is None and not done:
            raise UsageError(Sentence(f"{_SEVERAL_EMPTY}; choose others, or ", KEEP_EMPTY_SLICES, "."))
        sentence: str = ""
        if failure is not None:
            sentence = Sentence(f"{added} of the pictures were embedded and are kept, then the run stopped: ", str(failure))
        elif self._errors:
            more = f" (and {len(self._errors) - 1} more)" if len(self._errors) > 1 else ""
            sentence = Sentence(f"{len(self._errors)} of {len(self._sources)} inputs could not be used{more}: ", str(self._errors[0]))
        return IndexingResult(self._tallies, self._report(), sentence)

    def _learn_engine(self) -> None:
        """The index holds vectors of a local engine: which of them are known here is only clear when it is clear who answers. One
        made-up picture of a few bytes tells."""
        probe = Picture(np.zeros((16, 16), np.uint8), "")
        for _found in self._embedder.images([probe]):
            pass

    def _current(self) -> Provenance:
        at = self._provenance
        return Provenance(at.model, at.deployment, self._embedder.engine or "", at.preprocessing)

    def _open(self, number: int) -> PictureMaker | None:
        """The next input; None, with its error noted, where it cannot be used."""
        source, tally, options = self._sources[number], self._tallies[number], self._options
        self._log.cancellation.check()
        try:
            if len(self._sources) == 1:
                self._progress("reading", 0, 0)
            with self._log.timed("read"):
                volume, warnings = source.read()
            maker = PictureMaker(volume, options.preprocessing, options.selection.plane)
            tally.chosen = 1 if volume.is_picture else len(options.selection.indices(maker.count))
        except Cancelled:
            raise
        except MedImageParseError as error:
            tally.error = str(error)
            self._errors.append(error)
            self._opened += 1
            return None
        self._hashes[number] = self._hasher.submit(series_name, volume.voxels, volume.ijk_to_ras)
        self._log.warn(*warnings)
        self._first = self._first or volume
        self._opened += 1
        tally.size_kji = list(volume.shape_kji)
        tally.spacing_mm = [float(f"{length:.9g}") for length in volume.spacing_ijk[::-1]]
        tally.modality, tally.window = volume.modality or None, maker.window_words
        return maker

    def _pictures(self) -> Iterator[Picture]:
        """What has to be sent, of all inputs, one after another."""
        for number in range(len(self._sources)):
            maker = self._open(number)
            if maker is None:
                continue
            tally = self._tallies[number]
            for picture in pictures_of(maker, self._options.selection, self._count_empty(tally)):
                if self._is_known(picture.content_hash):
                    tally.already_there += 1
                    self._tell()
                    continue
                yield Picture(picture.pixels, picture.content_hash, picture.index, picture.plane, (number, self._place(number, maker)))

    def _count_empty(self, tally: Tally) -> Callable[[int], None]:
        def count(_index: int) -> None:
            tally.without_content += 1

        return count

    def _is_known(self, digest: str) -> bool:
        if self._keeper.keeps_copies:
            return False
        if digest in self._seen or self._keeper.has(digest, self._current()):
            return True
        self._seen.add(digest)
        return False

    def _series_of(self, number: int) -> str:
        tally = self._tallies[number]
        if number in self._hashes:
            tally.series = self._hashes.pop(number).result()
        return tally.series

    def _place(self, number: int, maker: PictureMaker) -> Record:
        """What all records of an input have in common."""
        volume, source, options = maker.volume, self._sources[number], self._options
        tally = self._tallies[number]
        position: dict = {"size_kji": list(volume.shape_kji), "window": maker.window_words}
        if not volume.is_picture:
            position["spacing_mm"] = tally.spacing_mm
        if options.paths:
            position["name"] = source.name
        kind = "picture" if volume.is_picture else "slice"
        return Record("", kind, source.path if options.paths else "", position=position)

    def _keep_all(self, found: Iterator[list[Embedded]]) -> None:
        """Keep vectors as they come: at once where they come slowly, together where they come fast."""
        held: list[Embedded] = []
        kept_at = time.monotonic()
        try:
            for some in found:
                held += some
                if len(held) >= _FLUSH_COUNT or time.monotonic() - kept_at >= _FLUSH_S:
                    batch, held = held, []
                    self._keep(batch)
                    kept_at = time.monotonic()
        finally:
            if held:
                self._keep(held)

    def _keep(self, found: list[Embedded]) -> None:
        records = []
        for one in found:
            number, place = one.picture.owner
            picture = one.picture
            thumbnail = make_thumbnail(picture.pixels) if self._options.thumbnails else b""
            index = picture.index if place.kind == "slice" else -1
            records.append(
                Record(
                    picture.content_hash,
                    place.kind,
                    place.source,
                    self._series_of(number),
                    picture.plane,
                    index,
                    place.position,
                    thumbnail,
                    one.vector,
                )
            )
        self._store(records)
        for one in found:
            self._tallies[one.picture.owner[0]].embedded += 1
        self._tell()

    def _store(self, records: list[Record]) -> None:
        with self._log.timed("write"):
            self._keeper.add(records, self._current())

    def _pool_one(self, number: int) -> None:
        """One vector for a whole volume. Its slices are sent again where the volume's vector is not there yet."""
        maker = self._open(number)
        if maker is None:
            return
        tally, options = self._tallies[number], self._options
        place = self._place(number, maker)
        made_of = f"{self._series_of(number)} {maker.volume.modality} {options.selection}"
        digest = content_hash(made_of.encode(), options.preprocessing.text)
        pictures, tally.chosen = tally.chosen, 1
        if self._is_known(digest):
            tally.already_there = 1
            return
        found: list[Embedded] = []
        for some in self._embedder.images(pictures_of(maker, options.selection, self._count_empty(tally))):
            found += some
            self._progress("embedding", len(found), pictures)
        if not found:
            error = UsageError(Sentence(f"{_SEVERAL_EMPTY} of {tally.name}; choose others, or ", KEEP_EMPTY_SLICES, "."))
            tally.error = str(error)
            self._errors.append(error)
            return
        found.sort(key=lambda one: one.picture.index)
        vector = pool_vectors(np.stack([one.vector for one in found]), options.preprocessing.pool)
        middle = found[len(found) // 2].picture
        thumbnail = make_thumbnail(middle.pixels) if options.thumbnails else b""
        position = {**place.position, "slices": len(found), "shown": middle.index}
        self._store([Record(digest, "volume", place.source, self._series_of(number), middle.plane, -1, position, thumbnail, vector)])
        tally.embedded = 1

    def _tell(self) -> None:
        done = sum(tally.embedded + tally.already_there + tally.without_content for tally in self._tallies)
        total = sum(tally.chosen for tally in self._tallies) if self._opened == len(self._sources) else 0
        self._progress("embedding", done, max(done, total) if total else 0)

    def _report(self) -> dict:
        """The report's common part, and what belongs to this kind of run."""
        log, options = self._log, self._options
        log.timings["total"] = time.perf_counter() - self._began
        report = log.report(self._first or Volume(np.zeros((1, 1, 1), np.uint8)), self._client, options.preprocessing.window)
        for number in range(len(self._tallies)):
            self._series_of(number)
        inputs = [tally.report() for tally in self._tallies]
        report["input"] = inputs[0] if len(inputs) == 1 else None
        report.update(
            inputs=inputs, preprocessing=options.preprocessing.text, side=SIDE, plane=options.selection.plane, pool=options.preprocessing.pool,
            embedded=sum(tally.embedded for tally in self._tallies), already_there=sum(tally.already_there for tally in self._tallies),
            without_content=sum(tally.without_content for tally in self._tallies), scaling_factor=self._embedder.scaling_factor,
        )  # fmt: skip
        return report


class Keeper(Protocol):
    """Where records go: an index, or a list in memory.

    Attributes:
        keeps_copies: whether two slices that are alike to the last pixel are two records.
    """

    keeps_copies: bool

    def engines(self, provenance: Provenance) -> set[str]:
        """Engines under which something is held, all else being equal."""

    def has(self, digest: str, provenance: Provenance) -> bool:
        """Whether this picture is held."""

    def add(self, records: list[Record], provenance: Provenance) -> None:
        """Keep these, before returning."""


@dataclass(slots=True)
class ListKeeper:
    """Keeps records in memory, in the order in which they came."""

    records: list[Record] = field(default_factory=list)
    provenance: Provenance | None = None
    keeps_copies: bool = True

    def engines(self, provenance: Provenance) -> set[str]:
        return set()

    def has(self, digest: str, provenance: Provenance) -> bool:
        return False

    def add(self, records: list[Record], provenance: Provenance) -> None:
        self.provenance = provenance
        self.records += records


class IndexKeeper:
    """Keeps records in an index file. A new one is made when the first vectors are there, so that a run that fails leaves none.

    Args:
        path: the index, existing or not.

    Raises:
        IndexFault: the file is no index, damaged, or of a newer version.
    """

    keeps_copies = False

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path).expanduser()
        exists = self.path.exists() and self.path.stat().st_size > 0
        self._index = EmbeddingIndex.open(self.path, create=False) if exists else None

    def engines(self, provenance: Provenance) -> set[str]:
        alike = (provenance.model, provenance.deployment, provenance.preprocessing)
        spaces = self._index.spaces() if self._index else []
        return {space.engine for space in spaces if (space.model, space.deployment, space.preprocessing) == alike}

    def has(self, digest: str, provenance: Provenance) -> bool:
        return self._index is not None and bool(self._index.has([digest], provenance))

    def add(self, records: list[Record], provenance: Provenance) -> None:
        if self._index is None:
            self._index = EmbeddingIndex.open(self.path)
        self._index.add(records, provenance)

    def close(self) -> None:
        """Give the file back."""
        if self._index is not None:
            self._index.close()
