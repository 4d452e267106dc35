"""What a segmentation task gives back: a mask for each prompt, and the report of what was done."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..imaging.masks import CroppedMask
from ..imaging.volume import Volume
from ..prompts import catalogue


@dataclass(slots=True)
class PromptResult:
    """One prompt's outcome.

    Attributes:
        text: the prompt as typed.
        name: the segment's name.
        label: k for the k-th prompt, its value in a labelmap.
        mask: on the input's own grid; empty where the structure was not found.
        is_done: False where the run stopped before this prompt had its answer.
        probability: float32 kji volume in 0..1 on the input's own grid, where the reply carried it and it was asked for.
        agreement: share of the votes that agree with the result, over the mask's voxels (four rotations only).
    """

    text: str
    name: str
    label: int
    mask: CroppedMask
    is_done: bool = True
    probability: np.ndarray | None = None
    agreement: float | None = None

    @property
    def found(self) -> bool:
        return self.mask.count > 0

    @property
    def color(self) -> tuple[float, float, float]:
        """Red, green, blue in 0..1; the same for the same prompt, always."""
        return catalogue.color_for(self.text)

    def report(self, volume: Volume) -> dict:
        """The prompt's entry in the report."""
        voxels = self.mask.count
        entry = {
            "text": self.text,
            "name": self.name,
            "found": self.found if self.is_done or self.found else None,
            "label": self.label,
            "voxels": voxels,
            "volume_ml": None if volume.is_picture else float(f"{voxels * voxel_volume_ml(volume):.9g}"),
            "terminology": _codes(self.text),
        }
        if self.agreement is not None:
            entry["agreement"] = self.agreement
        return entry


@dataclass(slots=True)
class SegmentationResult:
    """All prompts of one run.

    Attributes:
        volume: the input, for its grid.
        prompts: in the order typed.
        report: plain JSON types; cli.md's "The report" says what is in it.
        failure: the sentence of the error that stopped the run half-way, "" where it went through.
    """

    volume: Volume
    prompts: list[PromptResult]
    report: dict = field(default_factory=dict)
    failure: str = ""

    @property
    def found(self) -> list[PromptResult]:
        return [prompt for prompt in self.prompts if prompt.found]

    def labels(self) -> tuple[np.ndarray, bool]:
        """An integer labelmap on the input's grid (kji; value k = k-th prompt), and whether masks overlapped (the later one is kept)."""
        labels = np.zeros(self.volume.shape_kji, np.uint8 if len(self.prompts) <= 255 else np.uint16)
        overlapped = False
        for prompt in self.found:
            part, inside = labels[prompt.mask.box], prompt.mask.voxels != 0
            overlapped = overlapped or bool(np.any(part[inside]))
            part[inside] = prompt.label
        return labels, overlapped


def voxel_volume_ml(volume: Volume) -> float:
    """Millilitres in one voxel."""
    return float(abs(np.linalg.det(np.asarray(volume.ijk_to_ras, dtype=float)[:3, :3]))) / 1000.0


def _codes(prompt: str) -> dict | None:
    """The catalogue's codes for a prompt, by role; None where it is not known."""
    target = catalogue.lookup(prompt)
    return {role: dict(zip(("scheme", "value", "meaning"), code)) for role, code in target.codes.items()} if target else None


def empty_results(prompts: list[str], volume: Volume) -> list[PromptResult]:
    """One result a prompt, nothing found and nothing done yet."""
    names = catalogue.segment_names(prompts)
    return [
        PromptResult(text, name, number, CroppedMask.empty(volume.shape_kji), is_done=False)
        for number, (text, name) in enumerate(zip(prompts, names), start=1)
    ]
