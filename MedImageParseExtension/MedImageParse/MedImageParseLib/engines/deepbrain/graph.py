"""Reading deepbrain's file: a TensorFlow GraphDef, which is a protocol-buffer message. TensorFlow itself is not needed for that.

Only what the network needs is read: of each node its name, operation, inputs, tensor and attributes. Field numbers are those of
TensorFlow's graph.proto, node_def.proto, attr_value.proto and tensor.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import InputError

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # wire types
_FLOAT = 1  # tensorflow.DataType
_MOST_BYTES = 64 << 20  # the real file has 1.1 MB

Scalar = int | bytes
Attribute = int | str | list[int]


@dataclass(slots=True)
class Node:
    """One operation of the graph.

    Attributes:
        operation: "Conv3D", "Const" ….
        inputs: names of the nodes whose output it takes, without the number of the output; what only has to run before is left out.
        value: the tensor of a constant of floats, else None.
        attributes: numbers, words and lists of numbers by name.
    """

    operation: str
    inputs: list[str] = field(default_factory=list)
    value: np.ndarray | None = None
    attributes: dict[str, Attribute] = field(default_factory=dict)


def read_graph(path: Path | str) -> dict[str, Node]:
    """The nodes of a file by name.

    Args:
        path: a frozen graph (.pb).

    Raises:
        InputError: it is missing, damaged, truncated, or no such file.
    """
    name = Path(path).name
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError("The file {name} with deepbrain's weights cannot be read: add the engine again.", name=name) from error
    try:
        nodes = (
            {} if len(data) > _MOST_BYTES else dict(_node(part) for number, part in fields(data) if number == 1 and isinstance(part, bytes))
        )
    except (ValueError, struct.error, UnicodeDecodeError, IndexError, KeyError) as error:
        raise InputError("The file {name} is not deepbrain's graph, or is damaged: add the engine again.", name=name) from error
    if not nodes:
        raise InputError("The file {name} is not deepbrain's graph, or is damaged: add the engine again.", name=name)
    return nodes


def fields(message: bytes) -> Iterator[tuple[int, Scalar]]:
    """Field numbers and values of a protocol-buffer message, in their order.

    Args:
        message: its bytes.

    Returns:
        whole numbers as int, everything else as bytes.

    Raises:
        ValueError: it is truncated, or no such message.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError("unknown wire type")
        if number == 0 or at + length > len(message):
            raise ValueError("truncated")
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("truncated")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")


def _bytes(value: Scalar) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _node(message: bytes) -> tuple[str, Node]:
    name, node = "", Node("")
    for number, value in fields(message):
        if number == 1:
            name = _bytes(value).decode()
        elif number == 2:
            node.operation = _bytes(value).decode()
        elif number == 3:
            text = _bytes(value).decode()
            if not text.startswith("^"):
                node.inputs.append(text.partition(":")[0])
        elif number == 5:
            entry = dict(fields(_bytes(value)))
            _attribute(node, _bytes(entry[1]).decode(), _bytes(entry.get(2, b"")))
    return name, node


def _attribute(node: Node, name: str, message: bytes) -> None:
    for number, value in fields(message):
        if number == 8:
            node.value = _tensor(_bytes(value))
        elif number == 2:
            node.attributes[name] = _bytes(value).decode(errors="replace")
        elif number == 3:
            node.attributes[name] = int(value) if isinstance(value, int) else 0
        elif number == 1:
            node.attributes[name] = [each for part, packed in fields(_bytes(value)) if part == 3 for each in _numbers(packed)]


def _numbers(packed: Scalar) -> list[int]:
    """Repeated whole numbers, one by one or packed."""
    if isinstance(packed, int):
        return [packed]
    numbers, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        numbers.append(value)
    return numbers


def _tensor(message: bytes) -> np.ndarray | None:
    """A tensor of floats; None for one of another type."""
    kind, shape, content = 0, [], b""
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2:
            shape = [int(dict(fields(_bytes(part))).get(1, 0)) for where, part in fields(_bytes(value)) if where == 2]
        elif number in (4, 5):  # as one block, or as packed floats
            content = _bytes(value)
    if kind != _FLOAT:
        return None
    values = np.frombuffer(content, "<f4")
    return values.reshape(shape) if values.size == np.prod(shape, dtype=int) else np.full(shape, values[0], np.float32)
