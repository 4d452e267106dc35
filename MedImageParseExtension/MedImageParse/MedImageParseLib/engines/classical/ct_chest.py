"""Lungs and airways of a CT: air inside the body, told from bowel gas by what it looks like and where it lies."""

from __future__ import annotations

import numpy as np

from .ct_scene import CtScene
from .grid import closed, components, dilate, distance_inside, erode


def find_lungs(scene: CtScene, side: str = "") -> np.ndarray:
    """Both lungs, or the one on the patient's `side`, as a coarse boolean mask; vessels inside are filled in.

    Empty where the window makes fat as black as air: then lung cannot be told from fat.
    """
    if not scene.calibration.shows_fat:
        return np.zeros_like(scene.air)
    air = scene.air & ~dilate(find_airways(scene), 1.5, scene.grid.spacing_kji)
    labels, counts = components(air)
    lungs = np.zeros_like(air)
    for index in np.flatnonzero(counts[1:] * scene.grid.voxel_ml > 5.0) + 1:
        part = labels == index
        if _is_lung(part, scene):
            lungs |= part
    if not lungs.any():
        return lungs
    spacing = scene.grid.spacing_kji
    parts = _sides(lungs, scene)
    chosen = [parts[name] for name in ("left", "right") if side in ("", name)]
    out = np.zeros_like(lungs)
    for part in chosen:
        # Vessels and fissures up to about 8 mm across belong to the lung.
        filled = closed(part, 4.0, spacing)
        out |= filled & scene.body & ~scene.bones & (part | (scene.hu < 150.0))
    return out


def _is_lung(part: np.ndarray, scene: CtScene) -> bool:
    """Bowel gas is blacker, lies in front, and does not widen upwards to the top of the picture as a lung base does."""
    grid = scene.grid
    volume = part.sum() * grid.voxel_ml
    ks, js, _is = np.nonzero(part)
    inner = erode(part, 2.0 * max(grid.spacing_kji), grid.spacing_kji)
    if scene.calibration.low_hu < -970.0 and inner.sum() * grid.voxel_ml > 2.0:  # noqa: SIM102 (the reason stands between)
        # Gas alone is within noise of -1000 HU; even an emphysematous lung holds some tissue.
        if np.median(scene.hu[inner]) < -965.0:
            return False
    areas = part.sum(axis=(1, 2))
    used = np.flatnonzero(areas)
    behind = float(np.mean(js < _middle_j(scene)[ks]))
    if behind < 0.2:
        return False
    if volume > 400.0:
        return True
    half = (used[0] + used[-1] + 1) // 2
    reaches_top = used[-1] >= part.shape[0] - 2
    return bool(reaches_top and areas[half:].sum() >= areas[:half].sum() and areas[-1] > 0.3 * areas.max())


def _middle_j(scene: CtScene) -> np.ndarray:
    """Half-way between back and front of the body, for each slice."""
    rows = np.asarray(scene.body.any(axis=2))
    size = rows.shape[1]
    first = np.where(rows.any(axis=1), rows.argmax(axis=1), 0)
    last = np.where(rows.any(axis=1), size - 1 - rows[:, ::-1].argmax(axis=1), size - 1)
    return (first + last) / 2.0


def _sides(lungs: np.ndarray, scene: CtScene) -> dict[str, np.ndarray]:
    """The lungs parted into the patient's left and right. Lungs that touch are parted where they are thinnest."""
    from scipy import ndimage

    middle = scene.spine_ji[:, 1]
    sides = np.where(np.arange(lungs.shape[2])[None, :] > middle[:, None], 2, 1)[:, None, :]
    out = {"left": np.zeros_like(lungs), "right": np.zeros_like(lungs)}
    labels, counts = components(lungs)
    for index in range(1, counts.size):
        part = labels == index
        right_share = float((part & (sides == 2)).sum()) / counts[index]
        if right_share > 0.9 or right_share < 0.1:
            out["right" if right_share > 0.5 else "left"] |= part
            continue
        depth = distance_inside(part, scene.grid.spacing_kji)
        seeds = np.where(depth > min(8.0, 0.5 * depth.max()), np.broadcast_to(sides, part.shape), 0)
        nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
        side_of = seeds[tuple(nearest)]
        out["right"] |= part & (side_of == 2)
        out["left"] |= part & (side_of == 1)
    return out


def find_airways(scene: CtScene, trachea_only: bool = False) -> np.ndarray:
    """Trachea and main bronchi: round air with a soft wall near the midline, followed from the top down."""
    grid = scene.grid
    out = np.zeros_like(scene.air)
    pixel_mm2 = grid.spacing_kji[1] * grid.spacing_kji[2]
    previous, previous_area, started = None, 0.0, False
    for k in range(out.shape[0] - 1, -1, -1):
        labels, counts = components(scene.air[k])
        chosen = np.zeros(scene.air.shape[1:], bool)
        for index in np.flatnonzero((counts[1:] * pixel_mm2 >= 40.0) & (counts[1:] * pixel_mm2 <= 900.0)) + 1:
            part = labels == index
            if previous is not None and not (part & previous).any():
                continue
            if _is_tube(part, scene, k, pixel_mm2, near_mm=25.0 if previous is None else 60.0):
                chosen |= part
        area = chosen.sum() * pixel_mm2
        if previous is not None and (area == 0.0 or area > 2.5 * previous_area + 100.0):
            break
        if area:
            if trachea_only and started and components(chosen)[1].size > 2:
                break
            out[k], started = chosen, True
            previous, previous_area = dilate(chosen, 3.0, grid.spacing_kji[1:]), area
    length_mm = out.any(axis=(1, 2)).sum() * grid.spacing_kji[0]
    # A short stretch of round gas near the midline is gullet or bowel, not an airway.
    return out if length_mm >= 30.0 else np.zeros_like(out)


def _is_tube(part: np.ndarray, scene: CtScene, k: int, pixel_mm2: float, near_mm: float) -> bool:
    js, is_ = np.nonzero(part)
    spacing = scene.grid.spacing_kji
    spine_j, spine_i = scene.spine_ji[k]
    if abs(is_.mean() - spine_i) * spacing[2] > near_mm or not 0.0 < (js.mean() - spine_j) * spacing[1] < 90.0:
        return False
    extent = max((js.max() - js.min() + 1) * spacing[1], (is_.max() - is_.min() + 1) * spacing[2])
    if part.sum() * pixel_mm2 < 0.35 * extent**2:
        return False
    wall = dilate(part, 1.6 * spacing[1], spacing[1:]) & ~part
    return float(np.mean(scene.hu[k][wall] > -350.0)) > 0.5
