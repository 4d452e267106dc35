"""Structures on single pictures (PNG as sent to the 2D model): CT slices, radiographs, MR slices, ultrasound, photographs.

Pictures carry no geometry. A CT slice is recognised by its histogram, turned so that the spine is at the back and the liver on the
patient's right, and stands for a few centimetres of patient; its size in mm comes from the width of the body, taken as a usual adult's.
On anything else only bright or dark shapes are found. Left and right are told apart on CT slices that show the liver, and on frontal
radiographs, which show the patient's right at the picture's left.
"""

from __future__ import annotations

import numpy as np

from .calibration import Calibration, calibrate, not_brain
from .ct_organs import grow_organs, name_blobs, part_tissue
from .ct_scene import CtScene
from .grid import Grid, closed, coarsen, components, dilate, erode, largest, opened, refine
from .other_volumes import find_foreground
from .radiographs import find_radiograph_lungs
from .targets import Target

_WORKING_SIZE = 171  # 1024 / 6
_BODY_WIDTH_MM, _SLICE_MM, _SLICES = 360.0, 18.0, 3
_SPACING = (1.0, 1.0)
# Without a scale, a picture is taken to show about 260 mm.
_FLAT = (1.0, 260.0 / _WORKING_SIZE, 260.0 / _WORKING_SIZE)


class PictureFinder:
    """Finds structures on one picture; shares what was learned between prompts.

    Args:
        pixels: (rows, columns) or (rows, columns, 3), uint8.
    """

    def __init__(self, pixels: np.ndarray):
        gray = pixels if pixels.ndim == 2 else pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
        self._is_color = pixels.ndim == 3 and float(np.mean(np.ptp(pixels[..., :3].astype(np.int16), axis=2))) > 8.0
        self._grid = _working_grid(gray.shape)
        self._small = coarsen(np.asarray(gray, np.float32)[None], self._grid, 0.0, 255.0)[0]
        self._calibration = Calibration("") if self._is_color else not_brain(self._small, calibrate(self._small))
        self._slice: _CtSlice | None = None

    def find(self, target: Target) -> np.ndarray:
        """Boolean mask in the picture's shape."""
        mask = self._find(target) if min(self._small.shape) >= 16 and np.ptp(self._small) > 2.0 else None
        out = np.zeros(self._grid.shape_kji, bool)
        found = None if mask is None else refine(mask[None], self._grid)
        if found is not None:
            out[found[0]] = found[1]
        return out[0]

    def _find(self, target: Target) -> np.ndarray | None:
        words = target.context.split()
        said = {"xray", "radiograph", "ray", "mri", "mr", "flair", "ultrasound", "dermoscopy", "endoscope", "endoscopy"}.intersection(words)
        is_ct = self._calibration.is_ct and not said and target.kind not in ("lesion", "bright lesion")
        if is_ct:
            self._slice = self._slice or _CtSlice(self._small, self._calibration)
            if self._slice.is_person:
                return self._slice.find(target)
        if target.kind in ("foreground", "body", "head"):
            return find_foreground(self._small[None], _FLAT)[0]
        if target.kind == "lung" and not self._is_color:
            return find_radiograph_lungs(self._small, target.side)
        if target.kind == "brain" and not self._is_color:
            return _brain(self._small)
        if target.kind in ("lesion", "bright lesion"):
            return find_lesion(self._small, bright=target.kind == "bright lesion" or bool(said & {"mri", "mr", "flair"}))
        return None


