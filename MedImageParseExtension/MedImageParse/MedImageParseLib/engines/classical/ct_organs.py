"""Liver, spleen and kidneys of a CT by classical means: even soft tissue is parted into blobs, blobs are named by place and size.

Steps: smooth; leave out fat, air, bone and every strong edge; part what is left at its necks (watershed of the distance to the edge);
name the blobs by where they lie beside the spine and by their brightness; grow the named blobs back to the edges of the smoothed picture
(watershed of the gradient from markers). What this assumes: one patient lying on the back in RAS order, organs in their usual places.
It knows nothing of shape, so organs that touch without fat or contrast between them run into one another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .calibration import FAT_HU
from .ct_scene import CtScene
from .grid import closed, dilate, distance_inside, erode, fill_slices, largest, opened

_SOFT_LOW, _SOFT_HIGH = -10.0, 280.0
_ENOUGH = 0.25  # of a score that is 1 at the usual place and size


@dataclass(slots=True)
class Blob:
    """One even piece of soft tissue.

    Attributes:
        label: its value in the label array.
        ml: volume of its core.
        lateral: distance of its center from the spine, in half widths of the body; positive to the patient's right.
        ahead_mm: how far its center lies in front of the vertebral bodies' middle.
        k: center along the body axis in mm from the lowest slice.
        hu: median of the smoothed picture inside.
        depth_mm: radius of the largest ball inside.
    """

    label: int
    ml: float
    lateral: float
    ahead_mm: float
    k: float
    hu: float
    depth_mm: float
    one_sided: float


@dataclass(slots=True)
class Parted:
    """The soft tissue of a scene in pieces, before any has a name.

    Attributes:
        scene: where it was found.
        smooth, gradient: the smoothed picture in HU, and its steepness in HU per mm.
        soft: where organs may be.
        labels: the piece of each voxel, 0 for none.
        blobs: the pieces that are large enough for an organ or a part of one.
    """

    scene: CtScene
    smooth: np.ndarray
    gradient: np.ndarray
    soft: np.ndarray
    labels: np.ndarray
    blobs: list[Blob]


NAMES = ("liver", "spleen", "left kidney", "right kidney")


def find_organs(scene: CtScene) -> dict[str, np.ndarray]:
    """Coarse boolean masks of "liver", "spleen", "left kidney", "right kidney"; empty where none was found.

    Args:
        scene: a CT in superior, anterior, right order.
    """
    parted = part_tissue(scene)
    return grow_organs(parted, name_blobs(parted.blobs)) if parted else _nothing(scene)


def part_tissue(scene: CtScene) -> Parted | None:
    """The pieces of soft tissue; None where there is too little of a patient to tell organs apart.

    Args:
        scene: a CT in superior, anterior, right order.
    """
    if min(scene.hu.shape) < 3 or scene.half_width_mm < 60.0:
        return None
    smooth = _smoothed(scene)
    gradient = _gradient(smooth, scene.grid.spacing_kji)
    soft = scene.body & (smooth > _SOFT_LOW) & (smooth < _SOFT_HIGH) & ~dilate(scene.bones, 1.0, scene.grid.spacing_kji)
    labels, depth, filler = _blobs(smooth, gradient, soft, scene)
    blobs = [blob for blob in _describe(labels, depth, smooth, scene) if blob.label != filler]
    return Parted(scene, smooth, gradient, soft, labels, blobs)


def grow_organs(parted: Parted, named: dict[str, list[Blob]]) -> dict[str, np.ndarray]:
    """The masks of named pieces, grown back to the edges of the picture.

    Args:
        parted: from part_tissue.
        named: from name_blobs.
    """
    if not any(named.values()):
        return _nothing(parted.scene)
    scene = parted.scene
    grown = _grow_back(parted.labels, named, NAMES, parted.smooth, parted.gradient, parted.soft, scene)
    masks = {name: _tidy(grown == index, 4.0 if "kidney" in name else 7.0, scene) for index, name in enumerate(NAMES, start=1)}
    masks["liver"] = _without_tails(masks["liver"], scene)
    for name in NAMES:
        if "kidney" in name:
            # Contrast medium reaches the cortex first; medulla and pelvis are darker, and part of the kidney.
            masks[name] |= fill_slices(masks[name]) & parted.soft & (parted.smooth > 10.0)
    return masks


def _nothing(scene: CtScene) -> dict[str, np.ndarray]:
    return {name: np.zeros(scene.hu.shape, bool) for name in NAMES}


def _smoothed(scene: CtScene) -> np.ndarray:
    """Noise out, edges kept: median, then a little Gaussian."""
    import SimpleITK as sitk
    from scipy import ndimage

    image = sitk.GetImageFromArray(np.clip(scene.hu, -150.0, 300.0))
    radius = [max(1, round(2.0 / step)) if size > 2 else 0 for step, size in zip(scene.grid.spacing_kji[::-1], scene.hu.shape[::-1])]
    median = sitk.GetArrayFromImage(sitk.Median(image, radius))
    return ndimage.gaussian_filter(median, [2.2 / step for step in scene.grid.spacing_kji])


def _gradient(smooth: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Steepness in HU per mm."""
    parts = np.gradient(smooth, *spacing)
    return np.sqrt(sum(part * part for part in parts))


