"""Several images, one after the other: volumes, frames of a sequence, series of the DICOM database; and separate structures."""

from __future__ import annotations

import numpy as np
import pytest
from logic_support import SHAPE, HeldClient, ct, phantom, poll_until, segmentations
from scene_support import oblique, segment_on_grid

from MedImageParseLib.errors import InputError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.logic.many import databaseCases, sequenceCases, sequenceOf, volumeCases
from MedImageParseLib.scene.volumes import nodeFromVolume

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")


def moved(number: int) -> np.ndarray:
    """The phantom, moved by some columns: each image has another answer."""
    return np.roll(phantom(), number, axis=2)


def sequence(scene, count: int = 3):
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "heart")
    node.SetIndexName("time")
    node.SetIndexUnit("s")
    for number in range(count):
        frame = nodeFromVolume(Volume(moved(number), oblique()), "frame")
        node.SetDataNodeAtValue(frame, str(number / 2))
        scene.RemoveNode(frame)
    browser = slicer.vtkMRMLSequenceBrowserNode()  # a scene outside Slicer does not know the class by its name
    scene.AddNode(browser)
    browser.SetAndObserveMasterSequenceNodeID(node.GetID())
    return node, browser


def voxels(segmentationNode, name: str = "cube") -> np.ndarray:
    return segment_on_grid(segmentationNode, segmentationNode.GetSegmentation().GetSegmentIdBySegmentName(name), SHAPE)


def test_each_volume_gets_a_segmentation_of_its_own_and_one_that_fails_stops_no_other(scene, logic):
    nodes = [ct(voxels=moved(number), name=f"CT {number}") for number in range(3)]
    runs = logic.segmentMany(volumeCases(nodes), "cube", client=HeldClient(failAt=2))
    assert [case.state for case in runs.cases] == ["done", "failed", "done"] and "The endpoint failed" in runs.cases[1].sentence
    assert segmentations(scene) == 2 and runs.cases[1].result is None
    for number in (0, 2):
        assert np.array_equal(voxels(runs.cases[number].result.segmentationNode), moved(number) == 100)


def test_results_lie_in_the_study_of_their_volume(scene, logic):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = [ct(name="A"), ct(name="B")]
    studies = [hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), node.GetName()) for node in nodes]
    for node, study in zip(nodes, studies):
        hierarchy.CreateItem(study, node)
    runs = logic.segmentMany(volumeCases(nodes), "cube", client=HeldClient())
    items = [hierarchy.GetItemByDataNode(case.result.segmentationNode) for case in runs.cases]
    assert [hierarchy.GetItemParent(item) for item in items] == studies


def test_a_sequence_of_volumes_gives_a_sequence_of_segmentations_in_step(scene, logic):
    node, browser = sequence(scene)
    before = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    runs = logic.segmentMany(sequenceCases(node), "cube & unicorn", client=HeldClient())
    assert [case.name for case in runs.cases] == ["heart, time 0.0 s", "heart, time 0.5 s", "heart, time 1.0 s"]
    results = scene.GetFirstNodeByName("heart segmentation")
    assert browser.IsSynchronizedSequenceNode(results, True)
    assert (results.GetIndexName(), results.GetIndexUnit(), results.GetNumberOfDataNodes()) == ("time", "s", 3)
    for number in range(3):
        value = node.GetNthIndexValue(number)
        assert np.array_equal(voxels(results.GetDataNodeAtValue(value)), moved(number) == 100)
    assert segmentations(scene) == 0 and scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before


def test_a_frame_without_anything_found_gets_an_empty_segmentation(scene, logic):
    node, _browser = sequence(scene, 2)
    logic.segmentMany(sequenceCases(node), "unicorn", client=HeldClient())
    results = scene.GetFirstNodeByName("heart segmentation")
    assert [results.GetNthDataNode(number).GetSegmentation().GetNumberOfSegments() for number in range(2)] == [0, 0]


