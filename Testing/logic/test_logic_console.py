"""The console examples in MedImageParseLogic's docstring, run as they stand against the local endpoint."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")

from scene_support import segment_on_grid

from MedImageParseLib.engines.classical.phantom import Phantom, make_phantom
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.local_endpoint.server import LocalEndpoint
from MedImageParseLib.logic import jobs
from MedImageParseLib.logic import segmentation as module
from MedImageParseLib.scene import session
from MedImageParseLib.scene.volumes import nodeFromVolume


@pytest.fixture(scope="module")
def phantom():
    """Every second voxel of the phantom: coarse, but with everything in it."""
    full = make_phantom()
    matrix = full.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    return Phantom(
        np.ascontiguousarray(full.voxels[::2, ::2, ::2]), matrix, {name: mask[::2, ::2, ::2] for name, mask in full.references.items()}
    )


@pytest.fixture
def names(phantom):
    """What the examples take as given: a volume node and the URL of an endpoint."""
    with session.freshScene(), LocalEndpoint() as endpoint:
        node = nodeFromVolume(Volume(phantom.voxels, phantom.ijk_to_ras, modality="CT"), "phantom")
        yield {"volumeNode": node, "url": endpoint.url, "MedImageParseLogic": module.MedImageParseLogic}


def run_examples(text: str, names: dict, title: str) -> doctest.TestResults:
    examples = doctest.DocTestParser().get_doctest(text, names, title, None, None)
    said = []
    result = doctest.DocTestRunner().run(examples, out=said.append, clear_globs=False)
    assert result.failed == 0, "".join(said)
    return result


def test_the_three_console_examples_do_what_they_show(names):
    text = module.MedImageParseLogic.__doc__
    assert text.count("Example (") == 3
    assert run_examples(text, names, "MedImageParseLogic").attempted >= 9
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2


def test_the_examples_of_jobs_do_what_they_show():
    for thing in (jobs.Job, jobs.stage_in_words, jobs.JobQueue):
        names = {"Job": jobs.Job, "JobQueue": jobs.JobQueue, "stage_in_words": jobs.stage_in_words}
        assert run_examples(thing.__doc__, names, thing.__name__).attempted > 0


def test_the_segments_of_the_local_endpoint_lie_on_the_phantoms_organs(names, phantom):
    logic = module.MedImageParseLogic()
    result = logic.segmentVolume(names["volumeNode"], "lungs & bones", endpoint=names["url"])
    logic.close()
    assert "not MedImageParse" in result.engine
    for row in result.rows:
        got = segment_on_grid(result.segmentationNode, row.segmentId, phantom.voxels.shape) != 0
        truth = phantom.references[row.name]
        assert 2 * np.sum(got & truth) / (got.sum() + truth.sum()) > 0.7, row.name
        ijk = np.linalg.solve(phantom.ijk_to_ras, [*row.position, 1.0])[:3]
        assert got[tuple(np.rint(ijk[::-1]).astype(int))], row.name  # a click on the row lands in the structure


def test_a_check_says_which_engine_answers_waiting_or_with_a_callback(names):
    logic = module.MedImageParseLogic()
    result = logic.check(endpoint=names["url"])
    assert "answers" in result.sentence and result.engine
    ended = []
    started = logic.check(endpoint="http://127.0.0.1:9/score", callback=ended.append)
    while not logic.isIdle:
        logic.poll()
    assert ended == [started] and started.state == "failed" and "127.0.0.1" in started.sentence
    logic.close()


def test_a_key_that_is_given_for_a_run_stays_out_of_scene_log_and_what_is_kept_of_the_job(names, caplog, tmp_path):
    secret = "kEy-0123456789-abcdef"
    logic = module.MedImageParseLogic()
    with caplog.at_level("DEBUG"):
        started = logic.segmentVolume(names["volumeNode"], "body", endpoint=names["url"], auth="key", key=secret, callback=lambda job: None)
        while not logic.isIdle:
            logic.poll()
    assert started.state == "done", started.sentence
    path = tmp_path / "scene.mrml"
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Commit(str(path))
    assert secret not in path.read_text() + caplog.text + repr(started)
    logic.close()
