"""Made-up data for the benchmarks: a CT-like volume, overlapping liver-size masks, and the replies that an endpoint could give.

The volume is not a phantom to segment (scripts/phantom.py is); it only has to cost what a CT costs. What decides that is how much
of the picture is patient and how noisy it is: the trunk fills 44 % of the field of view, and the noise is white with a standard
deviation of 10 HU in air and 15 HU in tissue, somewhat more than the 9 and 12 HU of a 3 mm abdominal CT, as thin slices have.
Everything comes from fixed seeds.
"""

from __future__ import annotations

import base64
import gzip
import io
import json

import numpy as np

PROMPTS = (
    "liver",
    "spleen",
    "pancreas",
    "stomach",
    "gallbladder",
    "left kidney",
    "right kidney",
    "aorta",
    "duodenum",
    "esophagus",
)
FIELD_MM = (400.0, 400.0, 300.0)  # along i, j, k, whatever the number of voxels
# middle and radii across and down, as shares of half the field of view; HU
_ORGANS = ((-0.3, -0.1, 0.35, 0.3, 110), (0.4, 0.05, 0.16, 0.14, 120), (0, 0.35, 0.1, 0.1, 350), (0.2, -0.3, 0.12, 0.1, -900))
_MASK_RADII = (0.27, 0.15, 0.17)  # of the grid along k, j, i: 1.4 liters in the field of view


def prompts(count: int) -> list[str]:
    """`count` prompts for abdominal organs."""
    return [PROMPTS[number] if number < len(PROMPTS) else f"lesion {number + 1} in abdomen CT" for number in range(count)]


def ijk_to_ras(shape_kji: tuple[int, int, int]) -> np.ndarray:
    """4x4, mm, as scanners give it: i to the left, j to the back, k up; the origin away from zero."""
    matrix = np.diag([*(np.array(FIELD_MM) / shape_kji[::-1] * [-1, -1, 1]), 1.0])
    matrix[:3, 3] = (201.5, 188.25, -640.0)
    return matrix


def volume(shape_kji: tuple[int, int, int]) -> np.ndarray:
    """int16 HU, kji."""
    rows, columns = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape_kji[1:])
    y, x = rows[:, None], columns[None, :]
    trunk = (x / 0.9) ** 2 + (y / 0.62) ** 2
    clean = np.where(trunk < 1, 45, -1000).astype(np.float32)
    clean[(trunk < 0.95) & (trunk > 0.72)] = -100  # fat under the skin
    for at_x, at_y, radius_x, radius_y, hu in _ORGANS:
        clean[((x - at_x) / radius_x) ** 2 + ((y - at_y) / radius_y) ** 2 < 1] = hu
    noise_hu = np.where(trunk < 1, 15, 10).astype(np.float32)
    random = np.random.default_rng(20240611)
    voxels = np.empty(shape_kji, np.int16)
    for plane in voxels:
        plane[:] = np.clip(np.rint(clean + noise_hu * random.standard_normal(clean.shape, np.float32)), -1024, 3071)
    return voxels


def mask(number: int, count: int, shape_kji: tuple[int, int, int]) -> np.ndarray:
    """The `number`-th of `count` masks, uint8 kji: ellipsoids that overlap their neighbors."""
    step = number - (count - 1) / 2
    centers = (0.5 + 0.02 * step, 0.5 + 0.03 * step * (-1) ** number, 0.45 + 0.03 * step)
    axes = np.ogrid[tuple(slice(0, size) for size in shape_kji)]
    distance = sum(((axis / size - center) / radius) ** 2 for axis, size, center, radius in zip(axes, shape_kji, centers, _MASK_RADII))
    return (distance <= 1).astype(np.uint8)


def reply(form: str, count: int, shape_kji: tuple[int, int, int], axes=None) -> bytes:
    """What an endpoint may answer: [{"nifti_file": "{\\"data\\": base64 of a .nii.gz}"}], the NIfTI as nibabel writes it.

    Args:
        form: "stack" (uint8 masks, prompts on the last axis), "stack-float32" (probabilities, likewise) or "labelmap" (uint8,
            k for the k-th prompt, where the later prompt keeps what it shares).
        count: how many prompts it answers.
        shape_kji: of the volume as the user has it.
        axes: the AxisMap by which the volume was turned before it was sent, if it was.
    """
    import nibabel

    def turned(number: int) -> np.ndarray:
        full = mask(number, count, shape_kji)
        return full if axes is None else axes.apply(full)

    if form == "labelmap":
        voxels = turned(0).copy()
        for number in range(1, count):
            voxels[turned(number) != 0] = number + 1
        stored = voxels.T
    else:
        voxels = np.stack([turned(number) for number in range(count)])
        stored = voxels.transpose(3, 2, 1, 0)
        if form == "stack-float32":
            # One value inside: the kindest probabilities there are to both ways; real ones pack worse and take longer.
            stored = np.where(stored != 0, np.float32(0.97), np.float32(0.0))
    matrix = ijk_to_ras(shape_kji) if axes is None else axes.turned_matrix(ijk_to_ras(shape_kji), shape_kji)
    image = nibabel.Nifti1Image(stored, matrix)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:  # nibabel's own level
        image.to_file_map({"image": nibabel.FileHolder(fileobj=file)})
    return json.dumps([{"nifti_file": json.dumps({"data": base64.b64encode(packed.getvalue()).decode("ascii")})}]).encode("ascii")
