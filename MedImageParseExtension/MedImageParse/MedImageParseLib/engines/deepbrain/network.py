"""The layers of deepbrain's network on numpy arrays, as the graph in its file says: nothing is known here of how many there are.

A graph with an operation, a stride or a padding that is not among those below is refused. Arrays are float32, (channel, x, y, z); the
graph's own are (batch, x, y, z, channel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...errors import InputError
from .graph import Node

SIZE = 128  # voxels along each axis of what goes in
_IN, _OUT = "img", "prob"
# Products of at most so many multiplications are left to one thread by OpenBLAS; above that, its threads cost more than they bring here.
_MOST_MULTIPLICATIONS = 900_000
_MOST_VALUES = 1 << 17  # of the patches that are laid out at a time, so that they stay in the processor's cache


class Network:
    """A network that can be asked.

    Args:
        nodes: of the graph by name (see graph.read_graph).

    Raises:
        InputError: the graph is another one.
    """

    def __init__(self, nodes: Mapping[str, Node]):
        self._nodes = nodes
        self._order = self._in_order()
        self.parameters = sum(value.size for value in (nodes[name].value for name in self._order) if value is not None)

    def probabilities(self, image: np.ndarray, stop: Callable[[], object] = lambda: None) -> np.ndarray:
        """How sure it is of each voxel.

        Args:
            image: float32 (x, y, z), values 0..1; each size a multiple of 8.
            stop: called between layers; may raise to stop the work.

        Returns:
            float32 of the same shape, 0..1.
        """
        last = {name: at for at, user in enumerate(self._order) for name in self._used(user)}
        values: dict[str, np.ndarray] = {_IN: image[None].astype(np.float32, copy=False)}
        for at, name in enumerate(self._order):
            stop()
            if name not in values:
                values[name] = self._run(self._nodes[name], [values[each] for each in self._used(name)])
            for each in self._used(name):
                if last[each] == at and each != name:
                    values.pop(each, None)  # layers at full size have 67 MB
        return values[_OUT][0]

    def _used(self, name: str) -> list[str]:
        """The nodes whose values a node takes, as it runs when nothing is being learned."""
        node = self._nodes[name]
        if name == _IN or node.operation == "Const":
            return []
        if node.operation == "Conv3DBackpropInputV2":
            return node.inputs[1:]  # the first is the size of its output, which follows from the stride
        if node.operation == "ConcatV2":
            return node.inputs[:-1]  # the last is the axis
        if node.operation == "Switch":
            return node.inputs[:1]
        if node.operation == "Merge":  # of dropout and no dropout
            plain = [each for each in node.inputs if each in self._nodes and self._nodes[each].operation == "Identity"]
            return plain[:1]
        return node.inputs

    def _in_order(self) -> list[str]:
        """The nodes that the output needs, each after those that it needs itself. Each is looked at."""
        order: list[str] = []
        seen: set[str] = set()
        waiting = [(_OUT, False)]
        while waiting:
            name, is_ready = waiting.pop()
            if is_ready:
                order.append(name)
            elif name not in seen:
                seen.add(name)
                if name not in self._nodes:
                    raise InputError("The graph is not deepbrain's: it has no {name}; add the engine again.", name=name)
                self._check(name)
                waiting.append((name, True))
                waiting += [(each, False) for each in self._used(name)]
        if _IN not in seen:
            raise InputError("The graph is not deepbrain's: its output does not depend on an image; add the engine again.")
        return order

    def _check(self, name: str) -> None:
        node = self._nodes[name]
        if name == _IN:
            return
        wanted = _WANTED.get(node.operation)
        fits = wanted is not None and all(node.attributes.get(key, value) == value for key, value in wanted.items())
        if not fits or (node.operation == "Const" and node.value is None):
            raise InputError("The graph is not deepbrain's: its layer {name} is of another kind; add the engine again.", name=name)

    def _run(self, node: Node, values: list[np.ndarray]) -> np.ndarray:
        from scipy.special import expit

        operation = node.operation
        if operation == "Const":
            assert node.value is not None
            return node.value
        if operation == "Conv3D":
            return convolve(*values)
        if operation == "Conv3DBackpropInputV2":
            return convolve_transposed(values[1], values[0])
        if operation == "BiasAdd":
            return values[0] + values[1].reshape(-1, 1, 1, 1)
        if operation == "Relu":
            return np.maximum(values[0], 0)
        if operation == "MaxPool3D":
            channels, *sizes = values[0].shape
            return values[0].reshape(channels, *(part for size in sizes for part in (size // 2, 2))).max((2, 4, 6))
        if operation == "ConcatV2":
            return np.concatenate(values)
        return expit(values[0]) if operation == "Sigmoid" else values[0]


_PLAIN: dict[str, object] = {"strides": [1, 1, 1, 1, 1], "dilations": [1, 1, 1, 1, 1], "padding": "SAME", "data_format": "NDHWC"}
_HALVED: dict[str, object] = {"strides": [1, 2, 2, 2, 1], "data_format": "NDHWC"}
_WANTED: dict[str, dict[str, object]] = {
    "Const": {}, "Identity": {}, "Switch": {}, "Merge": {}, "BiasAdd": {}, "Relu": {}, "Sigmoid": {}, "ConcatV2": {},
    "Conv3D": _PLAIN,
    "Conv3DBackpropInputV2": _HALVED | {"dilations": [1, 1, 1, 1, 1], "padding": "SAME"},
    "MaxPool3D": _HALVED | {"ksize": [1, 2, 2, 2, 1], "padding": "VALID"},
}  # fmt: skip


def convolve(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution (in fact correlation) at every voxel, with zeros outside.

    Args:
        values: (channels in, x, y, z), float32.
        kernel: (3, 3, 3, channels in, channels out), or (1, 1, 1, …).

    Returns:
        (channels out, x, y, z), float32.
    """
    channels, depth, rows, columns = values.shape
    out_channels = kernel.shape[-1]
    if kernel.shape[0] == 1:
        return (kernel.reshape(channels, out_channels).T @ values.reshape(channels, -1)).reshape(out_channels, depth, rows, columns)
    weights = np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2).reshape(out_channels, -1))
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (1, 1)))
    strides = (*padded.strides, *padded.strides[2:])
    out = np.empty((out_channels, depth, rows, columns), np.float32)
    taps = 27 * channels
    at_once = max(1, min(rows, _MOST_MULTIPLICATIONS // (taps * out_channels * columns), _MOST_VALUES // (taps * columns)))
    together = max(1, _MOST_MULTIPLICATIONS // (taps * at_once * columns))
    for x in range(depth):
        for first in range(0, rows, at_once):
            count = min(at_once, rows - first)
            shape = (channels, 3, 3, 3, count, columns)
            patches = np.lib.stride_tricks.as_strided(padded[:, x:, first:], shape, strides, writeable=False).reshape(taps, -1)
            for channel in range(0, out_channels, together):
                part = weights[channel : channel + together]
                out[channel : channel + together, x, first : first + count] = (part @ patches).reshape(-1, count, columns)
    return out


def convolve_transposed(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The transpose of a convolution with stride 2: twice the size along each axis.

    Args:
        values: (channels in, x, y, z), float32.
        kernel: (3, 3, 3, channels out, channels in).

    Returns:
        (channels out, 2x, 2y, 2z), float32.
    """
    channels, *sizes = values.shape
    # For an even size TensorFlow's padding "SAME" puts its only zero at the end: what goes beyond the end is cut off.
    out = np.zeros((kernel.shape[3], *(2 * size + 1 for size in sizes)), np.float32)
    flat = values.reshape(channels, -1)
    for tap in np.ndindex(3, 3, 3):
        place = tuple(slice(start, start + 2 * size, 2) for start, size in zip(tap, sizes))
        out[(slice(None), *place)] += (kernel[tap] @ flat).reshape(-1, *sizes)
    return out[:, : 2 * sizes[0], : 2 * sizes[1], : 2 * sizes[2]]
