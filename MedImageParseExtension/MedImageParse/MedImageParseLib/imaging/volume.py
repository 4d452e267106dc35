"""The one picture of an image that every room shares: voxels in kji order and where they are in the patient.

A mask as it travels: cut to its bounding box, with its place on the full grid.

Cutting early keeps memory near the size of the structures instead of prompts x volume, and makes the import into segments
ten to thirty times faster than full-grid arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import numpy as np

from ..errors import InputError

Value = TypeVar("Value")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # and back: patient coordinates of DICOM, ITK and NRRD to those of NIfTI and Slicer, mm


def three(values: Iterable[Value]) -> tuple[Value, Value, Value]:
    """One value for each axis of a volume, as a tuple.

    Args:
        values: in the order wanted, kji or ijk.

    Raises:
        ValueError: there are not three.

    Examples:
        >>> three(length + 1 for length in (4, 5, 6))
        (5, 6, 7)
    """
    first, second, third = values
    return first, second, third


@dataclass(slots=True, frozen=True)
class NiftiForms:
    """The header fields that place a NIfTI file, as they are stored, so that a result can be given exactly the same ones.

    Attributes:
        qform_code, sform_code: which of the two positions are stated, and what they mean.
        quatern: three parts of the rotation's quaternion. qoffset: position of the first voxel.
        srow: 3x4 matrix of the sform.
        pixdim: handedness of the qform and the three voxel sizes.
        units: xyzt_units; the numbers above are in these.
        is_nifti2: whether the file is NIfTI-2 (numbers of 64 bits).
        is_flat: whether the file has two dimensions only, for which ITK has images of their own.
    """

    qform_code: int
    sform_code: int
    quatern: tuple[float, ...]
    qoffset: tuple[float, ...]
    srow: tuple[tuple[float, ...], ...]
    pixdim: tuple[float, ...]
    units: int
    is_nifti2: bool
    is_flat: bool = False


@dataclass(slots=True, frozen=True)
class Volume:
    """An image volume, or a 2D picture as a volume of one slice.

    Attributes:
        voxels: array in kji order (slice, row, column), or kjic with 3 colour channels last. Not copied, not changed.
        ijk_to_ras: 4x4 matrix from voxel indices (i, j, k) to patient coordinates in mm, RAS. May be oblique, left-handed
            or sheared.
        modality: DICOM modality code ("CT", "MR", "US", "DX", …), "" where nobody said.
        is_picture: True for a 2D image file (PNG, JPEG, TIFF): it is sent as it is, never turned.
        is_film: True for several pictures that have no place in the patient: frames of an ultrasound or X-ray film, views of a gamma camera.
        padding: what means "no data" (DICOM PixelPaddingValue, as the voxels are: rescaled, inverted): one value, or the two ends of a range
            of them; it takes no part in percentiles.
        forms: how the NIfTI file that this was read from states its position, for results on the same grid; None for others.
        shown_ijk_to_ras: 4x4, mm, RAS: where ITK and Slicer show that file, where this is not exactly `ijk_to_ras`; None where it is.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray = field(default_factory=lambda: np.eye(4))
    modality: str = ""
    is_picture: bool = False
    padding: tuple[float, ...] = ()
    forms: NiftiForms | None = None
    shown_ijk_to_ras: np.ndarray | None = None
    is_film: bool = False

    def __repr__(self) -> str:
        size = "x".join(str(length) for length in self.shape_kji)
        spacing = "x".join(f"{length:.4g}" for length in self.spacing_ijk[::-1])
        kind = " picture" if self.is_picture else f" {self.modality}" if self.modality else ""
        return f"<Volume{kind}: {size} voxels of {spacing} mm (kji), {self.voxels.dtype}{', color' if self.is_color else ''}>"

    @property
    def has_volume(self) -> bool:
        """Whether its voxels fill a space, so that there are ml and a third dimension."""
        return not (self.is_picture or self.is_film)

    @property
    def shown(self) -> Volume:
        """The same voxels where ITK and Slicer show the file that they come from."""
        return self if self.shown_ijk_to_ras is None else replace(self, ijk_to_ras=self.shown_ijk_to_ras)

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        # Not `three`: an array that is no volume must live long enough for `check` to refuse it.
        return cast("tuple[int, int, int]", tuple(int(size) for size in self.voxels.shape[:3]))

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
            raise InputError(
                "The image has {ndim} dimensions ({shape}); give one volume (three dimensions) at a time.",
                ndim=self.voxels.ndim,
                shape=shape,
            )
        if 0 in self.voxels.shape:
            raise InputError("The image is empty: one of its sides has no voxels; load another volume.")
        if self.voxels.dtype.kind == "c":
            raise InputError("The image holds complex numbers; convert it to magnitude first.")
        if self.voxels.dtype.kind == "f":
            bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in self.voxels)
            if bad:
                raise InputError(
                    "The image has {bad} voxels that are not finite numbers (NaN or infinity); replace them and try again.", bad=bad
                )
        self.check_geometry()

    def check_geometry(self) -> None:
        """Raises InputError unless the geometry is usable."""
        if not usable_matrix(np.asarray(self.ijk_to_ras, dtype=float)):
            raise InputError("The image's geometry (spacing and directions) cannot be used: two of its axes coincide or have no length.")


