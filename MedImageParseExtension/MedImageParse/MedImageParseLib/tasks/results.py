"""What a segmentation gives back: a mask for each prompt and the report of what was done, for programs, notebooks and other libraries."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError, UsageError
from ..imaging.volume import CroppedMask, Volume
from ..packages import require
from ..prompts import catalogue

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


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
        volume: the input, for its grid; None where the result stands alone.
        agreement: share of the votes that agree with the result, over the mask's voxels (four rotations only).
    """

    text: str
    name: str
    label: int
    mask: CroppedMask
    is_done: bool = True
    probability: np.ndarray | None = None
    agreement: float | None = None
    volume: Volume | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        if self.volume is None:
            return f"<PromptResult {self.name!r}: {self.mask.count} voxels>"
        return f"<PromptResult {self.name!r}: {finding(self.report(self.volume))}>"

    @property
    def found(self) -> bool:
        return self.mask.count > 0

    @property
    def array(self) -> np.ndarray:
        """The mask on the input's grid: uint8, kji, 0 or 1; made anew each time."""
        return self.mask.full()

    def to_sitk(self) -> Any:
        """The mask as a SimpleITK image (uint8, LPS) on the input's grid.

        Raises:
            InputError: the input's axes are not at right angles, which SimpleITK cannot hold.
        """
        return to_itk(self.array, self._grid())

    def to_nibabel(self) -> Any:
        """The mask as a nibabel NIfTI image (uint8, ijk, RAS) on the input's grid.

        Raises:
            UsageError: nibabel is not installed.
        """
        return to_nibabel(self.array, self._grid())

    def _grid(self) -> Volume:
        if self.volume is None:
            raise UsageError("This result has lost the volume that it belongs to; take the one in the run's own result.")
        return self.volume

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
            "volume_ml": None if not volume.has_volume else float(f"{voxels * voxel_volume_ml(volume):.9g}"),
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
        report: plain JSON types; docs/report.md says what is in it.
        failure: the sentence of the error that stopped the run half-way, "" where it went through.
    """

    volume: Volume
    prompts: list[PromptResult]
    report: dict = field(default_factory=dict)
    failure: str = ""

    def __getitem__(self, prompt: str | int) -> PromptResult:
        """The result of a prompt, by its text or its segment's name, in upper or lower case, or by its place from 0.

        Raises:
            UsageError: there is no such prompt; the sentence names those that there are.
        """
        if isinstance(prompt, int) and -len(self.prompts) <= prompt < len(self.prompts):
            return self.prompts[prompt]
        for same in (str, str.casefold):
            for one in self.prompts:
                if isinstance(prompt, str) and same(prompt) in (same(one.text), same(one.name)):
                    return one
        listed = ", ".join(one.name for one in self.prompts)
        raise UsageError("The result has no {prompt}; it has {listed}.", code="no-such-prompt", prompt=repr(prompt), listed=listed)

    def __iter__(self) -> Iterator[PromptResult]:
        return iter(self.prompts)

    def __len__(self) -> int:
        return len(self.prompts)

    def __contains__(self, prompt: object) -> bool:
        """Whether a text or name is one of the prompts, found or not."""
        names = {name.casefold() for one in self.prompts for name in (one.text, one.name)}
        return prompt.casefold() in names if isinstance(prompt, str) else any(one is prompt for one in self.prompts)

    def __repr__(self) -> str:
        findings = [f"{row['name']} {finding(row)}" for row in self.table()]
        return f"<SegmentationResult: {'; '.join(findings)}>"

    def _repr_html_(self) -> str:
        return as_html(self)

    def _repr_png_(self) -> bytes:
        return picture_png(self)

    def table(self) -> list[dict[str, Any]]:
        """A row a prompt: name, text, label, found (None where not done), voxels, volume_ml (None for a picture); as pandas takes it."""
        entries = [prompt.report(self.volume) for prompt in self.prompts]
        return [{key: entry[key] for key in ("name", "text", "label", "found", "voxels", "volume_ml")} for entry in entries]

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
        PromptResult(text, name, number, CroppedMask.empty(volume.shape_kji), is_done=False, volume=volume)
        for number, (text, name) in enumerate(zip(prompts, names), start=1)
    ]


def to_itk(voxels_kji: np.ndarray, volume: Volume) -> Any:
    """A SimpleITK image on a volume's grid, where ITK shows that volume.

    Args:
        voxels_kji: the size of the volume.
        volume: whose grid the image gets (RAS, mm; ITK's own axes are LPS).

    Raises:
        InputError: a sheared grid, which SimpleITK cannot hold.
    """
    import SimpleITK as sitk

    matrix = _RAS_TO_LPS @ np.asarray(volume.shown.ijk_to_ras, dtype=float)[:3]
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    image = sitk.GetImageFromArray(voxels_kji)
    directions = matrix[:, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > 1e-3:
        raise InputError("The image's axes are not at right angles, which SimpleITK cannot hold; use .array or .to_nibabel().")
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:, 3].tolist())
    image.SetDirection(directions.ravel().tolist())
    return image


def to_nibabel(voxels_kji: np.ndarray, volume: Volume) -> Any:
    """A nibabel NIfTI image (ijk, RAS, mm) on a volume's grid; sheared grids too.

    Args:
        voxels_kji: the size of the volume.
        volume: whose grid the image gets.

    Raises:
        UsageError: nibabel is not installed.
    """
    require("nibabel", ".to_nibabel()")
    import nibabel

    affine = np.asarray(volume.ijk_to_ras, dtype=float)
    image = nibabel.Nifti1Image(voxels_kji.transpose(2, 1, 0), affine)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    return image


def finding(row: dict[str, Any]) -> str:
    """ "1,403.2 ml", "512 pixels", "not found" or "not done" for a row of `SegmentationResult.table`."""
    if not row["found"]:
        return "not done" if row["found"] is None else "not found"
    return f"{row['voxels']:,} pixels" if row["volume_ml"] is None else f"{row['volume_ml']:,.1f} ml"


def picture_png(result: SegmentationResult) -> bytes:
    """The input with the masks over it, as a PNG."""
    from ..files.picture import render_picture

    masks = [(prompt.name, prompt.color, prompt.mask) for prompt in result.prompts]
    buffer = io.BytesIO()
    render_picture(result.volume, masks, title=str(result.report.get("engine") or "")).save(buffer, format="PNG")
    return buffer.getvalue()


def as_html(result: SegmentationResult) -> str:
    """The table, the warnings and the picture; every word from outside is shown as plain text."""
    rows = "".join(
        f'<tr><td><span style="color:{_css(prompt.color)}">&#9632;</span> {html.escape(row["name"])}</td><td>{finding(row)}</td></tr>'
        for prompt, row in zip(result.prompts, result.table())
    )
    warnings = "".join(f"<p>{html.escape(str(sentence))}</p>" for sentence in result.report.get("warnings", ()))
    image = base64.b64encode(picture_png(result)).decode("ascii")
    return f'<table>{rows}</table>{warnings}<img style="max-width:100%" alt="The input with the masks" src="data:image/png;base64,{image}">'


def _css(color: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in color)
