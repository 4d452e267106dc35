"""From a slice of any size to the 1024x1024 square that the 2D model wants, and its masks back, to half a pixel.

Conventions, in one dimension (rows and columns are alike), positions counted in pixels with pixel p covering [p, p + 1):

* square pixels: where rows and columns are spaced differently, both are resampled to the finer spacing with their edges kept
  in place: n pixels become m = round(n * spacing / finest), and position x becomes x * m / n.
* padding: S is the longer of the two sides; (S - m) // 2 pixels of black before, the rest after.
* resize: x becomes x * 1024 / S. Pixel centres are at p + 0.5, hence the half-pixel terms below.

The resize follows the published toolkit's (scikit-image, order 3 with anti-aliasing: a Gaussian of sigma (scale - 1) / 2 before
shrinking, then cubic splines). Each step is linear and separable, so all of them together are two small matrices, R and C:
square = R @ image @ C.T. The way back is linear interpolation of the model's map at each pixel's centre, except for a map that is
exactly a stretched slice: that one is taken back exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SIDE = 1024
_LARGEST_STRETCHED = 1008  # pixels: at least every 63rd row is doubled, so that a structure shows whether it was stretched


@dataclass(slots=True, frozen=True)
class SquareFit:
    """How one slice fits the square. Make it with `fit`.

    Attributes:
        shape: (rows, columns) of the slice.
        square_shape: the same with square pixels.
        side: S, the longer side of square_shape.
        before: black rows above and columns left of the slice, at S x S.
    """

    shape: tuple[int, int]
    square_shape: tuple[int, int]
    side: int
    before: tuple[int, int]

    @classmethod
    def fit(cls, shape: tuple[int, int], spacing_mm: tuple[float, float] = (1.0, 1.0)) -> SquareFit:
        """Args:
            shape: (rows, columns).
            spacing_mm: (between rows, between columns); only their ratio matters.
        """
        finest = min(spacing_mm)
        square = tuple(max(1, int(round(size * spacing / finest))) for size, spacing in zip(shape, spacing_mm))
        side = max(square)
        return cls(tuple(shape), square, side, tuple((side - size) // 2 for size in square))

    def forward(self, image: np.ndarray) -> np.ndarray:
        """A uint8 slice, (rows, columns) or (rows, columns, 3), on the 1024 square; black round it; uint8."""
        if image.shape[:2] == (SIDE, SIDE) and self.square_shape == (SIDE, SIDE):
            return np.ascontiguousarray(image)
        rows = _forward_matrix(self.shape[0], self.square_shape[0], self.side, self.before[0])
        columns = _forward_matrix(self.shape[1], self.square_shape[1], self.side, self.before[1])
        if image.ndim == 3:
            return np.stack([_resample(rows, image[..., channel], columns) for channel in range(image.shape[2])], axis=-1)
        return _resample(rows, image, columns)

    def backward(self, square: np.ndarray) -> np.ndarray:
        """A map on the 1024 square, any real type, at the centres of the slice's own pixels; float32 (rows, columns)."""
        exact = self._exact_source(square)
        if exact is not None:
            return exact
        rows = self._positions(0)
        columns = self._positions(1)
        row_low, row_part = _neighbours(rows)
        column_low, column_part = _neighbours(columns)
        upper = np.asarray(square)[row_low].astype(np.float32)
        lower = np.asarray(square)[row_low + 1].astype(np.float32)
        strip = upper + (lower - upper) * row_part[:, None]
        return strip[:, column_low] * (1 - column_part) + strip[:, column_low + 1] * column_part

    def _exact_source(self, square: np.ndarray) -> np.ndarray | None:
        """The slice, where the map is nothing but a two-valued slice stretched by nearest neighbor; None for any other map.

        Interpolation would round the corners of such a map. An answer is given only where stretching it again makes the very same
        map, and not where the side is so near 1024 that any map may fit by chance. Nearest neighbor counts from pixel centres here,
        like everything else.
        """
        largest = square.max()
        if self.side > _LARGEST_STRETCHED or largest == 0 or not np.all((square == 0) | (square == largest)):
            return None
        rows, columns = (self._stretched_from(axis) for axis in (0, 1))
        native = square[np.ix_(*(np.searchsorted(source, np.arange(size)) for source, size in zip((rows, columns), self.shape)))]
        return native.astype(np.float32) if np.array_equal(np.pad(native, 1)[np.ix_(rows + 1, columns + 1)], square) else None

    def _stretched_from(self, axis: int) -> np.ndarray:
        """For each pixel of the 1024 square, the slice's pixel that nearest neighbor takes it from; -1 and the size stand for black."""
        size = self.shape[axis]
        position = ((np.arange(SIDE) + 0.5) * self.side / SIDE - self.before[axis]) * size / self.square_shape[axis]
        return np.clip(np.floor(position + 1e-9).astype(int), -1, size)

    def _positions(self, axis: int) -> np.ndarray:
        """Where the slice's pixel centres lie on the 1024 square, as pixel indices (centre of pixel 0 is 0.0)."""
        centres = (np.arange(self.shape[axis]) + 0.5) * self.square_shape[axis] / self.shape[axis]
        return (centres + self.before[axis]) * SIDE / self.side - 0.5


