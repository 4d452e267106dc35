"""A segmentation's result for a person at a Python prompt or in a notebook, and as images of other libraries."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..imaging.volume import Volume
from ..packages import require

if TYPE_CHECKING:
    from .run import SegmentationResult

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


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


def table(result: SegmentationResult) -> list[dict[str, Any]]:
    """A row a prompt: name, text, label, found (None where not done), voxels, volume_ml (None for a picture)."""
    entries = [prompt.report(result.volume) for prompt in result.prompts]
    return [{key: entry[key] for key in ("name", "text", "label", "found", "voxels", "volume_ml")} for entry in entries]


def finding(row: dict[str, Any]) -> str:
    """ "1,403.2 ml", "512 pixels", "not found" or "not done" for a row of `table`."""
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
        for prompt, row in zip(result.prompts, table(result))
    )
    warnings = "".join(f"<p>{html.escape(str(sentence))}</p>" for sentence in result.report.get("warnings", ()))
    image = base64.b64encode(picture_png(result)).decode("ascii")
    return f'<table>{rows}</table>{warnings}<img style="max-width:100%" alt="The input with the masks" src="data:image/png;base64,{image}">'


def _css(color: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in color)