def _blobs(smooth: np.ndarray, gradient: np.ndarray, soft: np.ndarray, scene: CtScene) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels of even pieces, the distance in mm of each of their voxels from the edge, and the label of the filler (0: none)."""
    import SimpleITK as sitk

    spacing = scene.grid.spacing_kji
    usual = float(np.median(gradient[soft])) if soft.any() else 0.0
    even = soft & (gradient < min(max(2.5 * usual, 1.2), 5.0))
    filler = _filler(smooth, soft, usual, scene)
    if filler is not None:
        # Nothing but even tissue round the organs, as in a phantom: the organs are what departs from it.
        step = 2.0 + 1.2 * usual
        brighter, darker = (opened(part, 3.0, spacing) for part in (soft & (smooth > filler + step), soft & (smooth < filler - step)))
        steep = gradient >= max(4.0 * usual, 3.0)
        even = (brighter | darker) & ~steep
    depth = distance_inside(even, spacing)
    parted = sitk.MorphologicalWatershed(sitk.GetImageFromArray(-depth), level=2.5, markWatershedLine=False, fullyConnected=False)
    labels = sitk.GetArrayFromImage(parted).astype(np.int32)
    labels[~even] = 0
    if filler is None:
        return labels, depth, 0
    last = int(labels.max()) + 1
    labels[soft & ~even & (np.abs(smooth - filler) < 0.7 * step)] = last
    return labels, depth, last


def _filler(smooth: np.ndarray, soft: np.ndarray, usual_gradient: float, scene: CtScene) -> float | None:
    """HU of one even tissue that fills most of the trunk on both sides of the spine, None in any real patient."""
    if not soft.any():
        return None
    counts, edges = np.histogram(smooth[soft], bins=145, range=(_SOFT_LOW, _SOFT_HIGH))
    mode = float(edges[counts.argmax()] + 1.0)
    band = largest(soft & (np.abs(smooth - mode) < min(2.0 + 3.0 * usual_gradient, 5.0)))
    if band.sum() < 0.4 * soft.sum():
        return None
    ks, _js, is_ = np.nonzero(band)
    to_the_right = float(np.mean(is_ > scene.spine_ji[ks, 1]))
    deep = float(distance_inside(band, scene.grid.spacing_kji).max())
    return mode if 0.3 < to_the_right < 0.7 and deep > 15.0 else None


def _describe(labels: np.ndarray, depth: np.ndarray, smooth: np.ndarray, scene: CtScene) -> list[Blob]:
    from scipy import ndimage

    counts = np.bincount(labels.ravel())
    spacing = scene.grid.spacing_kji
    found = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or counts[label] * scene.grid.voxel_ml < 4.0:
            continue
        ks, js, is_ = np.nonzero(labels[box] == label)
        ks, js, is_ = ks + box[0].start, js + box[1].start, is_ + box[2].start
        aside = (is_ - scene.spine_ji[ks, 1]) * spacing[2]
        ahead = (js - scene.spine_ji[ks, 0]) * spacing[1]
        found.append(
            Blob(
                label, counts[label] * scene.grid.voxel_ml, float(aside.mean()) / scene.half_width_mm, float(ahead.mean()),
                float(ks.mean()) * spacing[0], float(np.median(smooth[ks, js, is_])), float(depth[ks, js, is_].max()),
                float(abs(np.mean(np.sign(aside)))),
            )
        )  # fmt: skip
    return found


@dataclass(slots=True, frozen=True)
class _Place:
    """Where an organ usually lies and how large a piece of it is; all of it was tried out on CTs and the sample.

    Attributes:
        lateral, lateral_spread: distance of its center from the spine in half widths of the body, to its own side, and how much it varies.
        ahead_mm, ahead_spread_mm: the same for the distance in front of the vertebral bodies.
        ml: volumes between which a piece counts at all.
        usual_ml: from here on a piece is no better for being larger.
        depth_mm: radii of the largest ball inside, between which a piece counts.
        side: 1 to the patient's right, -1 to the left.
    """

    lateral: float
    lateral_spread: float
    ahead_mm: float
    ahead_spread_mm: float
    ml: tuple[float, float]
    usual_ml: float
    depth_mm: tuple[float, float]
    side: float

    def score(self, blob: Blob) -> float:
        """0 to 1: how well a blob's place and size fit."""
        if not (self.ml[0] < blob.ml < self.ml[1] and self.depth_mm[0] < blob.depth_mm < self.depth_mm[1]):
            return 0.0
        aside = (self.side * blob.lateral - self.lateral) / self.lateral_spread
        ahead = (blob.ahead_mm - self.ahead_mm) / self.ahead_spread_mm
        return float(np.exp(-(aside**2) - ahead**2)) * min(1.0, blob.ml / self.usual_ml)


