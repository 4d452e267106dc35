"""`targets` tells what can be asked for; each of its names is a prompt that is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from MedImageParseLib import targets
from MedImageParseLib.errors import UsageError
from MedImageParseLib.prompts import catalogue


def test_every_name_and_alias_is_a_prompt_that_means_this_target():
    for entry in targets():
        for text in (entry["name"], *entry["aliases"]):
            assert catalogue.lookup(text) is not None, text
        assert catalogue.lookup(entry["name"]).name == entry["name"] and entry["modalities"]


def test_modality_and_model_narrow_the_list_and_names_of_modalities_are_understood():
    names = {key: {entry["name"] for entry in targets(*key)} for key in (("CT", ""), ("DX", ""), ("X-ray", ""), ("", "medimageparse3d"))}
    assert "liver" in names["CT", ""] and names["X-ray", ""] == names["DX", ""] and "left lung" in names["DX", ""]
    whole = {entry["name"] for entry in targets()}
    assert names["", "medimageparse3d"] < whole and targets("DX", "medimageparse3d") == []


@pytest.mark.parametrize(("modality", "model"), [("ABC", ""), ("", "medimageinsight")])
def test_an_unknown_modality_or_model_is_one_sentence(modality, model):
    with pytest.raises(UsageError):
        targets(modality, model)


def test_the_command_prints_a_line_a_target_or_everything_as_json(bench):
    assert bench.run("targets", "--modality", "CT") == 0
    lines = bench.out.splitlines()
    assert any(line.split("\t")[0] == "liver" and line.endswith("SCT 10200004") for line in lines)
    assert bench.run("targets", "--modality", "CT", "--json") == 0
    assert len(json.loads(bench.out)) == len(lines)
    assert bench.run("targets", "--modality", "XYZ") == 2


def test_presets_are_listed_added_shared_and_removed(bench, tmp_path):
    assert bench.run("targets", "--presets", "--model", "medimageparse3d") == 0
    assert bench.out.startswith("abdomen-15\t15 prompts\tCT\t") and "2d-" not in bench.out
    assert bench.run("targets", "--add-preset", "trauma", "--prompt", "liver & spleen") == 0
    shared = tmp_path / "shared.json"
    shared.write_text(Path(bench.out.strip()).read_text())
    assert bench.run("targets", "--remove-preset", "trauma") == 0 and bench.run("targets", "--remove-preset", "trauma") == 2
    assert bench.run("targets", "--import-presets", str(shared)) == 0
    assert bench.run("targets", "--presets", "--json") == 0
    assert json.loads(bench.out)[-1] == {
        "name": "trauma", "prompts": ["liver", "spleen"], "title": "", "model": "", "modality": "", "is_own": True,
    }  # fmt: skip
    assert bench.run("targets", "--add-preset", "lungs", "--prompt", "liver") == 2 and "comes with the program" in bench.err


def test_a_preset_is_segmented_and_nested_targets_go_in_requests_of_their_own(bench):
    assert bench.run("targets", "--add-preset", "mine", "--prompt", "bright & dark") == 0
    report = ["--report", bench.path("report.json")]
    assert bench.segment("--preset", "mine", "--prompt", "kidney & left kidney", "--slabs", "none", *report) == 0
    assert [entry["text"] for entry in bench.report()["prompts"]] == ["bright", "dark", "kidney", "left kidney"]
    assert bench.report()["groups"] == [["bright", "dark", "kidney"], ["left kidney"]] and len(bench.double.seen) == 2
    assert "in 2 requests" in bench.err
    assert bench.segment(*report) == 2 and "--preset NAME" in bench.err
