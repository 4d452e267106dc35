"""The outside of a request and of a reply, the same for the three models, in two dialects.

Requests: Azure ML `/score` takes {"input_data": {columns, index, data}, "params": {...}}; MLflow `/invocations` takes the same
split frame under "dataframe_split". Replies: a bare list with one object a row (Azure ML) or {"predictions": [...]} (MLflow);
both are accepted from either, and the form that came is named.

The request's JSON is put together round the base64 bytes instead of by json.dumps: base64 needs no escaping, and a 100 MB body
then exists once, not four times.

The inside of a reply cell: an object that may come as itself, as a JSON string or as a Python-repr string, holding base64
bytes and, for arrays, a shape and a type. Nothing in it is trusted before it is measured.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ReplyError
from ..redaction import brief, redactor
from ..remedies import ASK_CLASSIFIER, Sentence
from .literal import NotALiteral, read_literal

DIALECTS = ("azureml", "mlflow")
_FRAME = {"azureml": b"input_data", "mlflow": b"dataframe_split"}
QUOTED = 200
# What a reply may cost: its size follows from what was sent, and so does the number of values in its JSON.
SLACK = 2**20  # bytes beside the data: braces, names, classes, white space
LARGEST_REPLY = 2 * 2**30  # bytes, whatever was sent
_MOST_VALUES = 4096  # commas, colons and brackets in the JSON of a row, beside those of its vectors
_FREE_VALUES = 2**16  # so many cost a few MB at most, whatever they are
_SMALL = 2**20  # bytes; a text up to here may hold any letters
_WIDE_ESCAPES = [f"\\u{first}{second}".encode() for first in "dD" for second in "89abAB"]
_PIECE = 3 * 2**18  # bytes; a multiple of three, so that the pieces' base64 can be joined


@dataclass(slots=True, frozen=True)
class Rows:
    """The rows of a reply: JSON objects in the order of the request, and how they were wrapped ("list" or "predictions")."""

    rows: list[dict]
    form: str

    @property
    def engine(self) -> str:
        """What a local endpoint calls the engine behind it; "" where the reply does not say (no published model does)."""
        return redactor.quote(brief(self.rows[0].get("engine", ""))) if self.rows else ""


@dataclass(slots=True, frozen=True)
class Said:
    """What an engine says beside its masks (no published model does so yet).

    Attributes:
        existence: how sure it is that the structure is there, 0..1 a prompt; None where it does not say.
        reasons: why there is no mask, a sentence a prompt, "" where it does not say.
        warnings: sentences on the whole request.
    """

    existence: tuple[float | None, ...] = ()
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @staticmethod
    def of(row: dict, prompts: int) -> Said:
        """What a row of a reply says to so many prompts; what has another form counts as not said."""
        scores, reasons = row.get("existence"), row.get("reasons")
        if not isinstance(scores, list) or len(scores) != prompts:
            scores = [None] * prompts
        if not isinstance(reasons, list) or len(reasons) != prompts:
            reasons = [""] * prompts
        sure = [float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None for score in scores]
        warnings = row.get("warnings")
        told = [redactor.quote(each, QUOTED) for each in warnings[:5] if isinstance(each, str)] if isinstance(warnings, list) else []
        why = [redactor.quote(brief(reason), QUOTED) if isinstance(reason, str) else "" for reason in reasons]
        return Said(tuple(sure), tuple(why), tuple(told))


def build_body(rows: list[tuple[bytes, str]], dialect: str, params: dict | None = None, *, with_text: bool = True) -> bytes:
    """The body of one request.

    Args:
        rows: (bytes of the image file, text) a row; b"" or "" leaves a cell empty. "" is sent, never null: both servers take it.
        dialect: "azureml" or "mlflow".
        params: model parameters (MedImageInsight only); left out where None.
        with_text: False for an endpoint that has the column of images only.

    Returns:
        JSON bytes, ASCII.
    """
    # Written into one buffer: a list of pieces and their sum would stand in memory together.
    body = io.BytesIO()
    columns = b'["image","text"]' if with_text else b'["image"]'
    index = json.dumps(list(range(len(rows)))).encode()
    body.write(b'{"' + _FRAME[dialect] + b'":{"columns":' + columns + b',"index":' + index + b',"data":[')
    for number, (image, text) in enumerate(rows):
        body.write(b',["' if number else b'["')
        body.writelines(_base64(image))
        body.write(b'"' + (b"," + json.dumps(text).encode() if with_text else b"") + b"]")
    body.write(b"]}")
    if params is not None:
        body.write(b',"params":' + json.dumps(params).encode())
    body.write(b"}")
    return body.getvalue()


def _base64(data: bytes) -> Iterator[bytes]:
    """In pieces: each call keeps Python's lock for as long as it works, and a window that shares it would stand still meanwhile."""
    view = memoryview(data)
    for start in range(0, len(view), _PIECE):
        yield base64.b64encode(view[start : start + _PIECE])


