"""From a slice or a 2D picture to the small square that MedImageInsight is sent, by one recipe that is recorded with each vector.

Published code has no single truth: windows, sizes and turns differ from sample to sample, and the server resizes to 512x512 without
keeping the aspect, whatever comes. A search only works where both sides were made alike, so there is one recipe here:

* window "auto": CT from -1000 to 1000 HU (as Microsoft's CT search demo clips; the same for every study, whatever else is on the
  slice), 8-bit images as they are, everything else from the 1st to the 99th percentile of the whole volume (its toolkit's 1 to 99);
* radiological view, square millimetres, as the slices are read by people; a 2D picture is never turned;
* padded to a square with black in the middle, not stretched: the same organ keeps its shape whatever the field of view. "stretch"
  does what the published samples do;
* 512x512, 8 bits: the server's own size, so that its resize changes nothing.

Gray goes as one channel, a third of the bytes: the published samples post gray X-ray and OCT files as they are, and the server makes
them RGB itself.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..imaging.geometry import AUTO_PLANE, SliceView, resolve_plane
from ..imaging.png import encode_png
from ..imaging.volume import Volume
from ..imaging.windows import CT_WINDOWS, Window, apply_window, choose_window, looks_like_ct, to_eight_bit
from ..search.records import content_hash

RECIPE = "v1"  # to be raised whenever the same settings would give other pixels
CT_WINDOW = (-1000.0, 1000.0)  # HU
PERCENTILES = (1.0, 99.0)
FITS = ("pad", "stretch")
POOLS = ("none", "mean", "statistics")
SIDE = 512
THUMBNAIL_SIDE = 128
_SAMPLE = 2_000_000  # voxels looked at for percentiles
_BRIGHT, _BRIGHT_SHARE, _LEAST_DEVIATION = 26, 0.02, 2.0  # what "has content" means, see `has_content`


@dataclass(slots=True, frozen=True)
class Preprocessing:
    """The settings of the recipe; vectors made with different ones are never compared.

    Attributes:
        window: "auto", "percentile", a site's name or "LOW,HIGH".
        fit: "pad" or "stretch".
        pool: "none" for a vector a slice, "mean" or "statistics" for one a volume.

    Examples:
        >>> Preprocessing().text
        'v1 window=auto view=radiological fit=pad size=512 pool=none'
    """

    window: str = "auto"
    fit: str = "pad"
    pool: str = "none"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise UsageError("The fit '{fit}' is not known; give pad or stretch.", fit=self.fit)
        if self.pool not in POOLS:
            raise UsageError("The pooling '{pool}' is not known; give none, mean or statistics.", pool=self.pool)
        object.__setattr__(self, "window", _canonical_window(self.window))

    @property
    def text(self) -> str:
        """The recipe in one line, the same for the same settings; `parse` reads it back."""
        return f"{RECIPE} window={self.window} view=radiological fit={self.fit} size={SIDE} pool={self.pool}"

    @classmethod
    def parse(cls, text: str) -> Preprocessing | None:
        """The settings behind a line; None where another version or another program wrote it."""
        parts = dict(part.split("=", 1) for part in text.split() if "=" in part)
        try:
            made = cls(parts.get("window", ""), parts.get("fit", ""), parts.get("pool", ""))
        except UsageError:
            return None
        return made if made.text == text else None


class PictureMaker:
    """Makes the pictures of one volume, slice by slice; only what is asked for is windowed.

    Args:
        volume: any orientation.
        preprocessing: the recipe's settings.
        plane: "auto" (the volume's own slices), "axial", "coronal" or "sagittal".

    Raises:
        UsageError: unknown plane or window, or a plane along which slices are strips. InputError: the volume cannot be used.
    """

    def __init__(self, volume: Volume, preprocessing: Preprocessing, plane: str = AUTO_PLANE) -> None:
        volume.check()
        plane = resolve_plane(volume, plane)
        self.volume = volume
        self.preprocessing = preprocessing
        self.plane = "" if volume.is_picture else plane
        self._view = SliceView.of(volume, plane)
        self._axis = self._view.axes.order[0]
        self._window = window_of(volume, preprocessing.window)
        self._table = _table(volume.voxels.dtype, self._window)

    @property
    def count(self) -> int:
        """How many slices there are along the plane's own array axis."""
        return self._view.count(self.volume)

    @property
    def window_words(self) -> str:
        """The window in plain words, for the report."""
        return self._window.describe().replace("percentiles 0.5 to 99.5", "percentiles 1 to 99")

    def slice_pixels(self, index: int) -> np.ndarray:
        """One windowed slice in radiological view: uint8 (rows, columns) or (rows, columns, 3), its own size."""
        one = np.take(self.volume.voxels, [index], axis=self._axis)
        if self._table is not None:
            one = np.take(self._table, np.ascontiguousarray(one).view(np.uint16), mode="wrap")
        else:
            one, _cut = to_eight_bit(apply_window(one, self._window))
        return np.ascontiguousarray(self._view.axes.apply(one)[0])

    def square(self, pixels: np.ndarray) -> np.ndarray:
        """The 512x512 picture of a slice's pixels; gray stays gray."""
        from PIL import Image

        if pixels.shape[:2] == (SIDE, SIDE) and self._view.fit.square_shape == (SIDE, SIDE):
            return pixels
        fit = self._view.fit
        rows, columns = (SIDE, SIDE)
        if self.preprocessing.fit == "pad":
            rows, columns = (max(1, round(size * SIDE / fit.side)) for size in fit.square_shape)
        small = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BICUBIC))
        if (rows, columns) == (SIDE, SIDE):
            return small
        top, left = (SIDE - rows) // 2, (SIDE - columns) // 2
        square = np.zeros((SIDE, SIDE, *pixels.shape[2:]), np.uint8)
        square[top : top + rows, left : left + columns] = small
        return square


