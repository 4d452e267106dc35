"""Reading one image, from whatever a person has, into the Volume that every room shares. No MRML here.

Geometry is always the file's own: `ijk_to_ras` may be oblique, left-handed or sheared and is passed on as it is. NIfTI goes
through imaging.nifti (SimpleITK refuses sheared matrices), DICOM through files.dicom, pictures through files.read_picture.

Reading 2D image files (PNG, JPEG, TIFF) as a volume of one slice, pixels as stored.
"""

from __future__ import annotations

import logging
import os
import re
import warnings as python_warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..imaging.nifti import NiftiHeader, decode_nifti, joined_pair, qform_matrix, sform_matrix
from ..imaging.volume import LPS_TO_RAS, Volume, usable_matrix
from ..remedies import Sentence, few
from .collisions import named_in_header
from .frames import EVERY_FRAME, ONE_VOLUME, one_volume, split_frames
from .packed import MGH_EXTENSIONS, PACKED_EXTENSIONS, read_mgh, unpacked
from .quiet import quiet_codecs

if TYPE_CHECKING:
    import SimpleITK as sitk
    from PIL import Image


_log = logging.getLogger(__name__)

NIFTI_EXTENSIONS = (".nii", ".nii.gz")
ITK_EXTENSIONS = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".gipl": "GiplImageIO",
    ".gipl.gz": "GiplImageIO",
    ".hdr": "NiftiImageIO",  # the header of a pair with .img
    ".hdr.gz": "NiftiImageIO",
}
PAIRED = {".img": ".hdr", ".img.gz": ".hdr.gz", ".hdr": ".img", ".hdr.gz": ".img.gz"}
DICOMDIR = "DICOMDIR"
READABLE = (
    ".nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, .gipl, .hdr/.img, .mgz, .png, .jpg, .tif, .bmp, a DICOM file (also .dcm.gz or a DICOMDIR), "
    "a folder with one DICOM series, or a .zip of one"
)
# As a path it would be the current folder, and all of it would be sent.
EMPTY_NAME = "The name of an image is empty, which would stand for the whole current folder; name the image."
_NRRD_HEADER = 2**16  # bytes in which the fields of a header stand
_NRRD_UNITS_MM = {"m": 1000.0, "cm": 10.0, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "nm": 1e-6}
_SAME = 1e-6  # the rounding of the numbers in a header


def read_image(path: str | os.PathLike, *, series: str = "", frame: int | None = None) -> tuple[Volume, list[str]]:
    """Read a volume or a 2D picture.

    Args:
        path: .nii .nii.gz .nrrd .mha .mhd, a DICOM file, a folder with one DICOM series (its subfolders count too), or
            .png .jpg .jpeg .tif .tiff .bmp. Upper and lower case are alike.
        series: UID or number of the DICOM series to take, where a folder holds several.
        frame: which volume to take, counted from 0, where the file or series holds several (phases, times, diffusion directions).

    Returns:
        (volume, warnings): voxels in kji order (kjic where colored) with the file's slope and intercept applied; `modality`
        from DICOM, or from a "modality" entry of NRRD and MetaImage, else ""; `is_picture` for 2D image files and for single
        DICOM images that have no place in the patient. Each warning is a sentence; none holds patient data.

    Raises:
        InputError: missing, unreadable, damaged or empty file, an unknown kind, two DICOM series, more than three dimensions,
            voxels that are not finite numbers.

    Examples:
        >>> volume, warnings = read_image("ct.nii.gz")        # doctest: +SKIP
        >>> volume.shape_kji, volume.spacing_ijk              # doctest: +SKIP
    """
    volume, warnings = _read(path, series, frame)
    volume.check()
    return volume, warnings


def read_frames(path: str | os.PathLike, *, series: str = "") -> tuple[list[Volume], list[str]]:
    """Read every volume of a file or series that holds several (times, phases, diffusion directions), in their order.

    Args:
        path: file or DICOM folder, as for `read_image`.
        series: UID or number of a folder's DICOM series; "" for its only one.

    Raises:
        InputError: as `read_image`, and where there is one volume only.
    """
    whole, warnings = _read(path, series, EVERY_FRAME)
    return split_frames(whole), warnings


