"""A CT on the coarse grid with the landmarks that every structure is found by: body, air, bones, spine.

Arrays are kji with k towards superior, j towards anterior and i towards the patient's right, as the client sends volumes. Landmarks are
computed once a request and shared between prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .calibration import HIGHEST_HU, LOWEST_HU, Calibration
from .grid import Grid, closed, coarsen, components, dilate, distance_inside, erode, fill_slices, largest, opened

BONE_HU = 130.0
_BRIGHTEST_SKIN_HU = 90.0
_SHELL_MM, _MOST_AIR_BELOW_SKIN = (4.0, 14.0), 0.3


@dataclass(slots=True)
class CtScene:
    """Landmarks of one CT.

    Attributes:
        hu: float32 kji on the coarse grid, clipped to the calibration's range.
        grid: where the coarse grid lies on the full volume.
        calibration: how values became HU.
        body: inside of the skin, with lungs and bowel gas, without the table.
        air: air inside the body.
        bones: dense bone, marrow and small holes filled; the spinal canal stays open.
        spine_ji: (j, i) of the vertebral bodies' middle in coarse voxels, one row a slice.
        half_width_mm: half the width of the body.
    """

    hu: np.ndarray
    grid: Grid
    calibration: Calibration
    body: np.ndarray = field(init=False)
    air: np.ndarray = field(init=False)
    bones: np.ndarray = field(init=False)
    spine_ji: np.ndarray = field(init=False)
    half_width_mm: float = field(init=False)

    def __post_init__(self) -> None:
        self.body = find_body(self.hu, self.grid, self.calibration)
        self.air = self.body & (self.hu < self.calibration.air_below_hu)
        self.bones = find_bones(self.hu, self.body, self.grid, self.calibration)
        self.spine_ji = find_spine(self.bones, self.body, self.grid)
        used = np.flatnonzero(self.body.any(axis=(0, 1)))
        self.half_width_mm = (used[-1] - used[0] + 1) / 2 * self.grid.spacing_kji[2] if used.size else 0.0


def make_ct_scene(voxels_kji: np.ndarray, grid: Grid, calibration: Calibration) -> CtScene:
    """The scene of a volume as sent."""
    low, high = sorted((calibration.value(LOWEST_HU), calibration.value(HIGHEST_HU)))
    return CtScene(calibration.hu(coarsen(voxels_kji, grid, low, high)), grid, calibration)


def is_plausible(scene: CtScene) -> bool:
    """Whether what was read as a CT has the layers of a patient; the peaks of a head on MR can lie where those of a CT would.

    The bright fat of a scalp would be a skin of bone there, and the dark skull below it a shell of air.
    """
    if scene.calibration.name == "HU" and scene.calibration.intercept == 0.0:
        return True  # negative numbers of that size are Hounsfield units
    in_plane = _in_plane(scene.grid, scene.hu.shape[0])
    depth = distance_inside(scene.body, in_plane)
    voxel = max(in_plane[1:])
    skin = scene.hu[(depth > 1.2 * voxel) & (depth <= 2.5 * voxel)]
    if skin.size and float(np.median(skin)) > _BRIGHTEST_SKIN_HU:
        return False
    below = scene.hu[(depth > _SHELL_MM[0]) & (depth <= _SHELL_MM[1])]
    air = float(np.mean(below < scene.calibration.air_below_hu)) if below.size else 0.0
    return not scene.calibration.shows_fat or air < _MOST_AIR_BELOW_SKIN


def find_body(hu: np.ndarray, grid: Grid, calibration: Calibration) -> np.ndarray:
    """The patient: the largest solid thing that is not air, holes filled slice by slice."""
    spacing = grid.spacing_kji
    solid = hu > calibration.air_below_hu
    if not calibration.shows_fat:
        # Fat is as black as air in this window: the skin is all that is left of the outline.
        solid = fill_slices(closed(solid, 6.0, spacing))
    in_plane = _in_plane(grid, hu.shape[0])
    smallest_side = min(size * step for size, step in zip(hu.shape[1:], spacing[1:]))
    # A table is thin and close: it goes with an opening that a body survives.
    core = opened(fill_slices(solid), min(8.0, smallest_side / 6), in_plane)
    body = largest(core, also_above=0.1)
    if not body.any():
        return body
    body = dilate(body, 5.0, in_plane) & solid
    return largest(fill_slices(body), also_above=0.1)


def find_bones(hu: np.ndarray, body: np.ndarray, grid: Grid, calibration: Calibration) -> np.ndarray:
    """Bones by density, without organs and vessels that contrast medium brightens as much.

    Bone has a cortex brighter than what it encloses, or lies beyond anything that contrast reaches in a coarse mean; a kidney or the
    aorta is as bright inside as near its surface.
    """
    from scipy import ndimage

    spacing = grid.spacing_kji
    ceiling = calibration.high_hu
    threshold = min(BONE_HU, ceiling - 0.3 * (ceiling - 50.0))
    dense = body & (hu > threshold)
    sure = min(300.0, ceiling - 0.08 * (ceiling - 50.0))
    labels, counts = components(dense)
    if counts.size < 2:
        return dense
    keep = counts * grid.voxel_ml > 0.1
    keep &= ndimage.maximum(hu, labels, np.arange(counts.size)) >= sure
    keep[0] = False
    dense = keep[labels]
    dense &= ~_contrast_blobs(hu, dense, grid, ceiling)
    in_plane_mm2 = spacing[1] * spacing[2]
    # Marrow is darker than the threshold but lies within reach of cortex on all sides; the spinal canal is darker still.
    marrow = closed(dense, 7.0, spacing) & (ndimage.gaussian_filter(hu, [3.0 / step for step in spacing]) > 75.0)
    whole = (closed(dense, 3.0, spacing) | marrow) & body & (hu > 0.0)
    return fill_slices(whole, largest_hole=120.0 / in_plane_mm2)


def _contrast_blobs(hu: np.ndarray, dense: np.ndarray, grid: Grid, ceiling: float) -> np.ndarray:
    """Thick, even parts of the dense voxels: enhanced kidneys, heart, large vessels."""
    from scipy import ndimage

    spacing = grid.spacing_kji
    deep = erode(dense, 6.0, spacing)
    labels, counts = components(deep)
    blobs = np.zeros_like(dense)
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        if counts[index] * grid.voxel_ml < 1.0:
            continue
        inside = hu[box][labels[box] == index]
        wider = tuple(slice(max(0, s.start - 4), s.stop + 4) for s in box)
        core = labels[wider] == index
        shell = hu[wider][dilate(core, 5.0, spacing) & dense[wider] & ~core]
        if shell.size and shell.mean() > 1.05 * inside.mean():
            continue
        if inside.mean() < min(350.0, ceiling - 2.0) and inside.std() < 0.15 * inside.mean():
            blobs |= labels == index
    return dilate(blobs, 9.0, spacing) if blobs.any() else blobs


def find_spine(bones: np.ndarray, body: np.ndarray, grid: Grid) -> np.ndarray:
    """(j, i) of the spine for each slice, coarse voxels; without bones, where a spine would lie in the body."""
    _k, j_size, i_size = body.shape
    js, is_ = np.arange(j_size), np.arange(i_size)
    columns, rows = body.sum(axis=(0, 1)), body.sum(axis=(0, 2))
    if not columns.any():
        return np.tile([j_size / 2, i_size / 2], (body.shape[0], 1))
    middle_i = float((columns * is_).sum() / columns.sum())
    used = np.flatnonzero(rows)
    front, back = used[-1], used[0]
    guess = np.array([back + 0.33 * (front - back), middle_i])
    reach_j, reach_i = 0.28 * (front - back), 0.18 * columns.astype(bool).sum()
    near = (np.abs(js - guess[0]) < reach_j)[:, None] & (np.abs(is_ - guess[1]) < reach_i)[None, :]
    out = np.tile(guess, (body.shape[0], 1))
    weights = (bones & near).astype(np.float32)
    total = weights.sum(axis=(1, 2))
    found = np.flatnonzero(total * grid.spacing_kji[1] * grid.spacing_kji[2] > 200.0)
    if found.size:
        center_j = (weights.sum(axis=2)[found] * js).sum(axis=1) / total[found]
        center_i = (weights.sum(axis=1)[found] * is_).sum(axis=1) / total[found]
        k = np.arange(body.shape[0])
        out[:, 0], out[:, 1] = np.interp(k, found, center_j), np.interp(k, found, center_i)
        # Processes and ribs pull single slices aside; the column itself bends slowly.
        from scipy import ndimage

        out = ndimage.gaussian_filter1d(out, 15.0 / grid.spacing_kji[0], axis=0, mode="nearest")
    return out


def _in_plane(grid: Grid, slices: int) -> tuple[float, float, float]:
    """The spacing for what reaches from voxel to voxel; between slices nothing reaches where there are too few of them."""
    return (1e3, *grid.spacing_kji[1:]) if slices < 3 else grid.spacing_kji
