"""What the numbers of a volume mean: a CT in HU, a CT behind an unknown window, or something else.

A client may window a CT to 0..255 before it sends it and does not say how. The engine looks at where the peaks of the histogram would
lie in HU under each known window and takes the one that puts them where human tissue has them.

What this assumes: fat peaks near -100 HU and soft tissue (muscle, liver, blood) near 45 HU, and the picture shows a person with air
around. Windows that cut off fat (their low end above -125 HU) are told apart by the soft tissue peak alone, which is uncertain by about
20 HU; windows that are nearly the same (abdomen and soft tissue) are not told apart, which does no harm. A volume that fits nowhere
is not treated as CT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...imaging.windows import CT_WINDOWS

FAT_HU = -103.0
SOFT_HU = 45.0
LOWEST_HU, HIGHEST_HU = -1024.0, 3000.0

# Low and high end in HU: the client's own, and two that others send.
WINDOWS: dict[str, tuple[float, float]] = {
    **CT_WINDOWS,
    "lung and soft tissue": (-1350.0, 150.0),
    "lung, narrow": (-1000.0, 250.0),
}
_NARROW_HU = 300.0  # a window that ends below cuts off bone
_WIDE_HU = 500.0  # one that ends above shows it
_MOST_CUT_OFF = 0.008
_LEAST_CUT_OFF, _MOST_BRIGHT, _BRIGHT_HU = 0.001, 0.3, 180.0
_NEARLY = 0.7
_CUTS_FAT_HU, _TAIL_HU = -85.0, ((2.0, 14.0), (25.0, 40.0))
_EDGE_HU = 20.0  # so far above the low end of a window its edge may still be seen
_ENOUGH, _ENOUGH_WITHOUT_FAT = 0.2, 0.3  # one peak alone says less


@dataclass(slots=True, frozen=True)
class Calibration:
    """HU = slope * value + intercept, right between low_hu and high_hu; beyond, the values are clipped.

    Attributes:
        name: "HU", the window's name, or "fitted"; "" for what is not CT.
    """

    name: str
    slope: float = 1.0
    intercept: float = 0.0
    low_hu: float = LOWEST_HU
    high_hu: float = HIGHEST_HU
    score: float = 0.0

    @property
    def is_ct(self) -> bool:
        return bool(self.name)

    @property
    def shows_fat(self) -> bool:
        return self.low_hu <= -125.0

    @property
    def air_below_hu(self) -> float:
        """Values below are air (lung included) where air can be told from fat, else the bottom of the window."""
        if self.low_hu <= -500.0:
            return -300.0
        return self.low_hu + (0.35 * (FAT_HU - self.low_hu) if self.shows_fat else 2.0)

    def hu(self, values: np.ndarray) -> np.ndarray:
        """HU, float32, of an array of values as sent."""
        return values.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)

    def value(self, hu: float) -> float:
        """The value as sent for one HU."""
        return (hu - self.intercept) / self.slope


def calibrate(sample: np.ndarray, among: Callable[[Calibration], bool] = lambda _candidate: True) -> Calibration:
    """The best reading of a sample of values.

    Args:
        sample: any shape, e.g. the volume in a coarser copy, so that noise is low.
        among: which readings may be taken.
    """
    values = np.asarray(sample, np.float32).ravel()
    values = values[np.isfinite(values)]
    if values.size < 27 or values.min() == values.max():
        return Calibration("")
    low, high = float(values.min()), float(values.max())
    best = Calibration("")
    for candidate in _candidates(values, low, high):
        score = _fit(candidate, values) if among(candidate) else 0.0
        if score > max(best.score, _ENOUGH if candidate.shows_fat else _ENOUGH_WITHOUT_FAT):
            best = replace(candidate, score=score)
    return best


def not_brain(sample: np.ndarray, reading: Calibration) -> Calibration:
    """The reading of a picture that shows no head: of a brain window another narrow one that fits nearly as well, else the same.

    Args:
        sample: as for `calibrate`.
        reading: what that gave.
    """
    if reading.name != "brain":
        return reading
    other = calibrate(sample, lambda each: each.name != "brain" and not each.shows_fat)
    return other if other.score > _NEARLY * reading.score else reading


def _candidates(values: np.ndarray, low: float, high: float) -> list[Calibration]:
    if low < 0 or high > 255:
        offsets = (0.0,) if low < -200 else (0.0, -1024.0, -1000.0)
        return [Calibration("HU", 1.0, offset) for offset in offsets]
    top = 1.0 if high <= 1.0 else 255.0
    found = [Calibration(name, (b - a) / top, a, a, b) for name, (a, b) in WINDOWS.items()]
    return found + _fitted(values, top)


def _fitted(values: np.ndarray, top: float) -> list[Calibration]:
    """Windows that nobody named: any two peaks of the histogram taken as fat and soft tissue."""
    counts, _edges = np.histogram(values * (255.0 / top), bins=255, range=(0.5, 254.5))
    counts = _smooth(counts, 2.0)
    peaks = np.flatnonzero((counts[1:-1] >= counts[:-2]) & (counts[1:-1] > counts[2:]) & (counts[1:-1] > 0.08 * counts.max())) + 2
    found = []
    for fat in peaks:
        for soft in peaks:
            if soft - fat >= 10 and counts[soft] > 0.2 * counts[fat]:
                at_fat, at_soft = (_between(counts, int(peak)) for peak in (fat - 1, soft - 1))
                slope = (SOFT_HU - FAT_HU) / (at_soft - at_fat)
                low = FAT_HU - slope * (at_fat + 1)
                # A window that shows fat and is narrower than this is rare; peaks that ask for one are fat and an organ full of contrast.
                if -1400.0 <= low <= -125.0 and 255.0 * slope >= 300.0:
                    found.append(Calibration("fitted", slope * 255.0 / top, low, low, low + 255.0 * slope))
    return found


def _between(counts: np.ndarray, peak: int) -> float:
    """Where a peak is highest, finer than the histogram's steps: the top of the parabola through it and its neighbors."""
    before, top, after = (float(counts[peak + step]) for step in (-1, 0, 1))
    bend = before - 2.0 * top + after
    return peak + (0.5 * (before - after) / bend if bend else 0.0)


