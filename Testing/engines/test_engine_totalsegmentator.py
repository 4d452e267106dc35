"""The engine made of TotalSegmentator, with its network replaced: every class by our names, wholes of parts, and the way to the client."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from doubles.total_segmentator import TOTAL, make_package
from MedImageParseLib import Volume, segment
from MedImageParseLib.engines.contract import check_engine
from MedImageParseLib.engines.hosting import InProcess
from MedImageParseLib.engines.named import engine_class
from MedImageParseLib.engines.totalsegmentator import classes_of
from MedImageParseLib.errors import UsageError
from MedImageParseLib.local_endpoint.server import LocalEndpoint
from MedImageParseLib.prompts.catalogue import lookup


@pytest.fixture
def package(tmp_path, monkeypatch):
    pytest.importorskip("nibabel", reason="nibabel is not installed")
    monkeypatch.syspath_prepend(str(make_package(tmp_path / "site")))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"):
        monkeypatch.setenv(name, "")  # the engine sets them; they are put back afterwards
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("torch", "totalsegmentator"):
            del sys.modules[name]


def engine(**options: str) -> InProcess:
    return InProcess(engine_class("totalsegmentator")(options)).start()


def test_each_of_the_117_classes_is_reached_by_our_name_and_ours_by_its():
    assert len(TOTAL) == len(set(TOTAL)) == 117
    for name in TOTAL:
        target = lookup(name)
        assert target is not None, name
        assert classes_of(target.name, TOTAL) == classes_of(name, TOTAL) == {name}


@pytest.mark.parametrize(
    ("prompt", "count", "one"),
    [
        ("kidneys", 2, "kidney_left"),
        ("lung", 5, "lung_middle_lobe_right"),
        ("left lung", 2, "lung_upper_lobe_left"),
        ("left ribs", 12, "rib_left_7"),
        ("spine", 26, "sacrum"),
        ("Visualization of the liver in abdominal CT imaging", 1, "liver"),
        ("right rib 3", 1, "rib_right_3"),
    ],
)
def test_a_prompt_for_a_whole_asks_for_all_its_parts(prompt, count, one):
    found = classes_of(prompt, TOTAL)
    assert len(found) == count and one in found


@pytest.mark.parametrize("prompt", ["unicorn", "liver tumor", "bone"])
def test_what_it_has_no_class_for_is_not_taken_for_something_else(prompt):
    assert classes_of(prompt, TOTAL) == set()


def test_it_meets_the_contract_and_tells_its_statistics_nothing(package, tmp_path):
    asked = engine()
    findings = check_engine(asked)
    assert len(findings) > 6 and [finding for finding in findings if not finding.is_met] == []
    from totalsegmentator import config

    assert config.get_config_key("send_usage_stats") is False and not (tmp_path / ".totalsegmentator").exists()
    assert os.environ["TOTALSEG_WEIGHTS_PATH"] == str(tmp_path / ".totalsegmentator" / "nnunet" / "results")


def test_every_class_comes_back_where_it_lies_on_an_oblique_volume_with_a_reason_for_what_is_unknown(package):
    turn = np.deg2rad(25)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]) @ np.diag([-1, -1.5, 2])
    voxels = np.full((3, 9, 13), -1000, np.int16)
    voxels.reshape(-1)[: len(TOTAL)] = 1001 + np.arange(len(TOTAL))
    prompts = [lookup(name).name for name in TOTAL]
    with LocalEndpoint(engine=engine()) as endpoint:
        result = segment(
            Volume(voxels, matrix, modality="CT"), [*prompts, "unicorn", "kidneys"], model="medimageparse3d",
            endpoint=endpoint.url_of("medimageparse3d"), window="raw", group="together",
        )  # fmt: skip
    for number, prompt in enumerate(prompts):
        assert np.array_equal(result[number].array, voxels == 1001 + number), prompt
    assert result["kidneys"].mask.count == 2 and not result["unicorn"].found
    assert "unicorn: TotalSegmentator's task total has no such class." in result.report["warnings"]
    assert "TotalSegmentator" in result.report["engine"] and "Apache-2.0" in result.report["engine"]


def test_a_ct_that_came_through_a_window_is_warned_about(package):
    volume = Volume(np.random.default_rng(0).normal(0, 300, (2, 8, 8)).astype(np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]), modality="CT")
    with LocalEndpoint(engine=engine()) as endpoint:
        address = endpoint.url_of("medimageparse3d")
        warned = [
            any(
                "leave the window automatic" in each
                for each in segment(volume, "liver", model="medimageparse3d", endpoint=address, window=window).report["warnings"]
            )
            for window in ("abdomen", "raw")
        ]
    assert warned == [True, False]


def test_a_volume_without_air_is_an_mr_and_an_unknown_task_is_refused(package):
    answer = engine().segment_volume(np.full((1, 2, 2), 1002, np.int16), np.eye(4), ["brain", "aorta"])
    assert answer.masks[0].all() and answer.masks[1] is None and "total_mr has no such class" in answer.reasons[1]
    with pytest.raises(UsageError, match="no such task"):
        engine(task="totally")
