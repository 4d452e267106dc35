"""MedImageInsightLogic: the console's examples, finding volumes again, regions, and the DICOM database."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from embed_support import made_up_ct
from scene_support import oblique, spec

from doubles.insight import InsightDouble
from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.logic import indexing_runs, question_runs
from MedImageParseLib.logic import similarity as module
from MedImageParseLib.scene import session, volumes
from MedImageParseLib.scene.geometry import regionFromSegment
from MedImageParseLib.scene.segments import importSegments
from MedImageParseLib.scene.volumes import nodeFromVolume, volumeFromNode
from MedImageParseLib.search.records import Record


@pytest.fixture
def scene():
    with session.freshScene() as scene:
        yield scene


@pytest.fixture
def logic(scene):
    made = module.MedImageInsightLogic()
    yield made
    made.close()


@pytest.fixture
def url():
    with InsightDouble().serve() as url:
        yield url


def test_the_console_examples_do_what_they_show(scene, url, tmp_path):
    names = {
        "volumeNode": nodeFromVolume(made_up_ct(), "CT"), "url": url, "path": str(tmp_path / "some.index"),
        "MedImageInsightLogic": module.MedImageInsightLogic,
    }  # fmt: skip
    text = module.MedImageInsightLogic.__doc__
    assert text.count("Example (") == 3
    examples = doctest.DocTestParser().get_doctest(text, names, "logic", None, None)
    said = []
    result = doctest.DocTestRunner().run(examples, out=said.append)
    assert result.failed == 0 and result.attempted >= 9, "".join(said)


def test_the_modules_shell_offers_the_logic(scene):
    import importlib.util

    from places import LIBRARY

    from host import Host

    with Host() as host:
        host.load_module("MedImageParse", LIBRARY / "MedImageParse.py", open_it=False)
        import MedImageParse

        assert MedImageParse.MedImageInsightLogic.__name__ == "MedImageInsightLogic"
        assert importlib.util.find_spec("MedImageParseLib") is not None


def test_one_volume_without_voxels_does_not_cost_the_others(logic, scene, url, tmp_path):
    good, empty = nodeFromVolume(made_up_ct(6), "good"), scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    result = logic.indexVolumes([empty, good], index=str(tmp_path / "a.index"), endpoint=url)
    assert result.embedded == 6 and "1 of 2 inputs could not be used" in result.failure
    with pytest.raises(InputError, match="There is no volume to read"):
        logic.indexVolumes(empty, index=str(tmp_path / "b.index"), endpoint=url)
    assert not (tmp_path / "b.index").exists()


def test_without_a_name_the_index_is_in_the_persons_own_folder(logic, url, tmp_path):
    logic.indexVolumes(nodeFromVolume(made_up_ct(4), "CT"), endpoint=url)
    path = Path(logic.defaultIndexPath())
    assert path.is_file() and path.parent == tmp_path / "configuration"
    assert path.stat().st_mode & 0o077 == 0  # thumbnails are images of patients
    summary = logic.describeIndex()
    assert summary.exists and summary.images == 4 and [study.name for study in summary.studies] == ["CT"]


def test_what_cannot_be_asked_is_refused_before_anything_is_sent(logic):
    node = nodeFromVolume(made_up_ct(4), "CT")
    with pytest.raises(UsageError, match="one of the two"):
        logic.findSimilar(node, text="liver", endpoint="http://127.0.0.1:9/score")
    with pytest.raises(UsageError, match="not known"):
        logic.findSimilar(node, plane="oblique", endpoint="http://127.0.0.1:9/score")
    with pytest.raises(UsageError, match="Say where to send"):
        logic.indexVolumes(node)
    with pytest.raises(InputError, match="no index"):
        logic.findSimilar(node, endpoint="http://127.0.0.1:9/score")


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_slice_of_an_oblique_volume_under_a_transform_is_found_in_the_world(scene, plane):
    affine = oblique()
    node = nodeFromVolume(Volume(np.zeros((5, 7, 9), np.int16), affine), "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    matrix = slicer.util.vtkMatrixFromArray(np.array([[0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1.0]]))
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    # The array axis of a plane is the one that runs most along the plane's normal.
    axis = int(np.argmax(np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))[{"sagittal": 0, "coronal": 1, "axial": 2}[plane]]))
    ijk = np.array([4.0, 3.0, 2.0, 1.0])
    ijk[axis] = 1
    expected = slicer.util.arrayFromVTKMatrix(matrix) @ affine @ ijk
    assert np.allclose(volumes.slicePosition(node, plane, 1), expected[:3], atol=1e-6)
    with pytest.raises(InputError, match="slice 99"):
        volumes.slicePosition(node, plane, 99)


def test_a_volume_is_found_again_by_its_voxels_and_not_mistaken_for_another_of_its_size(logic, url, tmp_path):
    node = nodeFromVolume(made_up_ct(), "CT")
    other = made_up_ct()
    other.voxels[0, 0, 0] += 1
    twin = nodeFromVolume(other, "twin")
    logic.indexVolumes(node, index=str(tmp_path / "a.index"), endpoint=url, paths=False)
    result = logic.findSimilar(twin, sliceIndex=5, index=str(tmp_path / "a.index"), endpoint=url)
    fresh = module.MedImageInsightLogic()  # one that has not indexed anything itself
    assert fresh.openHit(result.hits[0]).volumeNode is node
    fresh.close()


def test_a_file_that_has_changed_is_said_so(logic, tmp_path, monkeypatch):
    node = nodeFromVolume(made_up_ct(6), "CT")
    path = tmp_path / "other.nrrd"
    path.write_text("only has to be there")
    monkeypatch.setattr(slicer.util, "loadVolume", lambda *_arguments: node)
    record = Record("", "slice", str(path), "0" * 32, "axial", 3, {"size_kji": [6, 50, 50], "name": "other.nrrd"})
    with pytest.raises(InputError, match='"other.nrrd" has another size than when it was indexed'):
        logic.openHit(record)


def test_a_folder_of_dicom_files_is_loaded_with_the_slices_that_were_indexed(logic, url, tmp_path):
    from dicom_support import write_series  # the suite's own writer, by pydicom

    folder = tmp_path / "series"
    write_series(folder)
    result = logic.indexFolder(folder, index=str(tmp_path / "a.index"), endpoint=url)
    assert result.embedded > 1
    found = logic.findOutliers(index=str(tmp_path / "a.index")).items[0]
    opened = logic.openHit(found)
    assert opened.isNew and list(opened.volumeNode.GetImageData().GetDimensions()[::-1]) == found.record.position["size_kji"]
    volume = volumeFromNode(opened.volumeNode)
    middle = [*(np.array(volume.shape_kji[1:][::-1]) - 1) / 2, found.record.slice_index, 1]
    assert np.allclose(opened.position, (volume.ijk_to_ras @ middle)[:3], atol=1e-4)


class Database:
    """What the logic asks of Slicer's DICOM database; anything about a patient fails."""

    isOpen = True

    def __init__(self, files):
        self._files = files

    patients = staticmethod(lambda: ("1",))
    studiesForPatient = staticmethod(lambda patient: ("2",))
    seriesForStudy = staticmethod(lambda study: ("1.2.3",))

    def filesForSeries(self, uid):
        return tuple(self._files) if uid == "1.2.3" else ()

    def fileValue(self, _file, tag):
        return {"0020,0011": "4", "0008,103E": "thin"}[tag]


