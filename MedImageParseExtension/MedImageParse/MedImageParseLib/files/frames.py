"""Images that hold several volumes (times, phases, echoes, diffusion directions): one of them, or each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..imaging.volume import Volume
from ..remedies import Sentence

EVERY_FRAME = -1  # in place of a frame's number
ONE_VOLUME = "The image holds one volume only, so there is no frame to choose: leave --frame out."


def one_volume(voxels: np.ndarray, is_color: bool, frame: int | None) -> np.ndarray:
    """The single volume in `voxels`: leading axes of length one are dropped, alpha is dropped, of several the wanted one is taken.

    Args:
        voxels: kji, or tkji where there are several, with the channels last where `is_color`.
        is_color: whether the last axis is channels.
        frame: which volume, from 0; None where there should be one only; EVERY_FRAME for all of them.

    Raises:
        InputError: there are several and none is chosen, the chosen one is not there, or one is chosen where there is one only.
    """
    rank = 4 if is_color else 3
    while voxels.ndim > rank and voxels.shape[0] == 1:
        voxels = voxels[0]
    if frame is not None and voxels.ndim == rank:
        raise InputError(ONE_VOLUME, code="no-frame")
    if frame == EVERY_FRAME and voxels.ndim == rank + 1:
        return np.stack([one_volume(part, is_color, None) for part in voxels]) if is_color else voxels
    if voxels.ndim == rank + 1 and frame is not None:
        if not 0 <= frame < voxels.shape[0]:
            raise InputError("There is no frame {frame}: the image has frames 0 to {value}.", frame=frame, value=voxels.shape[0] - 1)
        voxels = np.ascontiguousarray(voxels[frame])
    if voxels.ndim > rank:
        sizes = "x".join(str(size) for size in voxels.shape[::-1])
        count = Sentence("; choose one with --frame 0 to {shape}", shape=voxels.shape[0] - 1) if voxels.ndim == rank + 1 else ""
        raise InputError(
            "The image has {ndim} dimensions ({sizes}); give one volume (three dimensions) at a time{count}.",
            ndim=voxels.ndim,
            sizes=sizes,
            count=count,
        )
    if is_color:
        if voxels.dtype not in (np.uint8, np.uint16) or voxels.shape[3] not in (3, 4):
            raise InputError(
                "The image has {shape} numbers in every voxel and they are no colors; give one volume at a time.", shape=voxels.shape[3]
            )
        voxels = np.ascontiguousarray(voxels[..., :3])
    return voxels


def split_frames(whole: Volume) -> list[Volume]:
    """The volumes of an image whose voxels have one more axis in front, as `one_volume` leaves them for EVERY_FRAME; each is checked."""
    volumes = [replace(whole, voxels=np.ascontiguousarray(voxels)) for voxels in whole.voxels]
    for volume in volumes:
        volume.check()
    return volumes