def _read(path: str | os.PathLike, series: str, frame: int | None) -> tuple[Volume, list[str]]:
    """The image, not checked yet, and warnings; every exception of a library is one sentence."""
    path = Path(path).expanduser()
    warnings: list[str] = []
    try:
        if not path.exists():
            raise InputError("There is no file or folder {path}; check the path.", path=path)
        volume = _read_any(path, warnings, str(series or ""), frame)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            "The image {name} does not fit into this computer's memory; crop it or use a smaller one.", name=path.name
        ) from error
    except OSError as error:
        reason = error.strerror or Sentence("it cannot be opened")
        raise InputError(
            "The image {name} cannot be read ({reason}); check that you may open it.", name=path.name, reason=reason
        ) from error
    except Exception as error:  # a library's own exception about a file that it did not expect: still one sentence
        _log.warning("reading an image failed: %s", type(error).__name__, exc_info=True)
        raise InputError(
            "The image {name} cannot be read: it is damaged or of an unusual kind ({name2}).", name=path.name, name2=type(error).__name__
        ) from error
    return volume, warnings


def known_extension(path: Path, extensions: tuple[str, ...]) -> str:
    """The longest of `extensions` that the file's name ends with (any case), or ""."""
    name = path.name.lower()
    return max((extension for extension in extensions if name.endswith(extension)), key=len, default="")


def _read_any(path: Path, warnings: list[str], series: str, frame: int | None) -> Volume:
    if path.is_dir():
        from .dicom import read_dicom

        # Sorted, so that the order of a folder's listing never decides anything.
        files = sorted(Path(folder, name) for folder, _folders, names in os.walk(path) for name in names)
        return read_dicom(files, Sentence("The folder {name}", name=path.name or path), warnings, series=series, frame=frame)
    path.open("rb").close()  # says at once, and for every kind alike, when the file may not be read
    if path.stat().st_size == 0:
        raise InputError("The file {name} is empty (0 bytes); copy or export it again.", name=path.name)
    if path.name.upper() == DICOMDIR:
        return _read_any(path.parent, warnings, series, frame)
    if known_extension(path, PACKED_EXTENSIONS):
        return _read_packed(path, warnings, series, frame)
    if series and known_extension(path, IMAGE_EXTENSIONS):
        raise InputError(
            "The file {name} is no DICOM, so it holds no series to choose from: leave --series out.", name=path.name, code="no-series"
        )
    if known_extension(path, MGH_EXTENSIONS):
        return read_mgh(path, frame)
    if known_extension(path, NIFTI_EXTENSIONS):
        return _read_nifti(path, warnings, frame)
    if known_extension(path, tuple(PAIRED)):
        return _read_pair(path, warnings, frame)
    extension = known_extension(path, tuple(ITK_EXTENSIONS))
    if extension:
        return _read_with_itk(path, ITK_EXTENSIONS[extension], frame)
    if known_extension(path, PICTURE_EXTENSIONS):
        if frame is not None:
            raise InputError(ONE_VOLUME, code="no-frame")
        return read_picture(path, warnings)
    from .dicom import is_dicom_file, read_dicom

    if is_dicom_file(path):
        return read_dicom([path], Sentence("The file {name}", name=path.name), warnings, series=series, frame=frame)
    raise InputError("The file {name} is of a kind that is not read here; give {readable}.", name=path.name, readable=READABLE)


