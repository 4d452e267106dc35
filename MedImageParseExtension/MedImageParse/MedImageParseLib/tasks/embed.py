"""Vectors of slices, 2D pictures, whole volumes and texts from MedImageInsight: a few requests at once, each of a few images.

Images and texts never share a request (the published wrapper refuses rows of which some have an image and some have none). Work goes
through `Embedder.images`, which yields vectors as they come, so that a caller can keep them before the next ones are there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..errors import MedImageParseError, ReplyError, UsageError
from ..imaging.geometry import AUTO_PLANE, parse_slices
from ..imaging.volume import Volume
from ..models import VECTORS
from ..progress import Cancellation, Progress, no_progress
from ..prompts import grammar
from ..remedies import KEEP_EMPTY_SLICES, ONE_DEPLOYMENT, Sentence
from ..search.compare import volume_vector
from ..search.unusual import study_vector
from ..wire import medimageinsight
from .preprocessing import PictureMaker, Preprocessing, encode_square, has_content, hash_of
from .run import OF_AN_IMAGE, TOO_MUCH, TOO_SLOW, Client, Patience, RunLog

MODEL = VECTORS.name
AT_ONCE, BATCH = 4, 4  # the published sample keeps five single images on their way; an endpoint that takes less says 429 and gets less
MOST_AT_ONCE, MOST_IN_BATCH = 64, 64
_AHEAD = 4  # requests made ready in advance
_SLOW_PAUSE_S = 10.0  # before less is sent to a model that its gateway gave up waiting for (504): it may still be computing
_SAME_FACTOR = 1e-4
LOCAL_ENGINE_WARNING = "These vectors come from the {engine}."


@dataclass(slots=True, frozen=True)
class Selection:
    """Which slices of a volume; a 2D picture is always taken.

    Attributes:
        slices: "all", "15", "10:20" (end not included) or indices, along the plane's own array axis.
        every: 1 for each of them, n for every n-th.
        only_content: leave out slices on which nothing is seen (preprocessing.has_content).
        plane: "auto" (the volume's own slices), "axial", "coronal" or "sagittal".
    """

    slices: str | list[int] = "all"
    every: int = 1
    only_content: bool = False
    plane: str = AUTO_PLANE

    def indices(self, count: int) -> list[int]:
        """Raises UsageError for slices that are not there."""
        if self.every < 1:
            raise UsageError("Every n-th slice needs n of at least 1.")
        chosen = parse_slices(self.slices, count) if isinstance(self.slices, str) else sorted(set(self.slices))
        if not chosen or chosen[0] < 0 or chosen[-1] >= count:
            raise UsageError("The slices of this volume are 0 to {value}; choose among these.", value=count - 1)
        return chosen[:: self.every]


@dataclass(slots=True, frozen=True)
class Picture:
    """One picture to embed.

    Attributes:
        pixels: as sent: uint8, 512x512, or with three channels last.
        content_hash: their name, see preprocessing.hash_of.
        index, plane: the slice that it shows; 0 and "" for a 2D picture.
        owner: whatever the caller wants to find again beside the vector.
    """

    pixels: np.ndarray
    content_hash: str
    index: int = 0
    plane: str = ""
    owner: object = None


@dataclass(slots=True, frozen=True)
class Embedded:
    """A picture and its vector (float32, unit length as the model gives it)."""

    picture: Picture
    vector: np.ndarray


def pictures_of(maker: PictureMaker, selection: Selection, skipped: Callable[[int], None] | None = None) -> Iterator[Picture]:
    """The pictures of a volume one after another, made when they are asked for.

    Args:
        maker: makes the picture of a slice.
        selection: which slices.
        skipped: told the index of each slice that is left out because nothing is seen on it.
    """
    for index in [0] if maker.volume.is_picture else selection.indices(maker.count):
        pixels = maker.slice_pixels(index)
        if selection.only_content and not has_content(pixels):
            if skipped:
                skipped(index)
            continue
        square = maker.square(pixels)
        yield Picture(square, hash_of(square, maker.preprocessing), index, maker.plane)


class _NotSent(MedImageParseError):
    """A request that was ready when another one failed."""


class _HeldBack(_NotSent):
    """A request that was ready when the model turned out too slow for another one; it waits until that is settled."""


Refused = Callable[[Picture, MedImageParseError], None]


class Embedder:
    """Sends the pictures and texts of one run to one endpoint.

    Args:
        client: a connection; its `max_in_flight` is set to `at_once`.
        log: takes down what the report needs.
        at_once: most requests at the endpoint at the same time.
        batch: images a request.
        progress: told ("embedding", pictures done, pictures in all or 0).

    Attributes:
        engine: what a local endpoint calls its engine, "" for the real model, None before the first reply.
        scaling_factor: logarithm of the temperature, None before the first reply.
        is_factor_given: whether the endpoint stated it; the published model's is used else.
    """

    def __init__(self, client: Client, log: RunLog, *, at_once: int = AT_ONCE, batch: int = BATCH, progress: Progress = no_progress):
        if not 1 <= at_once <= MOST_AT_ONCE:
            raise UsageError("The number of requests at once must be between 1 and {most_at_once}.", most_at_once=MOST_AT_ONCE)
        if not 1 <= batch <= MOST_IN_BATCH:
            raise UsageError("The number of images in a request must be between 1 and {most_in_batch}.", most_in_batch=MOST_IN_BATCH)
        client.max_in_flight = at_once
        self.engine: str | None = None
        self.scaling_factor: float | None = None
        self.is_factor_given = False
        self._lock = threading.Lock()
        self._client, self._log, self._at_once, self._batch, self._progress = client, log, at_once, batch, progress
        self._length = 0
        self._slots = threading.BoundedSemaphore(at_once)

    @property
    def model(self) -> str | None:
        """What made the vectors: "medimageinsight" or the local engine's name; None before the first reply."""
        return None if self.engine is None else self.engine or MODEL

    def images(
        self, pictures: Iterable[Picture], total: int = 0, *, refused: Refused | None = None
    ) -> Generator[list[Embedded], None, None]:
        """Vectors of pictures, a few at a time, in the order in which they come.

        `pictures` is read from the calling thread, only as far ahead as needed. A request that is too large (413) or too slow (408, 504)
        is halved and sent again, down to one picture, and so is one in which the model fails on a picture, where `refused` is given.
        After a failure nothing new is sent; what was on its way and comes is yielded before the failure is raised. Whoever does not
        read to the end closes the generator (`contextlib.closing`): requests on their way are cancelled then.

        Args:
            pictures: what to send.
            total: how many there are, for the progress; 0 for not known.
            refused: told each picture that the endpoint cannot answer, with the reason; the rest goes on. None: the first is a failure.

        Raises:
            EndpointError, ReplyError: an endpoint that failed. Cancelled.
        """
        source = iter(pictures)
        batches = iter(lambda: list(islice(source, self._batch)), [])
        sending = _Sending(self, total, refused)
        # More threads than requests: the next ones are ready, PNG and all, when a place at the endpoint becomes free.
        with ThreadPoolExecutor(self._at_once + _AHEAD, thread_name_prefix="medimageinsight") as pool:
            try:
                yield from sending.go(batches, pool)
            finally:
                sending.stop()

    def texts(self, texts: list[str]) -> np.ndarray:
        """Vectors of texts, float32 (texts, length); one request a batch of texts, in order.

        Warns where a text is longer than the 77 tokens that the model reads.

        Raises:
            UsageError: an empty text. EndpointError, ReplyError, Cancelled.
        """
        texts = [" ".join(text.split()) for text in texts]
        if not texts or not all(texts):
            raise UsageError("A text to compare with is empty; give words such as 'x-ray chest anteroposterior pneumonia'.")
        self._log.warn(*(grammar.token_warning(text) for text in texts))
        vectors = []
        size = max(self._batch, 16)  # texts are small: fewer requests
        for start in range(0, len(texts), size):
            self._log.cancellation.check()
            part = texts[start : start + size]
            body = medimageinsight.build_text_request(part, self._client.dialect)
            answer = self._log.send(self._client, body, medimageinsight.largest_reply(len(part)), work=len(part))
            vectors.append(self._note(medimageinsight.parse_reply(answer, len(part), "text_features")))
        return np.concatenate(vectors)

    def _send(self, batch: list[Picture], sending: _Sending) -> np.ndarray:
        if sending.may_be_computing(batch):
            sending.cancellation.wait(_SLOW_PAUSE_S)
        with self._log.timed("encode"):
            body = medimageinsight.build_image_request([encode_square(picture.pixels) for picture in batch], self._client.dialect)
        # The place at the endpoint is kept until the reply has been judged: a request that waits for it must see that this one failed.
        with self._slots:
            if sending.has_failed:
                raise _NotSent
            if sending.is_slow and not sending.knows(batch):
                raise _HeldBack
            try:
                largest = medimageinsight.largest_reply(len(batch))
                # Half of it, or less, is sent in place of the same again, which would only add to the work of a slow model.
                again = len(batch) == 1 and not sending.knows(batch)
                answer = self._log.send(self._client, body, largest, sending.cancellation, work=len(batch), slow_again=again)
                with self._log.timed("decode"):
                    return self._note(medimageinsight.parse_reply(answer, len(batch), "image_features"))
            except MedImageParseError as error:
                if not sending.may_go_on(error, batch):
                    sending.has_failed = True
                elif error.code in TOO_SLOW:
                    sending.was_slow_for(batch, error.code)
                raise

    def _note(self, reply: medimageinsight.VectorReply) -> np.ndarray:
        log = self._log
        log.note_reply(reply.form, "", [])
        log.note_engine(reply.engine)
        with self._lock:
            self._length = self._length or reply.vectors.shape[1]
            changed = self._length != reply.vectors.shape[1] or self.engine not in (None, reply.engine)
            given = "scaling_factor given" in reply.form
            held = self.scaling_factor if self.is_factor_given else None
            other = given and held is not None and abs(reply.scaling_factor - held) > _SAME_FACTOR * max(1.0, abs(held))
            self.engine = reply.engine if self.engine is None else self.engine
            self.scaling_factor = reply.scaling_factor if self.scaling_factor is None else self.scaling_factor
            self.is_factor_given = self.is_factor_given or given
        if changed:
            sentence = Sentence(
                "The endpoint's vectors changed their kind during the run, so more than one model answers; {one_deployment}.",
                one_deployment=ONE_DEPLOYMENT,
            )
            raise ReplyError(sentence, code="reply-shape")
        if other:
            raise ReplyError(
                "The endpoint's scaling factor changed during the run, from {held:.6g} to {given:.6g}, so two versions of the model take "
                "turns; {remedy}.",
                code="model-changed",
                remedy=ONE_DEPLOYMENT,
                held=held,
                given=reply.scaling_factor,
            )
        if reply.engine:
            log.warn(Sentence(LOCAL_ENGINE_WARNING, engine=reply.engine))
        return reply.vectors


class _Sending:
    """One call of `Embedder.images`: what is on its way, what has failed, and whether to go on."""

    def __init__(self, embedder: Embedder, total: int, refused: Refused | None) -> None:
        self._embedder, self._total, self._refused = embedder, total, refused
        self._log = embedder._log
        self._waiting: dict[Future, list[Picture]] = {}
        self._failure: MedImageParseError | None = None
        self._done = 0
        self._patience = Patience()
        self._later: list[list[Picture]] = []  # failed requests that wait until it is clear that the endpoint can do anything at all
        self._is_in_doubt = False
        self._slow: dict[str, str] = {}  # contents that the model was too slow for, and how that showed
        self.is_slow = False  # for what has been sent so far, and nothing has come yet
        self.has_failed = False
        # Of these requests: the caller may give up (a full disk) without the person having cancelled anything.
        self.cancellation = Cancellation()
        self._unlink = self._log.cancellation.on_cancel(self.cancellation.cancel)

    def go(self, batches: Iterator[list[Picture]], pool: ThreadPoolExecutor) -> Iterator[list[Embedded]]:
        """Send what comes, a few requests at once, and yield the vectors as they come."""
        if self._total:
            self._tell()
        while True:
            self._settle_doubt(pool)
            self._fill(batches, pool)
            if not self._waiting:
                break
            finished, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
            ready: list[Embedded] = []
            for future in finished:
                ready += self._take(future, pool)
            if self._failure is not None:
                for future in self._waiting:
                    future.cancel()  # only those that have not begun
            if ready:
                self._done += len(ready)
                self._tell()
                yield ready
        if self._failure is not None:
            raise self._failure

    def _tell(self) -> None:
        self._embedder._progress("embedding", self._done, max(self._total, self._done) if self._total else 0)

    def stop(self) -> None:
        """Nothing more is sent, and nobody waits for what is on its way."""
        self.has_failed = True
        for future in self._waiting:
            future.cancel()
        if self._waiting:
            self.cancellation.cancel()
        self._unlink()

    def was_slow_for(self, batch: list[Picture], code: str) -> None:
        """The model was too slow for these; what has not been sent yet is held back while nothing has come."""
        self._slow.update({picture.content_hash: code for picture in batch})
        self.is_slow = not self._done

    def knows(self, batch: list[Picture]) -> bool:
        """Whether the model was too slow for these, so that they are part of finding out what it can do."""
        return batch[0].content_hash in self._slow

    def may_be_computing(self, batch: list[Picture]) -> bool:
        """Whether the model may still be at work on these for a request that the gateway gave up waiting for."""
        return self._slow.get(batch[0].content_hash) == "504"

    def may_go_on(self, error: MedImageParseError, batch: list[Picture]) -> bool:
        """Whether this failure of a request is no reason to stop: fewer images may do, or one of them is to blame."""
        if len(batch) > 1 and error.code in TOO_MUCH:
            return True
        # The first reply tells which model answers; once it has been the right one, an unusable row is that picture's matter.
        return self._refused is not None and (error.code in OF_AN_IMAGE or (error.code == "wrong-model" and self._done > 0))

    def _fill(self, batches: Iterator[list[Picture]], pool: ThreadPoolExecutor) -> None:
        while self._failure is None and not self._is_in_doubt and len(self._waiting) < self._embedder._at_once + 2 * _AHEAD:
            try:
                self._log.cancellation.check()
                with self._log.timed("prepare"):
                    batch = next(batches, None)
            except MedImageParseError as error:  # cancelled, or a source that could not be read
                self._failure = error
                return
            if batch is None:
                return
            self._submit(batch, pool)

    def _put_off(self, batch: list[Picture]) -> None:
        self._later.append(batch)
        self._later.sort(key=lambda each: (not self.knows(each), len(each)))  # single pictures tell soonest

    def _settle_doubt(self, pool: ThreadPoolExecutor) -> None:
        """Go on with requests that failed while nothing had come yet: all of them once something has, one where nothing is under way."""
        if self._done:
            self._is_in_doubt = False
        if self._done or not self._waiting:
            self.is_slow = False
        if self._failure is None and self._later and (self._done or not self._waiting):
            ready, self._later = (self._later, []) if self._done else (self._later[:1], self._later[1:])
            for batch in ready:
                self._halve(batch, pool)
        if not self._waiting and not self._later:
            self._is_in_doubt = False

    def _halve(self, batch: list[Picture], pool: ThreadPoolExecutor) -> None:
        half = len(batch) // 2
        for part in filter(None, (batch[:half], batch[half:])):
            self._submit(part, pool)

    def _submit(self, batch: list[Picture], pool: ThreadPoolExecutor) -> None:
        self._waiting[pool.submit(self._embedder._send, batch, self)] = batch

    def _take(self, future: Future, pool: ThreadPoolExecutor) -> list[Embedded]:
        """What a finished request brought; one that failed is halved, or its picture given up, or the run."""
        batch = self._waiting.pop(future)
        error = _NotSent() if future.cancelled() else future.exception()
        if error is None:
            self._patience.came()
            return [Embedded(picture, vector) for picture, vector in zip(batch, future.result(), strict=True)]
        if not isinstance(error, MedImageParseError):
            raise error
        if isinstance(error, _NotSent):
            if isinstance(error, _HeldBack):
                self._put_off(batch)
                self._is_in_doubt = True
            return []
        if self._failure is not None or not self.may_go_on(error, batch):
            self._failure = self._failure or error
        elif len(batch) > 1:
            if error.code in TOO_MUCH:
                self._embedder._batch = max(1, min(self._embedder._batch, len(batch) // 2))
            is_doubtful = not self._done and error.code != "413"
            if self._is_in_doubt and is_doubtful:
                self._put_off(batch)
            else:
                self._is_in_doubt = is_doubtful
                self._halve(batch, pool)
        elif self._refused is not None:
            self._refused(batch[0], error)
            if not self._patience.failed(error, self._done > 0):
                self._failure = error
                self.has_failed = True
        return []


def pool_vectors(vectors: np.ndarray, how: str) -> np.ndarray:
    """One vector for a whole volume from those of its slices, (slices, length).

    Returns:
        float32: "mean" as search.zero_shot.volume_vector (length,), "statistics" as search.outliers.study_vector (7 * length,).
    """
    if how == "mean":
        return volume_vector(vectors)
    if how == "statistics":
        return study_vector(vectors)
    raise UsageError("The pooling '{how}' is not known; give mean or statistics.", how=how)


def nothing_seen() -> UsageError:
    """The error where no slice is left that shows anything."""
    return UsageError(
        "Nothing is seen on any of the chosen slices; choose others, or {keep_empty_slices}.", keep_empty_slices=KEEP_EMPTY_SLICES
    )


def embed_volume(
    volume: Volume, embedder: Embedder, preprocessing: Preprocessing = Preprocessing(), selection: Selection = Selection()
) -> tuple[list[Picture], np.ndarray]:
    """`embed_pictures` of a volume.

    Args:
        volume: any orientation.
        embedder: sends the pictures.
        preprocessing: how pictures are made.
        selection: which slices, of which plane.
    """
    return embed_pictures(PictureMaker(volume, preprocessing, selection.plane), embedder, selection)


def embed_pictures(maker: PictureMaker, embedder: Embedder, selection: Selection) -> tuple[list[Picture], np.ndarray]:
    """All chosen slices of a volume with their vectors, in slice order (one row where the preprocessing pools).

    Args:
        maker: makes the pictures.
        embedder: sends them.
        selection: which slices.

    Returns:
        (pictures in slice order, float32 (slices, length), or (1, length) where pooled).

    Raises:
        UsageError: no slice is left. EndpointError, ReplyError, Cancelled.
    """
    count = 1 if maker.volume.is_picture else len(selection.indices(maker.count))
    found = sorted(
        (one for some in embedder.images(pictures_of(maker, selection), count) for one in some), key=lambda one: one.picture.index
    )
    if not found:
        raise nothing_seen()
    vectors = np.stack([one.vector for one in found])
    if (pool := maker.preprocessing.pool) != "none":
        vectors = pool_vectors(vectors, pool)[None]
    return [one.picture for one in found], vectors
