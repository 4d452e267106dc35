"""Reading 2D image files (PNG, JPEG, TIFF) as a volume of one slice, pixels as stored."""

from __future__ import annotations

import warnings as python_warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..imaging.volume import Volume
from .quiet import quiet_codecs

if TYPE_CHECKING:
    from PIL import Image

PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# Column i runs to the picture's right and row j down, which LPS readers such as Slicer and ITK show upright: i to the patient's
# left, j to the back, 1 mm each. A picture's file says nothing about the patient; this only makes geometry well defined.
PICTURE_IJK_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_EXIF_ORIENTATION = 0x0112


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
            with Image.open(path, formats=("PNG", "JPEG", "TIFF")) as picture:
                return _decode(picture, path, warnings)
    except Image.DecompressionBombError as error:
        raise InputError(f"The picture {path.name} has too many pixels; crop it or scale it down first.") from error
    except (UnidentifiedImageError, SyntaxError, ValueError, EOFError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(f"The picture {path.name} is damaged, incomplete or no picture at all; export it again.") from error


def _decode(picture: Image.Image, path: Path, warnings: list[str]) -> Volume:
    pages = getattr(picture, "n_frames", 1)
    if pages > 1 and picture.format != "MPO":  # MPO: a camera's JPEG whose further pages are previews
        raise InputError(f"The picture {path.name} holds {pages} pages; save the one that you want as a file of its own.")
    if "16B" in str(picture.tile) and picture.mode == "RGB":
        warnings.append("The picture has 16 bits a color channel; only the upper 8 are used.")
    if picture.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1):
        warnings.append("The camera noted that this picture is to be shown turned; it is sent as stored, not turned.")
    picture.load()
    voxels = _pixels(picture)
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