def test_cancelling_keeps_what_is_done_and_leaves_nothing_of_the_run_at_work(scene, logic):
    client = HeldClient()
    client.step_by_step = True
    node, _browser = sequence(scene, 3)
    changed = []
    runs = logic.segmentMany(sequenceCases(node), "cube", client=client, onChange=changed.append)
    client.each.release()
    poll_until(logic, lambda: runs.cases[1].state == "running")
    runs.cancel()
    poll_until(logic, lambda: logic.isIdle)
    assert [case.state for case in runs.cases] == ["done", "cancelled", "cancelled"] and changed
    assert scene.GetFirstNodeByName("heart segmentation").GetNumberOfDataNodes() == 1 and segmentations(scene) == 0


def test_five_failures_of_the_endpoint_in_a_row_stop_the_list(scene, logic):
    class Down(HeldClient):
        def send(self, body, **options):
            self.failAt = len(self.double.seen) + 1
            return super().send(body, **options)

    nodes = [ct(name=str(number)) for number in range(7)]
    client = Down()
    runs = logic.segmentMany(volumeCases(nodes), "cube", client=client)
    assert runs.count("failed") == 5 and runs.count("cancelled") == 2 and len(client.double.seen) == 5


def test_series_of_the_dicom_database_are_listed_without_the_patient_and_objects_that_are_no_images_are_passed_over(scene, monkeypatch):
    class Database:
        isOpen = True
        patients = staticmethod(lambda: ["p"])
        studiesForPatient = staticmethod(lambda _patient: ["s"])
        seriesForStudy = staticmethod(lambda _study: ["1", "2"])
        filesForSeries = staticmethod(lambda series: [series])

        def fileValue(self, file, tag):
            return {"0008,0060": "CT" if file == "1" else "SEG", "0020,0011": "4", "0008,103E": "thin"}.get(tag, "Doe^Jane")

    cases = databaseCases(Database(), scene)
    assert [case.name for case in cases] == ["4: thin"]
    node = ct()
    node.SetAttribute("DICOM.instanceUIDs", "9.9")
    monkeypatch.setattr(Database, "instanceValue", lambda *_: "1", raising=False)
    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    assert cases[0].open() is node  # in the scene already
    with pytest.raises(InputError, match="no DICOM database"):
        databaseCases(None, scene)


def test_the_frames_behind_a_volume_in_view_are_known(scene):
    node, browser = sequence(scene)
    proxy = browser.AddProxyNode(node.GetNthDataNode(0), node)
    assert sequenceOf(browser.GetProxyNode(node) or proxy) is node and sequenceOf(ct()) is None
    with pytest.raises(InputError, match="sequence of volumes"):
        sequenceCases(scene.AddNewNodeByClass("vtkMRMLSequenceNode"))


def test_separate_structures_become_segments_by_size_and_small_ones_are_told(scene, logic):
    voxels_kji = np.full(SHAPE, 10, np.uint8)
    voxels_kji[1:3, 2:4, 2:4] = 100
    voxels_kji[1:4, 8:16, 8:16] = 100
    node = nodeFromVolume(Volume(voxels_kji, np.diag([1.0, 1.0, 1.0, 1.0])), "CT")
    result = logic.segmentVolume(node, "cube & bar", client=HeldClient(), instances=0)
    assert [(row.name, row.state, row.voxels) for row in result.rows] == [
        ("cube 1", "found", 192),
        ("cube 2", "found", 8),
        ("bar", "absent", 0),
    ]
    large = logic.segmentVolume(node, "cube", client=HeldClient(), instances=0.1)
    assert [(row.name, row.state) for row in large.rows] == [("cube 1", "found")]
    none = logic.segmentVolume(node, "cube", client=HeldClient(), instances=10)
    assert [(row.name, row.state, row.segmentId) for row in none.rows] == [("cube", "small", "")]
