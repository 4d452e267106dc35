"""Engines as the server asks them: in this process (the classical one), or in a process of their own with a Python of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..remedies import Sentence
from ..signin.auth import KEY_VARIABLE
from . import frames
from .interface import Answer, Engine, EngineError, EngineLoading, Facts, Health
from .named import engine_class, is_file
from .worker import answered, unpack

_LAUNCH = Path(__file__).with_name("launch.py")
PATIENCE_S = 150.0
"""How long a request waits for an engine that is loading, before it is told to come again: less than a client waits for a reply."""
_INTRODUCTION_S = 3.0  # in which the process of a person's own engine says what the engine is
_AGAIN = "it starts again with the next request"
_MOST_CRASHES = 3  # in a row; after that it is not started again
# Of the program that starts an engine; a foreign Python would be led astray by them. Slicer sets them all.
_NOT_HANDED_ON = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONSTARTUP")


def environment_for(*, is_foreign: bool) -> dict[str, str]:
    """The environment of a process for an engine: without the endpoint's key, for which it has no use.

    Args:
        is_foreign: it runs another Python than this one.
    """
    left_out = (KEY_VARIABLE, *(_NOT_HANDED_ON if is_foreign else ()))
    return {name: value for name, value in os.environ.items() if name not in left_out} | {"PYTHONUNBUFFERED": "1"}


class Host:
    """An engine that can be asked. One question at a time: the server sees to that."""

    facts = Facts()

    def start(self) -> Host:
        """Begin to load it; returns at once where it lives in a process of its own."""
        return self

    def stop(self) -> None:
        """End it. Safe to call twice."""

    def health(self) -> Health:
        """How it is."""
        return Health(facts=self.facts)

    def described(self) -> Facts:
        """What it is, as far as it has said so; waits a moment for one that is only just starting."""
        return self.facts

    def wait(self) -> None:
        """Until it is loaded. Raises EngineError where it cannot be."""

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine.segment_volume."""
        return unpack(*self._ask({"do": "segment_volume", "prompts": list(prompts)}, [voxels_kji, np.asarray(ijk_to_ras, float)]))

    def segment_image(self, pixels: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine.segment_image."""
        return unpack(*self._ask({"do": "segment_image", "prompts": list(prompts)}, [pixels]))

    def embed_image(self, pixels: np.ndarray) -> np.ndarray:
        """See Engine.embed_image."""
        return self._ask({"do": "embed_image"}, [pixels])[1][0]

    def embed_text(self, text: str) -> np.ndarray:
        """See Engine.embed_text."""
        return self._ask({"do": "embed_text", "text": text}, [])[1][0]

    def _ask(self, message: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
        raise NotImplementedError


class InProcess(Host):
    """An engine in this process, for one that needs nothing beyond what this package needs itself.

    Args:
        engine: the engine.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.facts = Engine.facts_of(engine)

    def start(self) -> InProcess:
        self._engine.load(lambda _stage, _done, _total: None)
        self.facts = Engine.facts_of(self._engine)
        return self

    def _ask(self, message: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
        return answered(self._engine, message, arrays)


class OwnProcess(Host):
    """An engine in a process of its own, that may end at any time without taking the server with it.

    Args:
        which: one of named.OURS, or FILE.py:Class (absolute).
        name: what a person calls it.
        python: the Python of its environment; "" for the one that runs this.
        options: the engine's.
        weights: fingerprint of its weights, where that is known already.
        patience_s: how long a request waits while it is loading.
        on_change: called with a sentence when its state changes: from another thread.
    """

    def __init__(
        self,
        which: str,
        name: str = "",
        *,
        python: str = "",
        options: Mapping[str, str] | None = None,
        weights: str = "",
        patience_s: float = PATIENCE_S,
        on_change: Callable[[str], object] = lambda _sentence: None,
    ):
        self._name = name or which
        self._start = {"engine": which, "name": self._name, "options": dict(options or {}), "weights": weights}
        self._python = python or sys.executable
        self._patience_s = patience_s
        self._on_change = on_change
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._state, self._sentence = "loading", "starting"
        self._crashes = 0
        self._is_final = False
        self._has_told = not is_file(which)
        self.facts = _facts_before_it_starts(which, self._name, weights)

    def start(self) -> OwnProcess:
        with self._changed:
            if self._process is None:
                self._launch()
        return self

    def stop(self) -> None:
        with self._changed:
            process, self._process = self._process, None
            self._state, self._sentence, self._is_final = "gone", Sentence("The engine {name} was stopped.", name=self._name), True
            self._changed.notify_all()
        if process is not None:
            _end(process)

    def health(self) -> Health:
        with self._changed:
            if self._state == "ready" and self._process is not None and self._process.poll() is not None:
                self._died(self._process, "while it was idle")
            return Health(self._state, self._sentence, self.facts)

    def described(self) -> Facts:
        with self._changed:
            self._changed.wait_for(lambda: self._has_told or self._is_final, _INTRODUCTION_S)
            return self.facts

    def wait(self) -> None:
        """Until it is loaded, or as long as a request would wait. Raises EngineError where it cannot be loaded."""
        self._ready()

    @property
    def process_id(self) -> int:
        """Of its process; 0 where there is none."""
        process = self._process
        return process.pid if process is not None else 0

    def _launch(self) -> None:
        """Start the process and read what it says while it loads. Called with the lock held."""
        environment = environment_for(is_foreign=self._python != sys.executable)
        try:
            process = subprocess.Popen(
                [self._python, str(_LAUNCH)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                # Ctrl+C in the server's terminal is the server's matter, which ends the engine by closing its input.
                start_new_session=os.name != "nt",
            )
        except OSError as error:
            self._is_final = True
            self._tell("gone", Sentence("The engine {name} cannot be started ({why}); add it again.", name=self._name, why=error.strerror))
            return
        self._process = process
        self._tell("loading", "starting")
        threading.Thread(target=self._load, args=(process,), name="engine loading", daemon=True).start()

    def _load(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        try:
            frames.send(process.stdin, self._start)
            while True:
                message, _none = frames.receive(process.stdout)
                with self._changed:
                    if self._heard(message):
                        return
        except frames.Closed:
            with self._changed:
                self._died(process, "while it was loading")

    def _heard(self, message: dict[str, Any]) -> bool:
        """Take in what is said while it loads. Returns whether that was the last of it."""
        if "facts" in message:
            self.facts, self._has_told = Facts.from_json(message["facts"]), True
            self._changed.notify_all()
        elif "stage" in message:
            total = message["total"]
            self._tell("loading", message["stage"] + (f" {100 * message['done'] / total:.0f} %" if total else ""))
        elif "ready" in message:
            self.facts = Facts.from_json(message["ready"])
            self._tell("ready", "Healthy")
            return True
        else:
            self._is_final = True
            self._tell("gone", str(message.get("failed", "")))
            return True
        return False

    def _tell(self, state: str, sentence: str) -> None:
        self._state, self._sentence = state, sentence
        self._changed.notify_all()
        self._on_change(sentence if state != "ready" else f"ready: {self.facts.shown}{_how_long(self.facts)}")

    def _died(self, process: subprocess.Popen[bytes], when: str) -> None:
        """The process has ended by itself. Called with the lock held."""
        if self._process is not process:
            return  # it was stopped
        self._process = None
        _end(process)
        self._crashes += 1
        self._is_final = self._crashes >= _MOST_CRASHES
        again = (
            Sentence("it ended too often and is not started again; see the server's standard error") if self._is_final else Sentence(_AGAIN)
        )
        self._tell(
            "gone",
            Sentence(
                "The engine {name} ended {when} ({returncode}): {again}.",
                name=self._name,
                when=when,
                returncode=_ending(process.returncode),
                again=again,
            ),
        )

    def _ready(self) -> subprocess.Popen[bytes]:
        """The process, once it is ready to be asked."""
        with self._changed:
            if self._process is not None and self._state == "ready" and self._process.poll() is not None:
                self._died(self._process, "while it was idle")
            if self._process is None and not self._is_final:
                self._launch()
            self._changed.wait_for(lambda: self._state != "loading", self._patience_s)
            if self._state == "loading":
                raise EngineLoading(
                    Sentence(
                        "The engine {name} is not ready yet ({sentence}): ask again in a minute.", name=self._name, sentence=self._sentence
                    )
                )
            if self._process is None or self._state != "ready":
                raise EngineError(self._sentence)
            return self._process

    def _ask(self, message: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
        process = self._ready()
        assert process.stdin is not None and process.stdout is not None
        try:
            frames.send(process.stdin, message | {"name": self._name}, arrays)
            answer, found = frames.receive(process.stdout)
        except frames.Closed:
            with self._changed:
                self._died(process, "in the middle of the request")
                raise EngineError(self._sentence.replace(_AGAIN, "send the request again, or less at once")) from None
        self._crashes = 0
        if "refused" in answer:
            raise UsageError(answer["refused"])
        if "failed" in answer:
            raise EngineError(answer["failed"])
        return answer, found


def _facts_before_it_starts(which: str, name: str, weights: str) -> Facts:
    """What the class of one of our own engines says; a person's own file is run in the engine's process only."""
    if is_file(which):
        return Facts(name=name, title=name, weights=weights)
    facts = Engine.facts_of(engine_class(which))
    return replace(facts, name=name, weights=facts.weights or weights)


def _how_long(facts: Facts) -> str:
    """The engine's own estimate, where it is so slow that a client with the usual patience would give up."""
    if facts.seconds_a_slice < 1:
        return ""
    return Sentence(
        "; about {seconds_a_slice:g} s a slice and prompt here: this program waits for its replies accordingly, other clients need a long timeout",
        seconds_a_slice=facts.seconds_a_slice,
    )


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-status).name
            return Sentence("killed by {name}, perhaps for want of memory", name=name) if name == "SIGKILL" else f"by {name}"
    return f"exit status {status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Make sure that a process is gone, and its pipes are closed."""
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
