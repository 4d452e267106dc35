"""What a person sees on the terminal: progress on stderr, results on stdout, and nothing else with --quiet.

The report file of a command: written when it went through, and, with the error in it, when it did not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from ..errors import EndpointError, MedImageParseError, PartlyDone
from ..files.collisions import check_outputs
from ..files.write import after_requests, check_writable, write_atomically
from ..models import MODELS, VECTORS
from ..redaction import HIDDEN, redactor, visible
from ..signin.auth import is_like_key
from ..tasks.run import Report
from ..transport.address import parse_address, resolve_dialect
from .json_answer import answered
from .run_progress import RunProgress

_REDRAW_S = 0.1  # seconds between two states of a changing line
_LOG_EVERY_S = 10.0  # seconds after which a log gets another line
_LOG_EVERY_SHARE = 0.1  # of the run, after which it gets one as well


class PlainStream:
    """Whatever a command prints, without control and direction characters: most of it comes from endpoints, files and profiles.

    A terminal obeys such characters (colors, titles, lines that overwrite others). Line ends and tabs stay, and so does the return at the
    beginning of a line of progress.

    Args:
        stream: where it goes, such as sys.stdout.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Print a text. Returns its length."""
        start = "\r" if text.startswith("\r") else ""
        self._stream.write(start + visible(text[len(start) :], keep="\n\t"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Terminal:
    """One line of progress for the whole run, that changes where stderr is a terminal; silent when quiet.

    Elsewhere, as in a log, it is a new line, at most every 10 seconds or 10 % of the run.

    Args:
        quiet: say nothing.
        clock: seconds, from any beginning.
    """

    def __init__(self, quiet: bool, clock: Callable[[], float] = time.monotonic):
        self._quiet, self._clock = quiet, clock
        self._live = not quiet and sys.stderr.isatty()
        self._lock = threading.RLock()
        self._run = RunProgress(clock)
        self._line = self._subject = ""
        self._width = 0
        self._last = clock()
        self._last_done = 0.0
        self._is_silent = True

    def progress(self, stage: str, done: float, total: float) -> None:
        """A Progress callback; safe from several threads."""
        if self._quiet:
            return
        with self._lock:
            self._run.told(stage, done, total)
            if self._live:
                self._draw()
            else:
                self._log()

    def say(self, sentence: str) -> None:
        """A line on stderr, unless quiet."""
        if not self._quiet:
            with self._lock:
                self.end()
                print(visible(sentence), file=sys.stderr)

    def end(self) -> None:
        """Finish the changing line."""
        with self._lock:
            if self._live and self._width:
                sys.stderr.write("\r" + " " * self._width)
                sys.stderr.write("\r")  # alone: PlainStream lets a return through only where a text begins with it
                sys.stderr.flush()
                self._width, self._line = 0, ""

    def _draw(self) -> None:
        """Draw the line anew, not more often than a person can read it. A line that the terminal would break could not be overwritten."""
        now = self._clock()
        is_new = self._run.subject != self._subject or self._run.is_complete
        if now - self._last < _REDRAW_S and not is_new:
            return
        self._subject = self._run.subject
        line = self._run.line()[: max(1, shutil.get_terminal_size().columns - 1)]
        if line != self._line:
            sys.stderr.write("\r" + line.ljust(self._width))
            sys.stderr.flush()
            self._line, self._width = line, len(line)
        self._last = now

    def _log(self) -> None:
        """Write a line where one is due. Steps without a number say nothing in a log, unless they take long."""
        now, run = self._clock(), self._run
        if run.done < self._last_done:
            self._last_done = 0.0
        progressed = run.done - self._last_done
        is_due = now - self._last >= _LOG_EVERY_S or (self._is_silent and run.is_worker)
        if run.is_counting:
            is_due |= run.total > 0 and progressed >= _LOG_EVERY_SHARE * run.total
            is_due |= run.is_complete and progressed > 0
        line = run.line() if is_due else ""
        if line and line != self._line:
            print(line, file=sys.stderr)
            self._line, self._last, self._last_done, self._is_silent = line, now, run.done, False


class Reported(Protocol):
    """What a command's work gives: whatever else it holds, its report."""

    @property
    def report(self) -> dict: ...


Result = TypeVar("Result", bound=Reported)


# Options that name what a command writes, and those that name what it reads beside its inputs.
_WRITTEN = ("output", "picture", "map", "csv", "table", "report")
_READ = ("index", "image", "key_file", "ca_bundle", "names", "images")