class _CtSlice:
    """A CT slice turned to the usual pose and repeated into a short stack, so that the finders of volumes serve it too."""

    def __init__(self, small: np.ndarray, calibration: Calibration):
        self._shape = small.shape
        hu = calibration.hu(small)
        first = _scene(hu, calibration, _BODY_WIDTH_MM / max(hu.shape), slices=1)
        self.is_person = bool(first.body.mean() > 0.05) and _stands_in_air(hu, calibration)
        if not self.is_person:
            return
        body = first.body[0]
        rows, columns = (np.flatnonzero(body.any(axis=axis)) for axis in (1, 0))
        self._mm = _BODY_WIDTH_MM / max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        self._turns = _turns_to_back(first.bones[0], body)
        self._ct = _scene(np.rot90(hu, self._turns), calibration, self._mm)
        self._found: dict[str, np.ndarray] | None = None
        self._mirrored, self._knows_sides = False, False

    def _organs(self) -> dict[str, np.ndarray]:
        """Organs by name, found when they or a side are first asked for; the pose in which there is more of a liver is the right one."""
        if self._found is None:
            parted = part_tissue(self._ct)
            poses = [name_blobs(parted.blobs, mirrored) if parted else {} for mirrored in (False, True)]
            livers = [sum(blob.ml for blob in pose.get("liver", [])) for pose in poses]
            self._mirrored = livers[1] > livers[0]
            self._found = grow_organs(parted, poses[int(self._mirrored)]) if parted else {}
            liver = self._found.get("liver", np.zeros(1, bool)).sum()
            self._knows_sides = bool(max(livers) > 2 * min(livers) and liver > 0.06 * self._ct.body.sum())
        return self._found

    def find(self, target: Target) -> np.ndarray | None:
        """Boolean mask in the shape of the small picture."""
        scene, kind = self._ct, target.kind
        if kind in ("liver", "spleen", "kidney") or target.side:
            organs = self._organs()
        if target.side and not self._knows_sides:
            return None
        mask: np.ndarray | None
        if kind in ("body", "foreground"):
            mask = scene.body
        elif kind == "bone":
            mask = scene.bones
        elif kind == "lung":
            mask = self._lungs(target.side)
        elif kind == "fat" and scene.calibration.shows_fat:
            mask = scene.body & (scene.hu > scene.calibration.air_below_hu) & (scene.hu < -30.0)
        elif kind == "soft tissue":
            mask = scene.body & (scene.hu >= -30.0) & ~scene.bones
        elif kind in ("liver", "spleen"):
            mask = organs[kind] if self._knows_sides else None
        elif kind == "kidney":
            sides = [target.side] if target.side else ["left", "right"]
            mask = np.logical_or.reduce([organs[f"{side} kidney"] for side in sides]) if organs else None
        else:
            mask = None
        return None if mask is None else self._back(mask[_SLICES // 2])

    def _lungs(self, side: str) -> np.ndarray | None:
        """Large air on both sides of the spine; on one picture nothing tells a lung base from bowel gas but its size."""
        scene = self._ct
        if not scene.calibration.shows_fat:
            return None
        labels, counts = components(scene.air)
        counts[0] = 0
        lungs = closed((counts > 0.05 * scene.body.sum())[labels] & scene.air, 4.0, scene.grid.spacing_kji) & scene.body & ~scene.bones
        if side:
            to_the_right = np.arange(lungs.shape[2]) > scene.spine_ji[0, 1]
            lungs &= to_the_right if (side == "right") is not self._mirrored else ~to_the_right
        return lungs

    def _back(self, mask: np.ndarray) -> np.ndarray:
        return np.rot90(mask, -self._turns)


def _scene(hu: np.ndarray, calibration: Calibration, mm: float, slices: int = _SLICES) -> CtScene:
    stack = np.repeat(hu[None], slices, axis=0)
    return CtScene(stack, Grid(stack.shape, (1, 1, 1), (_SLICE_MM, mm, mm)), calibration)


def _stands_in_air(hu: np.ndarray, calibration: Calibration) -> bool:
    """Whether most of the border of the picture, without its padding, is air; a radiograph's is not."""
    used = hu > float(hu.min()) + 1.0
    rows, columns = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
    if rows.size < 8 or columns.size < 8:
        return False
    part = hu[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    border = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    return float(np.mean(border < calibration.air_below_hu)) > 0.4


def _turns_to_back(bones: np.ndarray, body: np.ndarray) -> int:
    """Quarter turns after which the spine, the heaviest bone, lies towards the first row (posterior)."""
    core = opened(bones, 2.0, _SPACING)
    heavy = largest(core if core.any() else bones)
    if not heavy.any():
        return 0
    offset = np.argwhere(heavy).mean(axis=0) - np.argwhere(body).mean(axis=0)
    ways = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    # np.rot90 turns counter-clockwise: what lies at the last column goes to the first row after one turn.
    return int(np.argmax([offset @ np.array(way) for way in ways]))


_MOST_AT_BORDER = 0.25  # of the picture's border


def _brain(small: np.ndarray) -> np.ndarray:
    """The large bright mass deep inside a head on an MR slice."""
    head = find_foreground(small[None], _FLAT)[0]
    if np.concatenate([head[0], head[-1], head[:, 0], head[:, -1]]).mean() > _MOST_AT_BORDER:
        return np.zeros_like(head)  # a radiograph fills its picture; a head on MR stands in the dark
    size = np.sqrt(head.sum())
    inside = erode(head, 0.09 * size, _SPACING)
    if not inside.any():
        return inside
    tissue = inside & (small > 0.5 * np.median(small[inside]))
    core = largest(erode(tissue, 0.02 * size, _SPACING))
    return closed(dilate(core, 0.035 * size, _SPACING), 0.05 * size, _SPACING) & head


def find_lesion(small: np.ndarray, bright: bool = False) -> np.ndarray:
    """The most contrasting compact region, darker than its surroundings (ultrasound, skin) or brighter.

    Regions at many thresholds are scored by contrast against a ring around them, compactness and size; those that touch the border of
    the picture's content are background. There is always some region that scores: a mask here is no finding.
    """
    from scipy import ndimage

    content = ndimage.binary_opening(small > small.min() + 3.0, iterations=2)
    rows, columns = np.flatnonzero(content.any(axis=1)), np.flatnonzero(content.any(axis=0))
    if rows.size < 16 or columns.size < 16:
        return np.zeros_like(content)
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    part = ndimage.gaussian_filter(small[box], 0.012 * min(rows.size, columns.size))
    part = -part if bright else part
    spread = float(part.std()) or 1.0
    inner = find_foreground(small[None], _FLAT)[0][box] if bright else np.ones_like(part, bool)
    best, best_score = None, 0.15
    for level in np.percentile(part[inner], np.arange(3, 60, 3)):
        labels, counts = components(opened((part < level) & inner, 2.0, _SPACING))
        for index, where in enumerate(ndimage.find_objects(labels), start=1):
            if not 0.004 * part.size < counts[index] < 0.35 * part.size or _touches(where, part.shape):
                continue
            score = _lesion_score(labels == index, part, spread)
            if score > best_score:
                best, best_score = labels == index, score
    out = np.zeros_like(content)
    if best is not None:
        out[box] = ndimage.binary_fill_holes(closed(best, 3.0, _SPACING))
    return out


def _lesion_score(region: np.ndarray, part: np.ndarray, spread: float) -> float:
    width = 0.25 * np.sqrt(region.sum())
    ring = dilate(region, width, _SPACING) & ~dilate(region, 2.0, _SPACING)
    if not ring.any():
        return 0.0
    contrast = float(np.median(part[ring]) - part[region].mean()) / spread
    edge = region & ~erode(region, 1.0, _SPACING)
    compact = min(1.0, 4.0 * np.pi * region.sum() / max(1.0, float(edge.sum()) * 1.1) ** 2)
    return max(0.0, contrast) * compact * (region.sum() / part.size) ** 0.25


def _touches(where: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    return any(s.start <= 1 or s.stop >= size - 1 for s, size in zip(where, shape))


def _working_grid(shape: tuple[int, int]) -> Grid:
    """A picture as one slice, with its longer side at most the working size."""
    factor = max(1, round(max(shape) / _WORKING_SIZE))
    return Grid((1, *shape), (1, min(factor, shape[0]), min(factor, shape[1])), (1.0, 1.0, 1.0))
