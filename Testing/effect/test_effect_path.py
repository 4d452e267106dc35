"""The whole path of an annotator on the module's own sample CT, with the demo engine, Slicer's masking and history, and a saved scene.

The sample is thinned to every second voxel along each axis: the engine then takes 0.4 s of processor time a run instead of 3.
"""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")

from effect_path import annotate, strokeAt
from scene_support import segment_on_grid


@pytest.fixture
def sample(opened):
    """(volume node, masks of the truth by name) of the module's sample, thinned."""
    from MedImageParseLib.engines.classical.phantom import make_phantom
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.panels.local_demo import showSample

    opened.host.close_scene()
    phantom = make_phantom()
    affine = phantom.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    thin = (slice(None, None, 2),) * 3
    node = showSample(Volume(np.ascontiguousarray(phantom.voxels[thin]), affine, modality="CT"))
    return node, {name: mask[thin] for name, mask in phantom.references.items()}


def dice(found, truth) -> float:
    return float(2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth)))


def test_an_annotator_finds_corrects_masks_undoes_saves_and_reopens(opened, sample, tmp_path):
    from MedImageParseLib.local_endpoint.server import LocalEndpoint
    from MedImageParseLib.scene.volumes import volumeFromNode

    volumeNode, truth = sample
    ijkToRas = volumeFromNode(volumeNode, copy=False).ijk_to_ras
    edge = np.argwhere(truth["spleen"])[0]  # the stroke reaches into the spleen, so that the masking has something to do
    stroke = strokeAt(volumeNode, (ijkToRas @ [*edge[::-1], 1.0])[:3])
    with LocalEndpoint() as endpoint:
        seen = {}
        for step in annotate(opened, volumeNode, stroke):
            if step == "ready":
                opened.addEndpoint(endpoint.url_of("medimageparse3d"))
            seen[step] = opened.everything()
    masks = {step: {name: np.frombuffer(data, np.uint8).reshape(stroke.shape) != 0 for name, data in seen[step]} for step in seen}

    assert [name for name, _data in seen["found"]] == ["liver"] and dice(masks["found"]["liver"], truth["liver"]) > 0.9
    assert np.array_equal(masks["corrected"]["liver"], masks["found"]["liver"] | stroke)
    assert [name for name, _data in seen["masked"]] == ["liver", "spleen"] and seen["masked"][0] == seen["corrected"][0]
    spleen, liver = masks["masked"]["spleen"], masks["masked"]["liver"]
    assert not (spleen & liver).any() and (stroke & truth["spleen"]).any()
    assert dice(spleen, truth["spleen"] & ~liver) > 0.85
    assert seen["undone"] == seen["found"] and seen["redone"] == seen["masked"]

    name, path = opened.node.GetName(), str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    opened.host.close_scene()
    assert slicer.mrmlScene.ReadFromMRB(path)
    opened.host.process()
    again = slicer.util.getNode(name)
    segmentation = again.GetSegmentation()
    ids = segmentation.GetSegmentIDs()
    shape = stroke.shape
    assert [(segmentation.GetSegment(each).GetName(), segment_on_grid(again, each, shape).tobytes()) for each in ids] == seen["masked"]
    assert opened.host.find("promptEdit").text == "spleen" and opened.host.find("intoComboBox").currentText == "New segments"
