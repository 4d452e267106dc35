"""The engine made of VoxTell, with its network replaced: orientation, what is not given to it, its terms, and weights that are none."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from doubles.voxtell_package import make_package
from MedImageParseLib.engines.contract import check_engine
from MedImageParseLib.engines.hosting import InProcess
from MedImageParseLib.engines.named import engine_class
from MedImageParseLib.engines.store import add_engine
from MedImageParseLib.errors import InputError, MedImageParseError, UsageError

# Columns run towards the feet, rows to the left, slices backwards.
TURNED = np.array([[0, -2.0, 0, 10], [0, 0, -3.0, 20], [-1.5, 0, 0, 30], [0, 0, 0, 1]])


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(make_package(tmp_path / "site")))
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("torch", "voxtell"):
            del sys.modules[name]


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "voxtell_v1.1"
    folder.mkdir()
    (folder / "plans.json").write_text("{}", encoding="utf-8")
    return folder


def engine(folder) -> InProcess:
    return InProcess(engine_class("voxtell")({"weights": str(folder)})).start()


def test_it_meets_the_contract(weights):
    findings = check_engine(engine(weights))
    assert len(findings) > 6 and [finding for finding in findings if not finding.is_met] == []


def test_the_network_gets_the_volume_upright_and_masks_lie_where_the_volume_does(weights):
    voxels = np.random.default_rng(0).normal(80, 40, (5, 6, 8)).astype(np.int16)
    answer = engine(weights).segment_volume(voxels.copy(), TURNED, ["bright", "right", "top", "unicorn"])
    _k, j, i = np.indices(voxels.shape)
    assert np.array_equal(answer.masks[0], voxels > 100)
    assert np.array_equal(answer.masks[1], j < 3) and np.array_equal(answer.masks[2], i < 4)
    assert answer.masks[3] is None


def test_an_empty_volume_is_not_given_to_it(weights):
    answer = engine(weights).segment_volume(np.zeros((4, 5, 6), np.int16), np.eye(4), ["bright"])
    assert answer.masks[0] is None and "one value everywhere" in answer.reasons[0]


def test_a_folder_without_its_weights_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"plans\.json and fold_0"):
        engine(tmp_path)


def test_a_text_model_that_cannot_be_had_is_told_in_a_sentence(weights):
    with pytest.raises(MedImageParseError, match="text model cannot be loaded or downloaded"):
        engine(weights).segment_volume(np.arange(24).reshape(2, 3, 4), np.eye(4), ["no text model"])


def test_its_terms_are_shown_before_anything_is_installed(tmp_path):
    with pytest.raises(UsageError, match="non-commercial"):
        add_engine("voxtell")
    assert not (tmp_path / "engines").exists()
