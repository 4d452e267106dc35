"""Our way, by the product's own functions in the order in which tasks/segment_volume.py calls them."""

from __future__ import annotations

from typing import Any

import numpy as np

from MedImageParseLib.imaging.geometry import AxisMap
from MedImageParseLib.imaging.nifti import encode_nifti
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.imaging.windows import apply_window, choose_window
from MedImageParseLib.prompts import catalogue, grammar, sites
from MedImageParseLib.scene.segments import SegmentSpec, importSegments
from MedImageParseLib.wire import medimageparse3d


def axes_for(ijk_to_ras: np.ndarray) -> AxisMap:
    """How the volume is turned before it is sent."""
    return AxisMap.towards(ijk_to_ras, ("S", "A", "R"))


def build_request(voxels: np.ndarray, ijk_to_ras: np.ndarray, prompts: list[str]) -> bytes:
    """Args:
    voxels: int16 kji.
    """
    volume = Volume(voxels, ijk_to_ras, modality="CT")
    volume.check()
    axes = axes_for(ijk_to_ras)
    window = choose_window(volume, "auto", [site for site in map(sites.site_of, prompts) if site], "medimageparse3d")
    sent = np.ascontiguousarray(apply_window(axes.apply(voxels), window))
    matrix = axes.turned_matrix(ijk_to_ras, volume.shape_kji)
    matrix[:3, 3] = 0
    return medimageparse3d.build_request(encode_nifti(sent, matrix), grammar.join_prompts(prompts), "azureml")


def decode_reply(body: bytes, ijk_to_ras: np.ndarray, shape_kji: tuple[int, int, int], prompts: list[str]) -> list:
    """One CroppedMask a prompt, on the volume's own grid."""
    axes = axes_for(ijk_to_ras)
    sent_shape = tuple(shape_kji[axis] for axis in axes.order)
    return [axes.undo_mask(mask) for mask in medimageparse3d.parse_reply(body, len(prompts), sent_shape).masks]


def import_masks(masks: list, names: list[str], volume_node: Any) -> Any:
    """As segments of a new segmentation; returns its node."""
    specs = [SegmentSpec(name, mask, catalogue.color_for(name)) for name, mask in zip(names, masks)]
    return importSegments(None, volume_node, specs).segmentationNode
