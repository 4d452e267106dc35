"""The engine behind the local endpoint: classical image processing on the models' own wire format. It is not MedImageParse.

It exists so that the whole way from prompt to segment can be tried, shown and tested on one machine with no account and no model. What
it finds it finds by density, place and size (see calibration, ct_scene, ct_chest, ct_organs, other_volumes, pictures); what it does not
know it leaves empty, as the real models may. Nothing here is for diagnosis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...imaging.geometry import AxisMap
from ...imaging.volume import bounding_box, three
from .calibration import HIGHEST_HU, LOWEST_HU, Calibration, calibrate, not_brain
from .ct_chest import find_airways, find_lungs
from .ct_organs import find_organs
from .ct_scene import BONE_HU, CtScene, is_plausible, make_ct_scene
from .descriptors import describe_image
from .grid import Grid, coarsen, erode, make_grid, refine
from .other_volumes import find_brain, find_ct_brain, find_foreground, looks_like_head
from .pictures import PictureFinder
from .targets import Target, read_prompt

if TYPE_CHECKING:
    from ..deepbrain.served import HeadFinder

ENGINE_NAME = "local demo engine, not MedImageParse"
DESCRIBER_NAME = "local demo engine 2, not MedImageInsight"  # of the vectors; 2: of normalized pictures, never mixed with earlier ones

__all__ = ["DESCRIBER_NAME", "ENGINE_NAME", "describe_image", "segment_image", "segment_volume"]

_ORGANS = ("liver", "spleen", "kidney")
_FAT_FROM, _SOFT_FROM = -150.0, -30.0


def segment_volume(voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str], head: HeadFinder | None = None) -> np.ndarray:
    """Find what the prompts name in a volume.

    Args:
        voxels_kji: any numeric dtype, axes (slice, row, column): HU, a CT behind one of the known windows as 0..255, or MR and others.
        ijk_to_ras: 4x4, mm; axes may point anywhere, the nearest RAS order is used.
        prompts: one structure each.
        head: is asked for the brain where the volume is no CT; None leaves that to the shapes.

    Returns:
        labelmap of the same shape, uint8 (uint16 beyond 255 prompts): value k where the k-th prompt was found, 0 elsewhere; where
        structures overlap the smaller one wins, whatever their order: lungs stay lungs inside a body. A structure that is unknown or absent
        has no voxels.
    """
    labels = np.zeros(voxels_kji.shape[:3], np.uint8 if len(prompts) <= 255 else np.uint16)
    if labels.size == 0:
        return labels
    if voxels_kji.ndim == 4:
        voxels_kji = voxels_kji.mean(axis=3)
    matrix = _usable(ijk_to_ras)
    axes = AxisMap.towards(matrix, ("S", "A", "R"))
    steps = np.linalg.norm(matrix[:3, :3], axis=0)[::-1]
    finder = _Finder(axes.apply(voxels_kji), three(float(steps[axis]) for axis in axes.order), head)
    view = axes.apply(labels)
    sizes = [0] * (len(prompts) + 1)
    for value, prompt in enumerate(prompts, start=1):
        found = finder.find(read_prompt(prompt))
        if found is None:
            continue
        box, mask = found
        sizes[value] = int(np.count_nonzero(mask))
        part = view[box]
        larger = [0, *(other for other in range(1, value) if sizes[other] >= sizes[value])]
        part[mask & np.isin(part, larger)] = value
    return labels


def segment_image(pixels: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """Find what the prompts name on a picture.

    Args:
        pixels: (rows, columns) or (rows, columns, 3), uint8, any orientation.
        prompts: one structure each.

    Returns:
        uint8 array (prompts, rows, columns), 255 inside and 0 outside. A structure that is unknown or absent is all zero.
    """
    finder = PictureFinder(pixels)
    masks = np.zeros((len(prompts), *pixels.shape[:2]), np.uint8)
    for index, prompt in enumerate(prompts):
        target = read_prompt(prompt)
        if target.kind:
            masks[index][finder.find(target)] = 255
    return masks


def _usable(ijk_to_ras: np.ndarray) -> np.ndarray:
    """The matrix, or the identity where it is no geometry at all."""
    matrix = np.asarray(ijk_to_ras, float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
        return np.eye(4)
    return matrix


class _Finder:
    """Finds structures in one volume in superior, anterior, right order; shares landmarks between prompts."""

    def __init__(self, voxels: np.ndarray, spacing_kji: tuple[float, float, float], head: HeadFinder | None = None):
        self._voxels, self._spacing, self._head = voxels, spacing_kji, head
        self._grid: Grid = make_grid(voxels.shape, spacing_kji)
        low, high = (-4096.0, 32767.0) if voxels.dtype.kind in "iuf" else (0.0, 255.0)
        self._coarse = coarsen(voxels, self._grid, low, high)
        self._calibration: Calibration = calibrate(self._coarse)
        self._scene: CtScene | None = None
        self._organs: dict[str, np.ndarray] | None = None

    def find(self, target: Target) -> tuple[tuple[slice, ...], np.ndarray] | None:
        """Box and boolean voxels of one structure on the full volume, None where there is nothing."""
        if not target.kind:
            return None
        if target.kind == "brain" and self._head is not None and not (self._calibration.is_ct and self._calibration.name == "HU"):
            # MR in 8 bits may well fit a CT's window, so the network looks at that too; it knows a CT's bright skull.
            brain = self._head.find(self._voxels, self._spacing)
            box = None if brain.mask is None else bounding_box(brain.mask)
            if brain.mask is not None and box is not None:
                return box, brain.mask[box]
            if brain.was_looked_at and not self._calibration.is_ct:
                return None
        if not self._calibration.is_ct:
            mask = self._find_elsewhere(target)
            return None if mask is None else refine(mask, self._grid)
        scene = self._ct_scene()
        if scene is None:
            return self.find(target)  # read anew, as something else
        if not scene.body.any():
            return None
        mask = self._find_in_ct(target, scene)
        found = None if mask is None else refine(mask, self._grid)
        return None if found is None else (found[0], self._sharpened(target.kind, *found))

    def _ct_scene(self) -> CtScene | None:
        """The landmarks of the CT; None, and no CT any more, where they are no patient's."""
        if self._scene is None:
            self._scene = make_ct_scene(self._voxels, self._grid, self._calibration)
            if self._calibration.name == "brain" and not find_ct_brain(self._scene).any():
                # Its window is so narrow that many pictures fit it; without a head another reading that fits nearly as well is the right one.
                other = not_brain(self._coarse, self._calibration)
                if other is not self._calibration:
                    self._calibration = other
                    self._scene = make_ct_scene(self._voxels, self._grid, other)
            if self._scene.body.any() and not is_plausible(self._scene):
                self._scene, self._calibration = None, Calibration("")
        return self._scene

    def _find_in_ct(self, target: Target, scene: CtScene) -> np.ndarray | None:
        spacing = self._grid.spacing_kji
        calibration = self._calibration
        if target.kind in ("body", "foreground"):
            return scene.body
        if target.kind == "skin":
            return scene.body & ~erode(scene.body, max(3.0, 0.9 * max(spacing[1:])), (1e3, *spacing[1:]))
        if target.kind == "lung":
            return find_lungs(scene, target.side)
        if target.kind in ("airway", "trachea"):
            return find_airways(scene, trachea_only=target.kind == "trachea") if calibration.shows_fat else None
        if target.kind == "bone":
            return scene.bones
        if target.kind == "spine":
            return _spine(scene)
        if target.kind == "fat":
            low = max(_FAT_FROM, calibration.air_below_hu)
            return scene.body & (scene.hu > low) & (scene.hu < _SOFT_FROM) if calibration.shows_fat else None
        if target.kind == "soft tissue":
            return scene.body & (scene.hu >= max(_SOFT_FROM, calibration.low_hu + 5.0)) & ~scene.bones
        if target.kind in _ORGANS:
            return self._organ(target, scene)
        if target.kind == "brain":
            return find_ct_brain(scene)
        if target.kind == "head":
            return scene.body if find_ct_brain(scene).any() else None
        return None

    def _organ(self, target: Target, scene: CtScene) -> np.ndarray:
        if self._organs is None:
            self._organs = find_organs(scene)
        if target.kind != "kidney":
            return self._organs[target.kind]
        sides = [target.side] if target.side else ["left", "right"]
        return np.logical_or.reduce([self._organs[f"{side} kidney"] for side in sides])

    def _find_elsewhere(self, target: Target) -> np.ndarray | None:
        spacing = self._grid.spacing_kji
        if target.kind in ("body", "foreground", "head"):
            mask = find_foreground(self._coarse, spacing)
            return mask if target.kind != "head" or looks_like_head(mask, spacing) else None
        if target.kind == "brain":
            return find_brain(self._coarse, spacing)
        return None

    def _sharpened(self, kind: str, box: tuple[slice, ...], mask: np.ndarray) -> np.ndarray:
        """At full resolution, density decides about the voxels near the edge of a structure that density defines."""
        limits = {
            "fat": (max(_FAT_FROM - 30.0, self._calibration.low_hu + 1.0), _SOFT_FROM + 30.0),
            "soft tissue": (_SOFT_FROM - 30.0, HIGHEST_HU),
            "bone": (0.0, HIGHEST_HU),
            "lung": (LOWEST_HU * 4, BONE_HU),
        }.get(kind)
        if limits is None or self._grid.factors_kji == (1, 1, 1):
            return mask
        low, high = sorted(self._calibration.value(hu) for hu in limits)
        out = np.empty_like(mask)
        part = self._voxels[box]
        for k in range(mask.shape[0]):
            out[k] = mask[k] & (part[k] >= low) & (part[k] <= high)
        return out


def _spine(scene: CtScene) -> np.ndarray:
    """Bones within reach of the vertebral bodies' middle; the ends of the ribs are cut off."""
    spacing = scene.grid.spacing_kji
    _slices, rows, columns = scene.bones.shape
    js, is_ = np.arange(rows)[None, :, None], np.arange(columns)[None, None, :]
    aside = np.abs(is_ - scene.spine_ji[:, 1, None, None]) * spacing[2]
    ahead = (js - scene.spine_ji[:, 0, None, None]) * spacing[1]
    near = (aside < 38.0) & (ahead > -65.0) & (ahead < 40.0) & ((aside < 28.0) | (ahead < 5.0))
    return scene.bones & near