def _fit(candidate: Calibration, values: np.ndarray) -> float:
    """How much the histogram looks like a person in HU: 0 not at all, 1 very."""
    hu = candidate.hu(values)
    if not _has_air(candidate, hu):
        return 0.0
    bottom = max(candidate.low_hu + 1.0, -250.0)
    tissue = hu[(hu > bottom) & (hu < min(candidate.high_hu - 1.0, 1500.0))]
    if tissue.size < max(20, 0.01 * hu.size):
        return 0.0
    counts, edges = np.histogram(tissue, bins=450, range=(-250.0, 1550.0))
    counts = _smooth(counts, max(2.0, candidate.slope / 4.0))
    centers = (edges[:-1] + edges[1:]) / 2
    peaks = _peaks(counts, centers, -20.0, 130.0)
    if not peaks:
        return 0.0
    # Contrast medium brightens organs, nothing darkens them: be lenient above, more so where fat can vouch for the reading. Muscle stays
    # what it was beside organs that are as many and brighter.
    lenient = 55.0 if candidate.shows_fat else 35.0
    score, soft = max((_bell(peak - SOFT_HU, 25.0 if peak < SOFT_HU else lenient), peak) for peak in peaks)
    top = candidate.high_hu - 0.02 * (candidate.high_hu - candidate.low_hu)
    cut_off = float(np.mean(hu[hu > bottom] > top))
    if candidate.high_hu < _NARROW_HU and cut_off < _LEAST_CUT_OFF:
        score *= 0.3  # there is bone in nearly every CT, and this window would cut it off
    if candidate.high_hu > _WIDE_HU and candidate.name != "HU" and cut_off > _MOST_CUT_OFF:
        score *= 0.5  # hardly anything in a patient is brighter than this window
    if float(np.mean(tissue > _BRIGHT_HU)) > _MOST_BRIGHT:
        score *= 0.3  # so much bone has nobody: it is soft tissue, read too bright
    share = float(np.mean((tissue > soft - 45.0) & (tissue < max(peaks) + 45.0)))
    if candidate.shows_fat:
        fat = _peak(counts, centers, -140.0, -60.0)
        score *= 0.35 if fat is None else 0.4 + 0.6 * _bell(fat - FAT_HU, 14.0)
        if fat is not None:
            share += float(np.mean(np.abs(tissue - fat) < 35.0))
    else:
        score *= 0.5 * _narrow_window_factor(candidate, hu, counts, centers)
    if candidate.name == "fitted":
        # A pair of peaks can be found in many pictures that are no CT; tissue peaks of a CT are narrow.
        score *= 0.65 if share > 0.65 else 0.0
    return score * min(1.0, share)


