"""TotalSegmentator as an engine: its own package, which brings its open weights by itself. Our catalogue maps prompts to its classes.

What is not as its command line does it: nothing is told to its statistics, and only the classes that were asked for are computed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..progress import Progress
from ..prompts import catalogue
from .interface import Answer, Engine, Need
from .torches import choose_device, device_name

_TASKS = {"CT": "total", "MR": "total_mr"}
_LOWEST_HU = -200.0  # a CT has air; MR and windowed images have nothing so far below zero
_SIDES = ("left", "right")
# Structures that are classes only part by part, by how the parts' names begin.
_WHOLES = {
    "lung": ("lung_",),
    "ribs": ("rib_",),
    "rib": ("rib_",),
    "spine": ("vertebrae_", "sacrum"),
    "vertebra": ("vertebrae_",),
    "vertebrae": ("vertebrae_",),
}


class TotalSegmentator(Engine):
    """TotalSegmentator's tasks total (CT) and total_mr."""

    name = "totalsegmentator"
    title = "TotalSegmentator"
    version = "2"
    licence = "Apache-2.0"
    models = ("medimageparse3d",)
    wants = "HU"
    finds = "117 structures in CT (organs, bones, muscles, vessels) and 50 in MR"
    requirements = ("TotalSegmentator==2.18.0", "nibabel>=5.2,<6", "torch==2.13.0", "numpy>=1.26,<3")
    needs = {  # noqa: RUF012 (a mapping that nobody changes)
        "task": Need("total, total_mr or another of its tasks; by the image's values without it"),
        "fast": Need("yes for its coarse network of 3 mm, which needs less memory and time"),
        "device": Need("cpu or cuda; the best there is without it"),
        "weights": Need("a folder with its weights, where they are to lie or lie already", "folder"),
    }

    def load(self, progress: Progress) -> None:
        """See Engine. The weights come when a task is used first."""
        own = Path(os.environ.get("TOTALSEG_HOME_DIR") or Path.home() / ".totalsegmentator") / "nnunet" / "results"
        weights = self.options.get("weights") or os.environ.get("TOTALSEG_WEIGHTS_PATH") or str(own)
        os.environ["TOTALSEG_WEIGHTS_PATH"] = weights
        # Its settings, in which statistics are on unless somebody switches them off, are a throw-away copy: the person's own stay as they are.
        self._settings = tempfile.TemporaryDirectory(prefix="engine_")
        os.environ["TOTALSEG_HOME_DIR"] = self._settings.name
        progress("importing TotalSegmentator", 0, 0)
        from importlib.metadata import PackageNotFoundError, version

        from totalsegmentator.config import get_config_key, set_config_key, setup_totalseg
        from totalsegmentator.map_to_binary import class_map

        setup_totalseg()
        set_config_key("send_usage_stats", False)  # what is segmented here is nobody else's business
        if get_config_key("send_usage_stats") is not False:
            raise UsageError(
                "TotalSegmentator's statistics cannot be switched off in this version: add the engine again with the pinned one."
            )
        task = self.options.get("task", "")
        if task and task not in class_map:
            raise UsageError("TotalSegmentator has no such task: give total, total_mr, or another that its page lists.")
        self._class_map = class_map
        try:
            self.version = version("TotalSegmentator")
        except PackageNotFoundError:
            self.version = "2"
        where = choose_device(self.options.get("device", ""))
        self._where, self.device = ("cpu" if where == "cpu" else "gpu"), device_name(where)

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine."""
        task = self.options.get("task") or _TASKS["CT" if voxels_kji.size and voxels_kji.min() < _LOWEST_HU else "MR"]
        names = {name: value for value, name in self._class_map[task].items()}
        wanted = [classes_of(prompt, names) for prompt in prompts]
        asked = sorted(set().union(*wanted)) if wanted else []
        reasons = ["" if found else f"TotalSegmentator's task {task} has no such class." for found in wanted]
        if not asked:
            return Answer([None] * len(prompts), reasons=reasons)
        labels = self._labels(voxels_kji, ijk_to_ras, task, asked)
        masks = []
        for found in wanted:
            mask = np.isin(labels, [names[name] for name in found]) if found else None
            masks.append(mask if mask is not None and mask.any() else None)
        return Answer(masks, reasons=reasons)

    def _labels(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, task: str, asked: list[str]) -> np.ndarray:
        """Its labelmap, in kji order."""
        import nibabel
        from totalsegmentator.python_api import totalsegmentator

        image = nibabel.Nifti1Image(np.ascontiguousarray(voxels_kji.astype(np.float32).transpose(2, 1, 0)), ijk_to_ras)
        found = totalsegmentator(
            image, None, ml=True, task=task, fast=self.options.get("fast", "") == "yes", roi_subset=asked,
            device=self._where, quiet=True, skip_saving=True,
        )  # fmt: skip
        return np.rint(np.asarray(found.dataobj)).astype(np.int32).transpose(2, 1, 0)


def classes_of(prompt: str, names: Iterable[str] | Mapping[str, int]) -> set[str]:
    """The classes that a prompt asks for; several where it asks for a whole, none where it is unknown.

    Args:
        prompt: as a person types it; a class's own name as well.
        names: the task's classes.

    Examples:
        >>> sorted(classes_of("kidneys", ["kidney_left", "kidney_right", "liver"]))
        ['kidney_left', 'kidney_right']
    """
    names = list(names)
    plain = prompt.strip().lower().replace(" ", "_")
    exact = {name for name in names if name.lower() == plain}
    if exact:
        return exact
    target = catalogue.lookup(prompt)
    if target is None:
        return set()
    meant = {name: catalogue.lookup(name) for name in names}
    same = {name for name, each in meant.items() if each is not None and each.name == target.name}
    if same:
        return same
    if not target.side:
        both = {name for name, each in meant.items() if each is not None and each.base == target.base and each.side in _SIDES}
        if both:
            return both
    begin = _WHOLES.get(target.base)
    if begin is None:
        return set()
    return {name for name in names if name.startswith(begin) and (not target.side or target.side in name.split("_"))}