_RIGHT_KIDNEY = _Place(0.42, 0.16, 8.0, 40.0, (5.0, 350.0), 40.0, (4.5, 35.0), 1.0)
_LEFT_KIDNEY = replace(_RIGHT_KIDNEY, side=-1.0)
_SPLEEN = _Place(0.66, 0.2, 10.0, 50.0, (20.0, 1500.0), 60.0, (8.0, np.inf), -1.0)
# Further pieces of an organ: as bright as its main piece, within HU, and good enough a fit.
_KIDNEY_HU, _KIDNEY_PART = 15.0, 0.15
_SPLEEN_HU, _SPLEEN_PART = 8.0, 0.3
_LIVER_HU = 12.0
_KIDNEY_ABOVE_SPLEEN_MM, _KIDNEY_ABOVE_SPLEEN_COST = 15.0, 0.5


def name_blobs(blobs: list[Blob], mirrored: bool = False) -> dict[str, list[Blob]]:
    """Which blobs are which organ.

    Args:
        blobs: of one scene.
        mirrored: whether left and right are exchanged in the scene.
    """
    if mirrored:
        back = {id(blob): blob for blob in blobs}
        turned = {id(blob): replace(blob, lateral=-blob.lateral) for blob in blobs}
        original = {turned[key].label: blob for key, blob in back.items()}
        return {name: [original[blob.label] for blob in found] for name, found in name_blobs(list(turned.values())).items()}
    liver = _liver(blobs)
    left = [blob for blob in blobs if all(blob is not part for part in liver)]
    left_kidney, spleen = _left_kidney_and_spleen(left)
    spleens = _organ(_SPLEEN, spleen, [blob for blob in left if blob is not left_kidney], _SPLEEN_HU, _SPLEEN_PART)
    right_kidney = max(left, key=_RIGHT_KIDNEY.score, default=None)
    others = [blob for blob in left if all(blob is not part for part in spleens)]
    return {
        "liver": liver,
        "spleen": spleens,
        "left kidney": _organ(_LEFT_KIDNEY, left_kidney, others, _KIDNEY_HU, _KIDNEY_PART) if left_kidney in others else [],
        "right kidney": _organ(_RIGHT_KIDNEY, right_kidney, left, _KIDNEY_HU, _KIDNEY_PART),
    }


