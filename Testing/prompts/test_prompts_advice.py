"""What is said about a prompt before it is sent: a guess at a misspelled target, separators inside, an unusual modality."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedImageParseLib.prompts.advice import advice, line_end_warning, nearest
from MedImageParseLib.prompts.catalogue import lookup, targets


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("livr", "liver"), ("Splean", "spleen"), ("left kidny", "left kidney"), ("kidny (left)", "left kidney"), ("oesofagus", "esophagus"),
     ("galbladder in abdominal CT", "gallbladder"), ("Segmentation of the pancraes", "pancreas"), ("portal vien and splenic vein",
     "portal vein and splenic vein"), ("cerebelum in brain MRI", "cerebellum"), ("inferior vena kava", "inferior vena cava"), ("hart", "heart")],
)  # fmt: skip
def test_a_misspelled_target_is_guessed_in_one_warning(typed, meant):
    assert lookup(typed) is None and meant in nearest(typed)
    said = advice([typed])
    assert len(said) == 1 and f'"{meant}"' in said[0] and typed in said[0] and said[0].endswith("?")


def test_a_prompt_like_no_target_is_named_without_a_guess():
    said = advice(["unicorn"])
    assert len(said) == 1 and '"unicorn"' in said[0] and "?" not in said[0]


@pytest.mark.parametrize(
    ("typed", "advised"),
    [("liver, spleen", "liver & spleen"), ("liver; left kidney", "liver & left kidney"), ("liver,spleen,aorta", "liver & spleen & aorta"),
     ("liver, flurb", "A & B"), ("kidney, left", "A & B")],
)  # fmt: skip
def test_a_comma_or_semicolon_inside_a_prompt_is_warned_about_once(typed, advised):
    said = advice([typed])
    assert len(said) == 1 and advised in said[0] and ("a comma" in said[0] or "a semicolon" in said[0])


@pytest.mark.parametrize("texts", ["liver\nspleen", ["aorta", "liver\r\nleft kidney"], ["liver \u2028 spleen"], "a & b\nc"])
def test_a_line_end_that_separated_is_warned_about(texts):
    assert '" & "' in line_end_warning(texts)


@pytest.mark.parametrize("texts", ["liver", "liver & spleen", "liver\n", "\n liver & \n", ["liver", "spleen"], []])
def test_no_line_end_no_warning(texts):
    assert line_end_warning(texts) is None


@pytest.mark.parametrize(
    ("prompt", "modality", "said"),
    [("optic disc", "CT", "fundus"), ("liver", "PT", "CT, MR"), ("polyp", "MR", "endoscopy"), ("liver in abdominal CT", "MR", "speaks of CT"),
     ("melanoma in skin dermoscopy", "US", "speaks of dermoscopy"), ("mitochondria", "CT", "microscopy"), ("optic disc in CT", "", "fundus"),
     ("unicorn in brain MRI", "CT", "speaks of MR")],
)  # fmt: skip
def test_a_target_that_is_unusual_for_the_modality_is_warned_about(prompt, modality, said):
    sentences = [sentence for sentence in advice([prompt], modality) if "known target" not in sentence]
    assert len(sentences) == 1 and said in sentences[0] and sentences[0].endswith(".")


@pytest.mark.parametrize(
    ("prompt", "modality"),
    [("liver", "CT"), ("liver", "MRI"), ("lung", "CR"), ("liver", ""), ("Lesion in whole body PET", "PT"), ("lesion", "CT"),
     ("optic disc", "OP"), ("thyroid in neck ultrasound", "US"), ("Lesion in PET/CT", "CT"), ("left lung in chest X-ray", "DX")],
)  # fmt: skip
def test_the_usual_is_not_commented(prompt, modality):
    assert advice([prompt], modality) == []


@given(st.sampled_from(targets()))
def test_no_known_target_is_taken_for_a_slip(target):
    assert advice([target.name]) == []
    assert all(advice([target.name], modality) == [] for modality in target.modalities)


@given(st.text(max_size=300), st.sampled_from(["", "CT", "MR", "XY"]))
def test_any_text_gets_whole_sentences_on_one_line(prompt, modality):
    for sentence in advice([prompt], modality):
        assert sentence.endswith((".", "?")) and sentence.isprintable()
