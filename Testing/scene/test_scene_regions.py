"""Which part of a volume is meant: a visible region of interest, the slice views, the box round a segment with a margin."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from scene_support import box, spec

from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.scene.region_choice import regionOf
from MedImageParseLib.scene.segments import importSegments, newSegmentation
from MedImageParseLib.scene.session import freshScene
from MedImageParseLib.scene.volumes import nodeFromVolume, volumeFromNode

SHAPE = (10, 20, 30)  # voxels of 1 x 2 x 4 mm, the first at the world's origin


@pytest.fixture
def volume():
    with freshScene() as scene:
        yield nodeFromVolume(Volume(np.zeros(SHAPE, np.uint8), np.diag([1.0, 2.0, 4.0, 1.0])), "CT", scene)


def region(kind, volumeNode, **options):
    return regionOf(kind, volumeNode, volumeFromNode(volumeNode, copy=False), **options)


def addRoi(scene, low, high, *, shown=True):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    node.CreateDefaultDisplayNodes()
    node.SetCenter(*((np.array(low) + high) / 2))
    node.SetSize(*(np.array(high) - low))
    node.SetDisplayVisibility(shown)
    return node


def addView(scene, name, orientation, width, height, center=(0, 0, 0), *, shown=True):
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    node = scene.CreateNodeByClass("vtkMRMLSliceNode")
    node.UnRegister(None)
    node.SetLayoutName(name)
    node.SetSingletonTag(name)
    node = scene.AddNode(node)
    node.SetOrientation(orientation)
    node.SetFieldOfView(width, height, 1)
    matrix = node.GetSliceToRAS()
    for axis in range(3):
        matrix.SetElement(axis, 3, center[axis])
    node.UpdateMatrices()
    node.SetMappedInLayout(shown)
    return node


def test_the_whole_volume_is_no_region(volume):
    assert region("", volume) == ""


def test_the_region_of_interest_that_is_shown_counts_and_the_last_of_several(volume):
    scene = volume.GetScene()
    with pytest.raises(UsageError, match="No region of interest is shown"):
        region("roi", volume)
    addRoi(scene, (0, 0, 0), (5, 10, 8))
    addRoi(scene, (3, 4, 8), (6, 12, 16))
    addRoi(scene, (1, 1, 1), (2, 2, 2), shown=False)
    assert region("roi", volume) == "3:7,2:7,2:5"


@pytest.mark.parametrize(("margin", "wanted"), [(0, "5:9,6:9,3:6"), (2, "3:11,5:10,2:7"), (4.5, "0:14,3:12,1:8"), (500, "0:30,0:20,0:10")])
def test_the_box_of_a_segment_grows_by_millimetres_as_far_as_the_volume_reaches(volume, margin, wanted):
    node = newSegmentation(volume)
    made = importSegments(node, volume, [spec("liver", box(SHAPE, (3, 6), (6, 9), (5, 9)))]).segmentIds["liver"]
    assert region("segment", volume, segmentationNode=node, segmentId=made, margin=margin) == wanted


def test_an_empty_segment_has_no_box_and_a_margin_is_a_number(volume):
    node = newSegmentation(volume)
    empty = node.GetSegmentation().AddEmptySegment("", "liver")
    with pytest.raises(UsageError, match='^The segment "liver" is empty; choose another.$'):
        region("segment", volume, segmentationNode=node, segmentId=empty, margin=10)
    made = importSegments(node, volume, [spec("bar", box(SHAPE, (3, 6), (6, 9), (5, 9)))]).segmentIds["bar"]
    for margin in (-1, float("nan")):
        with pytest.raises(UsageError, match="number of millimetres"):
            region("segment", volume, segmentationNode=node, segmentId=made, margin=margin)


def test_what_every_slice_view_of_the_layout_shows(volume):
    scene = volume.GetScene()
    with pytest.raises(UsageError, match="No slice view is shown"):
        region("view", volume)
    addView(scene, "Red", "Axial", 10.2, 16.2, (10, 20, 12))
    assert region("view", volume) == "5:16,6:15,0:10"
    addView(scene, "Green", "Coronal", 60.2, 8.2, (12, 20, 12))
    assert region("view", volume) == "5:16,6:15,2:5"
    addView(scene, "Other", "Axial", 2, 2, (10, 20, 12), shown=False)
    assert region("view", volume) == "5:16,6:15,2:5"
    addView(scene, "Yellow", "Sagittal", 10, 10, (10, 200, 12))
    with pytest.raises(UsageError, match="no part of the volume together"):
        region("view", volume)
