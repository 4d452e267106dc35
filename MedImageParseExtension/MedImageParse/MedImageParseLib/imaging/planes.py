"""Slices of an oriented volume as pictures with square pixels on the 1024 square, and their masks back into the volume.

Radiological view: axial has the patient's right at the left and anterior up, coronal right at the left and superior up, sagittal
anterior at the left and superior up. An oblique volume takes the nearest array axes; slices are never resampled across axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .masks import CroppedMask
from .orientation import AxisMap, nearest_directions
from .squares import SquareFit
from .volume import Volume

# plane: (patient axis of the slices, direction in which rows run down, direction in which columns run right)
_PLANES = {"axial": ("SI", "P", "L"), "coronal": ("AP", "I", "L"), "sagittal": ("RL", "I", "P")}
PLANES = tuple(_PLANES)


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
            plane: "axial", "coronal" or "sagittal"; a 2D picture is shown as it is, whatever the plane.
            down, right: patient directions (R, L, A, P, S, I) in which rows and columns run; "" for radiological.
            turns: quarter turns counter-clockwise, 0 to 3.
        """
        if volume.is_picture:
            return cls(AxisMap((0, 1, 2), (False, False, False)), SquareFit.fit(volume.shape_kji[1:]), turns % 4)
        if plane not in _PLANES:
            raise UsageError(f"The plane '{plane}' is not known; give axial, coronal or sagittal.")
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
        turned_shape = tuple(shape_kji[axis] for axis in self.axes.order)
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
        raise UsageError(f"The slices '{text}' are not understood; give one index (15), a range (10:20) or all.") from None
    if not indices or indices[0] < 0 or indices[-1] >= count:
        raise UsageError(f"The slices '{text}' are not in the volume; along this plane it has slices 0 to {count - 1}.")
    return indices