def _neighbours(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    clipped = np.clip(positions, 0, SIDE - 1)
    low = np.minimum(clipped.astype(int), SIDE - 2)
    return low, (clipped - low).astype(np.float32)


def _resample(rows: np.ndarray, image: np.ndarray, columns: np.ndarray) -> np.ndarray:
    result = rows @ image.astype(np.float32) @ columns.T
    # Cubic splines overshoot at edges; like scikit-image, keep to the range of the input (black padding included).
    return np.clip(np.rint(result), min(0, int(image.min())), int(image.max())).astype(np.uint8)


@lru_cache(maxsize=16)
def _forward_matrix(size: int, square_size: int, side: int, before: int) -> np.ndarray:
    """(1024, size) float32: one axis of the whole way forward."""
    resize = _resize_matrix(side, SIDE)[:, before:before + square_size]
    if square_size == size:
        return np.ascontiguousarray(resize)
    return np.ascontiguousarray(resize @ _resize_matrix(size, square_size))


@lru_cache(maxsize=16)
def _resize_matrix(size: int, wanted: int) -> np.ndarray:
    """(wanted, size) float32 matrix of an edge-aligned cubic resize with anti-aliasing of one axis."""
    from scipy import ndimage

    if size == wanted:
        return np.eye(size, dtype=np.float32)
    identity = np.eye(size, dtype=np.float32)
    if wanted < size:
        identity = ndimage.gaussian_filter1d(identity, (size / wanted - 1) / 2, axis=0, mode="mirror")
    if size == 1:
        return np.ones((wanted, 1), np.float32)
    splines = ndimage.spline_filter1d(identity, 3, axis=0, mode="mirror")
    positions = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    return _spline_rows(splines, positions).astype(np.float32)


def _spline_rows(splines: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Cubic B-spline interpolation along axis 0 of prefiltered coefficients, mirrored at the ends."""
    size = splines.shape[0]
    base = np.floor(positions).astype(int)
    part = positions - base
    weights = np.stack([(1 - part) ** 3, 3 * part**3 - 6 * part**2 + 4, -3 * part**3 + 3 * part**2 + 3 * part + 1, part**3]) / 6
    index = np.abs(base + np.arange(-1, 3)[:, None])
    index = np.where(index > size - 1, 2 * (size - 1) - index, index)
    matrix = np.zeros((len(positions), size), np.float32)
    for tap in range(4):
        np.add.at(matrix, (np.arange(len(positions)), index[tap]), weights[tap].astype(np.float32))
    return matrix @ splines
