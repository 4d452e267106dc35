"""Tall volumes cut into slabs along their axial axis, and masks merged exactly.

Why slabs: the published 3D network guesses the slice axis from the shape alone, and takes a tall CT for a sagittal one (get_axis
in BiomedParse v2: axis 0 where 2 |y - z| / (y + z) < 0.5, else the shortest). Lower slabs put that right: below about 0.6 of the rows y, and
below the columns x, which must be no fewer. 0.55 leaves room for servers that round otherwise. Why an overlap of two: it sees each slice with one
neighbour on either side, so a slab's outermost slice is judged on less; each slab gives up one slice at each inner border.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..remedies import Sentence, joined
from .layers import union
from .volume import CroppedMask

OVERLAP = 2


@dataclass(slots=True, frozen=True)
class Slab:
    """Slices [start, stop) are sent; of them [keep_start, keep_stop) are used. All along k of the array that is sent."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def guessed_axis(shape_ijk: tuple[int, int, int]) -> int:
    """The axis that the published network takes for the slice axis: 0, 1 or 2 of (i, j, k); 2 is right for RAS axes."""
    _x, y, z = shape_ijk
    if 2 * abs(y - z) / (y + z) < 0.5:
        return 0
    return int(np.argmin(shape_ijk))


def slabs_for(
    setting: str, shape_kji: tuple[int, int, int], bytes_estimate: int = 0, body_limit: int = 0, *, guesses_axis: bool = True
) -> tuple[list[Slab], str]:
    """Slabs for an array of this shape.

    Args:
        setting: "none", "auto" or a number of slabs.
        shape_kji: (slices, rows, columns) as sent; it is cut along the slices.
        bytes_estimate: size of a request with the whole volume; 0 where not known.
        body_limit: what the endpoint takes, bytes; 0 where not known.
        guesses_axis: the endpoint guesses the slice direction from the shape, as the published network does; a local engine does not.

    Returns:
        slabs, in order; and a sentence saying why there is more than one ("" where there is not).

    Raises:
        UsageError: the setting is none of these.
    """
    depth = shape_kji[0]
    if setting == "none":
        return _cut(depth, 1), ""
    if setting != "auto":
        if not setting.isdecimal() or int(setting) < 1:
            raise UsageError("The slabs '{setting}' are not understood; give none, auto or a number of slabs.", setting=setting)
        slabs = _cut(depth, int(setting))
        return slabs, _sentence(
            slabs,
            Sentence("as asked") if len(slabs) == int(setting) else Sentence("{setting} were asked for, and no more fit", setting=setting),
        ) if int(setting) > 1 else ""
    needed = _for_axis(shape_kji) if guesses_axis else 1
    why = Sentence("the model may mistake the slice direction of a volume of this shape") if needed > 1 else ""
    for_size = int(np.ceil(bytes_estimate / (0.9 * body_limit))) if body_limit and bytes_estimate > body_limit else 1
    while (
        for_size > 1
        and len(_cut(depth, for_size + 1)) > for_size
        and _tallest(_cut(depth, for_size)) * bytes_estimate > 0.95 * body_limit * depth
    ):
        for_size += 1  # thin slabs: the slices that overlap weigh as well
    if for_size > needed:
        needed, why = for_size, Sentence("the whole volume would be larger than the endpoint takes")
    slabs = _cut(depth, needed)
    if guesses_axis and not all(_is_safe(slab, shape_kji) for slab in slabs) and guessed_axis(shape_kji[::-1]) != 2:
        cut = [Sentence("It went in {count} slabs ({why}).", count=len(slabs), why=why)] if len(slabs) > 1 else []
        return slabs, joined([Sentence(_TRAPPED, i=shape_kji[2], j=shape_kji[1], k=depth), *cut])
    return slabs, _sentence(slabs, why) if needed > 1 else ""


_TRAPPED = (
    "MedImageParse 3D may take another direction of a volume of {i} x {j} x {k} voxels for that of its slices, and no cut into slabs prevents "
    "it; send a region of another shape, or look at the result closely."
)


def _is_safe(slab: Slab, shape_kji: tuple[int, int, int]) -> bool:
    return guessed_axis((shape_kji[2], shape_kji[1], slab.stop - slab.start)) == 2


def _for_axis(shape_kji: tuple[int, int, int]) -> int:
    """How many slabs it takes until the network slices each along k: 1 where it does so anyway, or where no number helps."""
    depth, rows, columns = shape_kji
    if guessed_axis(shape_kji[::-1]) == 2:
        return 1
    most = int(np.ceil(min(0.55 * rows, columns))) - 1  # slices, below both
    for height in range(min(most, depth - 1), OVERLAP, -1):
        count = int(np.ceil((depth - OVERLAP) / (height - OVERLAP)))
        slabs = _cut(depth, count)
        if _tallest(slabs) <= height and all(_is_safe(slab, shape_kji) for slab in slabs):
            return count
    return 1


def merge_slabs(slabs: list[Slab], masks: list[CroppedMask], depth: int) -> CroppedMask:
    """One mask from the masks of the slabs, each on its slab's own grid, in order."""
    _depth, rows, columns = masks[0].shape_kji
    shape = (depth, rows, columns)
    parts = []
    for slab, mask in zip(slabs, masks):
        if mask.voxels.size:
            first = max(slab.keep_start - slab.start - mask.start_kji[0], 0)
            last = max(slab.keep_stop - slab.start - mask.start_kji[0], 0)
            kept = mask.voxels[first:last]
            parts.append(CroppedMask(shape, (mask.start_kji[0] + first + slab.start, mask.start_kji[1], mask.start_kji[2]), kept))
    parts = [part for part in (part.trimmed() for part in parts) if part.voxels.size]
    return union(parts) if parts else CroppedMask.empty(shape)


def _cut(depth: int, count: int) -> list[Slab]:
    """`count` slabs of even height that overlap by two slices; fewer where slabs would have under three slices."""
    count = max(1, min(count, depth - OVERLAP))
    # Borders between what is kept; each slab reaches one slice past its own borders on either side. The first and the last slab
    # reach out on one side only and keep one slice more, so that all that is sent is even: no slab over ceil((depth - 2) / count) + 2.
    reach = OVERLAP // 2
    borders = [0, *(round(number * (depth - OVERLAP) / count) + reach for number in range(1, count)), depth]
    return [Slab(max(first - reach, 0), min(last + reach, depth), first, last) for first, last in itertools.pairwise(borders)]


def _tallest(slabs: list[Slab]) -> int:
    return max(slab.stop - slab.start for slab in slabs)


def _sentence(slabs: list[Slab], why: str) -> str:
    if len(slabs) < 2:
        return "The volume went as one slab: it has too few slices to cut."
    return Sentence(
        "The volume went in {count} slabs that overlap by {overlap} slices ({why}).", count=len(slabs), overlap=OVERLAP, why=why
    )