def _narrow_window_factor(candidate: Calibration, hu: np.ndarray, counts: np.ndarray, centers: np.ndarray) -> float:
    """Doubts about a window that cuts off fat: then nothing but edges lies between its low end and soft tissue."""
    if candidate.high_hu < 120.0 and float(np.mean(hu[hu > candidate.low_hu + 0.5] >= candidate.high_hu - 0.5)) < 0.08:
        # A brain window cuts off the skull, which is a good part of any head.
        return 0.0
    factor = 1.0
    if candidate.low_hu < _CUTS_FAT_HU:
        # The low end lies in the peak of fat: what is left of it falls off at once.
        tail, after = (
            float(np.mean(counts[(centers > candidate.low_hu + low) & (centers < candidate.low_hu + high)])) for low, high in _TAIL_HU
        )
        factor = 1.5 if tail > 2.0 * after else 0.6
    stray = _peak(counts, centers, candidate.low_hu + _EDGE_HU, -4.0) if candidate.low_hu + _EDGE_HU < -10.0 else None
    return factor if stray is None else 0.3


def _has_air(candidate: Calibration, hu: np.ndarray) -> bool:
    """A CT nearly always has a good share of air, which a window turns into one single value."""
    if candidate.low_hu <= -950.0:
        return float(np.mean(hu < -850.0)) > 0.01
    return float(np.mean(hu <= candidate.low_hu + 0.5)) > 0.01


def _peak(counts: np.ndarray, centers: np.ndarray, low: float, high: float) -> float | None:
    """Where the histogram has its highest inner maximum between two values, None where it only falls or rises."""
    inside = np.flatnonzero((centers >= low) & (centers <= high))
    part = counts[inside]
    top = int(part.argmax())
    if part[top] <= 0 or part[top] < 0.01 * counts.max() or top in (0, part.size - 1):
        return None
    return float(centers[inside[top]])


def _peaks(counts: np.ndarray, centers: np.ndarray, low: float, high: float) -> list[float]:
    """The inner maxima of a histogram between two values that are at least half as high as the highest."""
    top = _peak(counts, centers, low, high)
    if top is None:
        return []
    inside = np.flatnonzero((centers >= low) & (centers <= high))
    part = counts[inside]
    found = np.flatnonzero((part[1:-1] > part[:-2]) & (part[1:-1] >= part[2:]) & (part[1:-1] >= 0.5 * part.max())) + 1
    return [float(centers[inside[number]]) for number in found]


def _smooth(counts: np.ndarray, sigma: float) -> np.ndarray:
    radius = int(4 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.convolve(counts.astype(float), kernel / kernel.sum(), mode="same")


def _bell(difference: float, width: float) -> float:
    return float(np.exp(-0.5 * (difference / width) ** 2))
