"""Segmentations from files of any maker, as masks by name: labelmaps, Slicer's .seg.nrrd, folders with a mask a structure.

Names of a labelmap's values come from, in this order: what the caller says, a JSON file beside it with the same stem, a dataset.json
in its folder or the one above (nnU-Net's), else "label 3".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.read import ITK_EXTENSIONS, NIFTI_EXTENSIONS, PICTURE_EXTENSIONS, itk_geometry, known_extension, quiet_codecs, read_image
from ..imaging.volume import CroppedMask, Volume
from ..prompts import catalogue

LABEL_FILES = (*NIFTI_EXTENSIONS, *ITK_EXTENSIONS, *PICTURE_EXTENSIONS)
_SAME_PLACE = 1e-3  # of a voxel


@dataclass(slots=True)
class LabelSet:
    """A segmentation.

    Attributes:
        shape_kji, ijk_to_ras: its grid.
        masks: by name, in the file's order.
        values: the label's value in the file by name; running numbers where the file has masks instead of labels.
        named: whether the names are names, not just "label 3".
        array: the labels as stored, where the file is a labelmap.
    """

    shape_kji: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    masks: dict[str, CroppedMask]
    values: dict[str, int] = field(default_factory=dict)
    named: bool = True
    array: np.ndarray | None = None

    def full(self, name: str) -> np.ndarray:
        """The structure as a boolean kji array, empty where it is not there."""
        mask = self.masks.get(name)
        return np.zeros(self.shape_kji, bool) if mask is None else mask.full() != 0

    def labels(self) -> np.ndarray:
        """An integer kji array: as stored, or put together from the masks, the later on top."""
        if self.array is not None:
            return self.array
        labels = np.zeros(self.shape_kji, np.int32)
        for name, mask in self.masks.items():
            labels[mask.box][mask.voxels != 0] = self.values[name]
        return labels


def structure_key(name: str) -> str:
    """What two names of one structure have in common: the catalogue's name, else the name without case and underscores.

    >>> structure_key("kidney_right") == structure_key("Right kidney")
    True
    """
    target = catalogue.lookup(name)
    return target.name if target else " ".join(name.replace("_", " ").casefold().split())


def read_labels(path: Path, names: Mapping[int, str] | None = None) -> LabelSet:
    """Read a segmentation.

    Args:
        path: an integer labelmap (.nii, .nii.gz, .nrrd, .mha, .mhd, .png), a .seg.nrrd, or a folder of masks named after structures.
        names: of a labelmap's values, over what lies beside the file.

    Raises:
        InputError: missing, damaged, not whole numbers, masks of different grids.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if path.name.lower().endswith(".seg.nrrd"):
        return _read_slicer(path)
    volume, _warnings = read_image(path)
    array = _whole_numbers(volume, path)
    given = dict(names or {}) or _names_beside(path)
    return label_set(array, volume.ijk_to_ras, given)


def label_set(array: np.ndarray, ijk_to_ras: np.ndarray, names: Mapping[int, str]) -> LabelSet:
    """A LabelSet of an integer kji array. Values that `names` lacks are called "label 3"; names without voxels are kept, empty."""
    from scipy.ndimage import find_objects

    present = np.unique(array)
    values = sorted({int(value) for value in present if value} | {int(value) for value in names if int(value)})
    compact = np.searchsorted(values, array) + 1 if values else np.zeros(array.shape, np.int64)
    compact = np.where(array != 0, compact, 0)
    boxes = find_objects(compact, len(values)) if values else []
    masks: dict[str, CroppedMask] = {}
    numbers: dict[str, int] = {}
    for value, box in zip(values, boxes):
        name = str(names.get(value, f"label {value}"))
        numbers[name] = value
        if box is None:
            masks[name] = CroppedMask.empty(array.shape)
        else:
            masks[name] = CroppedMask(array.shape, tuple(part.start for part in box), (array[box] == value).view(np.uint8))
    return LabelSet(array.shape, np.asarray(ijk_to_ras, float), masks, numbers, bool(names), array)


def same_grid(one: LabelSet, other: LabelSet) -> bool:
    """Whether two segmentations lie on one grid: size alike, and no corner off by more than a thousandth of a voxel."""
    return one.shape_kji == other.shape_kji and _corners_off(one.ijk_to_ras, other.ijk_to_ras, one.shape_kji) < _SAME_PLACE


def resampled(labels: LabelSet, onto: LabelSet) -> LabelSet:
    """The nearest label at each voxel of another grid."""
    inverse = np.linalg.inv(labels.ijk_to_ras) @ onto.ijk_to_ras
    k, j, i = np.indices(onto.shape_kji, dtype=np.float64).reshape(3, -1)
    places = np.rint(inverse[:3, :3] @ np.stack([i, j, k]) + inverse[:3, 3:]).astype(np.int64)[::-1]
    inside = np.all((places >= 0) & (places < np.array(labels.shape_kji)[:, np.newaxis]), axis=0)
    found = tuple(places[:, inside])

    def moved(full: np.ndarray) -> np.ndarray:
        result = np.zeros(onto.shape_kji, full.dtype)
        result.reshape(-1)[inside] = full[found]
        return result

    masks = {name: CroppedMask.from_full(moved(labels.full(name))) for name in labels.masks}
    array = moved(labels.array) if labels.array is not None else None
    return LabelSet(onto.shape_kji, onto.ijk_to_ras, masks, dict(labels.values), labels.named, array)