def _read_packed(path: Path, warnings: list[str], series: str, frame: int | None) -> Volume:
    """What is in an archive, read as if it lay beside it."""
    from .dicom import is_dicom_file, read_dicom

    with unpacked(path) as folder:
        files = sorted(each for each in folder.rglob("*") if each.is_file())
        images = [each for each in files if known_extension(each, IMAGE_EXTENSIONS)]
        if images and not any(is_dicom_file(each) for each in files):
            if len(images) > 1:
                raise InputError(
                    "The archive {name} holds {count} images ({listed}); unpack it and give one of them.",
                    name=path.name,
                    count=len(images),
                    listed=few(sorted(each.name for each in images)),
                )
            if not {each.resolve() for each in named_in_header(images[0])} <= {each.resolve() for each in files}:
                raise InputError("The archive {name} holds the header of an image only; unpack it beside its voxels.", name=path.name)
            return _read_any(images[0], warnings, series, frame)
        return read_dicom(files, Sentence("The file {name}", name=path.name), warnings, series=series, frame=frame)


def _read_pair(path: Path, warnings: list[str], frame: int | None) -> Volume:
    """A NIfTI or Analyze pair, of which either half was given."""
    ending = known_extension(path, tuple(PAIRED))
    stem = path.name[: -len(ending)]
    beside = {each.name.lower(): each for each in path.parent.iterdir() if each.name.lower().startswith(stem.lower())}
    partner = next(
        (
            beside[name]
            for name in (f"{stem}{other}".lower() for other in (PAIRED[ending], *PAIRED) if other[1] != ending[1])
            if name in beside
        ),
        None,
    )
    if partner is None:
        raise InputError(
            "The file {name} is one half of a pair, and {other} is not beside it; copy both.",
            name=path.name,
            other=f"{stem}{PAIRED[ending]}",
        )
    header, voxels = (path, partner) if ending.startswith(".hdr") else (partner, path)
    try:
        joined = joined_pair(header.read_bytes(), voxels.read_bytes())
    except InputError as error:
        raise InputError("{name}: {error}", name=path.name, error=error) from error
    return _read_with_itk(header, "NiftiImageIO", frame) if joined is None else _read_nifti(header, warnings, frame, joined)


def _read_nifti(path: Path, warnings: list[str], frame: int | None, data: bytes | None = None) -> Volume:
    try:
        image = decode_nifti(path.read_bytes() if data is None else data)
    except InputError as error:
        raise InputError("{name}: {error}", name=path.name, error=error) from error
    warnings += image.header.remarks
    voxels = one_volume(image.voxels, image.is_color, frame)
    shown = None if _is_plain(image.header) else _shown_by_itk(path, image.ijk_to_ras)
    return Volume(voxels, image.ijk_to_ras, forms=image.header.forms, shown_ijk_to_ras=shown)


def _is_plain(header: NiftiHeader) -> bool:
    """Whether every program places this file where we do: right angles, the two forms (where there are two) and the voxel sizes agree.

    Most files are like that, and SimpleITK, which takes a while to load, need not be asked about them.
    """
    forms = header.forms
    if forms is None or forms.units & 7 not in (0, 2) or header.rank < 3:
        return False
    stated = [sform_matrix(forms)] * (forms.sform_code > 0) + [qform_matrix(forms)] * (forms.qform_code > 0)
    sizes = np.abs(np.array(forms.pixdim[1:4]))
    lengths = np.linalg.norm(header.ijk_to_ras[:3, :3], axis=0)
    if not stated or not np.all(sizes > 0) or not np.allclose(lengths, sizes, rtol=_SAME, atol=0):
        return False
    directions = header.ijk_to_ras[:3, :3] / sizes
    # As far as a voxel at the far end of the grid would be moved, in voxels.
    far = np.append(np.abs(header.shape_ijk[:3]), 1.0)
    moved = [np.abs((matrix - header.ijk_to_ras)[:3]) @ far / sizes.min() for matrix in stated]
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=_SAME) and np.all(np.array(moved) < _SAME * 100))


