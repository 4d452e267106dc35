"""Phantoms whose truth is their gray level, and checks of written files in patient space by nibabel and SimpleITK alone."""

from __future__ import annotations

import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
TILT = np.array([[0.97815, -0.20791, 0], [0.20791, 0.97815, 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, 0.95106, -0.30902], [0, 0.30902, 0.95106]]
)
SHEAR = np.array([[1, 0.15, 0.1], [0, 1, 0.3], [-0.05, 0, 1]])
WORLDS = {"straight": np.eye(3), "oblique": TILT, "sheared": SHEAR}

# Structures of the phantom as gray levels; the ranges leave room for a window's rounding.
LEVELS = {"cube": 45, "rod": 80, "corner": 115}
RANGES = {name: (level - 12, level + 12) for name, level in LEVELS.items()}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def affine_of(order, signs, world=np.eye(3), spacing=(0.8, 1.1, 2.7)) -> np.ndarray:
    """4x4 of a volume whose i, j, k run along +-x, y, z of `world` in some order."""
    matrix = np.diag([0.0, 0, 0, 1])
    for axis in range(3):
        matrix[order[axis], axis] = signs[axis] * spacing[axis]
    matrix[:3, :3] = world @ matrix[:3, :3]
    matrix[:3, 3] = [-40.5, 77.25, 1003]
    return matrix


def phantom_labels(shape_ijk: tuple[int, int, int]) -> np.ndarray:
    """uint8 labels 1, 2, 3 for cube, rod and corner, in no way symmetric; ijk order."""
    labels = np.zeros(shape_ijk, np.uint8)
    i, j, k = shape_ijk

    def span(size: int, start: float, stop: float) -> slice:
        first = min(int(size * start), size - 1)
        return slice(first, max(first + 1, int(np.ceil(size * stop))))

    labels[span(i, 0.15, 0.4), span(j, 0.5, 0.8), span(k, 0.2, 0.6)] = 1
    labels[span(i, 0.55, 0.9), span(j, 0.1, 0.25), span(k, 0.0, 1.0)] = 2
    labels[span(i, 0.8, 1.0), span(j, 0.75, 1.0), span(k, 0.6, 1.0)] = 3
    # Bites out of them, so that no flip or permutation of a structure's own box is the structure.
    labels[span(i, 0.15, 0.25), span(j, 0.5, 0.6), span(k, 0.2, 0.4)] *= labels.size < 100
    labels[span(i, 0.55, 0.7), span(j, 0.1, 0.15), span(k, 0.0, 0.3)] *= labels.size < 100
    labels[span(i, 0.9, 1.0), span(j, 0.75, 0.85), span(k, 0.85, 1.0)] *= labels.size < 100
    return labels


def phantom_voxels(labels: np.ndarray, dtype: str = "int16") -> np.ndarray:
    """Gray levels for labels, with a little noise on the background; within int8."""
    voxels = np.random.default_rng(7).integers(0, 20, labels.shape).astype(float)
    for number, level in enumerate(LEVELS.values(), start=1):
        voxels[labels == number] = level
    return (voxels + (0.25 if np.dtype(dtype).kind == "f" else 0)).astype(dtype)


def write_phantom(path: Path, affine: np.ndarray, shape_ijk=(13, 11, 9), dtype: str = "int16") -> np.ndarray:
    """Write a phantom as NIfTI; returns its labels in ijk order."""
    labels = phantom_labels(shape_ijk)
    image = nib.Nifti1Image(phantom_voxels(labels, dtype), affine, dtype=np.dtype(dtype))
    image.set_sform(affine, 1)
    image.set_qform(None, 0)
    nib.save(image, path)
    return labels


def values_at(points_ras: np.ndarray, affine: np.ndarray, array_ijk: np.ndarray) -> np.ndarray:
    """What `array_ijk` (on the grid of `affine`) holds at points given in patient coordinates, which must be voxel centres."""
    indices = (np.linalg.inv(affine) @ np.c_[points_ras, np.ones(len(points_ras))].T).T[:, :3]
    nearest = np.rint(indices).astype(int)
    assert np.abs(indices - nearest).max(initial=0) < 2e-3
    return array_ijk[tuple(nearest.T)]


