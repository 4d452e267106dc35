"""Array axes and patient directions: which array axis runs nearest to which patient axis, and turning arrays there and back.

Only flips and permutations: voxels are never resampled here, so the way back is exact. Directions are letters, each the side of
the patient that an axis runs towards: R, L, A, P, S, I.

From a slice of any size to the 1024x1024 square that the 2D model wants, and its masks back, to half a pixel.

Conventions, in one dimension (rows and columns are alike), positions counted in pixels with pixel p covering [p, p + 1):

* square pixels: where rows and columns are spaced differently, both are resampled to the finer spacing with their edges kept
  in place: n pixels become m = round(n * spacing / finest), and position x becomes x * m / n.
* padding: S is the longer of the two sides; (S - m) // 2 pixels of black before, the rest after.
* resize: x becomes x * 1024 / S. Pixel centres are at p + 0.5, hence the half-pixel terms below.

The resize follows the published toolkit's (scikit-image, order 3 with anti-aliasing: a Gaussian of sigma (scale - 1) / 2 before
shrinking, then cubic splines). Each step is linear and separable, so all of them together are two small matrices, R and C:
square = R @ image @ C.T. The way back is linear interpolation of the model's map at each pixel's centre, except for a map that is
exactly a stretched slice: that one is taken back exactly.

Slices of an oriented volume as pictures with square pixels on the 1024 square, and their masks back into the volume.

Radiological view: axial has the patient's right at the left and anterior up, coronal right at the left and superior up, sagittal
anterior at the left and superior up. An oblique volume takes the nearest array axes; slices are never resampled across axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

from ..errors import UsageError
from ..remedies import CHOOSE_PLANE
from .volume import CroppedMask, Volume, three

_WORLD = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))


def nearest_directions(ijk_to_ras: np.ndarray) -> tuple[str, str, str]:
    """The direction letter of each array axis in kji order (slices, rows, columns), each patient axis used once.

    For oblique and sheared matrices: the assignment of axes whose cosines with the patient axes sum highest, after the
    directions are made orthogonal (polar decomposition), so that a sheared axis cannot claim its neighbour's place.

    Args:
        ijk_to_ras: 4x4 (or 3x3), mm.

    Examples:
        >>> nearest_directions(np.diag([-1, -1, 1, 1]))
        ('S', 'P', 'L')
    """
    matrix = np.asarray(ijk_to_ras, dtype=float)[:3, :3]
    left, _stretch, right = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0))
    directions = left @ right
    best = max(permutations(range(3)), key=lambda order: sum(abs(directions[order[axis], axis]) for axis in range(3)))
    letters = [_LETTERS[best[axis]][0 if directions[best[axis], axis] >= 0 else 1] for axis in range(3)]
    return letters[2], letters[1], letters[0]


@dataclass(slots=True, frozen=True)
class AxisMap:
    """Turns an array so that its axes run towards chosen directions, by flips and a permutation only.

    Attributes:
        order: for each axis of the turned array (kji), the axis of the source array it comes from.
        flips: for each axis of the turned array, whether it runs against the source axis.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def towards(cls, ijk_to_ras: np.ndarray, directions: tuple[str, str, str]) -> AxisMap:
        """The map that makes (slices, rows, columns) run towards `directions`, e.g. ("S", "A", "R") for RAS axes."""
        have = nearest_directions(ijk_to_ras)
        axes = [_WORLD[letter][0] for letter in have]
        order, flips = [], []
        for letter in directions:
            world, sign = _WORLD[letter]
            source = axes.index(world)
            order.append(source)
            flips.append(_WORLD[have[source]][1] != sign)
        return cls(three(order), three(flips))

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The turned array (a view); axes after the third (channels) stay where they are."""
        turned = array.transpose(*self.order, *range(3, array.ndim))
        return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]

    def undo(self, array: np.ndarray) -> np.ndarray:
        """The source array back from a turned one (a view)."""
        straight = array[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]
        return straight.transpose(*np.argsort(self.order), *range(3, array.ndim))

    def undo_mask(self, mask: CroppedMask) -> CroppedMask:
        """A mask on the turned grid brought back to the source grid; only its box is touched."""
        start, shape = [0, 0, 0], [0, 0, 0]
        for axis, source in enumerate(self.order):
            size, length = mask.shape_kji[axis], mask.voxels.shape[axis]
            shape[source] = size
            start[source] = size - mask.start_kji[axis] - length if self.flips[axis] else mask.start_kji[axis]
        if mask.voxels.size == 0:
            return CroppedMask.empty(three(shape))
        return CroppedMask(three(shape), three(start), np.ascontiguousarray(self.undo(mask.voxels)))

    def turned_matrix(self, ijk_to_ras: np.ndarray, shape_kji: tuple[int, int, int]) -> np.ndarray:
        """The 4x4 matrix of the turned grid: its voxels lie where the source's lie.

        Args:
            ijk_to_ras: 4x4 of the source array, mm.
            shape_kji: size of the source array.
        """
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for axis, source in enumerate(self.order):
            turned_ijk, source_ijk = 2 - axis, 2 - source
            step[source_ijk, turned_ijk] = -1 if self.flips[axis] else 1
            step[source_ijk, 3] = shape_kji[source] - 1 if self.flips[axis] else 0
        return np.asarray(ijk_to_ras, dtype=float) @ step


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
        rows, columns = (max(1, round(size * spacing / finest)) for size, spacing in zip(shape, spacing_mm))
        side = max(rows, columns)
        return cls((shape[0], shape[1]), (rows, columns), side, ((side - rows) // 2, (side - columns) // 2))

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
    resize = _resize_matrix(side, SIDE)[:, before : before + square_size]
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


# plane: (patient axis of the slices, direction in which rows run down, direction in which columns run right)
_PLANES = {"axial": ("SI", "P", "L"), "coronal": ("AP", "I", "L"), "sagittal": ("RL", "I", "P")}
PLANES = tuple(_PLANES)
AUTO_PLANE = "auto"  # the volume's own slices, see `acquisition_plane`
PLANE_CHOICES = (AUTO_PLANE, *PLANES)
_NARROW, _NARROW_SHARE = 16, 4  # a strip: fewer rows than this, and less than a quarter of its columns, or the other way round
_SAME_SPACING = 1.02  # ratio up to which two spacings count as one


def check_plane(plane: str, known: Sequence[str] = PLANE_CHOICES) -> None:
    """Refuse a plane that is none of those known.

    Raises:
        UsageError: that it is.
    """
    if plane not in known:
        raise UsageError("The plane '{plane}' is not known; give axial, coronal or sagittal.", plane=plane)


def acquisition_plane(volume: Volume) -> str:
    """The plane in which a volume was acquired: its own slices.

    One slice is its own plane. Else the axis whose spacing differs where the other two share theirs: scanners make square pixels, and a
    file that was turned afterwards keeps its spacings. Else the array's first axis, along which every format that is read here stacks
    its slices.

    Args:
        volume: of any orientation; an oblique one takes the nearest patient axis.

    Returns:
        "axial", "coronal" or "sagittal" ("axial" for a 2D picture, which has no other).

    Examples:
        >>> acquisition_plane(Volume(np.zeros((6, 50, 70)), np.diag([1.0, 1.0, 4.0, 1.0])))
        'axial'
    """
    if not volume.has_volume:
        return "axial"
    single = [axis for axis, size in enumerate(volume.shape_kji) if size == 1]
    odd = _odd_axis(volume.spacing_ijk[::-1])
    axis = single[0] if len(single) == 1 else odd if odd is not None else 0
    letter = nearest_directions(volume.ijk_to_ras)[axis]
    return next(plane for plane, (across, _, _) in _PLANES.items() if letter in across)


def _odd_axis(spacing: np.ndarray) -> int | None:
    """The one axis (kji) whose spacing differs while the other two share theirs; the widest where it is by far; else None."""
    for axis in range(3):
        first, second = np.delete(spacing, axis)
        alike = max(first, second) <= _SAME_SPACING * min(first, second)
        if alike and not min(first, second) / _SAME_SPACING <= spacing[axis] <= max(first, second) * _SAME_SPACING:
            return axis
    low, middle, high = np.sort(spacing)
    return int(np.argmax(spacing)) if high >= 1.5 * middle and middle < 1.5 * low else None


def resolve_plane(volume: Volume, plane: str) -> str:
    """The plane that is meant for this volume, once it is known that its slices are pictures.

    Args:
        volume: any.
        plane: "auto" (the acquisition plane), "axial", "coronal" or "sagittal"; "" for axial, but for a volume of one slice that slice.

    Raises:
        UsageError: an unknown plane, or one along which each slice is a strip of a few rows, of which no model can say anything.
    """
    plane = plane or (AUTO_PLANE if 1 in volume.shape_kji else "axial")
    check_plane(plane)
    own = acquisition_plane(volume)
    if volume.is_picture or plane in (AUTO_PLANE, own):
        return own
    view = SliceView.of(volume, plane)
    rows, columns = view.fit.shape
    if min(rows, columns) < _NARROW and _NARROW_SHARE * min(rows, columns) < max(rows, columns):
        raise UsageError(
            "Along the {plane} plane each slice of this volume is a strip of {rows} x {columns} pixels; its own slices are {own}: {choose_plane}.",
            code="strip",
            plane=plane,
            rows=rows,
            columns=columns,
            own=own,
            choose_plane=CHOOSE_PLANE,
        )
    return plane


@dataclass(slots=True, frozen=True)
class SliceView:
    """How slices of one volume are shown.

    Attributes:
        axes: turns the volume's kji array so that (slice, row, column) are the picture's; slices keep the volume's own order.
        fit: how a slice fits the square.
        turns: quarter turns counter-clockwise of the finished square (used by the vote over four rotations).
    """

    axes: AxisMap
    fit: SquareFit
    turns: int = 0

    @classmethod
    def of(cls, volume: Volume, plane: str = "axial", *, down: str = "", right: str = "", turns: int = 0) -> SliceView:
        """The view of a volume.

        Args:
            volume: whose slices are looked at; its matrix says which array axis is which.
            plane: "axial", "coronal" or "sagittal"; a 2D picture is shown as it is, whatever the plane.
            down: patient direction (R, L, A, P, S, I) in which the rows run; "" for radiological.
            right: the same for the columns.
            turns: quarter turns counter-clockwise, 0 to 3.
        """
        if volume.is_picture:
            down_mm, right_mm = volume.spacing_ijk[1], volume.spacing_ijk[0]
            return cls(AxisMap((0, 1, 2), (False, False, False)), SquareFit.fit(volume.shape_kji[1:], (down_mm, right_mm)), turns % 4)
        check_plane(plane, PLANES)
        across, default_down, default_right = _PLANES[plane]
        have = nearest_directions(volume.ijk_to_ras)
        slices = next(letter for letter in have if letter in across)
        axes = AxisMap.towards(volume.ijk_to_ras, (slices, down or default_down, right or default_right))
        spacing = volume.spacing_ijk[::-1]
        shape = volume.shape_kji
        fit = SquareFit.fit((shape[axes.order[1]], shape[axes.order[2]]), (spacing[axes.order[1]], spacing[axes.order[2]]))
        return cls(axes, fit, turns % 4)

    def count(self, volume: Volume) -> int:
        """How many slices there are."""
        return volume.shape_kji[self.axes.order[0]]

    def picture(self, eight_bit: np.ndarray, index: int) -> np.ndarray:
        """Slice `index` (along the volume's own array axis) of a windowed uint8 kji(c) array, as the (1024, 1024[, 3]) square sent."""
        image = self.axes.apply(eight_bit)[index]
        return np.ascontiguousarray(np.rot90(self.fit.forward(image), self.turns))

    def slice_map(self, square: np.ndarray) -> np.ndarray:
        """A map on the sent square at the slice's own pixels; float32 (rows, columns) of the turned slice."""
        return self.fit.backward(np.rot90(square, -self.turns))

    def place(self, slices: dict[int, np.ndarray], shape_kji: tuple[int, int, int]) -> CroppedMask:
        """Binary slices (rows, columns as `slice_map` gives them), by slice index, as one mask on the volume's grid."""
        used = {index: mask for index, mask in slices.items() if mask.any()}
        if not used:
            return CroppedMask.empty(shape_kji)
        first, last = min(used), max(used)
        stack = np.zeros((last - first + 1, *self.fit.shape), np.uint8)
        for index, mask in used.items():
            stack[index - first] = mask
        turned_shape = three(shape_kji[axis] for axis in self.axes.order)
        return self.axes.undo_mask(CroppedMask(turned_shape, (first, 0, 0), stack).trimmed())


def parse_slices(text: str, count: int) -> list[int]:
    """Slice indices from "15", "10:20" (end not included) or "all".

    Raises:
        UsageError: not of this form, empty, or not within 0..count-1.
    """
    text = text.strip()
    try:
        if text == "all":
            indices = list(range(count))
        elif ":" in text:
            first, last = (int(part) for part in text.split(":"))
            indices = list(range(first, last))
        else:
            indices = [int(text)]
    except ValueError:
        raise UsageError("The slices '{text}' are not understood; give one index (15), a range (10:20) or all.", text=text) from None
    if not indices or indices[0] < 0 or indices[-1] >= count:
        raise UsageError(
            "The slices '{text}' are not in the volume; along this plane it has slices 0 to {value}.", text=text, value=count - 1
        )
    return indices
