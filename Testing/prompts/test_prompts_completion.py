"""What is suggested while a target is typed, and which targets can be browsed."""

from __future__ import annotations

import pytest
from test_prompts_card_targets import TARGETS, TARGETS_2D

from MedImageParseLib.prompts import completion
from MedImageParseLib.prompts.advice import NOT_RECOMMENDED, OTHER_IMAGE, SEPARATOR, UNKNOWN, Hint, advice, hints
from MedImageParseLib.prompts.catalogue import lookup, targets
from MedImageParseLib.prompts.completion import browse, suggest


def namesFor(text: str, **options: object) -> list[str]:
    return [each.name for each in suggest(text, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("sple", "spleen"), ("liver & sple", "spleen"), ("liver\nleft adr", "left adrenal gland"), ("lag", "left adrenal gland"),
        ("ivc", "inferior vena cava"), ("postc", "inferior vena cava"), ("oeso", "esophagus"), ("vl3", "vertebra L3"), ("L3", "vertebra L3"),
        ("kidney left", "left kidney"), ("kidn_ri", "right kidney"), ("SPL", "spleen"), ("liver", "liver"), ("pancr", "pancreas"),
    ],
)  # fmt: skip
def test_letters_suggest_the_target_that_they_begin(typed, first):
    assert namesFor(typed, modality="CT")[0] == first


@pytest.mark.parametrize("typed", ["", "liver & ", "liver\n", "   ", "zzzz", "&", "🫀", "liver, spleen and everything else in the world"])
def test_nothing_is_suggested_for_nothing_and_for_what_begins_no_target(typed):
    assert suggest(typed, modality="CT") == []


def test_a_misspelled_target_suggests_the_one_that_is_written_like_it():
    assert namesFor("livr") == ["liver"]


def test_what_the_cards_do_not_recommend_for_the_modality_comes_last_and_says_so():
    found = suggest("ve", modality="PT", most=500)
    assert found and not any(each.is_recommended for each in found)
    ct = suggest("l", modality="CT", most=500)
    assert [each.is_recommended for each in ct] == sorted((each.is_recommended for each in ct), reverse=True)
    assert not next(each for each in ct if each.name == "left gastrocnemius medialis").is_recommended


def test_a_volume_model_is_not_recommended_targets_of_photographs():
    assert not suggest("melanoma", model="medimageparse3d")[0].is_recommended
    assert suggest("melanoma", model="medimageparse")[0].is_recommended
    assert "melanoma" not in [each.name for found in browse("medimageparse3d").values() for each in found]


def test_a_suggestion_says_what_it_means_and_by_which_other_name_it_was_found():
    found = suggest("suprar", modality="CT")[0]
    assert (found.name, found.meaning, found.alias) == ("adrenal gland", "Adrenal gland", "suprarenal gland")
    assert suggest("left adr", modality="CT")[0].meaning == "Adrenal gland, Left"
    assert suggest("liver t", modality="CT")[0].alias == ""


def test_every_target_is_suggested_first_by_its_own_name():
    assert [target.name for target in targets() if namesFor(target.name, most=1) != [target.name]] == []


def test_three_letters_of_its_main_word_bring_95_percent_of_the_cards_targets_into_the_list():
    names = [(modality, name) for modality, name in TARGETS + TARGETS_2D if " ".join(name.split()[:-1]) != "vertebrae"]
    found = [lookup(name).name in namesFor(_mainWord(name)[:3], modality=modality) for modality, name in names]
    assert sum(found) / len(found) >= 0.95


@pytest.mark.parametrize("number", ["C1", "T12", "L5", "S1"])
def test_a_vertebra_is_found_by_its_number(number):
    assert namesFor(number, modality="CT")[0] == f"vertebra {number}"


def _mainWord(name: str) -> str:
    return " ".join(word for word in name.split() if word not in ("left", "right"))


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("liver & sple", 12, ("liver & spleen", 14)), ("sple & liver", 4, ("spleen & liver", 6)), ("liver\nsple\nlung", 8, ("liver\nspleen\nlung", 12)),
        ("", 0, ("spleen", 6)), ("a&sp&b", 3, ("a&spleen&b", 8)), ("liver & ", 8, ("liver & spleen", 14)),
    ],
)  # fmt: skip
def test_picking_a_suggestion_replaces_the_target_under_the_cursor_and_nothing_else(text, position, expected):
    start, stop = completion.span_at(text, position)
    assert (text[:start] + "spleen" + text[stop:], start + len("spleen")) == expected


def test_every_target_can_be_browsed_in_one_group():
    listed = [each.name for found in browse().values() for each in found]
    assert sorted(listed) == sorted(target.name for target in targets())
    assert list(browse("", "PT")) == [completion.FINDINGS]
    assert next(iter(browse("medimageparse3d", "CT", "spl").values()))[0].name == "spleen"


def test_hints_name_what_may_be_meant_and_what_to_write_instead():
    assert hints(["livr"]) == [Hint(UNKNOWN, "livr", ("liver",), instead="liver")]
    assert hints(["liver, spleen"]) == [Hint(SEPARATOR, "liver, spleen", mark=",", instead="liver & spleen")]
    assert hints(["liver; the rest"])[0].instead == ""
    assert hints(["liver in MRI"], "CT") == [Hint(OTHER_IMAGE, "liver in MRI", modalities=("MR", "CT"))]
    assert hints(["melanoma"], "CT")[0].kind == NOT_RECOMMENDED
    assert hints(["liver", "left kidney"], "CT") == []


def test_the_sentences_after_a_run_say_the_same_as_the_hints_before_it():
    prompts = ["livr", "liver, spleen", "melanoma", "liver in MRI"]
    assert len(advice(prompts, "CT")) == len(hints(prompts, "CT"))
    assert all(hint.prompt in sentence or hint.names[0] in sentence for hint, sentence in zip(hints(prompts, "CT"), advice(prompts, "CT")))