def assert_labels_are(path: Path, truth_ijk: np.ndarray, affine: np.ndarray, with_itk: bool = True) -> None:
    """The labelmap file has the input's grid and each of its voxels, placed in the patient, the truth's value: Dice is 1.0."""
    image = nib.load(path)
    voxels = np.asarray(image.dataobj)
    assert voxels.shape == truth_ijk.shape and voxels.dtype.kind in "iu"
    indices = np.indices(voxels.shape).reshape(3, -1).T
    np.testing.assert_array_equal(values_at(nib.affines.apply_affine(image.affine, indices), affine, truth_ijk), voxels.ravel())
    if with_itk:
        itk = sitk.ReadImage(str(path))
        flat = sitk.GetArrayFromImage(itk).transpose(2, 1, 0).ravel()
        np.testing.assert_array_equal(values_at(itk_points(itk, indices), affine, truth_ijk), flat)


def itk_points(image: sitk.Image, indices: np.ndarray) -> np.ndarray:
    """Patient coordinates, RAS, of voxel indices of a SimpleITK image."""

    def point(index) -> np.ndarray:
        return np.array(image.TransformIndexToPhysicalPoint([int(n) for n in index]))

    # Index to place is a straight line in ITK: four of its points tell all, and one call for each of thousands of voxels is slow.
    origin = point((0, 0, 0))
    steps = np.array([point(axis) - origin for axis in np.eye(3, dtype=int)])
    points = origin + np.asarray(indices).reshape(-1, 3) @ steps
    for number in [0, -1] if len(points) else []:
        np.testing.assert_allclose(points[number], point(indices[number]), atol=1e-6)
    return points @ _LPS_TO_RAS


def assert_segments_are(path: Path, truth: dict[str, np.ndarray], affine: np.ndarray, is_sheared: bool = False) -> None:
    """The .seg.nrrd holds exactly the segments of `truth` that are not empty, each Dice 1.0 in the patient."""
    found = {name: mask for name, mask in truth.items() if mask.any()}
    fields, voxels, place = _open_nrrd(path) if is_sheared else _open_with_itk(path)
    names = {fields[key]: key.removesuffix("_Name") for key in fields if key.startswith("Segment") and key.endswith("_Name")}
    assert set(names) == set(found)
    for name, mask in found.items():
        layer = voxels[..., int(fields[f"{names[name]}_Layer"])]
        indices = np.argwhere(layer == int(fields[f"{names[name]}_LabelValue"]))
        assert len(indices) == np.count_nonzero(mask)
        assert values_at(place(indices), affine, mask).all()
        color = [float(part) for part in fields[f"{names[name]}_Color"].split()]
        assert len(color) == 3 and all(0 <= part <= 1 for part in color)


def _open_with_itk(path: Path):
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image)
    voxels = voxels if image.GetNumberOfComponentsPerPixel() > 1 else voxels[..., None]
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    return fields, voxels.transpose(2, 1, 0, 3), lambda indices: itk_points(image, indices)


def _open_nrrd(path: Path):
    """A few lines that read NRRD by its specification, because ITK refuses directions that are not orthogonal."""
    header, _blank, data = path.read_bytes().partition(b"\n\n")
    fields: dict[str, str] = {}
    for line in header.decode().splitlines()[1:]:
        if not line.startswith("#"):
            key, _colon, value = line.partition(":=" if ":=" in line else ": ")
            fields[key] = value
    sizes = [int(size) for size in fields["sizes"].split()]
    assert fields["space"] in ("left-posterior-superior", "LPS") and fields["encoding"] in ("gzip", "gz")
    kind = {"unsigned char": "u1", "uint8": "u1", "short": "i2", "unsigned short": "u2", "signed short": "i2"}[fields["type"]]
    voxels = np.frombuffer(gzip.decompress(data), "<" + kind).reshape(sizes[::-1]).T
    vectors = [part for part in fields["space directions"].split() if part != "none"]
    steps = np.array([[float(number) for number in part.strip("()").split(",")] for part in vectors])
    origin = np.array([float(number) for number in fields["space origin"].strip("()").split(",")])
    voxels = voxels[..., None] if voxels.ndim == 3 else np.moveaxis(voxels, 0, -1)
    return fields, voxels, lambda indices: (indices @ steps + origin) @ _LPS_TO_RAS


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice overlap of two masks; 1 where both are empty."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero((one != 0) & (other != 0)) / total if total else 1.0
