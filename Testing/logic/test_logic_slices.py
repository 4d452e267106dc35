"""MedImageParseLogic on slices: segments that grow, and end as one undo step or not at all."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from logic_support import HeldClient, ct, poll_until, segmentations, start, tall_phantom
from scene_support import blob, linear_transform, names_of, oblique, points_of, segment_on_grid, segment_points, snapshot, spec

from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.scene import segments
from MedImageParseLib.scene.segments import importSegments
from MedImageParseLib.tasks.segment_slices import segment_slices

pytestmark = pytest.mark.usefixtures("scene")


# --- slices --------------------------------------------------------------------------------------------------------


def test_slices_become_one_segment_a_prompt_that_covers_the_slices_asked_for_and_no_other(logic):
    voxels = tall_phantom()
    node = ct(np.diag([-1.0, -1.0, 4.0, 1.0]), voxels)
    result = logic.segmentSlices(node, "cube & unicorn", client=HeldClient(), slices="0:3")
    assert names_of(result.segmentationNode) == ["cube"]
    got = segment_on_grid(result.segmentationNode, result.rows[0].segmentId, voxels.shape)
    truth = voxels == 100
    truth[3:] = False
    assert 2 * np.sum(got & truth) / (got.sum() + truth.sum()) > 0.99
    assert [row.state for row in result.rows] == ["found", "absent"]


@pytest.mark.parametrize("into", ["a new segmentation", "an existing one"])
def test_slices_appear_one_by_one_and_end_as_one_undo_step(logic, scene, into):
    node = ct(np.diag([-1.0, -1.0, 4.0, 1.0]), tall_phantom())
    existing = importSegments(None, node, [spec("mine", blob((5, 256, 256), 1))]).segmentationNode if into == "an existing one" else None
    before = snapshot(existing, (5, 256, 256)) if existing else []
    client = HeldClient()
    client.step_by_step = True
    job, ended = start(logic, node, "cube", client, "segmentSlices", slices="all", segmentationNode=existing)
    for number, there in enumerate([[], [1], [1, 2], [1, 2, 3]]):
        client.each.release()
        poll_until(logic, lambda: job.items[0] > number)
        poll_until(logic, lambda: names_of_all(scene, "cube") == there)
        assert not job.has_ended
    client.each.release()
    poll_until(logic, lambda: job.has_ended)
    assert job.state == "done", job.sentence
    assert ended == [job] and names_of_all(scene, "cube") == [1, 2, 3]
    made = job.result.segmentationNode
    assert segmentations(scene) == 1 and (existing is None or made is existing)
    assert snapshot(made, (5, 256, 256))[: len(before)] == before
    assert logic.undoLastRun(made)
    assert snapshot(made, (5, 256, 256)) == before


def names_of_all(scene, name):
    """Indices of the slices that hold voxels of the segment of this name, in whatever segmentation."""
    for number in range(segmentations(scene)):
        node = scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
        segment_id = node.GetSegmentation().GetSegmentIdBySegmentName(name)
        if segment_id:
            return np.flatnonzero(segment_on_grid(node, segment_id, (5, 256, 256)).any(axis=(1, 2))).tolist()
    return []


@pytest.mark.parametrize("end", ["cancelled", "failed import", "volume deleted", "volume changed", "closed"])
@pytest.mark.parametrize("into", ["a new segmentation", "an existing one"])
def test_a_slice_run_that_ends_early_takes_its_slices_back(logic, scene, monkeypatch, into, end):
    shape = (5, 256, 256)
    node = ct(np.diag([-1.0, -1.0, 4.0, 1.0]), tall_phantom())
    existing = importSegments(None, node, [spec("mine", blob(shape, 1))]).segmentationNode if into == "an existing one" else None
    before, count = snapshot(existing, shape) if existing else [], segmentations(scene)
    client = HeldClient()
    client.step_by_step = True
    job, _ = start(logic, node, "cube", client, "segmentSlices", slices="all", segmentationNode=existing)
    for _ in range(3):
        client.each.release()
    poll_until(logic, lambda: len(names_of_all(scene, "cube")) > 0)
    if existing:
        with pytest.raises(UsageError, match="still in progress"):
            logic.undoLastRun(existing)
    if end == "cancelled":
        assert logic.cancel(job)
    elif end == "volume deleted":
        scene.RemoveNode(node)
    elif end == "volume changed":
        slicer.util.arrayFromVolumeModified(node)
    elif end == "closed":
        logic.close()
    else:
        monkeypatch.setattr(segments, "describe", lambda *_: 1 / 0)
        client.each.release(5)
    poll_until(logic, lambda: job.has_ended)
    assert job.state == {"cancelled": "cancelled", "closed": "cancelled", "failed import": "failed"}.get(end, "dropped")
    assert segmentations(scene) == count
    if existing:
        assert snapshot(existing, shape) == before


def test_a_slice_run_that_fails_half_way_keeps_what_it_got_and_says_so(logic):
    voxels = tall_phantom()
    node = ct(np.diag([-1.0, -1.0, 4.0, 1.0]), voxels)
    result = logic.segmentSlices(node, "cube", client=HeldClient(failAt=4), slices="all")
    assert result.failure == "The endpoint failed."
    assert result.rows[0].state == "found"
    got = segment_on_grid(result.segmentationNode, result.rows[0].segmentId, voxels.shape)
    assert np.flatnonzero(got.any(axis=(1, 2))).tolist() == [1, 2]
    assert any("stopped before these slices" in warning for warning in result.warnings)


def test_growing_segments_under_a_transform_and_merged_layers_leave_the_neighbors_alone(logic, scene):
    """Saving a scene merges layers; a growing segment must not erase those it shares one with."""
    shape = (5, 256, 256)
    node = ct(np.diag([-1.0, -1.0, 4.0, 1.0]), tall_phantom())
    node.SetAndObserveTransformNodeID(linear_transform(scene, oblique()).GetID())
    far = np.zeros(shape, np.uint8)
    far[:, 200:, 200:] = 1
    existing = importSegments(None, node, [spec("mine", far)]).segmentationNode
    before = snapshot(existing, shape)
    client = HeldClient()
    client.step_by_step = True
    job, _ = start(logic, node, "cube", client, "segmentSlices", slices="all", segmentationNode=existing)
    client.each.release(2)
    poll_until(logic, lambda: names_of_all(scene, "cube") == [1])
    existing.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert existing.GetSegmentation().GetNumberOfLayers() == 1
    client.each.release(1)
    poll_until(logic, lambda: names_of_all(scene, "cube") == [1, 2])
    assert snapshot(existing, shape)[:1] == before
    client.each.release(9)
    poll_until(logic, lambda: job.has_ended)
    assert snapshot(existing, shape)[:1] == before and names_of(existing) == ["mine", "cube"]
    truth = points_of(tall_phantom() == 100, oblique() @ np.diag([-1.0, -1.0, 4.0, 1.0]))
    middle = segment_points(existing, job.result.rows[0].segmentId, world=True).mean(axis=0)
    assert np.linalg.norm(middle - truth.mean(axis=0)) < 0.5


@pytest.mark.parametrize("orient", ["radiological", "vote"])
def test_each_slice_is_told_once_a_prompt_when_its_last_vote_is_in_and_adds_up_to_the_result(orient):
    told = []
    client = HeldClient(max_in_flight=2)  # two at once: every request is sent from a worker thread
    volume = Volume(tall_phantom(), np.diag([-1.0, -1.0, 4.0, 1.0]))

    def slice_done(number, index, mask):
        told.append((number, index, mask.full()))

    result = segment_slices(volume, ["cube", "unicorn"], client, slices=[0, 2, 3], orient=orient, slice_done=slice_done)
    assert sorted((number, index) for number, index, _ in told) == [(number, index) for number in (0, 1) for index in (0, 2, 3)]
    assert all(not np.delete(full, index, axis=0).any() for _, index, full in told)
    for number in (0, 1):
        together = np.maximum.reduce([full for each, _, full in told if each == number])
        assert np.array_equal(together, result.prompts[number].mask.full())
    assert len(client.double.seen) == 3 * (4 if orient == "vote" else 1)
