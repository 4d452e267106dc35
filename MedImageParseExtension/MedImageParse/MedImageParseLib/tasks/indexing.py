"""Many images into an index, or into a list: what is there already is not sent again, and what comes is kept as it comes.

A run that is killed, cancelled or failed by its endpoint leaves what it had got in the index; the next run of the same inputs goes on
from there, because each picture is known by the hash of what would be sent. A picture that is known already is not sent, but the place
where it is shown is kept. One that the endpoint cannot answer, or an input that cannot be read, costs only itself: it is named, and the
next run tries it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ..errors import Cancelled, EndpointError, InputError, MedImageParseError, PartlyDone, ReplyError, UsageError
from ..imaging.volume import Volume
from ..progress import Cancellation, Progress, no_progress
from ..remedies import KEEP_EMPTY_SLICES, Sentence
from ..search.faults import IndexFault
from ..search.records import Provenance, Record, content_hash, series_name
from .embed import AT_ONCE, BATCH, MODEL, Embedded, Embedder, Picture, Selection, nothing_seen, pictures_of, pool_vectors
from .preprocessing import SIDE, PictureMaker, Preprocessing, make_thumbnail
from .run import Client, RunLog
from .sinks import Sink
from .tally import InputTally, what_failed, why

_FLUSH_S, _FLUSH_COUNT = 0.25, 128  # what a kill may lose, against the cost of a commit


@dataclass(slots=True, frozen=True)
class Source:
    """One input.

    Attributes:
        name: for people.
        path: "" where there is none.
        read: gives (volume, warnings) when called.
        series: UID or number of the series, where the path holds several; "" otherwise. Kept with the path.
        frame: which volume of a path with several; None where there is one. Kept with the path.
    """

    name: str
    path: str
    read: Callable[[], tuple[Volume, list[str]]]
    series: str = ""
    frame: int | None = None


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

    tallies: list[InputTally]
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
    sink: Sink,
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
    run = _Run(list(sources), client, sink, options, progress, cancellation or Cancellation())
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
        sink: Sink,
        options: IndexingOptions,
        progress: Progress,
        cancellation: Cancellation,
    ) -> None:
        self._client, self._sink, self._options, self._progress = client, sink, options, progress
        self._sources = sources
        self._tallies = [InputTally(source.name, source.path) for source in sources]
        self._errors: list[MedImageParseError] = []
        # Several requests at once each tell of their own upload; a person wants to see pictures counted.
        self._log = RunLog(MODEL, cancellation=cancellation)
        self._embedder = Embedder(client, self._log, at_once=options.at_once, batch=options.batch)
        # Hashing a whole volume takes a while; nobody has to wait for it before the first picture is sent.
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="medimageinsight series")
        self._hashes: dict[int, Future[str]] = {}
        # Contents whose vector is on its way, each with the further places that wait for it.
        self._coming: dict[str, list[Record]] = {}
        self._places: list[Record] = []  # of contents that are kept already
        self._given_up: dict[str, list[str]] = {}  # why -> the pictures that the endpoint could not answer
        self._first: Volume | None = None
        self._opened = 0
        self._pooled = 0  # slices of the volumes that have their one vector
        self._began = time.perf_counter()
        self._provenance = Provenance(MODEL, getattr(client, "deployment", ""), "", options.preprocessing.text)

    def go(self) -> None:
        engines = self._sink.engines(self._provenance)
        if engines - {""}:
            self._learn_engine()
        try:
            if self._options.preprocessing.pool == "none":
                self._keep_all()
            else:
                for number in range(len(self._sources)):
                    self._pool_one(number)
        finally:
            self._store([])

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
            raise nothing_seen()
        what = what_failed(self._tallies, self._given_up, failure)
        kind = first.kind if first is not None else EndpointError.kind if what else None
        return IndexingResult(self._tallies, self._report() | {"kind": kind}, what)

    def _learn_engine(self) -> None:
        """The index holds vectors of a local engine: which of them are known here is only clear when it is clear who answers. One
        made-up picture of a few bytes tells."""
        probe = Picture(np.zeros((16, 16), np.uint8), "")
        with closing(self._embedder.images([probe])) as found:
            list(found)

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
            tally.plane = maker.plane or None
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
        if self._options.preprocessing.pool == "none":
            self._tell()
        return maker

    def _pictures(self) -> Iterator[Picture]:
        """What has to be sent, of all inputs, one after another."""
        for number in range(len(self._sources)):
            maker = self._open(number)
            if maker is None:
                continue
            tally = self._tallies[number]
            place = self._place(number, maker)
            for picture in pictures_of(maker, self._options.selection, self._count_empty(tally)):
                owned = replace(picture, owner=(number, place))
                if self._is_known(owned):
                    tally.already_there += 1
                    self._tell()
                    continue
                yield owned

    def _count_empty(self, tally: InputTally) -> Callable[[int], None]:
        def count(_index: int) -> None:
            tally.without_content += 1

        return count

    def _is_known(self, picture: Picture) -> bool:
        """Whether the picture is kept or on its way; this place of it is taken down then."""
        if self._sink.keeps_copies:
            return False
        digest = picture.content_hash
        if digest in self._coming:
            self._coming[digest].append(self._record(picture))
        elif self._sink.has(digest, self._current()):
            self._places.append(self._record(picture))
            if len(self._places) >= _FLUSH_COUNT:
                self._store([])
        else:
            self._coming[digest] = []
            return False
        return True

    def _refused(self, picture: Picture, error: MedImageParseError) -> None:
        """Take down a picture that the endpoint could not answer, and the places that waited for it."""
        waiting = self._coming.pop(picture.content_hash, [])
        self._errors.append(error)
        first = self._record(picture)
        for record in [first, *waiting]:
            tally = next(tally for tally in self._tallies if tally.series == record.series)
            tally.already_there -= record is not first
            self._given_up.setdefault(why(error), []).append(tally.refuse(record, error))
        self._tell()

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
        if volume.modality:
            position["modality"] = volume.modality
        if options.paths:
            position["name"] = source.name
            if source.series:
                position["dicom_series"] = source.series
            if source.frame is not None:
                position["frame"] = source.frame
        kind = "picture" if volume.is_picture else "slice"
        return Record("", kind, source.path if options.paths else "", position=position)

    def _keep_all(self) -> None:
        """Keep vectors as they come: at once where they come slowly, together where they come fast."""
        held: list[Embedded] = []
        kept_at = time.monotonic()
        # Closed here, not by the garbage collector: where storing fails, requests are on their way.
        with closing(self._embedder.images(self._pictures(), refused=self._refused)) as found:
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
            records.append(replace(self._record(one.picture), vector=one.vector, thumbnail=self._thumbnail(one.picture)))
        self._store(records)
        for one in found:
            self._places += self._coming.pop(one.picture.content_hash, [])
            self._tallies[_owner(one.picture)[0]].embedded += 1
        self._tell()

    def _record(self, picture: Picture) -> Record:
        """The place where a picture is shown, without its vector."""
        number, place = _owner(picture)
        index = picture.index if place.kind == "slice" else -1
        return replace(place, content_hash=picture.content_hash, series=self._series_of(number), plane=picture.plane, slice_index=index)

    def _thumbnail(self, picture: Picture) -> bytes:
        return make_thumbnail(picture.pixels) if self._options.thumbnails else b""

    def _store(self, records: list[Record]) -> None:
        """Keep records, and the places that have gathered."""
        places, self._places = self._places, []
        if not records and not places:
            return
        factor = self._embedder.scaling_factor if self._embedder.is_factor_given else None
        try:
            with self._log.timed("write"):
                self._sink.add([*records, *places], self._current(), factor)
        except IndexFault as fault:
            if fault.code in ("length", "factor"):  # nothing is wrong with the index: the endpoint has another model
                raise ReplyError("{fault}", code="model-changed", fault=fault) from fault
            raise

    def _pool_one(self, number: int) -> None:
        """One vector for a whole volume. Its slices are sent again where the volume's vector is not there yet."""
        maker = self._open(number)
        if maker is None:
            return
        tally, options = self._tallies[number], self._options
        place = self._place(number, maker)
        selection = replace(options.selection, plane=maker.plane or options.selection.plane)
        made_of = f"{self._series_of(number)} {maker.volume.modality} {selection}"
        digest = content_hash(made_of.encode(), options.preprocessing.text)
        pictures, tally.chosen = tally.chosen, 1
        whole = Picture(np.zeros((0, 0), np.uint8), digest, -1, maker.plane, (number, replace(place, kind="volume")))
        if self._is_known(whole):
            tally.already_there = 1
            return
        self._tell_pooled(0, pictures)
        found: list[Embedded] = []
        refused: list[MedImageParseError] = []
        asked = self._embedder.images(
            pictures_of(maker, options.selection, self._count_empty(tally)), refused=lambda _picture, error: refused.append(error)
        )
        with closing(asked):
            for some in asked:
                found += some
                self._tell_pooled(len(found), pictures)
        self._pooled += pictures
        if refused:  # a vector of the rest would be another volume's
            del self._coming[digest]
            tally.error = Sentence(
                "{name}: {count} of its slices could not be embedded: {refused}", name=tally.name, count=len(refused), refused=refused[0]
            )
            self._errors.append(refused[0])
            return
        if not found:
            error = UsageError(
                "Nothing is seen on any of the chosen slices of {name}; choose others, or {keep_empty_slices}.",
                name=tally.name,
                keep_empty_slices=KEEP_EMPTY_SLICES,
            )
            tally.error = str(error)
            self._errors.append(error)
            return
        found.sort(key=lambda one: one.picture.index)
        vector = pool_vectors(np.stack([one.vector for one in found]), options.preprocessing.pool)
        middle = found[len(found) // 2].picture
        position = {**place.position, "slices": len(found), "shown": middle.index}
        record = replace(self._record(whole), position=position, plane=middle.plane, vector=vector, thumbnail=self._thumbnail(middle))
        self._store([record, *(replace(waiting, position=position) for waiting in self._coming.pop(digest, []))])
        tally.embedded = 1

    def _tell_pooled(self, done: int, pictures: int) -> None:
        """Slices of the whole run, of which those of the volumes before are done; how many there are is known with the last volume."""
        total = self._pooled + pictures if self._opened == len(self._sources) else 0
        self._progress("embedding", self._pooled + done, total)

    def _tell(self) -> None:
        done = sum(tally.embedded + tally.already_there + tally.without_content + len(tally.refused) for tally in self._tallies)
        total = sum(tally.chosen for tally in self._tallies) if self._opened == len(self._sources) else 0
        self._progress("embedding", done, max(done, total) if total else 0)

    def _report(self) -> dict:
        """The report's common part, and what belongs to this kind of run."""
        log, options = self._log, self._options
        log.timings["total"] = time.perf_counter() - self._began
        for number in range(len(self._tallies)):
            self._series_of(number)
        inputs = [tally.report() for tally in self._tallies]
        report = log.report(
            self._first or Volume(np.zeros((1, 1, 1), np.uint8)), self._client, options.preprocessing.window, inputs=inputs,
            preprocessing=options.preprocessing.text, side=SIDE, plane=options.selection.plane, pool=options.preprocessing.pool,
            embedded=sum(tally.embedded for tally in self._tallies), already_there=sum(tally.already_there for tally in self._tallies),
            without_content=sum(tally.without_content for tally in self._tallies), refused=sum(len(tally.refused) for tally in self._tallies),
            scaling_factor=self._embedder.scaling_factor,
        )  # fmt: skip
        report.input = inputs[0] if len(inputs) == 1 else None
        return report.as_dict()


def _owner(picture: Picture) -> tuple[int, Record]:
    """The number of its input, and its place, as the indexer wrote them on the picture."""
    return cast("tuple[int, Record]", picture.owner)
