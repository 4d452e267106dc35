"""Intensity windows: which range of values becomes 0..255, and doing it without float copies of whole volumes.

The first six sites are those that MedImageParse (2D) was trained with (BiomedParse processing_utils CT_WINDOWS, the same in Microsoft's
healthcareai-examples toolkit). MedImageParse 3D was trained with four others, which its model card gives as width and level: soft tissue
400/40, lung 1500/-160, brain 80/40 and bone 1800/400. (A level of -600 would be usual for lungs; the card's own number is kept, and
"-1350,150" can be given as a range.)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import UsageError
from ..models import MODELS, SLICES
from .gzipping import WORKERS
from .volume import Volume

CT_WINDOWS: dict[str, tuple[float, float]] = {
    "abdomen": (-150, 250),
    "lung": (-1000, 1000),
    "pelvis": (-55, 200),
    "liver": (-25, 230),
    "colon": (-68, 187),
    "pancreas": (-100, 200),
    "soft": (-160, 240),
    "brain": (0, 80),
    "bone": (-500, 1300),
    "lung-3d": (-910, 590),
}
# "No data" as scanners write it: below air by a gap (General Electric -2000 and -3024, others the smallest 16-bit numbers), or any value
# below every Hounsfield unit that much of the image has exactly.
_PADDING = frozenset({-2000.0, -2048.0, -3000.0, -3024.0, -4096.0, -8192.0, -32768.0, -32767.0})
_PADDING_GAP = 200.0
_BELOW_AIR, _OFTEN = -1100.0, 0.001  # HU; share of the voxels
_SIDE_BY_SIDE = 8_000_000  # voxels from which several threads are worth starting
_SAMPLE = 4_000_000  # voxels looked at for percentiles; more change nothing that 8 bits could show


@dataclass(slots=True, frozen=True)
class Window:
    """A choice of intensity range.

    Attributes:
        kind: "site", "range", "percentile", "untouched" (8-bit input, sent as it is) or "raw".
        low, high: values that become 0 and 255 (HU on CT); equal where kind is "untouched" or "raw".
        site: names of the sites, joined by "+", "" where none was named.
        why: the reason for this choice, in plain words.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    site: str = ""
    why: str = field(default="", compare=False)

    @property
    def changes_values(self) -> bool:
        return self.kind not in ("untouched", "raw")

    def describe(self) -> str:
        """In plain words, for the report and the panel."""
        if not self.changes_values:
            return {"untouched": "8-bit input, sent as it is", "raw": "raw values"}[self.kind]
        name = {"site": self.site, "range": "range as given", "percentile": "percentiles 0.5 to 99.5"}[self.kind]
        return f"{name}: {self.low:g} to {self.high:g}"


def looks_like_ct(volume: Volume) -> bool:
    """Whether values are Hounsfield units: by modality where it is known, else by air near -1000 and tissue above 0.

    Statistics: at least 1 % of voxels between -1100 and -500 HU (air or lung), at least 1 % between -200 and 300 HU, and
    nothing outside -32768..32767.
    """
    if volume.modality:
        return volume.modality.upper() == "CT"
    if volume.is_color or volume.is_picture or volume.voxels.dtype.kind not in "if" or volume.voxels.dtype.itemsize < 2:
        return False
    sample = without_padding(sample_of(volume.voxels), volume.padding).astype(np.float64)
    if sample.min() >= -500 or sample.max() > 32767:
        return False
    air = np.mean((sample >= -1100) & (sample <= -500))
    tissue = np.mean((sample >= -200) & (sample <= 300))
    return bool(air >= 0.01 and tissue >= 0.01)


CHOSEN, FOR_ENGINE, FOR_PROMPTS = "as chosen", "the engine takes Hounsfield units", "for the prompts and this kind of image"
FROM_VALUES, EIGHT_BIT = "no window is known for these values", "the values have 8 bits already"


