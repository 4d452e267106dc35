"""What a person may give as an image from Python: a path, a Volume, a nibabel or SimpleITK image, or an array with its affine.

Neither nibabel nor SimpleITK is imported to find out: a class says which package it comes from.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import InputError, UsageError
from ..imaging.volume import Volume

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage as NibabelImage
    from numpy.typing import ArrayLike
    from SimpleITK import Image as SimpleITKImage

Image: TypeAlias = "str | os.PathLike | Volume | NibabelImage | SimpleITKImage | tuple[np.ndarray, ArrayLike]"

TAKEN = (
    "give a path, a Volume, a nibabel image, a SimpleITK image, or a tuple (array, affine) with the array in kji order "
    "(slice, row, column) and the 4x4 affine from voxel indices i, j, k to RAS in mm"
)
_TO_MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}


def is_path(thing: object) -> bool:
    """Whether a thing names a file or folder."""
    return isinstance(thing, (str, os.PathLike))


def files_of(connection: Mapping[str, Any]) -> list[Any]:
    """The files that options of `connect` name, which are read too: a key file, certificates. None where not given."""
    return [connection.get("key_file"), connection.get("ca_bundle")]


def listed(things: object) -> list[Any]:
    """The images given, each of a kind that is taken; nothing is read.

    Args:
        things: one image, or several in a list or another iterable. A tuple (array, affine) is one image.

    Raises:
        UsageError: a thing that is no image.
    """
    several = isinstance(things, Iterable) and not is_path(things) and not _kind_of(things)
    found = list(things) if several and not isinstance(things, (dict, bytes)) else [things]  # type: ignore[call-overload]
    for one in found:
        check_kind(one)
    return found


def check_kind(thing: object) -> None:
    """Raises UsageError unless a thing is a path or something that `as_volume` takes."""
    kind = _kind_of(thing)
    if isinstance(thing, str) and not thing:
        from ..files.read import EMPTY_NAME

        raise UsageError(EMPTY_NAME)
    if kind == "array":
        raise UsageError("A numpy array alone does not say where it lies in the patient; {taken}.", taken=TAKEN, code="image-kind")
    if not kind and not is_path(thing):
        raise UsageError(
            "An object of the type {name} is no image that is taken here; {taken}.",
            name=type(thing).__name__,
            taken=TAKEN,
            code="image-kind",
        )


def path_of(thing: object) -> str:
    """The path of an image, "" of one in memory."""
    return os.fspath(thing) if isinstance(thing, (str, os.PathLike)) else ""


def check_series(thing: object, series: str | int) -> None:
    """Raises UsageError where a series is chosen of an image in memory."""
    if series != "" and not is_path(thing):
        raise UsageError("A series is chosen in a DICOM folder; an image in memory has none: leave it out.", code="no-series")


def read_volumes(
    thing: Any, modality: str = "", series: str | int = "", frame: int | None = None, *, every: bool = False
) -> tuple[list[Volume], list[str]]:
    """The volume of an image, read or taken as it is, and warnings.

    Args:
        thing: a path, or what `as_volume` takes.
        modality: DICOM modality code, where the image does not say.
        series: UID or number of a folder's DICOM series.
        frame: which volume, from 0, of an image with several.
        every: each volume of an image with several, in place of one.

    Raises:
        UsageError, InputError: as `as_volume` and `files.read.read_image`.
    """
    check_kind(thing)
    check_series(thing, series)
    warnings: list[str] = []
    if not is_path(thing):
        volumes = as_frames(thing) if every else [as_volume(thing, frame=frame)]
    else:
        from ..files.read import read_frames, read_image

        if every:
            volumes, warnings = read_frames(thing, series=str(series))
        else:
            volume, warnings = read_image(thing, series=str(series), frame=frame)
            volumes = [volume]
    return [replace(one, modality=modality.upper()) if modality else one for one in volumes], list(warnings)


def as_volume(thing: object, *, frame: int | None = None) -> Volume:
    """An image in memory as a Volume; its voxels are not copied where that can be avoided.

    Args:
        thing: a Volume, returned as it is; a nibabel image (ijk, RAS; its units of length are heeded); a SimpleITK image (LPS; a
            two-dimensional one of 8 bits or in colour is a picture); a tuple of an array in kji order (kjic with three colour
            channels) and a 4x4 affine from i, j, k to RAS in mm.
        frame: which volume to take, counted from 0, of an image with several.

    Returns:
        the Volume, checked as one from a file is.

    Raises:
        UsageError: anything else, a bare array without its affine among it.
        InputError: several volumes without `frame`, voxels that are no finite numbers, a geometry that cannot be used.

    Examples:
        >>> as_volume((np.zeros((4, 5, 6)), np.eye(4))).shape_kji
        (4, 5, 6)
    """
    from ..files.frames import ONE_VOLUME

    check_kind(thing)
    if isinstance(thing, Volume):
        if frame is not None:
            raise InputError(ONE_VOLUME, code="no-frame")
        return thing
    kind = _kind_of(thing)
    if not kind:
        raise UsageError("A path is to be read first; {taken}.", taken=TAKEN)
    volume = {"nibabel": _from_nibabel, "SimpleITK": _from_itk, "pair": _from_pair}[kind](thing, frame)
    volume.check()
    return volume


def as_frames(thing: object) -> list[Volume]:
    """Every volume of an image in memory that holds several; see `as_volume`.

    Raises:
        UsageError, InputError: as `as_volume`, and where there is one volume only.
    """
    from ..files.frames import EVERY_FRAME, ONE_VOLUME, split_frames

    check_kind(thing)
    kind = _kind_of(thing)
    if kind not in ("nibabel", "SimpleITK"):
        raise InputError(ONE_VOLUME, code="no-frame")
    return split_frames((_from_nibabel if kind == "nibabel" else _from_itk)(thing, EVERY_FRAME))


def _kind_of(thing: object) -> str:
    """ "Volume", "nibabel", "SimpleITK", "pair", "array", or "" for what else there is."""
    if isinstance(thing, Volume):
        return "Volume"
    if isinstance(thing, np.ndarray):
        return "array"
    if isinstance(thing, tuple) and len(thing) == 2 and isinstance(thing[0], np.ndarray):
        return "pair"
    packages = {(one.__module__ or "").partition(".")[0] for one in type(thing).__mro__}
    if "nibabel" in packages and hasattr(thing, "dataobj") and hasattr(thing, "affine"):
        return "nibabel"
    return "SimpleITK" if "SimpleITK" in packages and hasattr(thing, "GetNumberOfComponentsPerPixel") else ""


def _from_nibabel(image: Any, frame: int | None) -> Volume:
    from ..files.frames import one_volume

    try:
        voxels = np.asanyarray(image.dataobj)
    except OSError as error:
        raise InputError("The file behind the nibabel image cannot be read ({name}); load it again.", name=type(error).__name__) from error
    if image.affine is None:
        raise InputError("The nibabel image has no affine, so nobody knows where it lies; give it one and try again.")
    affine = np.array(image.affine, dtype=float)
    if hasattr(image.header, "get_xyzt_units"):
        affine[:3] *= _TO_MM.get(image.header.get_xyzt_units()[0], 1.0)
    voxels = voxels.T
    channels = len(voxels.dtype.names or ())
    if channels:  # NIfTI's RGB24 and RGBA32, a record a voxel
        voxels = np.stack([voxels[name] for name in voxels.dtype.names], axis=-1)
    while voxels.ndim < 3 + bool(channels):
        voxels = voxels[np.newaxis]
    return Volume(_plain(one_volume(voxels, bool(channels), frame)), affine)


def _from_itk(image: Any, frame: int | None) -> Volume:
    from ..files.read import volume_of_itk

    volume = volume_of_itk(image, frame)
    is_picture = image.GetDimension() == 2 and (volume.is_color or volume.voxels.dtype == np.uint8)
    return replace(volume, voxels=_plain(volume.voxels), is_picture=is_picture)


def tell_input(report: dict[str, Any], path: str, warnings: Sequence[str]) -> None:
    """Say in a report which image it is about, and what was to be said of it before anything else."""
    report["input"]["path"] = path
    report["warnings"] = [*warnings, *report["warnings"]]


def _from_pair(pair: Any, frame: int | None) -> Volume:
    array, affine = pair
    try:
        matrix = np.array(affine, dtype=float)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise UsageError("The affine beside the array is no 4x4 matrix with the last row 0 0 0 1; give the one from i, j, k to RAS in mm.")
    if frame is not None:
        raise UsageError("A frame is taken of an image with several volumes; of an array give the one volume itself, array[frame].")
    if array.ndim == 2:
        array = array[np.newaxis]
    return Volume(_plain(array), matrix)


def _plain(voxels: np.ndarray) -> np.ndarray:
    """Numbers in this computer's own byte order; truth values as 0 and 1."""
    if voxels.dtype.kind not in "biufc":
        raise InputError("The image holds no numbers but values of the type {dtype}; convert it first.", dtype=voxels.dtype)
    if voxels.dtype == np.bool_:
        return voxels.astype(np.uint8)
    if voxels.dtype in (np.float16, np.longdouble):
        return voxels.astype(np.float32 if voxels.dtype == np.float16 else np.float64)
    return voxels if voxels.dtype.isnative else voxels.astype(voxels.dtype.newbyteorder("="))
