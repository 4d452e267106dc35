"""The one picture of an image that every room shares: voxels in kji order and where they are in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError


@dataclass(slots=True, frozen=True)
class Volume:
    """An image volume, or a 2D picture as a volume of one slice.

    Attributes:
        voxels: array in kji order (slice, row, column), or kjic with 3 colour channels last. Not copied, not changed.
        ijk_to_ras: 4x4 matrix from voxel indices (i, j, k) to patient coordinates in mm, RAS. May be oblique, left-handed
            or sheared.
        modality: DICOM modality code ("CT", "MR", "US", "DX", …), "" where nobody said.
        is_picture: True for a 2D image file (PNG, JPEG, TIFF): it is sent as it is, never turned.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray = field(default_factory=lambda: np.eye(4))
    modality: str = ""
    is_picture: bool = False

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        return tuple(int(size) for size in self.voxels.shape[:3])

    @property
    def is_color(self) -> bool:
        return self.voxels.ndim == 4

    @property
    def spacing_ijk(self) -> np.ndarray:
        """Length in mm of one voxel step along i, j, k."""
        return np.linalg.norm(np.asarray(self.ijk_to_ras, dtype=float)[:3, :3], axis=0)

    def check(self) -> None:
        """Raises InputError unless there are voxels, all of them finite numbers, and the geometry is usable."""
        if self.voxels.ndim not in (3, 4) or (self.voxels.ndim == 4 and self.voxels.shape[3] != 3):
            shape = "x".join(str(size) for size in self.voxels.shape[::-1])
            raise InputError(f"The image has {self.voxels.ndim} dimensions ({shape}); give one volume (three dimensions) at a time.")
        if 0 in self.voxels.shape:
            raise InputError("The image is empty: one of its sides has no voxels; load another volume.")
        if self.voxels.dtype.kind == "c":
            raise InputError("The image holds complex numbers; convert it to magnitude first.")
        if self.voxels.dtype.kind == "f":
            bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in self.voxels)
            if bad:
                raise InputError(f"The image has {bad} voxels that are not finite numbers (NaN or infinity); replace them and try again.")
        matrix = np.asarray(self.ijk_to_ras, dtype=float)
        if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)) or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
            raise InputError("The image's geometry (spacing and directions) cannot be used: two of its axes coincide or have no length.")
