"""Reading one image, from whatever a person has, into the Volume that every room shares. No MRML here.

Geometry is always the file's own: `ijk_to_ras` may be oblique, left-handed or sheared and is passed on as it is. NIfTI goes
through imaging.nifti (SimpleITK refuses sheared matrices), DICOM through files.dicom, pictures through files.read_picture.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..imaging.nifti import decode_nifti
from ..imaging.volume import Volume
from .dicom import is_dicom_file, read_dicom
from .quiet import quiet_codecs
from .read_picture import PICTURE_EXTENSIONS, read_picture

NIFTI_EXTENSIONS = (".nii", ".nii.gz")
ITK_EXTENSIONS = {".nrrd": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
READABLE = ".nii, .nii.gz, .nrrd, .mha, .mhd, .png, .jpg, .tif, a DICOM file, or a folder with one DICOM series"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_image(path: str | os.PathLike) -> tuple[Volume, list[str]]:
    """Read a volume or a 2D picture.

    Args:
        path: .nii .nii.gz .nrrd .mha .mhd, a DICOM file, a folder with one DICOM series (its subfolders count too), or
            .png .jpg .jpeg .tif .tiff. Upper and lower case are alike.

    Returns:
        (volume, warnings): voxels in kji order (kjic where colored) with the file's slope and intercept applied; `modality`
        from DICOM, or from a "modality" entry of NRRD and MetaImage, else ""; `is_picture` for 2D image files and for single
        DICOM images that have no place in the patient. Each warning is a sentence; none holds patient data.

    Raises:
        InputError: missing, unreadable, damaged or empty file, an unknown kind, two DICOM series, more than three dimensions,
            voxels that are not finite numbers.

    Example:
        >>> volume, warnings = read_image("ct.nii.gz")        # doctest: +SKIP
        >>> volume.shape_kji, volume.spacing_ijk              # doctest: +SKIP
    """
    path = Path(path).expanduser()
    warnings: list[str] = []
    try:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}; check the path.")
        volume = _read_any(path, warnings)
    except MemoryError as error:
        raise InputError(f"The image {path.name} does not fit into this computer's memory; crop it or use a smaller one.") from error
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise InputError(f"The image {path.name} cannot be read ({reason}); check that you may open it.") from error
    volume.check()
    return volume, warnings


def known_extension(path: Path, extensions: tuple[str, ...]) -> str:
    """The longest of `extensions` that the file's name ends with (any case), or ""."""
    name = path.name.lower()
    return max((extension for extension in extensions if name.endswith(extension)), key=len, default="")


def _read_any(path: Path, warnings: list[str]) -> Volume:
    if path.is_dir():
        # Sorted, so that the order of a folder's listing never decides anything.
        files = sorted(Path(folder, name) for folder, _folders, names in os.walk(path) for name in names)
        return read_dicom(files, f"The folder {path.name or path}", warnings)
    path.open("rb").close()  # says at once, and for every kind alike, when the file may not be read
    if path.stat().st_size == 0:
        raise InputError(f"The file {path.name} is empty (0 bytes); copy or export it again.")
    if known_extension(path, NIFTI_EXTENSIONS):
        return _read_nifti(path)
    extension = known_extension(path, tuple(ITK_EXTENSIONS))
    if extension:
        return _read_with_itk(path, ITK_EXTENSIONS[extension])
    if known_extension(path, PICTURE_EXTENSIONS):
        return read_picture(path, warnings)
    if is_dicom_file(path):
        return read_dicom([path], f"The file {path.name}", warnings)
    raise InputError(f"The file {path.name} is of a kind that is not read here; give {READABLE}.")


def _read_nifti(path: Path) -> Volume:
    try:
        image = decode_nifti(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    return Volume(_one_volume(image.voxels, image.is_color), image.ijk_to_ras)


def _read_with_itk(path: Path, image_io: str) -> Volume:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        with quiet_codecs():
            image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"The file {path.name} is damaged, incomplete or not of the kind that its name says; copy or export it again."
        ) from error
    dimension = image.GetDimension()
    is_color = image.GetNumberOfComponentsPerPixel() > 1
    voxels = sitk.GetArrayFromImage(image)
    if dimension == 2:
        voxels = voxels[np.newaxis]
    return Volume(_one_volume(voxels, is_color), itk_geometry(image), _stated_modality(image))


def itk_geometry(image: sitk.Image) -> np.ndarray:
    """ijk_to_ras (4x4, mm) of a SimpleITK image of two or more dimensions; ITK's own axes are LPS."""
    dimension = image.GetDimension()
    used = min(dimension, 3)
    matrix = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(dimension, dimension)[:used, :used]
    matrix[:used, :used] = directions * np.array(image.GetSpacing())[:used]
    matrix[:used, 3] = image.GetOrigin()[:used]
    return _LPS_TO_RAS @ matrix


def _stated_modality(image: sitk.Image) -> str:
    for key in image.GetMetaDataKeys():
        if key.lower() == "modality" or key.replace("_", "|").endswith("0008|0060"):
            value = image.GetMetaData(key).strip().upper()
            if value.isalnum() and len(value) <= 16:
                return value
    return ""


def _one_volume(voxels: np.ndarray, is_color: bool) -> np.ndarray:
    """The single volume in `voxels`: leading axes of length one are dropped, alpha is dropped, more is refused."""
    rank = 4 if is_color else 3
    while voxels.ndim > rank and voxels.shape[0] == 1:
        voxels = voxels[0]
    if voxels.ndim > rank:
        sizes = "x".join(str(size) for size in voxels.shape[::-1])
        raise InputError(f"The image has {voxels.ndim} dimensions ({sizes}); give one volume (three dimensions) at a time.")
    if is_color:
        if voxels.dtype not in (np.uint8, np.uint16) or voxels.shape[3] not in (3, 4):
            raise InputError(
                f"The image has {voxels.shape[3]} numbers in every voxel and they are no colors; give one volume at a time."
            )
        voxels = np.ascontiguousarray(voxels[..., :3])
    return voxels
