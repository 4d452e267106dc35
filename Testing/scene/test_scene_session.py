"""The MRML session outside Slicer."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from scene_support import blob, names_of, segment_on_grid, spec

from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.prompts.catalogue import lookup, targets
from MedImageParseLib.scene import session, undo, volumes
from MedImageParseLib.scene.segments import importSegments

LIBRARY = Path(session.__file__).resolve().parents[2]
SHAPE = (4, 5, 6)


@pytest.fixture(autouse=True)
def closed_afterwards():
    yield
    session.closeScene()


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=LIBRARY, capture_output=True, text=True, timeout=120)


def test_importing_the_scene_room_imports_neither_slicer_nor_vtk():
    modules = "geometry, overlap, segments, session, tags, undo, volumes"
    loaded = "sorted({'slicer', 'vtk', 'vtkmodules'} & set(sys.modules))"
    done = run_python(f"import sys\nfrom MedImageParseLib.scene import {modules}\nprint({loaded})")
    assert done.stdout.strip() == "[]", done.stderr


def test_a_whole_session_writes_nothing_to_stderr():
    code = """
import numpy as np
from MedImageParseLib.imaging.volume import CroppedMask
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.scene import segments, session, volumes
mask = CroppedMask.from_full(np.eye(5, 6)[None].repeat(4, 0))
for rule in ("allow", "keep", "overwrite"):
    with session.freshScene():
        node = volumes.nodeFromVolume(Volume(np.zeros((4, 5, 6), np.int16)), "CT")
        specs = [segments.SegmentSpec("liver", mask, (1, 0, 0))]
        one = segments.importSegments(None, node, specs)
        segments.importSegments(one.segmentationNode, node, specs, overlap=rule, onExisting="replace")
        assert segments.undoLastImport(one.segmentationNode)
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_that_never_closes_its_scene_leaves_no_temporary_folder_and_ends_quietly():
    code = """
from MedImageParseLib.scene import session
print(session.ensureScene().GetCacheManager().GetRemoteCacheDirectory())
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(done.stdout.strip()).exists()


def test_the_scene_is_reused_until_a_new_one_is_asked_for():
    scene = session.ensureScene()
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "left over")
    assert session.ensureScene() is scene
    other = session.newScene()
    assert other is not scene
    assert other.GetFirstNodeByName("left over") is None
    assert session.ensureScene() is other


def test_slicer_utilities_find_the_scene():
    import slicer

    scene = session.ensureScene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "findable")
    assert slicer.util.getNode("findable") is node
    session.closeScene()
    assert not hasattr(slicer, "mrmlScene")


def test_a_node_that_only_garbage_holds_is_collected_with_its_undo_steps_and_ends_no_process():
    before = set(undo._steps)
    with session.freshScene():
        node = volumes.nodeFromVolume(Volume(np.zeros(SHAPE, np.int16)), "CT")
        segmentation = importSegments(None, node, [spec("liver", blob(SHAPE))]).segmentationNode
        del node
    holder = SimpleNamespace(segmentation=segmentation)  # younger than what is called at the node's end, which is so emptied before
    holder.itself = holder
    gc.disable()
    try:
        del holder, segmentation
        assert len(undo._steps) == len(before) + 1
        gc.collect()
    finally:
        gc.enable()
    assert set(undo._steps) == before


def test_nothing_of_a_run_is_left_after_it():
    import vtk

    before = set(undo._steps)  # of nodes that other tests still hold
    watched = vtk.vtkWeakReference()
    watched_segmentation = vtk.vtkWeakReference()
    with session.freshScene() as scene:
        node = volumes.nodeFromVolume(Volume(np.zeros(SHAPE, np.int16)), "CT")
        mask = spec("liver", blob(SHAPE))
        result = importSegments(None, node, [mask])
        importSegments(result.segmentationNode, node, [mask], onExisting="replace")
        watched.Set(scene)
        watched_segmentation.Set(result.segmentationNode.GetSegmentation())
        cache_folder = Path(scene.GetCacheManager().GetRemoteCacheDirectory())
        assert cache_folder.is_dir()
        assert len(undo._steps) == len(before) + 1
        del node, result, scene
    assert set(undo._steps) == before
    assert watched_segmentation.Get() is None
    assert not cache_folder.exists()
    assert watched.Get() is None


def test_the_running_applications_scene_is_used_and_never_closed(monkeypatch):
    import slicer

    theirs = slicer.vtkMRMLScene()
    theirs.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "the person's volume")
    monkeypatch.setattr(slicer, "app", SimpleNamespace(), raising=False)
    monkeypatch.setattr(slicer, "mrmlScene", theirs, raising=False)
    assert session.ensureScene() is theirs
    with session.freshScene() as private:
        assert private is not theirs
        private.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "temporary")
    session.closeScene()
    assert theirs.GetFirstNodeByName("the person's volume") is not None
    assert theirs.GetFirstNodeByName("temporary") is None


def test_views_are_redrawn_once_after_an_import_in_the_application(monkeypatch):
    import slicer

    calls = []
    application = SimpleNamespace(pauseRender=lambda: calls.append("pause"), resumeRender=lambda: calls.append("resume"))
    node = volumes.nodeFromVolume(Volume(np.zeros(SHAPE, np.int16)), "CT")
    monkeypatch.setattr(slicer, "app", application, raising=False)
    importSegments(None, node, [spec("a", blob(SHAPE, 1)), spec("b", blob(SHAPE, 2))])
    assert calls == ["pause", "resume"]


def test_a_scene_bundle_keeps_volume_segments_and_codes(tmp_path):
    import slicer

    scene = session.ensureScene()
    node = volumes.nodeFromVolume(Volume(np.arange(120, dtype=np.int16).reshape(SHAPE)), "CT")
    mask = blob(SHAPE)
    entry = lookup("liver").terminology_entry()
    result = importSegments(None, node, [spec("liver", mask, terminology=entry)])
    bundle = str(tmp_path / "case.mrb")
    assert scene.WriteToMRB(bundle)
    del node, result
    fresh = session.newScene()
    assert fresh.ReadFromMRB(bundle)
    loaded = fresh.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert names_of(loaded) == ["liver"]
    segment_id = loaded.GetSegmentation().GetNthSegmentID(0)
    assert loaded.GetSegmentation().GetSegment(segment_id).GetTerminology() == entry
    assert np.array_equal(segment_on_grid(loaded, segment_id, SHAPE), mask)
    assert np.array_equal(slicer.util.arrayFromVolume(fresh.GetFirstNodeByName("CT")).ravel(), np.arange(120))


def test_terminology_is_serialized_as_slicer_does_and_read_back_by_it():
    import slicer

    logic = slicer.vtkSlicerTerminologiesModuleLogic
    for target in (lookup("right kidney"), lookup("liver"), lookup("left kidney cyst")):
        context, *_codes, regions, _region, _modifier = (ours := target.terminology_entry()).split("~")
        codes = [code or ("", "", "") for code in (target.category, target.type, target.modifier, target.region, target.region_modifier)]
        columns = [(value, scheme, meaning) for scheme, value, meaning in codes]  # Slicer's function takes the value first
        assert logic.SerializeTerminologyEntry(context, *sum(columns[:3], ()), regions, *sum(columns[3:], ())) == ours
    session.ensureScene()
    entry = slicer.vtkSlicerTerminologyEntry()
    assert logic().DeserializeTerminologyEntry(lookup("right kidney").terminology_entry(), entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Kidney"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Right"


def test_no_code_of_the_catalogue_holds_what_separates_the_parts_of_an_entry():
    assert not [target.name for target in targets() for code in target.codes.values() if set("~^|") & set("".join(code))]


def test_without_the_mrml_library_one_sentence_says_so(monkeypatch):
    from MedImageParseLib.errors import MedImageParseError

    monkeypatch.setitem(sys.modules, "slicer", None)
    with pytest.raises(MedImageParseError, match="pip install slicer-core"):
        session.ensureScene()
