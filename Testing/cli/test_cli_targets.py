"""`targets` tells what can be asked for; each of its names is a prompt that is known."""

from __future__ import annotations

import json

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
