"""Presets: those that come with the program name known targets, and a person's own are kept, shared and checked."""

from __future__ import annotations

import json

import pytest

from MedImageParseLib.errors import UsageError
from MedImageParseLib.prompts.catalogue import lookup, segment_names
from MedImageParseLib.prompts.grammar import parse_prompts
from MedImageParseLib.prompts.presets import MOST_PROMPTS, Preset, add_presets, find_preset, own_file, presets, read_presets, with_preset


@pytest.mark.parametrize("preset", presets().values(), ids=lambda preset: preset.name)
def test_a_preset_names_known_targets_of_its_modality_each_once(preset):
    assert parse_prompts(preset.prompts) == list(preset.prompts) and preset.title
    for prompt in preset.prompts:
        assert lookup(prompt) is not None, prompt
        assert preset.modality in lookup(prompt).modalities, prompt
    assert len({name.casefold() for name in segment_names(list(preset.prompts))}) == len(preset.prompts)


def test_the_15_organs_are_those_of_the_card_in_its_order():
    names = segment_names(list(find_preset("abdomen-15").prompts))
    assert names[:5] == ["spleen", "right kidney", "left kidney", "gallbladder", "esophagus"]
    assert names[5:10] == ["liver", "stomach", "aorta", "inferior vena cava", "pancreas"]
    assert names[10:] == ["right adrenal gland", "left adrenal gland", "duodenum", "bladder", "prostate or uterus"]


def test_prompts_that_are_typed_come_after_those_of_the_preset():
    assert with_preset("lungs", ["trachea & liver"], "medimageparse3d") == ["left lung", "right lung", "trachea", "liver"]
    with pytest.raises(UsageError, match="given twice"):
        with_preset("LUNGS", ["left lung"], "medimageparse3d")
    with pytest.raises(UsageError, match="no prompt"):
        with_preset("", [], "medimageparse3d")


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("abdomen15", "", "did you mean abdomen-15"),
        ("???", "", "there are abdomen-15"),
        ("2d-fundus", "medimageparse3d", "is for the model medimageparse,"),
        ("lungs", "medimageparse", "there are 2d-"),
    ],
)
def test_a_preset_that_there_is_not_leads_to_one_that_there_is(name, model, said):
    with pytest.raises(UsageError, match=said):
        find_preset(name, model)


def test_own_presets_are_kept_in_a_file_that_can_be_given_to_others(tmp_path, monkeypatch):
    path = add_presets([Preset("trauma", ("liver & spleen", " left kidney "), model="medimageparse3d"), Preset("any", ("polyp",))])
    assert path == own_file() and find_preset("Trauma").prompts == ("liver", "spleen", "left kidney") and find_preset("trauma").is_own
    assert "trauma" not in presets("medimageparse") and "any" in presets("medimageparse")
    monkeypatch.setenv("MEDIMAGEPARSE_CONFIG_DIR", str(tmp_path / "another person"))
    assert "trauma" not in presets()
    add_presets(read_presets(path).values())
    assert find_preset("trauma").prompts == ("liver", "spleen", "left kidney")


@pytest.mark.parametrize(
    "text",
    [
        "{", "[1]", '{"a": 1}', '{"a": {}}', '{"a": {"prompts": "liver"}}', '{"a": {"prompts": [1]}}', '{"a": {"prompts": []}}',
        '{"a b": {"prompts": ["liver"]}}', '{"lungs": {"prompts": ["liver"]}}', '{"a": {"prompts": ["x[SEP]y"]}}',
        '{"a": {"prompts": ["liver"], "title": 3}}', json.dumps({"a": {"prompts": [str(n) for n in range(MOST_PROMPTS + 1)]}}),
        "[" * 100_000, " " * 2_000_000,
    ],
)  # fmt: skip
def test_a_file_of_presets_that_cannot_be_used_is_one_sentence_with_its_name(text):
    own_file().parent.mkdir(parents=True, exist_ok=True)
    own_file().write_text(text)
    with pytest.raises(UsageError, match=r"presets\.json") as caught:
        presets()
    assert "\n" not in str(caught.value) and own_file().read_text() == text