def window_of(volume: Volume, setting: str) -> Window:
    """The window of the recipe for a volume; see the module's text for "auto"."""
    if setting == "auto":
        if volume.voxels.dtype == np.uint8:
            return Window("untouched")
        if looks_like_ct(volume):
            return Window("site", *CT_WINDOW, site="CT")
        return _percentiles(volume.voxels)
    if setting == "percentile":
        return _percentiles(volume.voxels)
    return choose_window(volume, setting)


def has_content(pixels: np.ndarray) -> bool:
    """Whether a windowed slice shows anything: at least 2 % of its pixels are brighter than a tenth of the range, and not all alike."""
    gray = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    return bool(np.count_nonzero(gray >= _BRIGHT) >= _BRIGHT_SHARE * gray.size and gray.std() >= _LEAST_DEVIATION)


def hash_of(square: np.ndarray, preprocessing: Preprocessing) -> str:
    """The name of a picture as it would be sent, and how it was made: 64 hex digits (see search.records.content_hash).

    Of the pixels, not of the PNG file: the same picture compressed by another version of a library is the same picture.
    """
    return content_hash(square, preprocessing.text)


def encode_square(square: np.ndarray) -> bytes:
    """PNG of the picture: one channel where it is gray, three where it has colors; no text, time or color profile.

    Gray is written here rather than by Pillow, which tries every filter on every row: rows minus the row above, run lengths and
    Huffman codes take a sixth of the time at the same size (PNG specification, sections 9 and 10).
    """
    if square.ndim == 3:
        return encode_png(square)
    height, width = square.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = 2  # filter type "Up"
    rows[0, 1:] = square[0]
    np.subtract(square[1:], square[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    data = packer.compress(rows.data) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def make_thumbnail(square: np.ndarray) -> bytes:
    """A PNG of 128x128 pixels for a grid of results: pixels only, nothing else in the file."""
    from PIL import Image

    return encode_square(np.asarray(Image.fromarray(square).reduce(SIDE // THUMBNAIL_SIDE)))


def _table(kind: np.dtype, window: Window) -> np.ndarray | None:
    """What each 16-bit value becomes, worked out once for all slices; None for other types of voxels."""
    if kind.kind not in "iu" or kind.itemsize != 2 or not kind.isnative or not window.changes_values:
        return None
    codes = np.arange(65536, dtype=np.uint16).view(kind)
    return apply_window(codes.reshape(1, 256, 256), window).ravel()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _percentiles(voxels: np.ndarray) -> Window:
    """Over positive voxels where none is negative: zero then is background."""
    step = max(1, int(np.ceil((voxels.size / _SAMPLE) ** (1 / 3))))
    steps = [step if size > step else 1 for size in voxels.shape[:3]]
    sample = voxels[:: steps[0], :: steps[1], :: steps[2]].ravel()
    if sample.min() >= 0 and (sample > 0).any():
        sample = sample[sample > 0]
    low, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    if low == high:  # two values only, such as a mask: show both
        low, high = float(voxels.min()), float(voxels.max())
    return Window("percentile", low, high)


def _canonical_window(setting: str) -> str:
    setting = setting.strip()
    if setting in ("auto", "percentile") or setting in CT_WINDOWS:
        return setting
    try:
        low, high = (float(part) for part in setting.split(","))
    except ValueError:
        low = high = float("nan")
    if not low < high or not np.isfinite([low, high]).all():
        sites = ", ".join(CT_WINDOWS)
        raise UsageError(
            "The window '{setting}' is not known; give auto, percentile, a site ({sites}) or LOW,HIGH with LOW below HIGH.",
            setting=setting,
            sites=sites,
        )
    return f"{low:g},{high:g}"
