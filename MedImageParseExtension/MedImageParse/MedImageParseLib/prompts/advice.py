"""What a person may want to know about a prompt before it is sent. Nothing is refused here: a free prompt may be what the model knows best."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from ..remedies import Sentence
from .catalogue import Match, find, targets
from .grammar import quoted
from .sites import dicom_modality
from .vocabulary import bag, named_modality, readings, split_words

_SEPARATORS = {",": Sentence("a comma"), ";": Sentence("a semicolon")}
_LINE_END = re.compile(r"\r\n|[\n\r\u2028\u2029]")
_ALIKE = 0.7  # of 1, by difflib's measure: "livr" and "liver" are 0.89, "unicorn" and "uterus" 0.46
_LONGEST = 120  # characters of a prompt that are compared
_MODALITIES = {
    "CT": "CT", "MR": "MR", "US": "ultrasound", "DX": "X-ray", "PT": "PET", "OPT": "OCT", "OP": "fundus pictures", "DMS": "dermoscopy",
    "ES": "endoscopy", "SM": "pathology", "GM": "microscopy",
}  # fmt: skip


UNKNOWN, SEPARATOR, OTHER_IMAGE, NOT_RECOMMENDED = "unknown", "separator", "other image", "not recommended"


@dataclass(slots=True, frozen=True)
class Hint:
    """What may not be meant as it stands, for a face to put into words.

    Attributes:
        kind: UNKNOWN: no known target; SEPARATOR: it holds a mark that separates nothing; OTHER_IMAGE: it speaks of another modality than
            the image has; NOT_RECOMMENDED: the model cards recommend the target for other modalities.
        prompt: as typed.
        names: UNKNOWN: known targets that are written like it, the most alike first; NOT_RECOMMENDED: the target's name.
        mark: SEPARATOR: "," or ";".
        instead: what it may be replaced with, targets joined by " & "; "" where nothing is known.
        modalities: OTHER_IMAGE: what the prompt speaks of and what the image is; NOT_RECOMMENDED: those that are recommended, then the image's.
    """

    kind: str
    prompt: str
    names: tuple[str, ...] = ()
    mark: str = ""
    instead: str = ""
    modalities: tuple[str, ...] = ()


def hints(prompts: Sequence[str], modality: str = "") -> list[Hint]:
    """What may not be meant as it stands, at most two a prompt.

    Args:
        prompts: as `grammar.parse_prompts` returns them.
        modality: of the image, as DICOM spells it ("CT", "MR"); "" where it is not known.
    """
    found = []
    for prompt in prompts:
        match = find(prompt)
        separated = _separated(prompt)
        if separated:
            found.append(separated)
        elif match is None:
            names = tuple(nearest(prompt))
            found.append(Hint(UNKNOWN, prompt, names, instead=names[0] if names else ""))
        unusual = _unusual(prompt, match, dicom_modality(modality))
        if unusual:
            found.append(unusual)
    return found


def advice(prompts: Sequence[str], modality: str = "") -> list[str]:
    """The hints on prompts that were sent, as sentences.

    Args:
        prompts: as `grammar.parse_prompts` returns them.
        modality: of the image, as DICOM spells it ("CT", "MR"); "" where it is not known.
    """
    worded = {UNKNOWN: _unknown_warning, SEPARATOR: _separator_warning, OTHER_IMAGE: _image_warning, NOT_RECOMMENDED: _modality_warning}
    return [worded[hint.kind](hint) for hint in hints(prompts, modality)]


def named(modality: str) -> str:
    """A modality's name for a person: "ultrasound" for "US".

    Args:
        modality: a DICOM code.
    """
    return _MODALITIES.get(modality, modality)


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


def _unknown_warning(hint: Hint) -> str:
    names = [f'"{name}"' for name in hint.names]
    prompt = quoted(hint.prompt)
    if not names:
        return Sentence(
            "The prompt {prompt} is not a known target and was sent as it is; no known target is written like it.", prompt=prompt
        )
    listed = names[0] if len(names) == 1 else Sentence("{listed} or {last}", listed=", ".join(names[:-1]), last=names[-1])
    return Sentence("The prompt {prompt} is not a known target and was sent as it is; did you mean {listed}?", prompt=prompt, listed=listed)


def _separated(prompt: str) -> Hint | None:
    mark = next((mark for mark in _SEPARATORS if mark in prompt), "")
    if not mark:
        return None
    parts = [part.strip() for part in re.split(r"[,;]", prompt) if part.strip()]
    several = len(parts) > 1 and all(find(part) for part in parts)
    return Hint(SEPARATOR, prompt, mark=mark, instead=" & ".join(parts) if several else "")


def _separator_warning(hint: Hint) -> str:
    advised = quoted(hint.instead or "A & B")
    return Sentence(
        "The prompt {prompt} holds {separators}, which separates nothing; for several structures write {advised}.",
        prompt=quoted(hint.prompt),
        separators=_SEPARATORS[hint.mark],
        advised=advised,
    )


def _unusual(prompt: str, match: Match | None, modality: str) -> Hint | None:
    said = match.reading.modality if match else named_modality(prompt)
    if said and modality and said != modality and {said, modality} != {"CT", "PT"}:
        return Hint(OTHER_IMAGE, prompt, modalities=(said, modality))
    modality = modality or said or ""
    if match is None or not modality or not match.target.modalities or modality in match.target.modalities:
        return None
    return Hint(NOT_RECOMMENDED, prompt, (match.target.name,), modalities=(*match.target.modalities, modality))


def _image_warning(hint: Hint) -> str:
    said, modality = hint.modalities
    return Sentence(
        "The prompt {prompt} speaks of {said} and the image is {modality}.",
        prompt=quoted(hint.prompt),
        said=named(said),
        modality=named(modality),
    )


def _modality_warning(hint: Hint) -> str:
    *recommended, modality = hint.modalities
    listed = ", ".join(named(known) for known in recommended)
    return Sentence(
        'The models\' documents recommend "{names}" for {listed}, not for {modality}; look at the result closely.',
        names=hint.names[0],
        listed=listed,
        modality=named(modality),
    )