def test_the_dicom_database_is_indexed_by_series_and_nothing_of_the_patient_is_asked(logic, url, tmp_path, monkeypatch):
    from dicom_support import write_series

    with pytest.raises(InputError, match="no DICOM database open"):
        logic.indexDatabase(index=str(tmp_path / "a.index"), endpoint=url)
    folder = tmp_path / "series"
    write_series(folder)
    monkeypatch.setattr(slicer, "dicomDatabase", Database(sorted(map(str, folder.iterdir()))), raising=False)
    result = logic.indexDatabase(index=str(tmp_path / "a.index"), endpoint=url)
    assert result.tallies[0].name == "4: thin" and result.tallies[0].path == "dicom:1.2.3"
    item = logic.findOutliers(index=str(tmp_path / "a.index")).items[0]
    with pytest.raises(InputError, match="DICOM module is not there"):
        logic.openHit(item)


def test_the_box_of_a_segment_is_that_of_its_voxels_on_the_volumes_grid(scene):
    mask = np.zeros((6, 20, 24), np.uint8)
    mask[2:4, 5:9, 7:15] = 1
    volume = Volume(np.zeros(mask.shape, np.int16), oblique())
    node = nodeFromVolume(volume, "CT")
    imported = importSegments(None, node, [spec("one", mask)])
    segmentId = imported.segmentIds["one"]
    assert regionFromSegment(imported.segmentationNode, segmentId, node, volume) == "7:15,5:9,2:4"
    coarse = Volume(np.zeros((3, 10, 12), np.int16), oblique() @ np.diag([2.0, 2.0, 2.0, 1.0]))
    region = regionFromSegment(imported.segmentationNode, segmentId, nodeFromVolume(coarse, "coarse"), coarse)
    assert region == "4:8,3:5,1:2"  # the voxels of twice the size whose centers lie in the box
    with pytest.raises(UsageError, match="Choose a segment"):
        regionFromSegment(imported.segmentationNode, "none", node, volume)


