"""Which structure a prompt asks the local demo engine for.

The catalogue of known targets reads the prompt, so that the engine finds what the segment is named and coded as: the same words, sentences
and sides. Beside it the engine has a few words of its own for things that are no anatomy ("object") or that no list of targets has. What is
not understood as a whole is nothing at all, and neither is a side of something that the engine cannot tell apart by sides: the engine never
guesses from part of a phrase.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ...prompts.catalogue import find
from ...prompts.vocabulary import Bag, Reading, bag, readings, split_words

# The engine's structures by the catalogue's names.
_KINDS = {
    "body": "body",
    "skin": "skin",
    "lung": "lung",
    "bone": "bone",
    "spine": "spine",
    "vertebra": "spine",
    "airways": "airway",
    "trachea": "trachea",
    "fat": "fat",
    "soft tissue": "soft tissue",
    "liver": "liver",
    "spleen": "spleen",
    "kidney": "kidney",
    "head": "head",
    "brain": "brain",
    **dict.fromkeys(
        ["lesion", "tumor", "nodule", "cyst", "polyp", "melanoma", "neoplastic polyp", "skin lesion", "breast tumor"], "lesion"
    ),
    **dict.fromkeys(["glioma", "lower-grade glioma", "whole tumor", "brain tumor", "edema", "brain edema"], "bright lesion"),
}
# Its own words, for what the catalogue does not list.
_OWN = {
    "body": ["torso", "trunk"],
    "foreground": ["foreground", "object", "subject", "foreground structure"],
    "spine": ["vertebral body"],
    "soft tissue": ["lean tissue"],
    "head": ["skull and brain"],
    "brain": ["brain tissue", "intracranial content"],
    "lesion": ["mass", "breast lesion", "breast mass", "breast cyst", "breast nodule", "malignant tumor", "benign tumor"],
    "bright lesion": ["brain lesion"],
}
_SIDED = ("lung", "kidney")


@dataclass(slots=True, frozen=True)
class Target:
    """What a prompt means to the engine.

    Attributes:
        kind: a structure of the engine, "" where it knows none.
        side: "left" or "right" of the patient, "" for both.
        context: what the prompt says besides, in the catalogue's common form of words: site and modality ("abdominal ct").
    """

    kind: str
    side: str = ""
    context: str = ""


def read_prompt(prompt: str) -> Target:
    """The structure that one prompt (one part between `&`) names.

    Args:
        prompt: as typed.

    Examples:
        >>> read_prompt("Visualization of the left kidney in abdominal CT imaging")
        Target(kind='kidney', side='left', context='abdominal ct')
        >>> read_prompt("liver tumor").kind
        ''
    """
    match = find(prompt)
    if match is not None:
        side = match.target.side
        kind = _KINDS.get(match.target.base, "")
        return Target(kind if not side or kind in _SIDED else "", side, _context(match.reading))
    for reading in readings(prompt):
        kind = _own_words().get(reading.target, "")
        if kind:
            return Target("" if reading.side else kind, reading.side, _context(reading))
    return Target("")


def _context(reading: Reading) -> str:
    return " ".join(word for word in reading.context if word not in ("left", "right"))


@cache
def _own_words() -> dict[Bag, str]:
    return {bag(split_words(name)): kind for kind, names in _OWN.items() for name in names}
