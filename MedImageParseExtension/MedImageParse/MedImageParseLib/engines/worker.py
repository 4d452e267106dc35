"""The process that an engine lives in: it is started with the engine's own Python, and has the engine, numpy and this package, no more.

Messages come on standard input and go out on what was standard output; whatever the engine prints is led to standard error. It ends when
its input ends, in the middle of a request too.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from ..errors import MedImageParseError
from ..remedies import Sentence
from . import frames
from .interface import Answer, Engine
from .named import engine_class

_MEMORY = ("MemoryError", "OutOfMemoryError", "_ArrayMemoryError")
# What torch says where its error is a plain RuntimeError: on a processor, and in older versions on a GPU.
_MEMORY_WORDS = ("allocate memory", "not enough memory", "out of memory")


def main() -> int:
    """Serve one engine until the input ends. Returns the exit status."""
    replies = os.fdopen(os.dup(1), "wb")
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)  # what the engine prints must not end up among the messages
    sys.stdout = sys.stderr
    waiting: queue.Queue[tuple[dict[str, Any], list[np.ndarray]]] = queue.Queue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    start, _none = waiting.get()
    engine = _begin(start, replies)
    if engine is None:
        return 1
    while True:
        message, arrays = waiting.get()
        answer, out = _answered(engine, message, arrays)
        frames.send(replies, answer, out)


def _read(requests: BinaryIO, waiting: queue.Queue) -> None:
    """Messages as they come. Without a server there is nobody to work for."""
    while True:
        try:
            waiting.put(frames.receive(requests))
        except frames.Closed:
            os._exit(0)


def _begin(start: dict[str, Any], replies: BinaryIO) -> Engine | None:
    """The engine, loaded; None where that failed, which has been told then."""

    def tell(stage: str, done: float, total: float) -> None:
        frames.send(replies, {"stage": stage, "done": float(done), "total": float(total)})

    try:
        engine = engine_class(start["engine"])(start["options"])
        frames.send(replies, {"facts": _facts(engine, start)})
        engine.load(tell)
        frames.send(replies, {"ready": _facts(engine, start)})
    except frames.Closed:
        return None
    except BaseException as error:  # an engine may fail in any way; SystemExit from an import is one
        frames.send(replies, {"failed": what_happened(error, start["name"], "could not be loaded")})
        return None
    return engine


def _facts(engine: Engine, start: dict[str, Any]) -> dict[str, Any]:
    facts = Engine.facts_of(engine).to_json()
    return facts | {"name": start["name"], "weights": facts["weights"] or start.get("weights", "")}


def _answered(engine: Engine, message: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
    try:
        return answered(engine, message, arrays)
    except BaseException as error:
        kind = "refused" if isinstance(error, MedImageParseError) and error.kind in ("usage", "input") else "failed"
        return {kind: what_happened(error, message.get("name") or engine.name, "failed on this request")}, []


def answered(engine: Engine, message: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What an engine says to a message: {"do": the method, …} and arrays in, plain values and arrays out.

    Raises:
        whatever the engine raises.
    """
    what = message["do"]
    if what == "segment_volume":
        return pack(engine.segment_volume(arrays[0], arrays[1], message["prompts"]), arrays[0].shape[:3], message["prompts"])
    if what == "segment_image":
        return pack(engine.segment_image(arrays[0], message["prompts"]), arrays[0].shape[:2], message["prompts"])
    if what == "embed_image":
        return {}, [as_vector(engine.embed_image(arrays[0]))]
    return {}, [as_vector(engine.embed_text(message["text"]))]


def as_vector(values: Any) -> np.ndarray:
    """A vector as it goes out: float32 or float64, finite, one dimension. Raises MedImageParseError where it is none."""
    vector = np.asarray(values).reshape(-1)
    vector = vector if vector.dtype == np.float64 else vector.astype(np.float32)
    if not vector.size or not np.isfinite(vector).all():
        raise MedImageParseError("The engine's vector is empty or holds values that are no numbers: report that to its author.")
    return vector


def pack(
    found: Answer | Sequence[np.ndarray | None], shape: tuple[int, ...], prompts: Sequence[str]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """An answer as a message; checked, so that a fault of the engine is told as such.

    Args:
        found: what the engine returned.
        shape: of the image.
        prompts: that it was asked for.

    Raises:
        MedImageParseError: the answer does not fit the question.
    """
    answer = found if isinstance(found, Answer) else Answer(found)
    existence = list(answer.existence) or [None] * len(prompts)
    reasons = list(answer.reasons) or [""] * len(prompts)
    found_by = list(answer.found_by) or [""] * len(prompts)
    masks = list(answer.masks)
    if (answer.labels is None and len(masks) != len(prompts)) or not len(existence) == len(reasons) == len(found_by) == len(prompts):
        raise MedImageParseError("The engine's answer does not fit the {count} prompts: report that to its author.", count=len(prompts))
    arrays = [answer.labels] if answer.labels is not None else [as_mask(mask) for mask in masks if mask is not None]
    for array in arrays:
        if tuple(array.shape) != tuple(shape):
            raise MedImageParseError(
                "The engine's mask has the shape {shape} where the image has {shape2}: report that to its author.",
                shape=array.shape,
                shape2=shape,
            )
    there = [] if answer.labels is not None else [mask is not None for mask in masks]
    sure = [None if value is None else float(value) for value in existence]
    said = {
        "existence": sure,
        "reasons": [str(each) for each in reasons],
        "found_by": [str(each) for each in found_by],
        "notes": [str(each) for each in answer.notes],
    }
    return {"labels": answer.labels is not None, "there": there, **said}, arrays


def as_mask(mask: Any) -> np.ndarray:
    """A mask as it goes out: booleans, or float32 probabilities; whole numbers count as inside where they are not zero."""
    array = np.asarray(mask)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array.size and (array.min() < 0 or array.max() > 1)):
            raise MedImageParseError("The engine's probabilities lie outside 0 to 1: report that to its author.")
        return array.astype(np.float32, copy=False)
    return array if array.dtype == bool else array != 0


def unpack(message: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
    """The answer in such a message."""
    said = {name: message[name] for name in ("existence", "reasons", "found_by", "notes")}
    if message["labels"]:
        return Answer(labels=arrays[0], **said)
    rest = iter(arrays)
    return Answer([next(rest) if there else None for there in message["there"]], **said)


def what_happened(error: BaseException, name: str, what: str) -> str:
    """One sentence on an error inside an engine; the traceback goes to standard error, where the server's person can look."""
    if isinstance(error, MedImageParseError):
        return str(error)
    traceback.print_exception(error)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds.intersection(_MEMORY) or (isinstance(error, (RuntimeError, OSError)) and any(words in str(error) for words in _MEMORY_WORDS)):
        return Sentence(
            "The engine {name} {what}: there is not enough memory; send less at once, or close other programs.", name=name, what=what
        )
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        return Sentence(
            "The engine {name} {what}: the package {package} is missing in its environment; add the engine again (engine add {name}).",
            name=name,
            what=what,
            package=package,
        )
    return Sentence(
        "The engine {name} {what} ({name2}); the server's standard error has more.", name=name, what=what, name2=type(error).__name__
    )


if __name__ == "__main__":
    sys.exit(main())