def _corners_off(one: np.ndarray, other: np.ndarray, shape_kji: tuple[int, int, int]) -> float:
    """The largest distance between the same corners of two grids, in voxels."""
    last = np.array(shape_kji[::-1], float) - 1
    corners = np.array([[a, b, c] for a in (0, last[0]) for b in (0, last[1]) for c in (0, last[2])])
    moved = (np.linalg.inv(one)[:3, :3] @ ((other[:3, :3] - one[:3, :3]) @ corners.T + (other[:3, 3:] - one[:3, 3:]))).T
    return float(np.abs(moved).max())


def _whole_numbers(volume: Volume, path: Path) -> np.ndarray:
    voxels = volume.voxels
    if volume.is_color:
        raise InputError("{name} is a color image; a reference or prediction is a labelmap of whole numbers.", name=path.name)
    if voxels.dtype.kind == "f":
        whole = np.rint(voxels)
        if not np.array_equal(whole, voxels):
            raise InputError("{name} holds broken numbers; a reference or prediction is a labelmap of whole numbers.", name=path.name)
        voxels = whole.astype(np.int64)
    if voxels.size and int(voxels.min()) < -1:  # -1 marks what does not count in some collections
        raise InputError(
            "{name} holds values below 0, as a CT does; a reference or prediction is a labelmap of whole numbers.", name=path.name
        )
    if volume.is_picture and voxels.dtype == np.uint8 and set(np.unique(voxels).tolist()) <= {0, 255}:
        voxels = (voxels > 0).astype(np.uint8)  # a mask as pictures have it
    return voxels


def _names_beside(path: Path) -> dict[int, str]:
    stem = path.name[: -len(known_extension(path, LABEL_FILES))]
    found = _digit_names(path.with_name(f"{stem}.json"))
    for folder in (path.parent, path.parent.parent):
        found = found or _dataset_names(folder / "dataset.json")
    return found


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def _digit_names(path: Path) -> dict[int, str]:
    data = _load(path)
    return digit_names(data) if isinstance(data, dict) else {}


def digit_names(data: Mapping) -> dict[int, str]:
    """{"1": "spleen"} or {"spleen": 1} as {1: "spleen"}; {} where it is neither."""
    if data and all(str(key).isdecimal() and isinstance(value, str) for key, value in data.items()):
        return {int(key): value for key, value in data.items()}
    if data and all(isinstance(value, int) and not isinstance(value, bool) for value in data.values()):
        return {value: str(key) for key, value in data.items() if value}
    return {}


def _dataset_names(path: Path) -> dict[int, str]:
    data = _load(path)
    labels = data.get("labels") if isinstance(data, dict) else None
    return {value: name for value, name in digit_names(labels).items() if value} if isinstance(labels, dict) else {}


def _read_folder(path: Path) -> LabelSet:
    files = [file for file in sorted(path.iterdir()) if known_extension(file, LABEL_FILES) and not file.name.startswith(".")]
    if not files:
        raise InputError("The folder {name} holds no masks; give a folder with one labelmap a structure.", name=path.name)
    parts = [_read_mask(file, number) for number, file in enumerate(files, start=1)]
    result = parts[0]
    for one in parts[1:]:
        if not same_grid(result, one):
            raise InputError("The masks in {folder} lie on different grids ({name}).", folder=path.name, name=next(iter(one.masks)))
        result.masks |= one.masks
        result.values |= one.values
    return result


def _read_mask(path: Path, number: int) -> LabelSet:
    volume, _warnings = read_image(path)
    name = path.name[: -len(known_extension(path, LABEL_FILES))]
    mask = CroppedMask.from_full(_whole_numbers(volume, path) != 0)
    return LabelSet(volume.shape_kji, np.asarray(volume.ijk_to_ras, float), {name: mask}, {name: number})


def _read_slicer(path: Path) -> LabelSet:
    """A Slicer segmentation without Slicer: layers are the components, the header says which segment is which value in which layer."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(str(path))
    try:
        with quiet_codecs():
            image = reader.Execute()
    except RuntimeError as error:
        raise InputError("The file {name} is damaged, incomplete or no segmentation.", name=path.name) from error
    voxels = sitk.GetArrayFromImage(image)
    layers = voxels if image.GetNumberOfComponentsPerPixel() > 1 else voxels[..., np.newaxis]
    header = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    masks: dict[str, CroppedMask] = {}
    number = 0
    while f"Segment{number}_ID" in header or f"Segment{number}_Name" in header:
        name = header.get(f"Segment{number}_Name") or header[f"Segment{number}_ID"]
        layer, value = int(header.get(f"Segment{number}_Layer", 0)), int(header.get(f"Segment{number}_LabelValue", 1))
        masks[name] = CroppedMask.from_full(layers[..., layer] == value)
        number += 1
    shape = layers.shape[:3]
    return LabelSet(shape, itk_geometry(image), masks, {name: place for place, name in enumerate(masks, start=1)})