@contextmanager
def enough_memory() -> Iterator[None]:
    """Inside, memory that does not suffice is told as a fault of this reply; it never passes for an empty or unreadable one.

    Raises:
        ReplyError: in place of MemoryError.
    """
    try:
        yield
    except MemoryError:
        raise ReplyError(
            "This computer has not enough memory to read the reply: close other programs, or send less at once.", code="memory"
        ) from None


def reply_limit(data_bytes: int) -> int:
    """How long a reply may be that carries so many bytes of arrays as base64.

    Args:
        data_bytes: bytes of all arrays, in the widest type that is documented.
    """
    return min(LARGEST_REPLY, SLACK + data_bytes * 4 // 3 + data_bytes // 32)  # a line break after 76 letters is allowed


def parse_rows(body: bytes, expected: int, numbers: int = 0) -> Rows:
    """The rows of a reply.

    Args:
        body: as it came.
        expected: how many rows were sent.
        numbers: how many numbers all its vectors may hold together.

    Raises:
        ReplyError: not JSON, an error message with status 200, another number of rows than were sent, or JSON of so many values that it
            would fill the memory.
    """
    check_cost(body, _MOST_VALUES * expected + numbers)
    outer = load_json(body)
    if _is_classification(outer):
        raise ReplyError(
            "This is a classification endpoint (it answers with labels and scores), which neither segments nor embeds: {remedy}, or choose an endpoint of the model. Its reply began: {body}",
            remedy=ASK_CLASSIFIER,
            body=quote(body),
            code="classification",
        )
    form = "list"
    if isinstance(outer, dict) and isinstance(outer.get("predictions"), list):
        outer, form = outer["predictions"], "predictions"
    if not isinstance(outer, list):
        said = _message(outer)
        start = Sentence("The endpoint reported an error") if said else Sentence("The endpoint's reply is none of the documented forms")
        raise ReplyError("{start}: {value}", start=start, value=quote(said or body), code="reply-form")
    if len(outer) != expected or not all(isinstance(row, dict) for row in outer):
        raise ReplyError(
            "The endpoint answered {count} rows where {expected} objects were expected: {body}",
            count=len(outer),
            expected=expected,
            body=quote(body),
            code="reply-form",
        )
    return Rows(outer, form)


def load_json(body: bytes) -> Any:
    """A reply unfolded, once its cost has been measured. Raises ReplyError where it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        kind = "HTML" if body[:200].lstrip()[:1] == b"<" else Sentence("no valid JSON")
        raise ReplyError(
            "The endpoint answered with {kind}; check that the URL is the scoring URL. It began: {body}",
            kind=kind,
            body=quote(body),
            code="not-json",
        ) from None


def check_cost(body: bytes, most_values: int) -> None:
    """Measure a reply's JSON before it is unfolded.

    Args:
        body: as it came.
        most_values: commas, colons and brackets that it may need.

    Raises:
        ReplyError: so many values, or such wide letters, that it would fill the memory.
    """
    values = _count_marks(body)
    if values > _FREE_VALUES + most_values:
        raise ReplyError(
            "The endpoint's reply holds {values:,} values, far more than it can need; another model may be behind this URL. It began: {body}",
            values=values,
            body=quote(body),
            code="reply-form",
        )
    if len(body) > _SMALL and _is_wide(body):
        raise ReplyError("The endpoint's reply holds letters that no reply needs; it began: {body}", body=quote(body), code="reply-form")


def _count_marks(body: bytes) -> int:
    """Commas, brackets and colons. numpy counts in a fifth of the time of bytes.count, and without holding Python's lock."""
    letters = np.frombuffer(body, np.uint8)
    pieces = (letters[start : start + _PIECE] for start in range(0, letters.size, _PIECE))
    return sum(int(np.count_nonzero(piece == mark)) for piece in pieces for mark in b",[{:")


def _is_wide(body: bytes) -> bool:
    """Whether there is a letter beyond U+FFFF, which makes Python keep the whole text in four bytes a letter. An expression over 80 MB would
    hold Python's lock for a second; this takes a tenth of that."""
    if np.frombuffer(body, np.uint8).max() >= 0xF0:
        return True
    return b"\\u" in body and any(escape in body for escape in _WIDE_ESCAPES)


def _is_classification(outer: object) -> bool:
    """Whether a reply is a fine-tuned adapter's: for each image a list of {label, score}, best first."""
    first = outer[0] if isinstance(outer, list) and outer else None
    best = first[0] if isinstance(first, list) and first else first
    return isinstance(best, dict) and {"label", "score"} <= set(best)


def quote(value: object) -> str:
    """The first 200 characters of a reply, or of a value in it, on one line and without keys."""
    return redactor.quote(value if isinstance(value, bytes) else brief(value), QUOTED) or "(nothing)"


def _message(outer: object) -> str:
    """What an error object says: {"message": ...} or {"error": {"message": ...}} or {"error": "..."}."""
    if not isinstance(outer, dict):
        return ""
    inner = outer.get("error", outer)
    said: object = inner.get("message", "") if isinstance(inner, dict) else inner
    return said if isinstance(said, str) else ""


_DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


def open_cell(cell: object, name: str) -> tuple[dict, str]:
    """The object in a cell and the form it came in: "object", "JSON string" or "Python-repr string".

    Raises:
        ReplyError: it is none of the three, or has no "data".
    """
    inner, form = cell, "object"
    if isinstance(cell, str):
        try:
            inner, form = json.loads(cell), "JSON string"
        except (ValueError, RecursionError):
            inner, form = _from_repr(cell), "Python-repr string"
    if not isinstance(inner, dict) or "data" not in inner:
        raise ReplyError("The reply's {name} is none of the documented forms: {cell}", name=name, cell=quote(cell), code="reply-form")
    return inner, form


def decode_base64(text: object, name: str) -> bytes:
    """Bytes of a base64 string, with or without line breaks.

    Raises:
        ReplyError: not base64.
    """
    if isinstance(text, str):
        if "\n" in text or "\r" in text:
            text = text.replace("\n", "").replace("\r", "")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise ReplyError(
        "The data in the reply's {name} is not base64, or is cut short: {text}", name=name, text=quote(text), code="reply-form"
    )


def decode_array(inner: dict, name: str, expected: tuple[int, ...]) -> np.ndarray:
    """The array in {"data", "shape", "dtype"}: raw C-order bytes.

    Args:
        inner: the object itself, out of JSON.
        name: of the column that it came in, for sentences.
        expected: the only shape that fits what was sent.

    Raises:
        ReplyError: another shape, a type not on the list, or bytes that do not fit the shape.
    """
    shape, dtype = inner.get("shape"), str(inner.get("dtype"))
    if dtype not in _DTYPES:
        raise ReplyError(
            "The reply's {name} is of type {dtype}, which no documented form has: {head}",
            name=name,
            dtype=quote(dtype),
            head=quote(_head(inner)),
            code="reply-form",
        )
    if not isinstance(shape, list | tuple) or tuple(shape) != tuple(expected) or not all(type(size) is int for size in shape):
        raise ReplyError(
            "The reply's {name} has the shape {shape} where {list} was expected: {head}",
            name=name,
            shape=quote(shape),
            list=list(expected),
            head=quote(_head(inner)),
            code="reply-shape",
        )
    data = decode_base64(inner["data"], name)
    if len(data) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ReplyError(
            "The reply's {name} holds {count} bytes, which do not fit its shape {list} of {dtype}.",
            name=name,
            count=len(data),
            list=list(shape),
            dtype=dtype,
            code="reply-shape",
        )
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _from_repr(text: str) -> object:
    try:
        return read_literal(text)
    except NotALiteral:
        return None


def _head(inner: dict) -> dict:
    return {key: (value if key != "data" else "…") for key, value in inner.items()}
