"""One mask taken apart into separate structures: "liver tumor 1" is the largest, "liver tumor 2" the next."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from ..imaging.volume import CroppedMask


def split_instances(mask: CroppedMask, voxel_ml: float, at_least_ml: float) -> list[CroppedMask]:
    """The parts of a mask that do not touch by their faces, largest first (of equal ones, the lower slice first).

    Args:
        mask: any.
        voxel_ml: millilitres of one voxel.
        at_least_ml: smaller parts are left out; 0 keeps all.

    Raises:
        UsageError: a negative size.
    """
    from scipy.ndimage import find_objects, label

    if not at_least_ml >= 0:
        raise UsageError("The smallest size of separate structures is a number of millilitres, 0 or more.")
    if not mask.count:
        return []
    numbered, count = label(mask.voxels)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    boxes = find_objects(numbered)
    kept = [number for number in np.argsort(-sizes, kind="stable") if sizes[number] * voxel_ml >= at_least_ml * (1 - 1e-9)]
    return [_part(mask, numbered, boxes[number], number + 1) for number in kept]


def _part(mask: CroppedMask, numbered: np.ndarray, box: tuple[slice, ...], number: int) -> CroppedMask:
    voxels = (numbered[box] == number).astype(np.uint8)
    start = mask.start_kji[0] + box[0].start, mask.start_kji[1] + box[1].start, mask.start_kji[2] + box[2].start
    return CroppedMask(mask.shape_kji, start, voxels)
