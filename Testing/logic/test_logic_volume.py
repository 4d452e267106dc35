"""MedImageParseLogic on a whole volume: what a run puts into the scene, and what it leaves alone."""

from __future__ import annotations

from urllib.parse import urlsplit

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from logic_support import SHAPE, HeldClient, ct, existing_segmentation, phantom, segmentations
from scene_support import blob, linear_transform, names_of, oblique, points_of, segment_on_grid, snapshot, spec

from MedImageParseLib.errors import UsageError
from MedImageParseLib.scene.segments import importSegments

pytestmark = pytest.mark.usefixtures("scene")


# --- a volume ------------------------------------------------------------------------------------------------------


def test_a_volume_gets_one_segment_a_found_prompt_on_its_very_voxels(logic):
    node = ct()
    result = logic.segmentVolume(node, "cube & bar & unicorn", client=HeldClient())
    assert names_of(result.segmentationNode) == ["cube", "bar"]
    for row, gray in zip(result.rows, (100, 200)):
        assert np.array_equal(segment_on_grid(result.segmentationNode, row.segmentId, SHAPE), phantom() == gray)
        segment = result.segmentationNode.GetSegmentation().GetSegment(row.segmentId)
        assert segment.GetName() == row.name == row.text and segment.GetColor() == pytest.approx(row.color)


def test_a_segmentation_tells_in_its_description_who_made_its_segments_once_each(logic):
    first = logic.segmentVolume(ct(), "cube", client=HeldClient())
    again = logic.segmentVolume(ct(), "bar", client=HeldClient(), segmentationNode=first.segmentationNode)
    lines = again.segmentationNode.GetDescription().splitlines()
    assert lines == [f"MedImageParse 3D at {urlsplit(first.report['endpoint']).netloc}, {first.report['date'][:10]}"]


def test_rows_tell_found_and_absent_the_volume_in_ml_and_a_place_to_jump_to(logic, scene):
    affine, moved = oblique(), oblique((0.4, 0.1, -0.2), (1, 1, 1))
    node = ct(affine)
    node.SetAndObserveTransformNodeID(linear_transform(scene, moved).GetID())
    result = logic.segmentVolume(node, ["cube", "unicorn"], client=HeldClient())
    cube, unicorn = result.rows
    mask = phantom() == 100
    assert (cube.state, cube.voxels) == ("found", mask.sum())
    assert cube.volumeMl == pytest.approx(mask.sum() * 0.8 * 1.1 * 3.0 / 1000)
    assert np.linalg.norm(np.array(cube.position) - points_of(mask, moved @ affine).mean(axis=0)) < 1e-3
    assert (unicorn.state, unicorn.segmentId, unicorn.voxels, unicorn.position) == ("absent", "", 0, None)
    assert result.found == [cube]
    assert result.report["prompts"][1]["found"] is False and result.report["timings_s"]["total"] > 0


@pytest.mark.parametrize("how", ["segmentVolume", "segmentSlices"])
@pytest.mark.parametrize("scale", [(0.9, 0.9, 0.9), (1.0, 2.0, -1.5)])
def test_millilitres_are_those_of_the_world_under_a_scaling_transform(logic, scene, how, scale):
    affine, mask = oblique(), phantom() == 100
    node = ct(affine)
    node.SetAndObserveTransformNodeID(linear_transform(scene, np.diag([*scale, 1.0]) @ oblique((0.3, 0.2, 0.1), (1, 1, 1))).GetID())
    options = {"slices": "all"} if how == "segmentSlices" else {}
    result = getattr(logic, how)(node, "cube", client=HeldClient(), **options)
    expected = mask.sum() * 0.8 * 1.1 * 3.0 / 1000 * abs(np.prod(scale))
    assert result.rows[0].volumeMl == pytest.approx(expected, abs=1e-6) == result.report["prompts"][0]["volume_ml"]


def test_nothing_found_makes_no_segmentation_and_changes_none(logic, scene):
    node = ct()
    result = logic.segmentVolume(node, "unicorn", client=HeldClient())
    assert result.segmentationNode is None and result.rows[0].state == "absent" and segmentations(scene) == 0
    existing = existing_segmentation(node)
    before = snapshot(existing, SHAPE)
    result = logic.segmentVolume(node, "unicorn", client=HeldClient(), segmentationNode=existing)
    assert result.segmentationNode is existing and snapshot(existing, SHAPE) == before


@pytest.mark.parametrize("how", ["segmentVolume", "segmentSlices"])
def test_existing_segments_stay_byte_for_byte_and_one_undo_takes_the_run_back(logic, how):
    node = ct()
    existing = existing_segmentation(node)
    before = snapshot(existing, SHAPE)
    options = {"slices": "all"} if how == "segmentSlices" else {}
    result = getattr(logic, how)(node, "cube & bar & unicorn", client=HeldClient(), segmentationNode=existing, **options)
    assert result.segmentationNode is existing
    assert snapshot(existing, SHAPE)[:2] == before
    assert names_of(existing) == ["mine", "cube", "cube_1", "bar"]
    assert logic.undoLastRun(existing)
    assert snapshot(existing, SHAPE) == before
    assert logic.undoLastRun(existing) and names_of(existing) == []
    assert not logic.undoLastRun(existing) and not logic.undoLastRun(None)