def _liver(blobs: list[Blob]) -> list[Blob]:
    """The largest deep piece on the right, and what is as bright near it, the left lobe across the middle too."""
    mains = [b for b in blobs if 0.1 < b.lateral < 0.85 and b.ahead_mm > -25.0 and b.ml > 60.0 and b.depth_mm > 12.0 and b.one_sided > 0.4]
    if not mains:
        return []
    main = max(mains, key=lambda blob: blob.ml * blob.depth_mm)

    def belongs(blob: Blob) -> bool:
        is_alike = abs(blob.hu - main.hu) < _LIVER_HU and abs(blob.k - main.k) < 110.0
        is_near = -0.25 < blob.lateral < 0.9 and blob.ahead_mm > -30.0
        return is_alike and is_near and (blob is main or (blob.depth_mm > 8.0 and blob.ml > 10.0))

    return [blob for blob in blobs if belongs(blob)]


def _left_kidney_and_spleen(blobs: list[Blob]) -> tuple[Blob | None, Blob | None]:
    """They compete for the same blobs: the best pair wins, the spleen being the higher one."""

    def score(pair: tuple[Blob, Blob]) -> float:
        kidney, spleen = pair
        cost = _KIDNEY_ABOVE_SPLEEN_COST if kidney.k > spleen.k + _KIDNEY_ABOVE_SPLEEN_MM else 0.0
        return _LEFT_KIDNEY.score(kidney) + _SPLEEN.score(spleen) - cost

    pairs = [(kidney, spleen) for kidney in blobs for spleen in blobs if kidney is not spleen]
    if not pairs:
        only = blobs[0] if blobs else None
        return only, only
    return max(pairs, key=score)


def _organ(place: _Place, main: Blob | None, blobs: list[Blob], tolerance_hu: float, least_part: float) -> list[Blob]:
    """The main piece of an organ and its further ones; empty where the main one does not fit."""
    if main is None or place.score(main) <= _ENOUGH:
        return []
    return _joined(main, [blob for blob in blobs if place.score(blob) > least_part], tolerance_hu)


def _joined(main: Blob, others: list[Blob], tolerance_hu: float) -> list[Blob]:
    """The main blob with the others of its brightness and height that belong to the same organ."""
    return [main] + [b for b in others if b is not main and abs(b.hu - main.hu) < tolerance_hu and abs(b.k - main.k) < 70.0]


def _grow_back(
    labels: np.ndarray, named: dict[str, list[Blob]], names: tuple[str, ...], smooth: np.ndarray, gradient: np.ndarray,
    soft: np.ndarray, scene: CtScene,
) -> np.ndarray:  # fmt: skip
    """Values 1.. in the order of `names`: the blobs grown to the edges, against all other tissue growing too."""
    import SimpleITK as sitk

    table = np.full(labels.max() + 1, len(names) + 1, np.uint8)
    table[0] = 0
    for index, name in enumerate(names, start=1):
        for blob in named[name]:
            table[blob.label] = index
    markers = table[labels]
    markers[~soft] = len(names) + 1
    flooded = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(gradient), sitk.GetImageFromArray(markers), markWatershedLine=False, fullyConnected=False
    )
    grown = sitk.GetArrayFromImage(flooded)
    for index, name in enumerate(names, start=1):
        if named[name]:
            hu = float(np.average([b.hu for b in named[name]], weights=[b.ml for b in named[name]]))
            # The edge of an organ in fat is where the smoothed picture is half-way between the two.
            edge = min(hu - 60.0, 0.5 * (hu + FAT_HU))
            grown[(grown == index) & ((smooth < edge) | ~scene.body)] = 0
    return grown


def _without_tails(mask: np.ndarray, scene: CtScene) -> np.ndarray:
    """The liver without vessels that run out of it: the vena cava is as bright, and thinner than anything of the liver but its rim."""
    spacing = scene.grid.spacing_kji
    thick = opened(mask, 12.0, spacing)
    return mask & dilate(largest(thick, also_above=0.2), 10.0, spacing) if thick.any() else mask


def _tidy(mask: np.ndarray, neck_mm: float, scene: CtScene) -> np.ndarray:
    """Leaks through necks narrower than two times `neck_mm` cut off, small holes closed."""
    spacing = scene.grid.spacing_kji
    core = largest(erode(mask, neck_mm, spacing), also_above=0.2)
    solid = dilate(core, neck_mm + 1.0, spacing) & mask
    return closed(solid, 3.0, spacing) & scene.body & ~scene.bones
