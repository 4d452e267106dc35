"""Liver, spleen and kidneys of a CT by classical means: even soft tissue is parted into blobs, blobs are named by place and size.

Steps: smooth; leave out fat, air, bone and every strong edge; part what is left at its necks (watershed of the distance to the edge);
name the blobs by where they lie beside the spine and by their brightness; grow the named blobs back to the edges of the smoothed picture
(watershed of the gradient from markers). What this assumes: one patient lying on the back in RAS order, organs in their usual places.
It knows nothing of shape, so organs that touch without fat or contrast between them run into one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .ct_scene import CtScene
from .grid import closed, dilate, distance_inside, erode, largest, opened

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


def find_organs(scene: CtScene) -> dict[str, np.ndarray]:
    """Coarse boolean masks of "liver", "spleen", "left kidney", "right kidney"; empty where none was found."""
    names = ("liver", "spleen", "left kidney", "right kidney")
    empty = {name: np.zeros(scene.hu.shape, bool) for name in names}
    if min(scene.hu.shape) < 3 or scene.half_width_mm < 60.0:
        return empty
    smooth = _smoothed(scene)
    gradient = _gradient(smooth, scene.grid.spacing_kji)
    soft = scene.body & (smooth > _SOFT_LOW) & (smooth < _SOFT_HIGH) & ~dilate(scene.bones, 1.0, scene.grid.spacing_kji)
    labels, depth, filler = _blobs(smooth, gradient, soft, scene)
    named = _name([blob for blob in _describe(labels, depth, smooth, scene) if blob.label != filler])
    if not any(named.values()):
        return empty
    grown = _grow_back(labels, named, names, smooth, gradient, soft, scene)
    return {name: _tidy(grown == index, 4.0 if "kidney" in name else 7.0, scene) for index, name in enumerate(names, start=1)}


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


def _name(blobs: list[Blob]) -> dict[str, list[Blob]]:
    """Which blobs are which organ."""
    named: dict[str, list[Blob]] = {"liver": [], "spleen": [], "left kidney": [], "right kidney": []}
    livers = [b for b in blobs if 0.1 < b.lateral < 0.85 and b.ahead_mm > -25.0 and b.ml > 60.0 and b.depth_mm > 12.0 and b.one_sided > 0.4]
    if livers:
        main = max(livers, key=lambda b: b.ml * b.depth_mm)
        tolerance = 12.0
        named["liver"] = [
            b for b in blobs
            if abs(b.hu - main.hu) < tolerance and -0.25 < b.lateral < 0.9 and b.ahead_mm > -30.0 and abs(b.k - main.k) < 110.0
            and (b is main or (b.depth_mm > 8.0 and b.ml > 10.0))
        ]  # fmt: skip
    taken = {b.label for b in named["liver"]}
    left = [b for b in blobs if b.label not in taken]
    right_kidney = max(left, key=lambda b: _kidney_score(b, 1.0), default=None)
    # The left kidney and the spleen compete for the same blobs: the best pair wins, the spleen being the higher one.
    pairs = [
        (_kidney_score(kidney, -1.0) + _spleen_score(spleen) - (0.5 if kidney.k > spleen.k + 15.0 else 0.0), kidney, spleen)
        for kidney in left
        for spleen in left
        if kidney is not spleen
    ]
    left_kidney, spleen = max(pairs, key=lambda pair: pair[0])[1:] if pairs else (max(left, key=_spleen_score, default=None),) * 2
    if right_kidney and _kidney_score(right_kidney, 1.0) > _ENOUGH:
        named["right kidney"] = _joined(right_kidney, [b for b in left if _kidney_score(b, 1.0) > 0.15], 15.0)
    if spleen and _spleen_score(spleen) > _ENOUGH:
        named["spleen"] = _joined(spleen, [b for b in left if _spleen_score(b) > 0.3 and b is not left_kidney], 8.0)
        left = [b for b in left if b not in named["spleen"]]
    if left_kidney in left and _kidney_score(left_kidney, -1.0) > _ENOUGH:
        named["left kidney"] = _joined(left_kidney, [b for b in left if _kidney_score(b, -1.0) > 0.15], 15.0)
    return named


def _kidney_score(blob: Blob, side: float) -> float:
    """0 to 1: how well a blob's place and size fit a kidney on one side (1 right, -1 left)."""
    if not (5.0 < blob.ml < 350.0 and 4.5 < blob.depth_mm < 35.0):
        return 0.0
    place = np.exp(-(((side * blob.lateral - 0.42) / 0.16) ** 2) - ((blob.ahead_mm - 8.0) / 40.0) ** 2)
    return float(place * min(1.0, blob.ml / 40.0))


def _spleen_score(blob: Blob) -> float:
    """0 to 1: how well a blob's place and size fit the spleen."""
    if not (20.0 < blob.ml < 1500.0 and blob.depth_mm > 8.0):
        return 0.0
    place = np.exp(-(((-blob.lateral - 0.66) / 0.2) ** 2) - ((blob.ahead_mm - 10.0) / 50.0) ** 2)
    return float(place * min(1.0, blob.ml / 60.0))


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
            grown[(grown == index) & ((smooth < hu - 60.0) | ~scene.body)] = 0
    return grown


def _tidy(mask: np.ndarray, neck_mm: float, scene: CtScene) -> np.ndarray:
    """Leaks through necks narrower than two times `neck_mm` cut off, small holes closed."""
    spacing = scene.grid.spacing_kji
    core = largest(erode(mask, neck_mm, spacing), also_above=0.2)
    solid = dilate(core, neck_mm + 1.0, spacing) & mask
    return closed(solid, 3.0, spacing) & scene.body & ~scene.bones