def choose_window(
    volume: Volume,
    setting: str = "auto",
    sites: list[str] | tuple[str, ...] = (),
    model: str = SLICES.name,
    *,
    takes_raw: bool = False,
) -> Window:
    """The window for a volume.

    Args:
        volume: what is to be sent.
        setting: "auto", "raw", "percentile", a site's name, or "LOW,HIGH".
        sites: what the prompts name, e.g. ["abdomen"]; used by "auto" on CT. Several sites need one range for one image:
            the lowest low to the highest high of them; for the 3D model always one of its own four.
        model: "medimageparse" or "medimageparse3d"; "auto" uses windows of the model's own training.
        takes_raw: the engine that answers wants the values as they are (Hounsfield units of a CT): "auto" is "raw" then.

    Raises:
        UsageError: the setting is none of these.
    """
    setting = setting.strip()
    if setting == "raw":
        return Window("raw", why=CHOSEN)
    if setting == "percentile":
        return replace(percentile_window(volume), why=CHOSEN)
    if setting in CT_WINDOWS:
        return Window("site", *CT_WINDOWS[setting], site=setting, why=CHOSEN)
    if setting != "auto":
        return _range_window(setting)
    if volume.voxels.dtype == np.uint8:
        return Window("untouched", why=EIGHT_BIT)  # the model card: values already in 0..255 are left alone
    if takes_raw:
        return Window("raw", why=FOR_ENGINE)
    known = list(dict.fromkeys(site for site in sites if site in CT_WINDOWS))
    # Bone stays white and soft tissue stays gray in any narrower window; widening it for them would cost the organs' contrast.
    known = [site for site in known if site not in ("bone", "soft")] or known
    if known and MODELS[model].ct_windows and looks_like_ct(volume):
        site = next(site for site, served in MODELS[model].ct_windows.items() if set(served).intersection(known))
        return Window("site", *CT_WINDOWS[site], site=site, why=FOR_PROMPTS)
    if known and looks_like_ct(volume):
        low, high = min(CT_WINDOWS[site][0] for site in known), max(CT_WINDOWS[site][1] for site in known)
        return Window("site", low, high, "+".join(known), FOR_PROMPTS)
    return replace(percentile_window(volume), why=FROM_VALUES)


def percentile_window(volume: Volume) -> Window:
    """0.5th to 99.5th percentile over the whole volume's positive voxels, as the training data was made (BiomedParse
    pre_CT_MR.py); over all voxels where some are negative, as zero then is no background."""
    everything = sample = without_padding(sample_of(volume.voxels), volume.padding)
    if sample.min() >= 0:
        positive = sample[sample > 0]
        sample = positive if positive.size else sample
    low, high = np.percentile(sample, [0.5, 99.5])
    if low == high:  # two values only, such as a mask: show them both
        low, high = voxels_range(volume.voxels)
    if low == high:  # nearly all positive voxels alike, e.g. a mask: the background is what they differ from
        low, high = everything.min(), everything.max()
    return Window("percentile", float(low), float(high))


def without_padding(values: np.ndarray, padding: tuple[float, ...] = ()) -> np.ndarray:
    """The values that say something about the patient.

    Scanners and resampling fill what they have not seen with a value far below everything else.

    Args:
        values: any number of them, one axis.
        padding: what the file itself calls padding, see `Volume.padding`.

    Returns:
        those that are left; all of them where nothing would be left.
    """
    left = values
    for low, high in padding_ranges(values, padding):
        left = left[(left < low) | (left > high)]
    return left if left.size else values


def padding_ranges(values: np.ndarray, padding: tuple[float, ...] = ()) -> list[tuple[float, float]]:
    """The lowest and highest value of each kind of padding: as the file states it, and as the values themselves show it.

    Args:
        values: any number of them.
        padding: what the file itself calls padding, see `Volume.padding`.
    """
    ranges = [(min(padding), max(padding))] if padding else []
    left = values
    for low, high in ranges:
        left = left[(left < low) | (left > high)]
    if left.size:
        lowest = left.min()
        others = left[left != lowest]
        often = left.size - others.size >= max(2, _OFTEN * left.size)
        # Padding stands apart from what was measured; the end of a continuous range does not.
        if (float(lowest) in _PADDING or (lowest < _BELOW_AIR and often)) and others.size and float(others.min()) - lowest > _PADDING_GAP:
            ranges.append((float(lowest), float(lowest)))
    return ranges


