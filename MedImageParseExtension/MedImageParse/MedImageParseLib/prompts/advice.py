"""What a person may want to know about a prompt before it is sent. Nothing is refused here: a free prompt may be what the model knows best."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache

from .catalogue import Match, find, targets
from .grammar import quoted
from .sites import dicom_modality
from .vocabulary import bag, named_modality, readings, split_words

_SEPARATORS = {",": "a comma", ";": "a semicolon"}
_LINE_END = re.compile(r"\r\n|[\n\r\u2028\u2029]")
_ALIKE = 0.7  # of 1, by difflib's measure: "livr" and "liver" are 0.89, "unicorn" and "uterus" 0.46
_LONGEST = 120  # characters of a prompt that are compared
_MODALITIES = {
    "CT": "CT", "MR": "MR", "US": "ultrasound", "DX": "X-ray", "PT": "PET", "OPT": "OCT", "OP": "fundus pictures", "DMS": "dermoscopy",
    "ES": "endoscopy", "SM": "pathology", "GM": "microscopy",
}  # fmt: skip


def advice(prompts: Sequence[str], modality: str = "") -> list[str]:
    """Sentences on prompts that may not be meant as they stand, at most two a prompt.

    Args:
        prompts: as `grammar.parse_prompts` returns them.
        modality: of the image, as DICOM spells it ("CT", "MR"); "" where it is not known.
    """
    sentences = []
    for prompt in prompts:
        match = find(prompt)
        separated = _separator_warning(prompt)
        if separated:
            sentences.append(separated)
        elif match is None:
            sentences.append(_unknown_warning(prompt))
        unusual = _modality_warning(prompt, match, dicom_modality(modality))
        if unusual:
            sentences.append(unusual)
    return sentences


def line_end_warning(texts: Iterable[str]) -> str | None:
    """A sentence where a line end inside one text was taken for a separator, else None.

    Args:
        texts: what was given as one prompt each; a single text counts as one.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if any(len([line for line in _LINE_END.split(text) if line.strip(" \t&")]) > 1 for text in texts):
        return 'A line end inside a prompt was taken for a separator; join prompts with " & ".'
    return None


def nearest(prompt: str, count: int = 3) -> list[str]:
    """Names of known targets that are written much like a prompt, the most alike first; without context, "liver" for "livr in CT".

    Args:
        prompt: one that the catalogue does not know.
        count: how many at most.
    """
    known = _spellings()
    best: dict[str, float] = {}
    for target in list(dict.fromkeys(" ".join(reading.target) for reading in readings(prompt[:_LONGEST])))[:8]:
        for spelling in difflib.get_close_matches(target, known, count, _ALIKE):
            likeness = difflib.SequenceMatcher(None, target, spelling).ratio()
            best[known[spelling]] = max(likeness, best.get(known[spelling], 0.0))
    return sorted(best, key=lambda name: (-best[name], len(name), name))[:count]


@cache
def _spellings() -> dict[str, str]:
    """Names by their words in the form that prompts are compared in."""
    spellings: dict[str, str] = {}
    for target in targets():
        for name in (target.name, *target.aliases):
            spellings.setdefault(" ".join(bag(split_words(name))), target.name)
    return spellings


def _unknown_warning(prompt: str) -> str:
    names = [f'"{name}"' for name in nearest(prompt)]
    start = f"The prompt {quoted(prompt)} is not a known target and was sent as it is"
    if not names:
        return f"{start}; no known target is written like it."
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return f"{start}; did you mean {listed}?"


def _separator_warning(prompt: str) -> str | None:
    found = [mark for mark in _SEPARATORS if mark in prompt]
    if not found:
        return None
    parts = [part.strip() for part in re.split(r"[,;]", prompt) if part.strip()]
    several = len(parts) > 1 and all(find(part) for part in parts)
    advised = " & ".join(parts) if several else "A & B"
    return f"The prompt {quoted(prompt)} holds {_SEPARATORS[found[0]]}, which separates nothing; for several structures write {quoted(advised)}."


def _modality_warning(prompt: str, match: Match | None, modality: str) -> str | None:
    said = match.reading.modality if match else named_modality(prompt)
    if said and modality and said != modality and {said, modality} != {"CT", "PT"}:
        return f"The prompt {quoted(prompt)} speaks of {_named(said)} and the image is {_named(modality)}."
    modality = modality or said or ""
    if match is None or not modality or not match.target.modalities or modality in match.target.modalities:
        return None
    listed = ", ".join(_named(known) for known in match.target.modalities)
    return f'The models\' documents recommend "{match.target.name}" for {listed}, not for {_named(modality)}; look at the result closely.'


def _named(modality: str) -> str:
    return _MODALITIES.get(modality, modality)
