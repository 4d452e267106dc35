"""What is really in an image: masks for whatever volume or picture is sent, found by its content and by nothing else.

Each class has `volume(voxels_ijk, prompts)` and `picture(gray, prompts)`, or one of them; both give one mask a prompt, of the
shape that came. An unknown prompt has an empty mask.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import permutations, product
from pathlib import Path

import numpy as np

_THUMB = 64


class GrayRanges:
    """Content-coded phantoms: each structure is a range of gray levels (both ends inside), in any orientation.

    Example:
        >>> GrayRanges({"cube": (90, 110)}).picture(np.array([[0, 100]]), ["cube", "unicorn"])[0].tolist()
        [[False, True]]
    """

    def __init__(self, ranges: dict[str, tuple[float, float]]):
        self._ranges = dict(ranges)

    def volume(self, voxels: np.ndarray, prompts: list[str]) -> list[np.ndarray]:
        return [(voxels >= low) & (voxels <= high) for low, high in (self._ranges.get(prompt, (np.inf, -np.inf)) for prompt in prompts)]

    picture = volume


class Painted:
    """Masks painted on the picture that was sent, whatever it shows: paint(prompt, shape) gives bool or float in 0..1."""

    def __init__(self, paint: Callable[[str, tuple[int, int]], np.ndarray]):
        self._paint = paint

    def picture(self, gray: np.ndarray, prompts: list[str]) -> list[np.ndarray]:
        return [self._paint(prompt, gray.shape) for prompt in prompts]


class References:
    """A real volume with its labelmap. Volumes that come are matched over the 48 orientations and every slab along one axis; pictures
    over all slices of the three axes, turned in eight ways.

    Args:
        voxels, labels: arrays in i, j, k order.
        names: prompt to the label values that make it up.
        clip: values beyond these say nothing about where a slice lies (windows cut them off).
    """

    def __init__(self, voxels: np.ndarray, labels: np.ndarray, names: dict[str, list[int]], clip: tuple[float, float] = (-150, 250)):
        self._voxels, self._labels, self._names = np.clip(voxels, *clip).astype(np.float32), labels, names
        self._thumbs: tuple[np.ndarray, list] | None = None

    @classmethod
    def of_folder(cls, folder: Path, extra: dict[str, list[int]] | None = None) -> References:
        """ct_abdomen_3mm with TotalSegmentator's names (blanks for underscores), and `extra` names made of several labels."""
        import nibabel as nib

        voxels = np.asarray(nib.load(folder / "ct_abdomen_3mm.nii.gz").dataobj)
        labels = np.asarray(nib.load(folder / "ct_abdomen_3mm_labels.nii.gz").dataobj)
        listed = json.loads((folder / "ct_abdomen_3mm_labels.json").read_text())
        names = {name.replace("_", " "): [int(value)] for value, name in listed.items()}
        return cls(voxels, labels, names | (extra or {}))

    def volume(self, voxels: np.ndarray, prompts: list[str]) -> list[np.ndarray]:
        labels = max(self._placements(voxels.shape), key=lambda candidate: correlation(candidate[0], voxels))[1]
        return [np.isin(labels, self._names.get(prompt, [])) for prompt in prompts]

    def picture(self, gray: np.ndarray, prompts: list[str]) -> list[np.ndarray]:
        axis, index, late, turn = self._nearest_slice(gray)
        labels = turned(padded_to(np.take(self._labels, index, axis), gray.shape[0], late), turn)
        return [np.isin(labels, self._names.get(prompt, [])) for prompt in prompts]

    def _placements(self, shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for order in permutations(range(3)):
            ours, labels = self._voxels.transpose(order), self._labels.transpose(order)
            differs = [axis for axis in range(3) if ours.shape[axis] != shape[axis]]
            if len(differs) > 1 or any(ours.shape[axis] < shape[axis] for axis in differs):
                continue
            along = differs[0] if differs else 0
            for flips in product((1, -1), repeat=3):
                flip = tuple(slice(None, None, sign) for sign in flips)
                for start in range(ours.shape[along] - shape[along] + 1):
                    part = (slice(None),) * along + (slice(start, start + shape[along]),)
                    yield ours[flip][part], labels[flip][part]

    def _nearest_slice(self, gray: np.ndarray) -> tuple[int, int, bool, int]:
        """(axis, index, whether the odd pixel of padding lies before the slice, turn): a slice may have been flipped before padding."""
        if self._thumbs is None:
            low = float(self._voxels.min())
            places = [(axis, index, late) for axis in range(3) for index in range(self._voxels.shape[axis]) for late in (False, True)]
            thumbs = [thumbnail(padded_to(np.take(self._voxels, index, axis) - low, 256, late)) for axis, index, late in places]
            self._thumbs = np.stack([_standard(thumb) for thumb in thumbs]), places
        thumbs, places = self._thumbs
        sent = thumbnail(gray)
        back = np.stack([_standard(_straightened(sent, turn)) for turn in range(8)], axis=1)
        place, turn = np.unravel_index(np.argmax(thumbs @ back), (len(places), 8))
        return *places[place], int(turn)


class DemoPictures:
    """The authors' demo pictures and their masks; what comes is matched over all pictures in eight turns."""

    def __init__(self, folder: Path):
        from PIL import Image

        self._pictures: list[tuple[np.ndarray, dict[str, Path]]] = []
        for path in sorted(folder.glob("*.png")):
            if path.stem.count("_") == 2:
                masks = {mask.stem[len(path.stem) + 1 :].replace("+", " "): mask for mask in folder.glob(f"{path.stem}_*.png")}
                self._pictures.append((np.asarray(Image.open(path).convert("RGB")).mean(axis=2), masks))

    def picture(self, gray: np.ndarray, prompts: list[str]) -> list[np.ndarray]:
        from PIL import Image

        wanted = thumbnail(gray)
        places = [(number, turn) for number in range(len(self._pictures)) for turn in range(8)]
        number, turn = min(places, key=lambda place: np.abs(thumbnail(turned(self._pictures[place[0]][0], place[1])) - wanted).mean())
        masks = self._pictures[number][1]
        found = [
            np.asarray(Image.open(masks[prompt]).convert("L")) > 127 if prompt in masks else np.zeros(gray.shape, bool)
            for prompt in prompts
        ]
        return [turned(mask, turn) for mask in found]


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """One of the eight ways to lay a picture down: 0 to 3 quarter turns counter-clockwise, the same again transposed first."""
    return np.rot90(image.T if turn >= 4 else image, turn % 4)


def _straightened(image: np.ndarray, turn: int) -> np.ndarray:
    """The inverse of `turned`."""
    straight = np.rot90(image, -(turn % 4))
    return straight.T if turn >= 4 else straight


def padded_to(image: np.ndarray, side: int, late: bool = False) -> np.ndarray:
    """A slice centred on a black square of its longer side, (S - side) // 2 before, stretched by nearest neighbor.

    Args:
        late: the odd pixel of padding goes before instead of after.
    """
    longest = max(image.shape)
    square = np.zeros((longest, longest), image.dtype)
    top, left = ((longest - size + late) // 2 for size in image.shape)
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    nearest = ((np.arange(side) + 0.5) * longest / side).astype(int)
    return square[np.ix_(nearest, nearest)]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """The mean of each of 64 x 64 blocks; the side is a multiple of 64."""
    block = image.shape[0] // _THUMB
    return image.reshape(_THUMB, block, _THUMB, block).mean(axis=(1, 3), dtype=np.float32)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, on a sparse sample."""
    step = tuple(slice(None, None, max(1, size // 24)) for size in one.shape)
    return float(_standard(one[step]) @ _standard(other[step]))


def _standard(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float32).ravel()
    values = values - values.mean()
    return values / (np.linalg.norm(values) or 1.0)
