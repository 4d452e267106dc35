"""Masks into the segments that a Segment Editor edits: real MRML, Slicer's own masking, numpy as the judge."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from scene_support import box, oblique, segment_on_grid, spec

from MedImageParseLib.errors import MedImageParseError, UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.scene import editing
from MedImageParseLib.scene.editing import COMBINE, EditorTarget, modifierOf
from MedImageParseLib.scene.segments import importSegments, newSegmentation
from MedImageParseLib.scene.session import freshScene
from MedImageParseLib.scene.undo import undoLastImport
from MedImageParseLib.scene.volumes import nodeFromVolume

SHAPE = (8, 10, 12)
VOXELS = np.random.default_rng(5).integers(0, 200, SHAPE).astype(np.int16)
OLD = box(SHAPE, (1, 6), (2, 8), (2, 8))
OTHER = box(SHAPE, (3, 8), (5, 10), (6, 12))
HIDDEN = box(SHAPE, (0, 4), (0, 4), (5, 10))
FOUND = box(SHAPE, (2, 7), (1, 7), (4, 11))
ASKED = box(SHAPE, (2, 7), (0, 9), (3, 12))
REGION = "3:12,0:9,2:7"
KINDS = slicer.vtkMRMLSegmentationNode
AREAS = {
    "everywhere": (KINDS.EditAllowedEverywhere, np.ones(SHAPE, bool)),
    "inside all segments": (KINDS.EditAllowedInsideAllSegments, (OLD | OTHER | HIDDEN) != 0),
    "outside all segments": (KINDS.EditAllowedOutsideAllSegments, (OTHER | HIDDEN) == 0),
    "outside visible segments": (KINDS.EditAllowedOutsideVisibleSegments, OTHER == 0),
}


class Bench:
    """A volume, a segmentation of three segments, and a Segment Editor on them, outside of any window."""

    def __init__(self, scene, affine=None):
        self.scene = scene
        self.volume = nodeFromVolume(Volume(VOXELS, np.diag([-1.0, -1.0, 2.0, 1.0]) if affine is None else affine), "CT", scene)
        self.node = newSegmentation(self.volume)
        made = importSegments(self.node, self.volume, [spec("old", OLD), spec("other", OTHER), spec("hidden", HIDDEN)])
        self.old, self.other, self.hidden = made.segmentIds.values()
        self.node.GetDisplayNode().SetSegmentVisibility(self.hidden, False)
        self.editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.editor.SetAndObserveSegmentationNode(self.node)
        self.editor.SetAndObserveSourceVolumeNode(self.volume)
        self.editor.SetSelectedSegmentID(self.old)
        self.editor.SetOverwriteMode(self.editor.OverwriteNone)
        self.history = slicer.vtkSegmentationHistory()
        self.history.SetSegmentation(self.node.GetSegmentation())
        self.saved = 0

    def save(self):
        self.saved += 1
        self.history.SaveState()

    def apply(self, mask=FOUND, name="liver", **options):
        target = EditorTarget(self.editor, **{"segmentId": self.old, "region": REGION, "saveState": self.save, **options})
        return target.apply(self.volume, [spec(name, mask)])

    def voxels(self, segmentId):
        return segment_on_grid(self.node, segmentId, SHAPE)

    def everything(self):
        segmentation = self.node.GetSegmentation()
        return [(segmentation.GetSegment(each).GetName(), self.voxels(each).tobytes()) for each in segmentation.GetSegmentIDs()]


@pytest.fixture
def bench():
    with freshScene() as scene:
        yield Bench(scene)


def expected(how, editable):
    """(segment, voxels that were added) by numpy."""
    old, found, asked = OLD != 0, FOUND != 0, ASKED != 0
    found &= asked
    add = found & editable if how in ("replace", "add") else np.zeros(SHAPE, bool)
    remove = found & editable if how == "remove" else asked & ~found & editable
    return ((old if how == "add" else old & ~remove) | add), add


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("how", COMBINE)
def test_each_way_of_combining_equals_numpy_under_each_editable_area(bench, how, area):
    mode, editable = AREAS[area]
    bench.editor.SetMaskMode(mode)
    bench.apply(combine=how)
    after, _added = expected(how, editable)
    assert np.array_equal(bench.voxels(bench.old) != 0, after)
    assert bench.voxels(bench.old)[~editable].tobytes() == OLD[~editable].tobytes(), "what may not be edited is as it was"
    assert np.array_equal(bench.voxels(bench.other), OTHER) and np.array_equal(bench.voxels(bench.hidden), HIDDEN)


@pytest.mark.parametrize("how", COMBINE)
def test_inside_one_segment_what_is_removed_goes_back_to_that_segment_as_with_slicers_eraser(bench, how):
    bench.editor.SetMaskMode(KINDS.EditAllowedInsideSingleSegment)
    bench.editor.SetMaskSegmentID(bench.other)
    bench.apply(combine=how)
    inside, old, found = OTHER != 0, OLD != 0, (FOUND & ASKED) != 0
    add = found & (inside | old) if how in ("replace", "add") else np.zeros(SHAPE, bool)
    remove = {"replace": (ASKED != 0) & ~found, "intersect": (ASKED != 0) & ~found, "remove": found, "add": np.zeros(SHAPE, bool)}[how]
    assert np.array_equal(bench.voxels(bench.old) != 0, (old & ~remove) | add)
    assert np.array_equal(bench.voxels(bench.other) != 0, inside | (old & remove))
    assert np.array_equal(bench.voxels(bench.hidden), HIDDEN)


@pytest.mark.parametrize("how", COMBINE)
def test_only_voxels_in_the_intensity_range_change(bench, how):
    bench.editor.SetSourceVolumeIntensityMask(True)
    bench.editor.SetSourceVolumeIntensityMaskRange(50, 120)
    bench.apply(combine=how)
    after, _added = expected(how, (VOXELS >= 50) & (VOXELS <= 120))
    assert np.array_equal(bench.voxels(bench.old) != 0, after)


@pytest.mark.parametrize("mode", ["OverwriteAllSegments", "OverwriteVisibleSegments", "OverwriteNone"])
def test_other_segments_lose_voxels_as_the_overwrite_mode_says(bench, mode):
    bench.editor.SetOverwriteMode(getattr(bench.editor, mode))
    bench.apply(combine="add")
    _after, added = expected("add", np.ones(SHAPE, bool))
    taken = {"OverwriteAllSegments": (True, True), "OverwriteVisibleSegments": (True, False), "OverwriteNone": (False, False)}[mode]
    for segmentId, before, isTaken in zip((bench.other, bench.hidden), (OTHER, HIDDEN), taken):
        assert np.array_equal(bench.voxels(segmentId) != 0, (before != 0) & ~added if isTaken else before != 0)


def test_one_undo_and_one_redo_restore_bytes(bench):
    before = bench.everything()
    bench.apply(combine="replace")
    after = bench.everything()
    assert bench.saved == 1 and after != before
    bench.history.RestorePreviousState()
    assert bench.everything() == before
    bench.history.RestoreNextState()
    assert bench.everything() == after


def test_new_segments_are_named_and_colored_and_selected_segments_stay_selected(bench):
    result = bench.apply(segmentId="", region="")
    made = result.segmentIds["liver"]
    assert np.array_equal(bench.voxels(made), FOUND) and np.array_equal(bench.voxels(bench.old), OLD)
    segment = bench.node.GetSegmentation().GetSegment(made)
    assert segment.GetName() == "liver" and segment.GetColor() == pytest.approx((0.2, 0.4, 0.6))
    assert bench.editor.GetSelectedSegmentID() == bench.old


@pytest.mark.parametrize("into", ["new", "old"])
def test_what_the_masking_leaves_nothing_of_changes_nothing_and_costs_no_undo(bench, into):
    bench.editor.SetMaskMode(KINDS.EditAllowedOutsideAllSegments)
    before = bench.everything()
    result = bench.apply(mask=OTHER, segmentId=bench.old if into == "old" else "", region="", combine="add")
    assert result.covered == ["liver"] and result.segmentIds == {"liver": None} and bench.everything() == before
    assert bench.saved == 0 and not result.mark


def test_under_masking_too_a_run_is_one_undo_step_of_the_run_before(bench):
    bench.editor.SetMaskMode(KINDS.EditAllowedOutsideVisibleSegments)
    states = [bench.everything()]
    for name, mask in (("liver", FOUND), ("spleen", HIDDEN)):
        bench.apply(name=name, mask=mask, segmentId="", region="")
        states.append(bench.everything())
    assert bench.saved == 2 and len({len(each) for each in states}) == 3
    for before in states[-2::-1]:
        assert undoLastImport(bench.node) and bench.everything() == before


def test_what_was_not_found_changes_nothing_whatever_the_way_of_combining(bench):
    before = bench.everything()
    for how in COMBINE:
        assert bench.apply(mask=np.zeros(SHAPE, np.uint8), combine=how).absent == ["liver"]
    assert bench.everything() == before and bench.saved == 0


def test_a_segment_without_a_name_of_its_own_gets_the_prompts_and_a_named_one_keeps_its_own(bench):
    made = bench.node.GetSegmentation().AddEmptySegment("", "Segment_1")
    bench.apply(segmentId=made)
    assert bench.node.GetSegmentation().GetSegment(made).GetName() == "liver"
    bench.apply(name="spleen", segmentId=made)
    assert bench.node.GetSegmentation().GetSegment(made).GetName() == "liver"


@pytest.mark.parametrize("how", COMBINE)
def test_a_segmentation_on_another_grid_is_changed_on_its_own_grid(how):
    with freshScene() as scene:
        bench = Bench(scene, oblique())
        finer = oblique(spacing=(0.43, 1.1, 1.7))
        shape = (16, 10, 24)
        fine = nodeFromVolume(Volume(np.zeros(shape, np.uint8), finer), "finer", scene)
        node = newSegmentation(fine)
        old = box(shape, (2, 12), (2, 8), (4, 16))
        made = importSegments(node, fine, [spec("old", old)]).segmentIds["old"]
        bench.editor.SetAndObserveSegmentationNode(node)
        EditorTarget(bench.editor, made, how, REGION).apply(bench.volume, [spec("liver", FOUND)])
        # The nearest voxel of the volume at each voxel of the finer grid, by plain matrix algebra.
        ijk = np.stack(np.meshgrid(*(np.arange(size) for size in shape[::-1]), indexing="ij"), -1).reshape(-1, 3)
        there = np.c_[ijk, np.ones(len(ijk))] @ (np.linalg.inv(oblique()) @ finer).T
        nearest = np.rint(np.round(there[:, :3], 9)).astype(int)
        inside = np.all((nearest >= 0) & (nearest < SHAPE[::-1]), axis=1)

        def brought(mask):
            values = np.zeros(len(ijk), bool)
            values[inside] = mask[tuple(nearest[inside].T[::-1])] != 0
            return values.reshape(shape[::-1]).transpose(2, 1, 0)

        found, asked = brought(FOUND & ASKED), brought(ASKED)
        kept = old != 0
        after = {"add": kept | found, "remove": kept & ~found, "replace": (kept & ~asked) | found, "intersect": kept & ~(asked & ~found)}[
            how
        ]
        assert np.array_equal(segment_on_grid(node, made, shape) != 0, after)


def test_a_volume_under_nested_transforms_is_met_to_the_voxel():
    with freshScene() as scene:
        bench = Bench(scene, oblique())
        outer, inner = (scene.AddNewNodeByClass("vtkMRMLLinearTransformNode") for _number in range(2))
        for node, angle, move in ((outer, 0.4, 30.0), (inner, -0.7, -12.5)):
            matrix = np.eye(4)
            matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            matrix[:3, 3] = move
            node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        inner.SetAndObserveTransformNodeID(outer.GetID())
        bench.volume.SetAndObserveTransformNodeID(inner.GetID())
        bench.node.SetAndObserveTransformNodeID(inner.GetID())
        bench.editor.SetSourceVolumeIntensityMask(True)
        bench.editor.SetSourceVolumeIntensityMaskRange(0, 150)
        bench.apply(combine="add", region="")
        assert np.array_equal(bench.voxels(bench.old) != 0, (OLD != 0) | ((FOUND != 0) & (VOXELS <= 150)))


def test_a_change_that_fails_on_the_way_leaves_everything_as_it_was(bench, monkeypatch):
    before = bench.everything()

    def half(editorNode, effect=None):
        modify = modifierOf(editorNode, effect)

        def fail(segmentId, image, isRemoved):
            modify(segmentId, image, isRemoved)
            if not isRemoved:
                raise RuntimeError("as if memory had run out")

        return fail

    monkeypatch.setattr(editing, "modifierOf", half)
    with pytest.raises(MedImageParseError, match="as they were before"):
        bench.apply(combine="replace")
    assert bench.everything() == before


def test_a_slicer_without_the_logic_asks_the_effect(bench, monkeypatch):
    asked = []
    monkeypatch.delattr(slicer, "vtkSlicerSegmentEditorLogic")
    monkeypatch.setattr(slicer, "qSlicerSegmentEditorAbstractEffect", KindsOfChange, raising=False)

    class Effect:
        def modifySelectedSegmentByLabelmap(self, image, mode):
            asked.append((bench.editor.GetSelectedSegmentID(), mode))

    bench.apply(combine="replace", effect=Effect())
    assert asked == [(bench.old, "remove"), (bench.old, "add")]


class KindsOfChange:
    ModificationModeAdd, ModificationModeRemove = "add", "remove"


def test_two_structures_do_not_go_into_one_segment(bench):
    target = EditorTarget(bench.editor, bench.old)
    before = bench.everything()
    with pytest.raises(UsageError, match="do not fit into one segment"):
        target.apply(bench.volume, [spec("liver", FOUND), spec("spleen", OTHER)])
    assert bench.everything() == before


def test_it_is_noticed_that_the_segment_or_the_segmentation_is_gone(bench):
    target = EditorTarget(bench.editor, bench.old)
    assert target.whyStale() == ""
    bench.node.GetSegmentation().RemoveSegment(bench.old)
    assert "segment was deleted" in target.whyStale()
    bench.editor.SetAndObserveSegmentationNode(None)
    assert "another segmentation" in target.whyStale()


def test_surfaces_that_are_shown_follow_the_change_and_its_undo(bench):
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    segmentation = bench.node.GetSegmentation()
    assert segmentation.CreateRepresentation(surface)
    far = lambda: segmentation.GetSegment(bench.old).GetRepresentation(surface).GetBounds()[0]  # noqa: E731
    before = far()
    bench.apply(combine="add", region="")
    assert far() < before - 2, "the mask reaches three voxels further along i, which runs to the left"
    made = bench.apply(segmentId="", name="new", mask=FOUND, region="").segmentIds["new"]
    assert segmentation.GetSegment(made).GetRepresentation(surface).GetNumberOfPoints() > 0
    bench.history.RestorePreviousState()
    bench.history.RestorePreviousState()
    assert far() == pytest.approx(before)
