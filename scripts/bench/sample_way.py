"""The documented sample's way, written from its description, for comparison only.

Request (Microsoft's MedImageParse 3D sample): the volume as a temporary .nii.gz by nibabel, its bytes through base64.encodebytes
into a string, the string into a dictionary, the dictionary through json.dumps. Reply: json.loads, base64, a temporary file,
nibabel.load(...).get_fdata(). Masks (published Slicer extensions with text prompts do this): each into a NIfTI file of its own,
loaded as a labelmap volume and imported as a segment.

As a script (`sample_way.py IMAGE URL FOLDER PROMPT…`) it is that sample from the file to one .nii.gz a structure.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def build_request(voxels: np.ndarray, ijk_to_ras: np.ndarray, prompts: list[str]) -> bytes:
    """Args:
    voxels: int16 kji.
    """
    import nibabel

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), ijk_to_ras), path)
        text = base64.encodebytes(path.read_bytes()).decode("utf-8")
    request = {"input_data": {"columns": ["image", "text"], "index": [0], "data": [[text, " & ".join(prompts)]]}}
    return json.dumps(request).encode("utf-8")


def decode_reply(body: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(float64 array in ijk order with prompts last where there are several, 4x4 matrix)."""
    import nibabel

    data = base64.b64decode(json.loads(json.loads(body)[0]["nifti_file"])["data"])
    with tempfile.NamedTemporaryFile(suffix=".nii.gz", delete=False) as file:
        file.write(data)
    try:
        image = nibabel.load(file.name)
        return image.get_fdata(), image.affine
    finally:
        os.unlink(file.name)


def import_masks(values: np.ndarray, matrix: np.ndarray, names: list[str], scene: Any) -> Any:
    """One NIfTI file a mask, loaded and imported; returns the segmentation node."""
    import nibabel
    import slicer

    segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation_node.CreateDefaultDisplayNodes()
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            inside = values[..., number] >= 0.5 if values.ndim == 4 else values == number + 1
            path = Path(folder) / f"mask_{number}.nii"  # uncompressed, as the extensions do: the faster choice
            nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), matrix), path)
            label_node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
            storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
            storage.SetFileName(str(path))
            storage.ReadData(label_node)
            slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(label_node, segmentation_node)
            segmentation = segmentation_node.GetSegmentation()
            segmentation.GetNthSegment(segmentation.GetNumberOfSegments() - 1).SetName(name)
            scene.RemoveNode(storage)
            scene.RemoveNode(label_node)
            path.unlink()
    return segmentation_node


def segment_file(image: Path, url: str, prompts: list[str], folder: Path) -> None:
    """From a .nii.gz to one .nii.gz a structure, as the sample does it: the file's own bytes are sent."""
    import urllib.request

    import nibabel

    text = base64.encodebytes(image.read_bytes()).decode("utf-8")
    request = {"input_data": {"columns": ["image", "text"], "index": [0], "data": [[text, " & ".join(prompts)]]}}
    body = str.encode(json.dumps(request))
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as answer:
        values, matrix = decode_reply(answer.read())
    for number, name in enumerate(prompts):
        inside = values[..., number] >= 0.5 if values.ndim == 4 else values == number + 1
        nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), matrix), folder / f"{name}.nii.gz")


if __name__ == "__main__":
    segment_file(Path(sys.argv[1]), sys.argv[2], sys.argv[4:], Path(sys.argv[3]))
