"""The demo engine reads prompts as the catalogue does: what a segment is named and coded as is what was looked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedImageParseLib.engines.classical.targets import _KINDS, _OWN, _SIDED, read_prompt
from MedImageParseLib.prompts.catalogue import lookup, targets

SIDES = ("left", "right")
# Where and how a side can be said; {side} is filled in, or left out with what belongs to it.
PATTERNS = (
    "{name} on the {side}", "{side} {name}", "{side}-sided {name} in abdominal CT", "{name}, {side}", "{name} ({side}) in CT",
    "CT scan of the {side} {name} in the abdominal region", "{name} in the {side} abdomen", "Presence of the {name} detected in {side} abdominal CT images",
    "Visualization of the {name} in abdominal CT imaging on the {side}", "CT imaging of the {name} within the abdomen, {side} side",
    "{name} of the {side} side", "Abdominal CT showing the {side} {name}", "{name} observed in {side} chest CT scans", "{side} {name} on the {side}",
)  # fmt: skip
CARD = """CT imaging of the spleen within the abdomen; Presence of the right kidney detected in abdominal CT images; Abdominal CT showing the
left kidney; CT scan of the gallbladder in the abdominal region; CT scan of the esophagus in the abdominal region; Visualization of the liver
in abdominal CT imaging; CT imaging of the stomach in the abdomen; Abdominal CT showing aortic structures; Inferior vena cava in abdominal CT;
CT scan of the pancreas in the abdominal region; CT imaging of the right adrenal gland in the abdomen; CT imaging of the left adrenal gland in
the abdomen; Visualization of the duodenum in abdominal CT imaging; Bladder observed in abdominal CT scans; CT scan of the prostate/uterus in
the abdominal region"""


def words_of_side(target) -> set[str]:
    return {word for word in (target.side, *target.name.split()) if word in SIDES}


@given(st.sampled_from(targets()), st.sampled_from(PATTERNS), st.sampled_from(SIDES))
def test_a_side_that_is_said_is_never_dropped(target, pattern, side):
    prompt = pattern.format(name=target.name, side=side)
    known, engine = lookup(prompt), read_prompt(prompt)
    said = {side} | words_of_side(target)
    both = len(said) == 2  # "left and right kidney" means both, "left kidney on the right" nothing
    if known is not None:
        assert words_of_side(known) == (set() if both else said), prompt
    if engine.kind:
        assert engine.side == ("" if both else side), prompt


@given(st.sampled_from(targets()), st.sampled_from(PATTERNS), st.sampled_from(("", *SIDES)))
def test_the_engine_looks_for_what_the_catalogue_understood(target, pattern, side):
    prompt = " ".join(pattern.format(name=target.name, side=side).split())
    known, engine = lookup(prompt), read_prompt(prompt)
    if known is None:
        assert not engine.kind or engine.kind in _OWN
    elif engine.kind:
        assert (engine.kind, engine.side) == (_KINDS[known.base], known.side)


@pytest.mark.parametrize("sentence", [" ".join(part.split()) for part in CARD.split(";")])
def test_the_models_own_sample_sentences_mean_the_same_to_the_engine(sentence):
    known, engine = lookup(sentence), read_prompt(sentence)
    assert known is not None
    assert (engine.kind, engine.side) == (known.base if known.base in ("liver", "spleen", "kidney") else "", known.side)


@pytest.mark.parametrize("kind", sorted({*_KINDS.values(), *_OWN}))
def test_every_structure_of_the_engine_can_be_asked_for(kind):
    names = [name for name, meant in _KINDS.items() if meant == kind] + _OWN.get(kind, [])
    assert [name for name in names if read_prompt(f"Segmentation of the {name} in CT").kind != kind] == []
    if kind not in _SIDED:
        assert [name for name in names if read_prompt(f"left {name}").kind] == []