def voxels_range(voxels: np.ndarray) -> tuple[float, float]:
    """Smallest and largest value."""
    return float(voxels.min()), float(voxels.max())


def apply_window(voxels: np.ndarray, window: Window) -> np.ndarray:
    """uint8 array of the same shape: (value - low) / (high - low) * 255, clipped and cast down.

    "raw" and "untouched" windows return the array itself. A window without width gives zeros below it and 255 above.
    """
    if not window.changes_values:
        return voxels
    if voxels.dtype.kind in "iub" and voxels.dtype.itemsize <= 2:
        return _by_table(voxels, window)
    result = np.empty(voxels.shape, np.uint8)
    for number, plane in enumerate(voxels):
        result[number] = _scale(plane.astype(np.float64), window)
    return result


def to_eight_bit(voxels: np.ndarray) -> tuple[np.ndarray, bool]:
    """Values as they are, made to fit 8 bits for a picture: (uint8 array, whether anything was cut off at 0 or 255)."""
    if voxels.dtype == np.uint8:
        return voxels, False
    cut = bool(voxels.size and (voxels.min() < 0 or voxels.max() > 255))
    return np.clip(voxels, 0, 255).astype(np.uint8), cut


def is_constant(voxels: np.ndarray) -> bool:
    """Whether every voxel has the same value."""
    first = voxels.flat[0]
    return all(bool(np.all(plane == first)) for plane in voxels)


def _range_window(setting: str) -> Window:
    try:
        low, high = (float(part) for part in setting.split(","))
    except ValueError:
        low = high = np.nan
    if not low < high or not np.isfinite([low, high]).all():
        sites = ", ".join(CT_WINDOWS)
        raise UsageError(
            "The window '{setting}' is not known; give auto, raw, percentile, a site ({sites}) or LOW,HIGH with LOW below HIGH.",
            setting=setting,
            sites=sites,
        )
    return Window("range", low, high, why=CHOSEN)


def sample_of(voxels: np.ndarray) -> np.ndarray:
    """A regular sample of the voxels, spread over all axes, that bounds the cost on large volumes."""
    step = max(1, int(np.ceil((voxels.size / _SAMPLE) ** (1 / 3))))
    return voxels[
        :: step if voxels.shape[0] > step else 1, :: step if voxels.shape[1] > step else 1, :: step if voxels.shape[2] > step else 1
    ].ravel()


def _scale(values: np.ndarray, window: Window) -> np.ndarray:
    if window.high <= window.low:
        return np.where(values > window.high, 255, 0).astype(np.uint8)
    return np.clip((values - window.low) / (window.high - window.low) * 255.0, 0, 255).astype(np.uint8)


def _by_table(voxels: np.ndarray, window: Window) -> np.ndarray:
    """One table entry a possible value: no float copy, and about five times faster than arithmetic on 16-bit volumes."""
    if voxels.dtype == np.bool_:
        voxels = voxels.view(np.uint8)
    unsigned = np.dtype(f"u{voxels.dtype.itemsize}")
    codes = np.arange(2 ** (8 * unsigned.itemsize), dtype=np.uint32).astype(unsigned)
    table = _scale(codes.view(voxels.dtype.newbyteorder("=")).astype(np.float64), window)
    result = np.empty(voxels.shape, np.uint8)
    native = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)

    def look_up(number: int) -> None:
        np.take(table, np.ascontiguousarray(native[number]).view(unsigned), out=result[number], mode="wrap")

    if voxels.size < _SIDE_BY_SIDE:
        for number in range(len(native)):
            look_up(number)
    else:  # numpy lets other threads work meanwhile
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(look_up, range(len(native))))
    return result