@pytest.mark.parametrize("how", ["segmentVolume", "segmentSlices"])
def test_replacing_and_overwriting_are_undone_in_one_step_too(logic, how):
    node = ct()
    existing = existing_segmentation(node)
    before = snapshot(existing, SHAPE)
    options = {"slices": "all"} if how == "segmentSlices" else {}
    result = getattr(logic, how)(
        node, "cube", client=HeldClient(), segmentationNode=existing, overlap="overwrite", onExisting="replace", **options
    )
    assert names_of(existing) == ["mine", "cube"] and result.rows[0].segmentId == before[1][0]
    mine = segment_on_grid(existing, before[0][0], SHAPE)
    cube = segment_on_grid(existing, before[1][0], SHAPE)
    assert not np.any(mine & cube) and np.array_equal(mine | cube, blob(SHAPE, 1) | cube)
    assert logic.undoLastRun(existing)
    assert snapshot(existing, SHAPE) == before


def test_keeping_what_is_there_counts_only_the_voxels_that_were_free_and_tells_what_is_covered(logic):
    node = ct()
    cube, bar = phantom() == 100, phantom() == 200
    taken = bar.copy()
    taken[1:4, 3:9, 4:8] = True
    existing = importSegments(None, node, [spec("taken", taken.astype(np.uint8))]).segmentationNode
    result = logic.segmentVolume(node, "cube & bar", client=HeldClient(), segmentationNode=existing, overlap="keep")
    free = cube & ~taken
    assert [row.state for row in result.rows] == ["found", "covered"]
    assert result.rows[0].voxels == free.sum()
    assert result.rows[0].volumeMl == pytest.approx(free.sum() * 0.8 * 1.1 * 3.0 / 1000)
    assert np.array_equal(segment_on_grid(existing, result.rows[0].segmentId, SHAPE), free)
    assert result.rows[1].segmentId == ""


def test_the_editors_undo_state_is_saved_once_before_the_first_change(logic):
    node = ct()
    existing = existing_segmentation(node)
    for how, options in (("segmentVolume", {}), ("segmentSlices", {"slices": "all"})):
        history = slicer.vtkSegmentationHistory()
        history.SetSegmentation(existing.GetSegmentation())
        before, calls = snapshot(existing, SHAPE), []
        getattr(logic, how)(
            node,
            "cube & bar",
            client=HeldClient(),
            segmentationNode=existing,
            overlap="overwrite",
            beforeChange=lambda: calls.append(history.SaveState()),
            **options,
        )
        assert calls == [True] and snapshot(existing, SHAPE) != before
        assert history.RestorePreviousState()
        assert snapshot(existing, SHAPE) == before
    calls.clear()
    logic.segmentVolume(node, "unicorn", client=HeldClient(), segmentationNode=existing, beforeChange=lambda: calls.append(1))
    assert calls == []


def test_options_reach_the_request_as_on_the_command_line(logic):
    client = HeldClient()
    node = ct(np.eye(4))
    logic.segmentVolume(node, "cube & bar", client=client, group="each", slabs=2, window="raw", region="2:24,:,1:5")
    assert sorted({text for seen in client.double.seen for text in seen.texts}) == ["bar", "cube"]
    assert len(client.double.seen) == 4
    assert {seen.nifti().shape[:2] for seen in client.double.seen} == {(22, 20)}


# --- a region of interest ------------------------------------------------------------------------------------------


def roi_node(scene, center, size, transform=None):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    node.SetSize(*size)
    node.SetCenter(*center)
    if transform is not None:
        node.SetAndObserveTransformNodeID(linear_transform(scene, transform).GetID())
    return node


def test_a_region_of_interest_node_sends_the_voxels_whose_centers_it_holds(logic, scene):
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    client = HeldClient()
    node = ct(affine)
    # i 3..12 (6 to 24 mm), j 2..9, k 1..3; the borders lie between voxel centers.
    roi = roi_node(scene, (15, 11, 10), (19, 15, 12))
    result = logic.segmentVolume(node, "cube & bar", client=client, region=roi)
    sent = np.asarray(client.double.seen[0].nifti().dataobj)
    assert np.array_equal(np.sort(sent.ravel()), np.sort(phantom()[1:4, 2:10, 3:13].ravel()))
    inside = np.zeros(SHAPE, bool)
    inside[1:4, 2:10, 3:13] = True
    assert np.array_equal(segment_on_grid(result.segmentationNode, result.rows[0].segmentId, SHAPE), (phantom() == 100) & inside)
    assert result.rows[1].state == "absent"


def test_a_region_of_interest_holds_under_transforms_of_either_node(logic, scene):
    affine, moved = oblique(), oblique((0.3, 0.2, 0.1), (1, 1, 1))
    node = ct(affine)
    node.SetAndObserveTransformNodeID(linear_transform(scene, moved).GetID())
    # A box of half a voxel around the middle of voxel (i 6, j 5, k 2), placed by a transform of its own that scales and moves.
    middle = (moved @ affine @ (6, 5, 2, 1))[:3]
    place = np.diag([2.0, 2.0, 2.0, 1.0])
    place[:3, 3] = middle
    client = HeldClient()
    result = logic.segmentVolume(node, "cube", client=client, region=roi_node(scene, (0, 0, 0), (0.1, 0.1, 0.1), place))
    assert np.asarray(client.double.seen[0].nifti().dataobj).tolist() == [[[100]]]
    assert result.rows[0].voxels == 1
    assert np.allclose(result.rows[0].position, middle, atol=1e-3)


def test_a_region_of_interest_outside_the_volume_is_refused_before_anything_is_sent(logic, scene):
    client = HeldClient()
    with pytest.raises(UsageError, match="holds no voxel"):
        logic.segmentVolume(ct(), "cube", client=client, region=roi_node(scene, (5000, 0, 0), (10, 10, 10)))
    with pytest.raises(UsageError, match="Markups"):
        logic.segmentVolume(ct(), "cube", client=client, region=ct())
    assert client.double.seen == []