def reported(arguments: argparse.Namespace, work: Callable[..., Result], inputs: list[str], written: Sequence[str] = _WRITTEN) -> Result:
    """Do the work; write `--report` from its result's `report`, or from the error that it raises. Warnings go to stderr.

    Args:
        arguments: the command's options.
        work: the command's work, which gives something with a `report`; it is given `progress` and `cancellation`.
        inputs: paths that it reads.
        written: the options that name files to write.

    Raises:
        UsageError: something that is to be written is read as well; no report is written then either.
    """
    terminal = Terminal(arguments.quiet)
    outputs = {f"--{name.replace('_', '-')}": getattr(arguments, name, None) for name in dict.fromkeys((*written, "report"))}
    read = [*inputs, *(getattr(arguments, name, None) for name in _READ)]
    check_outputs(outputs, read, [getattr(arguments, "probability", None), getattr(arguments, "masks", None)])
    if arguments.report:
        check_writable(arguments.report)
    try:
        result = work(progress=terminal.progress, cancellation=arguments.cancellation)
    except MedImageParseError as error:
        terminal.end()
        answered(arguments, failure_report(arguments, error, inputs))
        for warning in (getattr(error, "report", None) or {}).get("warnings", ()):
            terminal.say(f"warning: {warning}")
        if arguments.report:
            _write_failure(arguments, terminal, error, inputs)
        raise
    terminal.end()
    report = result.report | {"command": command_of(arguments), "outputs": result.report.get("outputs") or _written(outputs)}
    if (part := _partly(result)) is not None and "error" not in report:
        report |= _told(part)
    answered(arguments, report)
    if arguments.report:
        with after_requests():
            _write(arguments.report, report)
    for warning in result.report["warnings"]:
        terminal.say(f"warning: {warning}")
    return result


def _written(outputs: dict[str, str | None]) -> list[str]:
    """The files that are there, for a command whose result does not name them itself."""
    return [str(path) for name, path in outputs.items() if path and name != "--report" and os.path.exists(os.path.expanduser(path))]


def raise_if_partly(result: Reported) -> None:
    """Raises PartlyDone where a run stopped half-way."""
    if (part := _partly(result)) is not None:
        raise part


def _partly(result: Reported) -> PartlyDone | None:
    """The error of a run that stopped half-way; its report says of what kind."""
    failure = getattr(result, "failure", "")
    if not failure:
        return None
    part = PartlyDone("Only a part was done and is kept: {failure}", failure=failure)
    part.kind = result.report.get("kind") or part.kind
    return part


def _told(error: MedImageParseError) -> dict:
    """What a report says of an error."""
    return {"kind": error.kind, "error": str(error), "exit_status": error.exit_status}


def failure_report(arguments: argparse.Namespace, error: MedImageParseError, inputs: list[str]) -> dict:
    """The report of a run that failed: the same keys as far as they are known, and the error."""
    known = getattr(error, "report", None)
    if known is not None:
        return known | {"command": command_of(arguments), "inputs": [{"path": path} for path in inputs]} | _told(error)
    sent = error if isinstance(error, EndpointError) else None
    return Report(
        command=command_of(arguments),
        kind=error.kind,
        http_status=sent.status or None if sent else None,
        model=_model_of(arguments),
        **_asked(arguments),
        request_ids=[sent.request_id] if sent and sent.request_id else [],
        input={"path": inputs[0], "size_kji": None, "spacing_mm": None, "modality": None} if len(inputs) == 1 else None,
        tries=sent.tries if sent else 0,
        details={"inputs": [{"path": path} for path in inputs]},
        error=str(error),
        exit_status=error.exit_status,
    ).as_dict()


def _model_of(arguments: argparse.Namespace) -> str | None:
    """Which model a command was to ask, as far as its options tell; None for one that asks none."""
    asks = getattr(arguments, "endpoint", None) or getattr(arguments, "profile", None)
    name = getattr(arguments, "model", VECTORS.name if asks else None)
    return name if name in MODELS else None


def command_of(arguments: argparse.Namespace) -> list[str]:
    """The words of the command as they were typed; of a URL only scheme, host and path, as the rest may be a secret, and no key that was
    given in place of a key file."""
    words = getattr(arguments, "words", [])
    return [_shown(word, before) for before, word in zip(["", *words], words)]


def _shown(word: str, before: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if (option or before).startswith("--key") and is_like_key(value):
        value = HIDDEN
    if "://" in value:
        value = _endpoint_name(value) or "(a URL)"
    return redactor.clean(f"{option}{equals}{value}")


def _endpoint_name(url: str | None) -> str | None:
    """Scheme, host and path; nothing of a URL that cannot be taken apart, as it may hold a secret."""
    try:
        return parse_address(url, allow_plain_http=True).name if url else None
    except MedImageParseError:
        return None


def _asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where a command was to send, as far as its options and its profile tell: the report's `endpoint` and `dialect`."""
    url, dialect = getattr(arguments, "endpoint", None), getattr(arguments, "dialect", None)
    try:
        if name := getattr(arguments, "profile", None):
            from ..profiles.profiles import ProfileStore

            profile = ProfileStore().get(name)
            url, dialect = profile.url, dialect or profile.dialect
        address = parse_address(url, allow_plain_http=True) if url else None
        return {"endpoint": address.name, "dialect": resolve_dialect(dialect or "auto", address)} if address else {}
    except MedImageParseError:
        return {}


def _write_failure(arguments: argparse.Namespace, terminal: Terminal, error: MedImageParseError, inputs: list[str]) -> None:
    """The report of a run that failed. Where that cannot be written either, the run's own error stays the one to tell."""
    try:
        _write(arguments.report, failure_report(arguments, error, inputs))
    except MedImageParseError as second:
        terminal.say(f"warning: {second}")


def _write(path: str, report: dict) -> None:
    write_atomically(path, (json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def print_prompt(url: str, code: str, expires_at: datetime) -> None:
    """Show a device code on stderr, so that stdout carries results only."""
    print(
        f"To sign in, open {url} in a browser and enter the code {code} before {expires_at.astimezone():%H:%M}.",
        file=sys.stderr,
        flush=True,
    )
