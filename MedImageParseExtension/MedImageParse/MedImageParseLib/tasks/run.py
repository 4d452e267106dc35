"""The bookkeeping of one run: sending a list of requests, a few at once, and what the report says of it."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Protocol

from .. import __version__
from ..errors import MedImageParseError
from ..imaging.volume import Volume
from ..models import MODELS
from ..progress import Cancellation, Progress, no_progress
from ..remedies import Sentence
from ..transport.about import About
from ..wire.envelope import Said
from .results import PromptResult, SegmentationResult

STAGES = ("read", "prepare", "encode", "wait", "decode", "import", "write", "total")
LOCAL_ENGINE_WARNING = "These masks come from the {engine}."


class Client(Protocol):
    """What tasks need of a connection; transport.client.EndpointClient is one."""

    name: str
    dialect: str
    body_limit: int
    max_in_flight: int

    def send(
        self,
        body: bytes,
        *,
        progress: Progress = no_progress,
        cancellation: Cancellation | None = None,
        max_reply_bytes: int = ...,
        model: str = "",
        work: int = 0,
        slow_again: bool = True,
    ) -> Any: ...


def about_of(client: Any, *, fresh: bool = False) -> About | None:
    """What the endpoint says of its own engine; None where nothing is known, or where the connection cannot be asked.

    Args:
        client: any connection.
        fresh: ask again, for what an engine knows only once it has loaded.
    """
    ask = getattr(client, "about", None)
    return ask(fresh=fresh) if ask is not None else None


def facts_of(client: Any) -> dict[str, Any] | None:
    """What a report holds of the endpoint's own engine, now that it has answered; None where nothing is known."""
    engine = about_of(client, fresh=True)
    return engine.to_json() if engine is not None else None


