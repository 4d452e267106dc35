"""Undo of an import, and all or nothing when one fails."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from scene_support import add_shared_layer, blob, box, names_of, segment_on_grid, snapshot, spec

from MedImageParseLib.errors import MedImageParseError, UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.scene import segments, session
from MedImageParseLib.scene.segments import importSegments, undoLastImport
from MedImageParseLib.scene.volumes import nodeFromVolume

SHAPE = (6, 7, 8)


@pytest.fixture(autouse=True)
def scene():
    yield session.newScene()
    session.closeScene()


def ct():
    return nodeFromVolume(Volume(np.zeros(SHAPE, np.int16)), "CT")


def test_one_undo_step_takes_back_a_whole_run_and_another_one_the_run_before():
    node = ct()
    existing = importSegments(None, node, [spec("a", blob(SHAPE, 1)), spec("b", blob(SHAPE, 2))]).segmentationNode
    first = snapshot(existing, SHAPE)
    importSegments(existing, node, [spec(name, blob(SHAPE, 3)) for name in "abc"], overlap="overwrite", onExisting="replace")
    second = snapshot(existing, SHAPE)
    importSegments(existing, node, [spec("d", blob(SHAPE, 4))])
    assert undoLastImport(existing) and snapshot(existing, SHAPE) == second
    assert undoLastImport(existing) and snapshot(existing, SHAPE) == first
    assert undoLastImport(existing) and snapshot(existing, SHAPE) == []
    assert not undoLastImport(existing)


def test_undo_of_added_segments_keeps_later_edits_of_others():
    node = ct()
    first = importSegments(None, node, [spec("mine", blob(SHAPE, 1))])
    existing = first.segmentationNode
    importSegments(existing, node, [spec("model's", blob(SHAPE, 2))])
    mine = existing.GetSegmentation().GetSegment(first.segmentIds["mine"])
    slicer_logic = slicer.vtkSlicerSegmentationsModuleLogic
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(mine.GetRepresentation("Binary labelmap"))
    image.GetPointData().GetScalars().Fill(1)
    assert slicer_logic.SetBinaryLabelmapToSegment(image, existing, first.segmentIds["mine"])
    edited = segment_on_grid(existing, first.segmentIds["mine"], SHAPE)
    assert undoLastImport(existing)
    assert names_of(existing) == ["mine"]
    assert np.array_equal(segment_on_grid(existing, first.segmentIds["mine"], SHAPE), edited)


def test_undo_that_would_lose_later_edits_is_refused():
    node = ct()
    first = importSegments(None, node, [spec("liver", blob(SHAPE, 1))])
    existing = first.segmentationNode
    importSegments(existing, node, [spec("liver", blob(SHAPE, 2))], onExisting="replace")
    image = existing.GetSegmentation().GetSegment(first.segmentIds["liver"]).GetRepresentation("Binary labelmap")
    image.GetPointData().GetScalars().Fill(1)
    image.Modified()
    edited = snapshot(existing, SHAPE)
    with pytest.raises(UsageError, match="edited since"):
        undoLastImport(existing)
    assert snapshot(existing, SHAPE) == edited


def test_saving_and_merging_layers_does_not_stand_in_the_way_of_undo():
    node = ct()
    existing = importSegments(None, node, [spec("a", box(SHAPE, (0, 2), (0, 3), (0, 3)))]).segmentationNode
    before = snapshot(existing, SHAPE)
    specs = [spec("a", box(SHAPE, (4, 6), (0, 3), (0, 3))), spec("b", box(SHAPE, (0, 2), (4, 7), (0, 3)))]
    importSegments(existing, node, specs, onExisting="replace")
    existing.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert existing.GetSegmentation().GetNumberOfLayers() == 1
    assert undoLastImport(existing)
    assert snapshot(existing, SHAPE) == before


def test_undo_where_the_added_segments_are_gone_already_goes_to_the_import_before():
    node = ct()
    existing = importSegments(None, node, [spec("a", blob(SHAPE, 1))]).segmentationNode
    second = importSegments(existing, node, [spec("b", blob(SHAPE, 2))])
    existing.GetSegmentation().RemoveSegment(second.segmentIds["b"])
    assert undoLastImport(existing)
    assert names_of(existing) == []
    assert not undoLastImport(existing)
    assert not undoLastImport(None)


def test_the_segment_editors_own_undo_takes_one_run_back():
    node = ct()
    existing = importSegments(None, node, [spec("a", blob(SHAPE, 1))]).segmentationNode
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(existing.GetSegmentation())
    before, calls = snapshot(existing, SHAPE), []
    importSegments(
        existing,
        node,
        [spec(name, blob(SHAPE, seed)) for seed, name in enumerate("abc", start=5)],
        overlap="overwrite",
        beforeChange=lambda: calls.append(history.SaveState()),
    )
    assert calls == [True]
    assert names_of(existing) == ["a", "a_1", "b", "c"]
    assert history.RestorePreviousState()
    assert snapshot(existing, SHAPE) == before


@pytest.mark.parametrize("overlap", segments.OVERLAP_RULES)
@pytest.mark.parametrize("on_existing", segments.EXISTING_RULES)
@pytest.mark.parametrize("error", [RuntimeError("disk"), MemoryError(), KeyboardInterrupt()])
def test_an_import_that_fails_in_the_middle_leaves_everything_as_it_was(scene, monkeypatch, overlap, on_existing, error):
    node = ct()
    existing = segments.newSegmentation(node)
    add_shared_layer(existing, node, np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3, ["a", "b"])
    existing.CreateClosedSurfaceRepresentation()
    before = snapshot(existing, SHAPE)
    working = segments._addSegment
    calls = []

    def failing(segmentation, planned, step):
        calls.append(planned.name)
        if len(calls) == 2:
            raise error
        return working(segmentation, planned, step)

    monkeypatch.setattr(segments, "_addSegment", failing)
    specs = [spec(name, blob(SHAPE, number, 0.1)) for number, name in enumerate(["a", "x", "b", "y", "z"])]
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else MedImageParseError
    with pytest.raises(expected) as raised:
        importSegments(existing, node, specs, overlap=overlap, onExisting=on_existing)
    assert len(calls) == 2
    if expected is MedImageParseError:
        assert "as it was before" in str(raised.value)
    assert snapshot(existing, SHAPE) == before
    assert existing.GetSegmentation().ContainsRepresentation("Closed surface")
    assert not undoLastImport(existing)


def test_a_failed_import_into_a_new_segmentation_leaves_no_node_behind(scene, monkeypatch):
    node = ct()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    count, items = scene.GetNumberOfNodes(), hierarchy.GetNumberOfItems()
    monkeypatch.setattr(segments, "describe", lambda segment, spec: 1 / 0 if spec.name == "b" else None)
    with pytest.raises(ZeroDivisionError):
        importSegments(None, node, [spec("a", blob(SHAPE, 1)), spec("b", blob(SHAPE, 2))])
    assert scene.GetNumberOfNodes() == count
    assert hierarchy.GetNumberOfItems() == items