def test_a_part_of_a_slice_keeps_its_place_in_the_patient():
    volume = Volume(np.arange(6 * 20 * 24, dtype=np.int16).reshape(6, 20, 24), oblique())
    part = question_runs.partOfSlice(volume, "7:15,5:9,2:4", "axial", 3)
    assert np.array_equal(part.voxels, volume.voxels[3:4, 5:9, 7:15])
    assert np.allclose(part.ijk_to_ras @ [0, 0, 0, 1], volume.ijk_to_ras @ [7, 5, 3, 1])


def test_labels_come_from_lines_lists_and_ready_sets():
    typed = module.labelsFrom("pneumonia\n\n no finding ", "x-ray chest")
    assert [label.text for label in typed] == ["x-ray chest pneumonia", "x-ray chest no finding"]
    ready = module.labelsFrom("ct chest")
    assert len(ready) > 2 and all(label.name in label.text for label in ready)


def test_the_default_index_is_the_only_one_whose_folder_is_made(tmp_path):
    assert indexing_runs.readyForWriting(indexing_runs.defaultIndexPath()).endswith("images.index")
    with pytest.raises(UsageError, match="does not exist"):
        indexing_runs.readyForWriting(str(tmp_path / "nowhere" / "a.index"))


def test_an_adapter_is_trained_measured_and_applied_from_the_console(logic, tmp_path):
    from MedImageParseLib.search.index import EmbeddingIndex
    from MedImageParseLib.search.labels import PlaceLabel
    from MedImageParseLib.search.records import Provenance, Record

    path, head = str(tmp_path / "adapter.index"), str(tmp_path / "head.npz")
    with EmbeddingIndex.open(path) as index:
        for n in range(24):
            vector = np.eye(8, dtype=np.float32)[n % 2] + 0.02 * n
            index.add(
                [Record(f"{n:064x}", series=f"series-{n}", plane="axial", slice_index=0, vector=vector)], Provenance("medimageinsight")
            )
            index.add_labels([PlaceLabel("side", "left" if n % 2 else "right", f"series-{n}")])
    assert logic.trainAdapter("side", head, index=path).figures.overall["accuracy"] == 1.0
    assert logic.evaluateAdapter(head, index=path).figures.overall["accuracy"] == 1.0
    assert len(logic.applyAdapter(head, index=path, write="side by adapter").answers) == 24


def test_images_are_listed_and_labelled_from_the_console(logic, tmp_path):
    from MedImageParseLib.search.index import EmbeddingIndex
    from MedImageParseLib.search.records import Provenance, Record

    path = str(tmp_path / "labels.index")
    with EmbeddingIndex.open(path) as index:
        vectors = np.eye(5, dtype=np.float32)
        index.add(
            [Record(f"{n:064x}", series=f"s{n // 3}", plane="axial", slice_index=n, vector=vectors[n]) for n in range(5)],
            Provenance("medimageinsight"),
        )
    page = logic.listImages(start=2, count=2, index=path)
    assert page.total == 5 and [hit.record.slice_index for hit in page.images] == [2, 3]
    assert logic.labelImages([hit.id for hit in page.images], "right", labels="side", index=path) == 2
    again = logic.listImages(series="s1", start=99, labels="side", index=path)
    assert (again.total, again.start) == (2, 0) and again.labels == {page.images[1].id: ("right",)}
    (counts,) = logic.describeIndex(index=path).label_sets
    assert (counts.set, counts.counts) == ("side", {"right": 2})
    with pytest.raises(UsageError, match="cannot be labelled"):
        logic.labelImages([99], "right", labels="side", index=path)
