"""Array axes and patient directions: which array axis runs nearest to which patient axis, and turning arrays there and back.

Only flips and permutations: voxels are never resampled here, so the way back is exact. Directions are letters, each the side of
the patient that an axis runs towards: R, L, A, P, S, I.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from .masks import CroppedMask

_WORLD = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))


def nearest_directions(ijk_to_ras: np.ndarray) -> tuple[str, str, str]:
    """The direction letter of each array axis in kji order (slices, rows, columns), each patient axis used once.

    For oblique and sheared matrices: the assignment of axes whose cosines with the patient axes sum highest, after the
    directions are made orthogonal (polar decomposition), so that a sheared axis cannot claim its neighbour's place.

    Args:
        ijk_to_ras: 4x4 (or 3x3), mm.

    Example:
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
        return cls(tuple(order), tuple(flips))

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
            return CroppedMask.empty(tuple(shape))
        return CroppedMask(tuple(shape), tuple(start), np.ascontiguousarray(self.undo(mask.voxels)))

    def turned_matrix(self, ijk_to_ras: np.ndarray, shape_kji: tuple[int, int, int]) -> np.ndarray:
        """The 4x4 matrix of the turned grid: its voxels lie where the source's lie.

        Args:
            shape_kji: size of the source array.
        """
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for axis, source in enumerate(self.order):
            turned_ijk, source_ijk = 2 - axis, 2 - source
            step[source_ijk, turned_ijk] = -1 if self.flips[axis] else 1
            step[source_ijk, 3] = shape_kji[source] - 1 if self.flips[axis] else 0
        return np.asarray(ijk_to_ras, dtype=float) @ step