def _shown_by_itk(path: Path, ijk_to_ras: np.ndarray) -> np.ndarray | None:
    """Where ITK, and so Slicer, places a NIfTI file; None where that is the matrix itself, or ITK refuses the file (sheared ones)."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO")
    reader.SetFileName(str(path))
    try:
        with quiet_codecs():
            reader.ReadImageInformation()
        matrix = itk_geometry(reader)
    except RuntimeError:
        return None
    return None if np.array_equal(matrix, ijk_to_ras) or not usable_matrix(matrix) else matrix


def _read_with_itk(path: Path, image_io: str, frame: int | None) -> Volume:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        with quiet_codecs():
            image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            "The file {name} is damaged, incomplete or not of the kind that its name says; copy or export it again.", name=path.name
        ) from error
    volume = volume_of_itk(image, frame)
    unit = _nrrd_unit_mm(path) if image_io == "NrrdImageIO" else 1.0
    if unit == 1.0:
        return volume
    matrix = np.diag([unit, unit, unit, 1.0]) @ volume.ijk_to_ras  # ITK and Slicer read the numbers as mm
    return replace(volume, ijk_to_ras=matrix, shown_ijk_to_ras=volume.ijk_to_ras)


def _nrrd_unit_mm(path: Path) -> float:
    """Millimeters in the unit that the header of a NRRD file gives its lengths in (field "space units", or "units")."""
    with open(path, "rb") as file:
        header = file.read(_NRRD_HEADER).split(b"\n\n")[0].decode("utf-8", "replace").replace("\u00b5", "u").replace("\u03bc", "u")
    stated = re.findall(r"^(?:space )?units:[ \t]*(.+)$", header, re.MULTILINE)
    units = {unit.strip().lower() for text in stated for unit in re.findall(r'"([^"]*)"', text)} - {"", "???"}
    return _NRRD_UNITS_MM.get(units.pop(), 1.0) if len(units) == 1 else 1.0


def volume_of_itk(image: sitk.Image, frame: int | None = None) -> Volume:
    """A SimpleITK image as a Volume in RAS.

    Args:
        image: of two or more dimensions, LPS as ITK has it, in colour or not.
        frame: which volume to take, counted from 0, of an image with several.

    Raises:
        InputError: several volumes and no `frame`, or several numbers in every voxel that are no colours.
    """
    import SimpleITK as sitk

    dimension = image.GetDimension()
    is_color = image.GetNumberOfComponentsPerPixel() > 1
    voxels = sitk.GetArrayFromImage(image)
    if dimension == 2:
        voxels = voxels[np.newaxis]
    return Volume(one_volume(voxels, is_color, frame), itk_geometry(image), _stated_modality(image))


def itk_geometry(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """ijk_to_ras (4x4, mm) of a SimpleITK image of two or more dimensions; ITK's own axes are LPS."""
    dimension = image.GetDimension()
    used = min(dimension, 3)
    matrix = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(dimension, dimension)[:used, :used]
    matrix[:used, :used] = directions * np.array(image.GetSpacing())[:used]
    matrix[:used, 3] = image.GetOrigin()[:used]
    return LPS_TO_RAS @ matrix


def _stated_modality(image: sitk.Image) -> str:
    for key in image.GetMetaDataKeys():
        if key.lower() == "modality" or key.replace("_", "|").endswith("0008|0060"):
            value = image.GetMetaData(key).strip().upper()
            if value.isalnum() and len(value) <= 16:
                return value
    return ""


PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# Column i runs to the picture's right and row j down, which LPS readers such as Slicer and ITK show upright: i to the patient's
# left, j to the back, 1 mm each. A picture's file says nothing about the patient; this only makes geometry well defined.
PICTURE_IJK_TO_RAS = LPS_TO_RAS
# Files that are an image each.
IMAGE_EXTENSIONS = (*NIFTI_EXTENSIONS, *ITK_EXTENSIONS, *PICTURE_EXTENSIONS, *MGH_EXTENSIONS)
_EXIF_ORIENTATION = 0x0112
_TIFF_PHOTOMETRIC, _TIFF_BITS = 262, 258


