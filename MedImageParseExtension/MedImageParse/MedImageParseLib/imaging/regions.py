"""A region of interest cut out of a volume, and masks pasted back where they belong. Whole voxels only, so both are exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .volume import CroppedMask, three


@dataclass(slots=True, frozen=True)
class Region:
    """A box of voxels: `start_kji` is inside, `stop_kji` is not."""

    start_kji: tuple[int, int, int]
    stop_kji: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str, shape_kji: tuple[int, int, int]) -> Region:
        """From "I0:I1,J0:J1,K0:K1", voxel indices of the volume's own array, ends not included; an end may be left out.

        Raises:
            UsageError: not of this form, empty, or outside the volume.

        Examples:
            >>> Region.parse("10:90,:,5:", (30, 101, 122))
            Region(start_kji=(5, 0, 10), stop_kji=(30, 101, 90))
        """
        shape_ijk = shape_kji[::-1]
        try:
            pairs = [part.split(":") for part in text.split(",")]
            ends = [(int(first or 0), int(last or size)) for (first, last), size in zip(pairs, shape_ijk, strict=True)]
        except ValueError:
            raise UsageError(
                "The region '{text}' is not understood; give I0:I1,J0:J1,K0:K1 in voxels, for example 40:300,60:280,0:90.", text=text
            ) from None
        if any(not 0 <= first < last <= size for (first, last), size in zip(ends, shape_ijk)):
            sizes = " x ".join(map(str, shape_ijk))
            raise UsageError(
                "The region '{text}' is empty or reaches outside the volume, which has {sizes} voxels.", text=text, sizes=sizes
            )
        return cls(three(first for first, _last in ends[::-1]), three(last for _first, last in ends[::-1]))

    @property
    def box(self) -> tuple[slice, slice, slice]:
        return three(slice(first, last) for first, last in zip(self.start_kji, self.stop_kji))

    def crop(self, voxels: np.ndarray) -> np.ndarray:
        """The region of a kji(c) array (a view)."""
        return voxels[self.box]

    def cropped_matrix(self, ijk_to_ras: np.ndarray) -> np.ndarray:
        """The 4x4 matrix of the region's own grid."""
        matrix = np.array(ijk_to_ras, dtype=float)
        matrix[:, 3] = matrix @ [*self.start_kji[::-1], 1.0]
        return matrix

    def paste(self, mask: CroppedMask, shape_kji: tuple[int, int, int]) -> CroppedMask:
        """A mask on the region's grid as one on the whole volume's."""
        if mask.voxels.size == 0:
            return CroppedMask.empty(shape_kji)
        return CroppedMask(three(shape_kji), three(a + b for a, b in zip(self.start_kji, mask.start_kji)), mask.voxels)