def usable_matrix(matrix: np.ndarray) -> bool:
    """Whether a 4x4 ijk_to_ras places voxels: finite, no axis without length, and axes that do not coincide, whatever their scale in mm."""
    if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)):
        return False
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.any(lengths == 0) or not np.all(np.isfinite(lengths)):
        return False
    return bool(np.linalg.cond(matrix[:3, :3] / lengths) < 1e4)


@dataclass(slots=True, frozen=True)
class CroppedMask:
    """A binary mask on a grid of `shape_kji`, stored as the box that holds it.

    Attributes:
        shape_kji: size of the full grid, (slices, rows, columns).
        start_kji: first voxel of the box on the full grid.
        voxels: uint8 array of the box, 0 or 1, kji; size (0, 0, 0) when the mask is empty.
    """

    shape_kji: tuple[int, int, int]
    start_kji: tuple[int, int, int]
    voxels: np.ndarray

    @classmethod
    def empty(cls, shape_kji: tuple[int, int, int]) -> CroppedMask:
        return cls(three(shape_kji), (0, 0, 0), np.zeros((0, 0, 0), np.uint8))

    @classmethod
    def from_full(cls, mask: np.ndarray) -> CroppedMask:
        """Cut a full-grid kji array (anything truthy is inside) to its bounding box."""
        box = bounding_box(mask)
        if box is None:
            return cls.empty(three(mask.shape))
        return cls(three(mask.shape), three(s.start for s in box), np.ascontiguousarray(mask[box] != 0).view(np.uint8))

    @property
    def count(self) -> int:
        """Voxels inside."""
        return int(np.count_nonzero(self.voxels))

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the box lies on the full grid, as slices in kji order."""
        return three(slice(start, start + size) for start, size in zip(self.start_kji, self.voxels.shape))

    def full(self) -> np.ndarray:
        """The mask on its full grid, uint8 kji, 0 or 1."""
        grid = np.zeros(self.shape_kji, np.uint8)
        grid[self.box] = self.voxels
        return grid

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """What `np.asarray(mask)` gives: the mask on its full grid, made anew each time."""
        if copy is False:
            raise ValueError("A cropped mask is not stored as a full array, so numpy cannot have it without a copy.")
        full = self.full()
        return full if dtype is None else full.astype(dtype, copy=False)

    def trimmed(self) -> CroppedMask:
        """The same mask in the tightest box."""
        box = bounding_box(self.voxels)
        if box is None:
            return CroppedMask.empty(self.shape_kji)
        start = tuple(first + part.start for first, part in zip(self.start_kji, box))
        return CroppedMask(self.shape_kji, start, np.ascontiguousarray(self.voxels[box]))


def bounding_box(array: np.ndarray) -> tuple[slice, ...] | None:
    """The tightest box round the non-zero elements of an array of any dimension, or None where there are none."""
    if array.size == 0:
        return None
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    # The largest value says the same as any(), and numpy finds it many times faster for unsigned numbers.
    covers = np.max if array.dtype.kind == "u" else np.any
    # Layer by layer along the axis that is outermost in memory; turned arrays would else be read through once a layer.
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    part = array.transpose(order)
    box: dict[int, slice] = {}
    for axis in order:
        used = np.flatnonzero(covers(part, axis=tuple(range(1, part.ndim))) if part.ndim > 1 else part)
        if used.size == 0:
            return None
        box[axis] = slice(int(used[0]), int(used[-1]) + 1)
        part = covers(part[box[axis]], axis=0)  # what is left, seen along this axis
    return tuple(box[axis] for axis in range(array.ndim))
