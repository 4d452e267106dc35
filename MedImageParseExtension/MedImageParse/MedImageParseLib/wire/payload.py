"""The inside of a reply cell: an object that may come as itself, as a JSON string or as a Python-repr string, holding base64
bytes and, for arrays, a shape and a type. Nothing in it is trusted before it is measured."""

from __future__ import annotations

import ast
import base64
import binascii
import json
import math

import numpy as np

from ..errors import ReplyError
from .envelope import quote

_DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
_MAX_REPR = 1 << 31


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
        raise ReplyError(f"The reply's {name} is none of the documented forms: {quote(str(cell))}", kind="reply-form")
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
    raise ReplyError(f"The data in the reply's {name} is not base64, or is cut short: {quote(str(text))}", kind="reply-form")


def decode_array(inner: dict, name: str, expected: tuple[int, ...]) -> np.ndarray:
    """The array in {"data", "shape", "dtype"}: raw C-order bytes.

    Args:
        expected: the only shape that fits what was sent.

    Raises:
        ReplyError: another shape, a type not on the list, or bytes that do not fit the shape.
    """
    shape, dtype = inner.get("shape"), str(inner.get("dtype"))
    if dtype not in _DTYPES:
        raise ReplyError(f"The reply's {name} is of type {quote(dtype)}, which no documented form has: {quote(_head(inner))}", kind="reply-form")
    if not isinstance(shape, list | tuple) or tuple(shape) != tuple(expected) or not all(type(size) is int for size in shape):
        raise ReplyError(
            f"The reply's {name} has the shape {quote(str(shape))} where {list(expected)} was expected: {quote(_head(inner))}", kind="reply-shape")
    data = decode_base64(inner["data"], name)
    if len(data) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ReplyError(f"The reply's {name} holds {len(data)} bytes, which do not fit its shape {list(shape)} of {dtype}.", kind="reply-shape")
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _from_repr(text: str) -> object:
    # Only a flat dictionary is documented; the length bound keeps the parser from being fed something monstrous.
    if not text.lstrip().startswith("{") or len(text) > _MAX_REPR:
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _head(inner: dict) -> str:
    return str({key: (value if key != "data" else "…") for key, value in inner.items()})
