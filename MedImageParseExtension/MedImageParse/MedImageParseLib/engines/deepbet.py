"""deepbet as an engine: the brain on T1-weighted MR of the head, by a small network whose weights lie in its own wheel (MIT).

It always finds something, so its answer is looked at: a CT is not given to it, and what has not the size of a brain is not believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..progress import Progress
from ..prompts import catalogue
from .interface import Answer, Engine, Need
from .torches import choose_device, device_name

_LOWEST_HU = -200.0  # a CT has air; MR has nothing so far below zero
_SMALLEST_ML, _LARGEST_ML = 400.0, 2300.0  # from an infant's brain to beyond the largest adult's
_FEWEST_MM = 60.0  # of the volume along each axis, below which there is no head in it
_FEWEST_VOXELS = 8  # along each axis; a picture is no volume, whatever its slice is said to be thick


class Deepbet(Engine):
    """The brain on MR."""

    name = "deepbet"
    title = "deepbet"
    version = "1.0.2"
    licence = "MIT"
    models = ("medimageparse3d",)
    finds = "the brain on T1-weighted MR of the head"
    requirements = ("deepbet==1.0.2", "torch==2.13.0", "nibabel>=5.2,<6", "numpy>=1.26,<3")
    needs = {  # noqa: RUF012 (a mapping that nobody changes)
        "device": Need("cpu to leave a GPU alone"),
        "threshold": Need("probability from which a voxel is brain, 0.5 without it"),
    }

    def load(self, progress: Progress) -> None:
        """See Engine."""
        progress("importing torch", 0, 0)
        from deepbet.bet import BrainExtraction

        where = choose_device(self.options.get("device", ""))
        progress("loading weights", 0, 1)
        self._network: Any = BrainExtraction(no_gpu=where == "cpu")
        self._threshold = float(self.options.get("threshold", "0.5"))
        self.device = device_name(where)
        progress("loading weights", 1, 1)

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine."""
        asked = [target is not None and target.name == "brain" for target in map(catalogue.lookup, prompts)]
        reasons = ["" if brain else "deepbet finds the brain only." for brain in asked]
        mask, why = self._brain(voxels_kji, ijk_to_ras) if any(asked) else (None, "")
        return Answer(
            [mask if brain else None for brain in asked],
            reasons=[why if brain and mask is None else reason for brain, reason in zip(asked, reasons)],
        )

    def _brain(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[np.ndarray | None, str]:
        """The mask, or None and why there is none."""
        import nibabel

        steps = np.linalg.norm(np.asarray(ijk_to_ras, float)[:3, :3], axis=0)
        if not voxels_kji.size or voxels_kji.min() == voxels_kji.max():
            return None, "The volume holds one value everywhere."
        if voxels_kji.min() < _LOWEST_HU:
            return None, "The volume looks like a CT, and deepbet knows MR only."
        if (steps * voxels_kji.shape[::-1] < _FEWEST_MM).any() or min(voxels_kji.shape) < _FEWEST_VOXELS:
            return None, "The volume is too thin to hold a head."
        image = nibabel.Nifti1Image(np.ascontiguousarray(voxels_kji.astype(np.float32).transpose(2, 1, 0)), ijk_to_ras)
        try:
            _brain, found, _millilitres = self._network.run(image, threshold=self._threshold)
        except (AssertionError, ValueError, RuntimeError) as error:  # its own ways with an image without enough foreground
            if "memory" in f"{type(error).__name__} {error}".lower():
                raise
            return None, "Nothing that looks like a head was found."
        mask = np.asarray(found.dataobj).transpose(2, 1, 0) != 0
        millilitres = float(mask.sum()) * abs(float(np.linalg.det(np.asarray(ijk_to_ras, float)[:3, :3]))) / 1000
        if not _SMALLEST_ML < millilitres < _LARGEST_ML:
            return None, f"What was found has {millilitres:.0f} ml, which is not the size of a brain."
        return mask, ""
