"""Messages between the server and an engine in a process of its own: a JSON object and arrays, over a pipe.

A message: eight bytes with the length of the JSON (little endian), the JSON, then the bytes of its arrays in the order of its list
"arrays". Nothing in it is a program: no pickle.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

_LENGTH = struct.Struct("<Q")
_LONGEST_JSON = 16 << 20
_KINDS = "biuf"


class Closed(Exception):
    """The other side is gone, or does not keep to the form."""


def send(stream: IO[bytes], message: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Write a message.

    Args:
        stream: to the other side.
        message: plain values.
        arrays: of numbers or booleans, any shape.

    Raises:
        Closed: the other side is gone.
    """
    arrays = [np.ascontiguousarray(array) for array in arrays]
    listed = [{"dtype": array.dtype.str, "shape": list(array.shape)} for array in arrays]
    text = json.dumps({**message, "arrays": listed}).encode()
    try:
        stream.write(_LENGTH.pack(len(text)) + text)
        for array in arrays:
            if array.size:
                stream.write(array.reshape(-1).view(np.uint8).data)
        stream.flush()
    except (OSError, ValueError) as error:
        raise Closed from error


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read a message.

    Returns:
        its plain values, and its arrays (writable).

    Raises:
        Closed: the other side is gone, or does not keep to the form.
    """
    (length,) = _LENGTH.unpack(_take(stream, _LENGTH.size))
    if length > _LONGEST_JSON:
        raise Closed
    try:
        message = json.loads(bytes(_take(stream, length)))
        listed = message.pop("arrays")
        arrays = [_array(stream, np.dtype(each["dtype"]), tuple(each["shape"])) for each in listed]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Closed from error
    return message, arrays


def _array(stream: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if dtype.kind not in _KINDS or any(size < 0 for size in shape):
        raise Closed
    array = np.empty(shape, dtype)
    if array.size:
        _fill(stream, array.reshape(-1).view(np.uint8).data)
    return array


def _take(stream: IO[bytes], count: int) -> bytearray:
    taken = bytearray(count)
    _fill(stream, memoryview(taken))
    return taken


def _fill(stream: IO[bytes], room: memoryview) -> None:
    while room:
        try:
            count = stream.readinto(room)  # type: ignore[attr-defined]
        except (OSError, ValueError) as error:
            raise Closed from error
        if not count:
            raise Closed
        room = room[count:]