@dataclass(slots=True)
class Report:
    """What a run says of itself, also one that failed; the table of docs/report.md is made from the attributes below.

    Attributes:
        version: of this program.
        date: of the run, ISO 8601, UTC.
        command: the words of the command line, without secrets.
        outputs: paths of the files that were written.
        kind: of the error: usage, input, endpoint or cancelled; null without one.
        http_status: of the last reply.
        model: which model was asked for.
        engine: which local engine answered; null for the model itself.
        engine_facts: of a local endpoint, `name`, `title`, `version`, `licence`, `device`, `weights` (a fingerprint), `wants` (`HU`, `8 bits`, `any`), `seconds_a_slice`.
        endpoint: scheme, host and path, never a key.
        dialect: azureml or mlflow.
        reply_form: which of the [documented forms](wire.md) came.
        request_ids: for the endpoint's log.
        input: `path`, `size_kji`, `spacing_mm` (the same order), `modality`.
        window: which intensities were sent.
        window_reason: why these.
        bytes_sent: of the requests' bodies.
        bytes_received: of the replies' bodies.
        tries: how many requests were sent, those tried again included.
        timings_s: `read`, `prepare`, `encode`, `wait`, `decode`, `import`, `write`, `total` in seconds; stages that run at the same time are added up.
        prompts: in the order typed: `text`, `name`, `found`, `label`, `voxels`, `volume_ml`, `terminology`; of some local engines `existence`, the model's score that the structure is there, 0 to 1.
        warnings: sentences.
        details: what only this kind of run has, by key. The keys stand beside the others.
        error: after an error, its sentence.
        exit_status: after an error, that of the command.
    """  # fmt: skip

    version: str = __version__
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    command: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    kind: str | None = None
    http_status: int | None = None
    model: str | None = None
    engine: str | None = None
    engine_facts: dict[str, Any] | None = None
    endpoint: str | None = None
    dialect: str | None = None
    reply_form: str | None = None
    request_ids: list[str] = field(default_factory=list)
    input: dict[str, Any] | None = None
    window: str | None = None
    window_reason: str | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    tries: int = 0
    timings_s: dict[str, float] = field(default_factory=dict)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    warnings: Sequence[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    exit_status: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As it is written: plain JSON types, the common keys first and always, `error` and `exit_status` last and only after an error."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["warnings"] = list(self.warnings)
        last = {name: values.pop(name) for name in ("error", "exit_status")}
        return values | values.pop("details") | ({} if self.error is None else last)


@dataclass(slots=True)
class RunLog:
    """Collects what the report needs, from several threads."""

    model: str
    progress: Progress = no_progress
    cancellation: Cancellation = field(default_factory=Cancellation)
    timings: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    bytes_sent: int = 0
    bytes_received: int = 0
    tries: int = 0
    request_ids: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    engines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    existence: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time spent inside to a stage of the report."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.timings[stage] += time.perf_counter() - start

    def warn(self, *sentences: str | None) -> None:
        with self._lock:
            self.warnings += [sentence for sentence in dict.fromkeys(sentences) if sentence and sentence not in self.warnings]

    def note_reply(self, form: str, engine: str, warnings: list[str]) -> None:
        self.warn(*warnings, Sentence(LOCAL_ENGINE_WARNING, engine=engine) if engine else None)
        with self._lock:
            self.forms += [] if form in self.forms else [form]
        self.note_engine(engine)

    def note_engine(self, engine: str) -> None:
        """Take down which local engine answered, "" for none."""
        with self._lock:
            self.engines += [engine] if engine and engine not in self.engines else []

    def note_said(self, prompts: list[str], said: Said) -> None:
        """Take down what an engine says of its prompts beside the masks: the highest score counts, each reason is told once."""
        with self._lock:
            for prompt, score in zip(prompts, said.existence):
                if score is not None:
                    self.existence[prompt] = max(score, self.existence.get(prompt, 0.0))
        self.warn(*said.warnings)
        self.warn(*(f"{prompt}: {reason}" for prompt, reason in zip(prompts, said.reasons) if reason))

    def entry(self, result: PromptResult, volume: Volume) -> dict:
        """A prompt's entry in the report."""
        score = self.existence.get(result.text)
        return result.report(volume) | ({} if score is None else {"existence": round(score, 4)})

    def send(
        self,
        client: Client,
        body: bytes,
        largest_reply: int,
        cancellation: Cancellation | None = None,
        *,
        work: int = 0,
        slow_again: bool = True,
    ) -> bytes:
        """Send one request and return the reply's body, with all that is worth reporting taken down.

        Args:
            client: where to.
            body: the request's.
            largest_reply: bytes that its reply can need; a longer one is not read.
            cancellation: of this request; None for the run's.
            work: slices times prompts, or pictures: see EndpointClient.send.
            slow_again: see EndpointClient.send.
        """
        with self.timed("wait"):
            try:
                reply = client.send(
                    body,
                    progress=self.progress,
                    cancellation=cancellation or self.cancellation,
                    max_reply_bytes=largest_reply,
                    model=self.model,
                    work=work,
                    **({} if slow_again else {"slow_again": False}),
                )
            except MedImageParseError as error:
                with self._lock:
                    self.tries += getattr(error, "tries", 0)
                    request_id: str = getattr(error, "request_id", "")
                    self.request_ids += [request_id] if request_id else []
                raise
        with self._lock:
            self.bytes_sent += len(body)
            self.bytes_received += len(reply.body)
            self.tries += reply.tries
            self.request_ids += reply.request_ids
        self.warn(*getattr(reply, "warnings", ()))
        return reply.body

    def report(self, volume: Volume, client: Client, window: str | None, /, **details: Any) -> Report:
        """The report so far.

        Args:
            volume: the input.
            client: where the requests went.
            window: which intensities were sent, in words.
            **details: what only this kind of run has.
        """
        return Report(
            http_status=200,
            model=self.model,
            engine="; ".join(self.engines) or None,
            engine_facts=facts_of(client),
            endpoint=client.name,
            dialect=client.dialect,
            reply_form=" | ".join(self.forms) or None,
            request_ids=list(self.request_ids),
            input={
                "path": "",
                "size_kji": list(volume.shape_kji),
                "spacing_mm": [float(f"{length:.9g}") for length in volume.spacing_ijk[::-1]],
                "modality": volume.modality or None,
            },
            window=window,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            tries=self.tries,
            timings_s={stage: round(seconds, 4) for stage, seconds in self.timings.items()},
            warnings=list(self.warnings),
            details=details,
        )


def summed(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The report of several runs of one input: the first one's, with the outputs, ids, bytes, tries, times and warnings of all.

    Only the last one can have stopped half-way.
    """
    report = reports[0] | {"kind": reports[-1]["kind"]}
    for name in ("outputs", "request_ids"):
        report[name] = [one for each in reports for one in each[name]]
    for name in ("bytes_sent", "bytes_received", "tries"):
        report[name] = sum(each[name] for each in reports)
    stages = report["timings_s"]
    report["timings_s"] = {stage: round(sum(each["timings_s"].get(stage, 0.0) for each in reports), 4) for stage in stages}
    report["warnings"] = list(dict.fromkeys(one for each in reports for one in each["warnings"]))
    return report


# Faults that a request with fewer images in it mends, and those that may be one image's own.
TOO_SLOW = frozenset({"408", "504"})
TOO_MUCH = TOO_SLOW | {"413"}
OF_AN_IMAGE = TOO_MUCH | {"400", "422", "424", "500", "bad-vector"}


class Patience:
    """How many images in a row may fail before the endpoint is to blame, and not they."""

    _AT_FIRST, _SLOW_AT_FIRST, _LATER = (
        5,
        2,
        20,
    )  # while nothing has come yet; those too slow alone keep the model busy; after something has

    def __init__(self) -> None:
        self._in_a_row = 0

    def came(self) -> None:
        """An image has its answer."""
        self._in_a_row = 0

    def failed(self, error: MedImageParseError, has_any_come: bool) -> bool:
        """Count an image that failed; whether it is worth going on.

        Args:
            error: of the image.
            has_any_come: whether any other image of the run has had its answer.
        """
        self._in_a_row += 1
        at_first = self._SLOW_AT_FIRST if error.code == "504" else self._AT_FIRST
        return self._in_a_row < (self._LATER if has_any_come else at_first)


class NotSent(MedImageParseError):
    """Raised by a connection that only counts what would be sent; the other requests of the run are prepared all the same."""

    code = "not-sent"


def run_all(
    jobs: list[Callable[[], None]],
    log: RunLog,
    at_once: int,
    stage: str = "replies",
    per_item: int = 1,
    goes_on: Callable[[int, MedImageParseError], bool] | None = None,
) -> MedImageParseError | None:
    """Run jobs, at most `at_once` at a time, in order; stop starting new ones at the first failure that concerns more than its own job.

    Args:
        jobs: what to do, each a request.
        log: whose progress is told how many items are done, from none to all of them, where there are several.
        at_once: most jobs at the same time.
        stage: what an item is called, in the plural.
        per_item: how many jobs in a row make up an item, such as a slice's four rotations; it is done when all of them are.
        goes_on: told the number of a job that failed, and why; says whether that concerns this job only. None: no failure does.

    Returns:
        the failure that stopped the run, None where none did. Jobs that finished have delivered their results; they are kept.

    Raises:
        Cancelled, and whatever is no MedImageParseError.
    """
    failure: list[MedImageParseError] = []
    if len(jobs) == per_item:  # one item: its replies are all there is to count
        stage, per_item = "replies", 1
    items = len(jobs) // per_item
    missing = [per_item] * items
    lock = threading.Lock()

    def tell() -> None:
        if items > 1:
            log.progress(stage, missing.count(0), items)

    def run(number: int, job: Callable[[], None]) -> None:
        if (failure and not isinstance(failure[0], NotSent)) or log.cancellation.is_cancelled:
            return
        try:
            job()
        except MedImageParseError as error:
            if goes_on is None or not goes_on(number, error):
                with lock:
                    failure.append(error)
                return
        with lock:
            missing[number // per_item] -= 1
            if not missing[number // per_item]:
                tell()

    tell()
    if len(jobs) == 1 or at_once <= 1:
        for number, job in enumerate(jobs):
            run(number, job)
    else:
        with ThreadPoolExecutor(min(at_once, len(jobs)), thread_name_prefix="medimageparse") as pool:
            waiting = [pool.submit(run, number, job) for number, job in enumerate(jobs)]
            wait(waiting, return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.result()
    log.cancellation.check()
    # Taken out of the list: the error's traceback holds a frame that holds the list, and with it the volume, until a garbage collection.
    return failure.pop(0) if failure else None


def segmenter(model: str) -> Callable[..., SegmentationResult]:
    """The task that segments with a model: a function like `segment_volume` where the model takes whole volumes, else like `segment_slices`.

    Args:
        model: a key of models.MODELS that segments.
    """
    task = MODELS[model].task
    return getattr(importlib.import_module(f"{__package__}.{task}"), task)