def read_picture(path: Path, warnings: list[str]) -> Volume:
    """Read a picture as kji (grey) or kjic (three channels), k = 1, with `is_picture` set.

    Alpha is dropped, a palette is expanded, 16-bit grey stays uint16, CMYK and the like become RGB. A turn that the camera
    noted (EXIF orientation) is not carried out: masks and labels belong to the pixels as stored; a warning says so.

    Raises:
        InputError: damaged, no picture, several pages, or far too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with python_warnings.catch_warnings(), quiet_codecs():
            python_warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata and on merely large pictures
            with Image.open(path, formats=("PNG", "JPEG", "TIFF", "BMP")) as picture:
                return _decode(picture, path, warnings)
    except Image.DecompressionBombError as error:
        raise InputError("The picture {name} has too many pixels; crop it or scale it down first.", name=path.name) from error
    except (UnidentifiedImageError, SyntaxError, ValueError, EOFError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        with open(path, "rb") as file:
            is_tiff = file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        if isinstance(error, UnidentifiedImageError) and is_tiff:
            raise InputError(
                "The TIFF file {name} is incomplete, or stores its pixels in a way that is not read here; save it with 8 or 16 bits, gray or RGB.",
                name=path.name,
            ) from error
        raise InputError("The picture {name} is damaged, incomplete or no picture at all; export it again.", name=path.name) from error


def _decode(picture: Image.Image, path: Path, warnings: list[str]) -> Volume:
    from PIL import TiffImagePlugin

    pages = getattr(picture, "n_frames", 1)
    if pages > 1 and picture.format != "MPO":  # MPO: a camera's JPEG whose further pages are previews
        raise InputError(
            "The picture {name} holds {pages} pages; save the one that you want as a file of its own.", name=path.name, pages=pages
        )
    if ";16" in str(getattr(picture, "tile", "")) and not picture.mode.startswith("I"):
        warnings.append("The picture has 16 bits a color channel; only the upper 8 are used.")
    if picture.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1):
        warnings.append("The camera noted that this picture is to be shown turned; it is sent as stored, not turned.")
    picture.load()
    voxels = _pixels(picture)
    # Pillow turns 8-bit pictures of this kind round and leaves deeper ones as they are stored.
    if (
        isinstance(picture, TiffImagePlugin.TiffImageFile)
        and picture.tag_v2.get(_TIFF_PHOTOMETRIC) == 0
        and voxels.ndim == 2
        and voxels.dtype != np.uint8
    ):
        voxels = _white_is_zero(voxels, picture)
    return Volume(voxels[np.newaxis], PICTURE_IJK_TO_RAS.copy(), is_picture=True)


def _pixels(picture: Image.Image) -> np.ndarray:
    """Rows from the top and columns; uint8, uint16, int32 or float32 grey, or uint8 with three channels last."""
    mode = picture.mode
    if mode in ("1", "L", "LA", "La"):
        return np.array(picture.convert("L"))
    if mode.startswith("I;16"):
        return np.array(picture).astype(np.uint16)
    if mode == "I":
        values = np.array(picture).astype(np.int32)
        return values.astype(np.uint16) if values.size and values.min() >= 0 and values.max() <= 65535 else values
    if mode == "F":
        return np.array(picture)
    if mode in ("RGBA", "RGBa", "RGBX"):
        # Cut, not blended: convert("RGB") drops alpha of RGBA as well, but un-premultiplies RGBa.
        return np.ascontiguousarray(np.array(picture.convert("RGBA"))[..., :3])
    return np.array(picture.convert("RGBA" if mode in ("P", "PA") else "RGB"))[..., :3].copy()


def _white_is_zero(values: np.ndarray, picture: Any) -> np.ndarray:
    """A TIFF whose zero is white, turned round within its bits; floats within their own range."""
    if values.dtype.kind == "f":
        return values.max() + values.min() - values
    bits = picture.tag_v2.get(_TIFF_BITS, (8 * values.dtype.itemsize,))
    bits = int(bits[0] if isinstance(bits, tuple) else bits)
    turned = (2**bits - 1) - values.astype(np.int64)
    return turned.astype(values.dtype) if turned.min(initial=0) >= 0 else turned.astype(np.int32)
