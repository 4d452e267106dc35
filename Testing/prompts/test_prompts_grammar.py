"""What people type becomes prompts, and prompts become the text of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedImageParseLib.errors import UsageError
from MedImageParseLib.prompts.grammar import join_prompts, parse_prompts, token_warning
from MedImageParseLib.prompts.grouping import nested_warning

# Anything printable but the separators; no stripping needed by construction of the property below.
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"), exclude_characters="&[]"), min_size=1, max_size=30)


def same(prompt: str) -> str:
    return " ".join(prompt.casefold().split())


@given(st.lists(TEXT.map(str.strip).filter(bool), min_size=1, max_size=6, unique_by=same))
def test_prompts_survive_joining_and_parsing_unchanged(prompts):
    assert parse_prompts([join_prompts(prompts)]) == prompts
    assert parse_prompts(prompts) == prompts


@given(st.text(max_size=80))
def test_any_text_gives_clean_prompts_or_one_sentence(text):
    try:
        prompts = parse_prompts([text])
    except UsageError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    assert prompts and all(prompt == prompt.strip() and prompt and "&" not in prompt for prompt in prompts)
    assert len({same(prompt) for prompt in prompts}) == len(prompts)


def test_ampersands_line_ends_and_several_texts_all_separate_and_order_is_kept():
    assert parse_prompts([" liver & left kidney\nspleen\r\n& ", "aorta"]) == ["liver", "left kidney", "spleen", "aorta"]


def test_prompts_keep_case_and_inner_spaces_as_typed():
    assert parse_prompts(["COVID-19  Infection"]) == ["COVID-19  Infection"]


def test_a_single_string_is_one_text_and_not_a_list_of_letters():
    assert parse_prompts("liver & spleen") == ["liver", "spleen"]


@pytest.mark.parametrize("texts", [[], [""], ["&"], [" & \n & "], ["", " "]])
def test_nothing_to_look_for_is_bad_usage(texts):
    with pytest.raises(UsageError, match="no prompt") as caught:
        parse_prompts(texts)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("text", ["liver [SEP] spleen", "[sep]", "liver[Sep]"])
def test_the_models_own_separator_is_refused(text):
    with pytest.raises(UsageError, match=r"\[SEP\]"):
        parse_prompts([text])


@pytest.mark.parametrize("texts", [["liver & liver"], ["liver", "Liver"], ["left  kidney", "left kidney"], ["Straße & STRASSE"]])
def test_a_prompt_given_twice_is_bad_usage_whatever_its_case_and_spaces(texts):
    with pytest.raises(UsageError, match="twice"):
        parse_prompts(texts)


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\t", "\x7f", "\u200b", "\u202e", "\ud800"])
def test_control_and_invisible_characters_are_refused_and_not_repeated_in_the_sentence(character):
    with pytest.raises(UsageError, match=f"U\\+{ord(character):04X}") as caught:
        parse_prompts([f"li{character}ver"])
    assert character not in str(caught.value)


def test_a_sentence_never_repeats_a_prompt_of_any_length():
    with pytest.raises(UsageError) as caught:
        parse_prompts(["x" * 5000 + "[SEP]"])
    assert len(str(caught.value)) < 300


def test_everyday_prompts_fit_the_text_encoder():
    assert token_warning("Presence of the right kidney detected in abdominal CT images") is None
    assert token_warning("neoplastic cells in adrenal gland pathology") is None


def test_a_prompt_longer_than_the_text_encoder_reads_gives_a_warning():
    assert "cut off" in token_warning("very " * 80)
    assert "cut off" in token_warning("1" * 76)  # every digit is a token of its own
    assert token_warning("1" * 75) is None  # 75 and the two marks just fit


@pytest.mark.parametrize(
    "prompts",
    [
        ["kidney", "left kidney"],
        ["liver", "liver tumor"],
        ["left kidney", "kidney cyst"],
        ["whole tumor", "tumor core", "enhancing tumor"],
        ["postcava", "inferior vena cava"],
        ["liver", "Visualization of the liver in abdominal CT imaging"],
        ["lung", "left lung upper lobe"],
        ["bones", "rib left 7"],
        ["vertebrae", "L1"],
        ["heart", "left heart atrium"],
        ["prostate", "peripheral zone"],
        ["optic disc", "optic cup"],
        ["tumor", "lung tumor"],
        ["body", "spleen"],
        ["unicorn", "unicorn horn"],
    ],
)
def test_nested_or_synonymous_3d_prompts_are_warned_of(prompts):
    warning = nested_warning(prompts)
    assert "--group each" in warning and f'"{prompts[0]}"' in warning and warning.count(". ") == 0


@pytest.mark.parametrize(
    "prompts",
    [
        ["liver"],
        ["left kidney", "right kidney"],
        ["left kidney", "right kidney cyst"],
        ["liver", "spleen", "pancreas", "aorta", "postcava", "stomach", "gallbladder", "bladder", "duodenum"],
        ["spleen", "splenic vein"],
        ["lung", "pulmonary artery"],
        ["vertebra L1", "vertebra L2", "rib left 1", "rib right 1"],
        ["kidney tumor", "kidney cyst"],
        ["unicorn", "liver"],
    ],
)
def test_separate_targets_are_not_warned_of(prompts):
    assert nested_warning(prompts) is None


def test_a_warning_about_many_pairs_stays_short():
    warning = nested_warning(["body", *(f"vertebra L{number}" for number in range(1, 6)), "spine", "liver", "spleen"])
    assert "more pairs" in warning and len(warning) < 500
