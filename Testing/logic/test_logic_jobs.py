"""MedImageParseLogic's jobs: callbacks, cancelling, errors, and a scene that moves on while the model works."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from logic_support import SHAPE, STAGES, HeldClient, bring_to, ct, existing_segmentation, phantom, poll_until, segmentations, start
from places import LIBRARY
from scene_support import names_of, oblique, points_of, segment_points, snapshot

from MedImageParseLib.errors import Cancelled, EndpointError, InputError, MedImageParseError, UsageError
from MedImageParseLib.logic import runs
from MedImageParseLib.logic.jobs import Dropped
from MedImageParseLib.logic.segmentation import MedImageParseLogic
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.scene import segments

pytestmark = pytest.mark.usefixtures("scene")


# --- jobs, and a scene that moves on -------------------------------------------------------------------------------


def test_with_a_callback_the_job_comes_back_at_once_and_the_callback_when_it_is_done(logic):
    node = ct()
    states = []
    told = MedImageParseLogic(onChange=lambda job: states.append(job.state))
    job, ended = start(told, node)
    assert job.state == "queued" and ended == [] and told.jobs == [job] and job.title == "cube & bar & unicorn"
    poll_until(told, lambda: told.isIdle)
    assert ended == [job] and [row.state for row in job.result.rows] == ["found", "found", "absent"]
    assert list(dict.fromkeys(states)) == ["preparing", "running", "importing", "done"]
    told.close()


def test_two_jobs_run_one_after_the_other_into_the_same_segmentation(logic):
    node = ct()
    existing = existing_segmentation(node)
    client = HeldClient()
    first, _ = start(logic, node, "cube", client, segmentationNode=existing)
    second, _ = start(logic, node, "bar", client, segmentationNode=existing)
    bring_to(logic, first, client, "running")
    assert [job.state for job in logic.jobs] == ["running", "queued"]
    client.go.set()
    poll_until(logic, lambda: logic.isIdle)
    assert names_of(existing) == ["mine", "cube", "cube_1", "bar"]
    assert logic.undoLastRun(existing) and names_of(existing) == ["mine", "cube", "cube_1"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "event", ["scene closed", "volume deleted", "volume changed", "new image", "turned", "segmentation deleted", "logic closed"]
)
def test_when_what_a_job_is_for_goes_away_it_is_dropped_and_nothing_is_imported(logic, scene, caplog, stage, event):
    node, bystander = ct(), ct(name="bystander")
    mine = existing_segmentation(bystander)
    existing = existing_segmentation(node)
    before, kept = snapshot(existing, SHAPE), snapshot(mine, SHAPE)
    client = HeldClient()
    job, ended = start(logic, node, client=client, segmentationNode=existing)
    with caplog.at_level(logging.WARNING):
        bring_to(logic, job, client, stage)
        words = happen(event, scene, node, existing, logic)
        if event != "logic closed":
            logic.poll()
            client.go.set()
            poll_until(logic, lambda: logic.isIdle)
    if stage in ("queued", "preparing") and event in ("volume changed", "new image", "turned"):
        assert job.state == "done"  # nothing had been read yet: the job took the volume as it is now
        return
    assert job.state == ("cancelled" if event == "logic closed" else "dropped") and words in job.sentence
    assert ended == [job] and job.result is None
    assert caplog.text == ""
    if event != "scene closed":
        assert snapshot(mine, SHAPE) == kept
        assert segmentations(scene) == (1 if event == "segmentation deleted" else 2)
        if event != "segmentation deleted":
            assert snapshot(existing, SHAPE) == before
    else:
        assert segmentations(scene) == 0


def happen(event, scene, node, segmentation, logic):
    """Returns words of the sentence that is due."""
    import vtk

    if event == "scene closed":
        scene.Clear(0)
        return "scene was closed"
    if event == "volume deleted":
        scene.RemoveNode(node)
        return "volume was deleted"
    if event == "segmentation deleted":
        scene.RemoveNode(segmentation)
        return "segmentation was deleted"
    if event == "logic closed":
        logic.close()
        return "module was closed"
    if event == "volume changed":
        slicer.util.arrayFromVolume(node)[0, 0, 0] += 1
        slicer.util.arrayFromVolumeModified(node)
    elif event == "new image":
        image = vtk.vtkImageData()
        image.DeepCopy(node.GetImageData())
        node.SetAndObserveImageData(image)
    else:
        node.SetSpacing(2, 2, 2)
    return "volume was changed"


def test_a_volume_that_is_only_moved_or_windowed_while_the_model_works_keeps_its_result(logic):
    node = ct()
    client = HeldClient()
    job, _ = start(logic, node, client=client)
    bring_to(logic, job, client, "running")
    node.SetOrigin(100, 200, 300)
    node.SetName("renamed")
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(50, 100)
    node.GetImageData().GetScalarRange()
    client.go.set()
    poll_until(logic, lambda: job.has_ended)
    assert job.state == "done"
    affine = oblique()
    affine[:3, 3] = (100, 200, 300)
    points = segment_points(job.result.segmentationNode, job.result.rows[0].segmentId)
    assert np.allclose(points, points_of(phantom() == 100, affine), atol=1e-3)


def test_a_new_scene_in_place_of_the_old_one_gets_nothing_of_the_old_ones_job(logic, scene):
    client = HeldClient()
    job, _ = start(logic, ct(), client=client)
    bring_to(logic, job, client, "running")
    scene.Clear(0)
    other = ct(name="CT")  # the same ID and name in the new scene
    client.go.set()
    poll_until(logic, lambda: logic.isIdle)
    assert job.state == "dropped" and segmentations(scene) == 0
    assert other.GetID() == "vtkMRMLScalarVolumeNode1"


def test_the_voxels_that_are_sent_are_those_of_the_moment_even_if_slicer_writes_new_ones_meanwhile(logic):
    """No copy is made for the worker, and yet updateVolumeFromArray must not write under its hands."""
    from MedImageParseLib.logic.guard import borrowVolume

    node = ct()
    borrowed = borrowVolume(node)
    slicer.util.updateVolumeFromArray(node, np.full(SHAPE, 77, np.uint8))
    assert np.array_equal(borrowed.volume.voxels, phantom())
    node.GetScene().RemoveNode(node)
    assert np.array_equal(borrowed.volume.voxels, phantom())


def test_borrowing_a_large_volume_takes_no_memory_of_its_size():
    import tracemalloc

    from MedImageParseLib.logic.guard import borrowVolume

    node = ct(voxels=np.zeros((60, 256, 256), np.int16))
    tracemalloc.start()
    borrowed = borrowVolume(node)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000 and borrowed.volume.voxels.nbytes > 7_000_000
    assert np.shares_memory(borrowed.volume.voxels, slicer.util.arrayFromVolume(node))


@pytest.mark.parametrize("how", ["done", "cancelled", "dropped", "failed", "closed"])
def test_no_observer_stays_on_the_scene_when_a_job_has_ended(logic, scene, monkeypatch, how):
    class Watched(runs.RunGuard):
        """The observer holds its guard, so a guard that is gone has let go of the scene."""

    guards = []
    monkeypatch.setattr(runs, "RunGuard", lambda *arguments: guards.append(Watched(*arguments)) or guards[-1])
    node = ct()
    client = HeldClient(failAt=1 if how == "failed" else 0)
    job, _ = start(logic, node, client=client)
    guard = weakref.ref(guards.pop())
    bring_to(logic, job, client, "running")
    assert guard() is not None
    if how == "cancelled":
        logic.cancel(job)
    elif how == "dropped":
        scene.RemoveNode(node)
    elif how == "closed":
        logic.close()
    client.go.set()
    poll_until(logic, lambda: logic.isIdle)
    gc.collect()
    assert job.state == {"closed": "cancelled"}.get(how, how) and guard() is None


# --- errors and cancelling -----------------------------------------------------------------------------------------


def test_what_can_be_known_at_once_is_said_at_once_and_leaves_no_job(logic, scene):
    node, client = ct(), HeldClient()
    for error, words, call in (
        (UsageError, "no prompt", lambda: logic.segmentVolume(node, " & ", client=client, callback=print)),
        (UsageError, "Say where to send", lambda: logic.segmentVolume(node, "cube", callback=print)),
        (
            UsageError,
            "Say where to send",
            lambda: logic.segmentVolume(node, "cube", client=client, endpoint="http://127.0.0.1:9/score", callback=print),
        ),
        (UsageError, "overlap rule", lambda: logic.segmentVolume(node, "cube", client=client, overlap="maybe", callback=print)),
        (UsageError, "no rule for names", lambda: logic.segmentVolume(node, "cube", client=client, onExisting="maybe", callback=print)),
        (UsageError, "group", lambda: logic.segmentVolume(node, "cube", client=client, group="maybe", callback=print)),
        (UsageError, "plane", lambda: logic.segmentSlices(node, "cube", client=client, plane="flat", callback=print)),
        (InputError, "no volume", lambda: logic.segmentVolume(None, "cube", client=client, callback=print)),
    ):
        with pytest.raises(error, match=words):
            call()
    assert logic.isIdle and client.double.seen == [] and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_slices_that_are_not_there_and_segmentations_that_cannot_take_voxels_are_refused_before_sending(logic, scene):
    node, client = ct(), HeldClient()
    for slices in (None, "3:99", "x"):
        with pytest.raises(UsageError):
            logic.segmentSlices(node, "cube", client=client, slices=slices)
    surfaces = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    surfaces.GetSegmentation().SetSourceRepresentationName("Closed surface")
    surfaces.GetSegmentation().AddEmptySegment("a", "a")
    with pytest.raises(UsageError, match="binary labelmap"):
        logic.segmentVolume(node, "cube", client=client, segmentationNode=surfaces)
    assert client.double.seen == []


def test_a_failed_request_imports_nothing_and_its_sentence_is_raised(logic, scene):
    with pytest.raises(EndpointError, match="The endpoint failed"):
        logic.segmentVolume(ct(), "cube", client=HeldClient(failAt=1))
    assert segmentations(scene) == 0


@pytest.mark.parametrize("into", ["a new segmentation", "an existing one"])
def test_an_import_that_fails_leaves_the_scene_as_it_was(logic, scene, monkeypatch, into):
    node = ct()
    existing = existing_segmentation(node) if into == "an existing one" else None
    before = snapshot(existing, SHAPE) if existing else []
    monkeypatch.setattr(segments, "describe", lambda *_: (_ for _ in ()).throw(RuntimeError("no")))
    with pytest.raises(MedImageParseError, match="as it was before"):
        logic.segmentVolume(node, "cube", client=HeldClient(), segmentationNode=existing, overlap="overwrite")
    assert segmentations(scene) == (1 if existing else 0)
    if existing:
        assert snapshot(existing, SHAPE) == before


@pytest.mark.parametrize("stage", STAGES)
def test_cancelling_gives_control_back_in_every_stage_and_imports_nothing(logic, scene, stage):
    node = ct()
    existing = existing_segmentation(node)
    before = snapshot(existing, SHAPE)
    client = HeldClient()
    job, ended = start(logic, node, client=client, segmentationNode=existing)
    bring_to(logic, job, client, stage)
    assert logic.cancel(job) and ended == [job] and job.state == "cancelled"
    client.go.set()
    poll_until(logic, lambda: logic.isIdle)
    assert snapshot(existing, SHAPE) == before


def test_a_switch_turned_in_another_thread_stops_a_run_that_is_waited_for_and_no_other(logic):
    node, client, switch = ct(), HeldClient(), Cancellation()
    client.go.clear()
    threading.Timer(0.05, switch.cancel).start()
    with pytest.raises(Cancelled):
        logic.segmentVolume(node, "cube", client=client, cancellation=switch)
    client.go.set()
    other = Cancellation()
    with pytest.raises(EndpointError):
        logic.segmentVolume(node, "cube", client=HeldClient(failAt=1), cancellation=other)
    assert not other.is_cancelled


def test_a_run_that_is_waited_for_raises_when_its_volume_goes_away(scene):
    node = ct()
    logic = MedImageParseLogic(onChange=lambda job: scene.RemoveNode(node) if job.state == "running" else None)
    with pytest.raises(Dropped, match="volume was deleted"):
        logic.segmentVolume(node, "cube", client=HeldClient())
    logic.close()


def test_the_logic_mixes_into_slicers_own_logic_class_and_loads_neither_slicer_nor_a_network_library():
    class ScriptedModuleLogic:
        def __init__(self, parent=None):
            self.parent = parent

    class ModuleLogic(MedImageParseLogic, ScriptedModuleLogic):
        """As the module's own file may have it."""

    logic = ModuleLogic()
    assert logic.parent is None and logic.isIdle
    logic.close()
    loaded = (
        "import sys, MedImageParseLib.logic.segmentation; print(sorted({'slicer', 'vtk', 'qt', 'requests', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", loaded], cwd=LIBRARY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
