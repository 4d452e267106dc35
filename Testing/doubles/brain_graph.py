"""Writes files like deepbrain's: a TensorFlow GraphDef of a small U-shaped network with weights of one's own, byte by byte."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def node(name: str, operation: str, inputs: Iterable[str] = (), **attributes: bytes) -> bytes:
    """One node of a graph; attributes are AttrValue messages."""
    said = b"".join(block(5, block(1, key) + block(2, value)) for key, value in attributes.items())
    return block(1, block(1, name) + block(2, operation) + b"".join(block(3, each) for each in inputs) + said)


def numbers(*values: int) -> bytes:
    """An attribute that is a list of numbers."""
    return block(1, block(3, b"".join(map(varint, values))))


def constant(name: str, values: np.ndarray) -> bytes:
    shape = b"".join(block(2, number(1, size)) for size in values.shape)
    return node(
        name, "Const", value=block(8, number(1, 1) + block(2, shape) + block(4, values.astype("<f4").tobytes())), dtype=number(6, 1)
    )


ONE, TWO = numbers(1, 1, 1, 1, 1), numbers(1, 2, 2, 2, 1)


def convolution(name: str, source: str, padding: str = "SAME", strides: bytes = ONE) -> bytes:
    """A convolution with its bias; the kernel and the bias are constants NAME/kernel and NAME/bias."""
    how = {"padding": block(2, padding), "strides": strides, "dilations": ONE, "data_format": block(2, "NDHWC")}
    return node(name, "Conv3D", [source, f"{name}/kernel"], **how) + node(f"{name}/out", "BiasAdd", [name, f"{name}/bias"])


def small_graph(weights: dict[str, np.ndarray], padding: str = "SAME", strides: bytes = ONE) -> bytes:
    """Convolution, pooling, dropout as it is in deepbrain's file, transposed convolution, concatenation, a second convolution, sigmoid.

    Args:
        weights: kernels and biases of "first", "up" (no bias) and "last", as "first/kernel" ….
        padding: of the first convolution.
        strides: of the first convolution.
    """
    same = {"padding": block(2, "SAME"), "strides": TWO, "data_format": block(2, "NDHWC")}
    return b"".join(
        [
            *(constant(name, values) for name, values in weights.items()),
            node("img", "PlaceholderWithDefault", ["IteratorGetNext"]),
            node("training", "Placeholder"),
            convolution("first", "img", padding, strides),
            node("first/relu", "Relu", ["first/out"]),
            node("pool", "MaxPool3D", ["first/relu"], ksize=TWO, padding=block(2, "VALID"), strides=TWO, data_format=block(2, "NDHWC")),
            node("drop/switch", "Switch", ["pool", "training"]),
            node("drop/no", "Identity", ["drop/switch"]),
            node("drop/yes", "Mul", ["drop/switch:1", "drop/random"]),
            node("drop", "Merge", ["drop/no", "drop/yes"]),
            node("up/size", "Pack"),
            node("up", "Conv3DBackpropInputV2", ["up/size", "up/kernel", "drop"], **same),
            node("axis", "Const"),
            node("both", "ConcatV2", ["up", "first/relu", "axis"]),
            convolution("last", "both"),
            node("prob", "Sigmoid", ["last/out", "^training"]),
        ]
    )


def random_weights(channels: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(0, 0.4, shape).astype(np.float32)

    return {
        "first/kernel": draw(3, 3, 3, 1, channels),
        "first/bias": draw(channels),
        "up/kernel": draw(3, 3, 3, 2, channels),
        "last/kernel": draw(1, 1, 1, channels + 2, 1),
        "last/bias": draw(1),
    }
