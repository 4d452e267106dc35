"""What a person may mean by the first letters of a target: suggestions for a field, and the same targets as a list to browse.

Nothing here refuses anything. A prompt that no suggestion fits is as good as one that was picked from a list.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache

from ..models import MODELS
from .catalogue import Target, targets
from .grammar import SEPARATORS
from .sites import dicom_modality
from .vocabulary import other_spellings

MOST = 12  # rows that a list shows at once
_LONGEST = 80  # characters; nobody types more of a target's name
_FEWEST_FOR_ALIKE = 4  # letters; three are alike to too much
_ALIKE, _LIKENESS = 5, 0.7  # how many spellings at most, and how alike, of 1
_LONGEST_INITIALS = 12  # letters
_ONLY_2D = frozenset(("DX", "OPT", "OP", "DMS", "ES", "SM"))  # modalities of pictures, which no volume model takes
_ONLY_3D = frozenset(("GM",))
_EXACT, _START, _ALIAS_START, _WORDS, _ALIAS_WORDS, _INITIALS = range(6)

# Groups of the list to browse, in its order.
ABDOMEN, PELVIS, CHEST, HEAD, BONES, FINDINGS, CELLS, OTHER = (
    "abdomen", "pelvis", "chest", "head", "bones", "findings", "cells", "other",
)  # fmt: skip
GROUPS = (ABDOMEN, PELVIS, CHEST, HEAD, BONES, FINDINGS, CELLS, OTHER)
_GROUP_OF_SITE = {
    "abdomen": ABDOMEN, "liver": ABDOMEN, "colon": ABDOMEN, "pancreas": ABDOMEN, "pelvis": PELVIS, "lung": CHEST, "brain": HEAD,
    "bone": BONES,
}  # fmt: skip
_HEART = re.compile(
    r"heart|cardi|ventricle|atri|valve|aort|cava|pulmonary|coronary|brachiocephalic|subclavian|mediastinum|thymus|breast|diaphragm"
)
_NECK = re.compile(
    r"gland|laryn|glottis|pharynx|cavity|mucosa|lip|tongue|face|esophagus|cricopharyngeal|arytenoid|carotid|jugular|fetal|optic"
)
_MUSCLE = re.compile(r"muscle|gluteus|autochthon|iliopsoas|soleus|gastrocnemius|spinal|costal")


@dataclass(slots=True, frozen=True)
class Suggestion:
    """A target that may be meant.

    Attributes:
        name: what goes into the field, e.g. "left adrenal gland".
        meaning: what it means in SNOMED CT (or the scheme that its code is of), e.g. "Adrenal gland, Left".
        alias: the other name by which it was found, e.g. "suprarenal gland"; "" where its own name was typed.
        is_recommended: the model cards recommend it for the image's modality, and the model takes such images; True where neither is known.
    """

    name: str
    meaning: str
    alias: str = ""
    is_recommended: bool = True


@dataclass(slots=True, frozen=True)
class _Spelling:
    """One of the ways to type a target.

    Attributes:
        order: number of the target in the catalogue.
        text: in the form of `_normal`. words: of it.
        is_own: the target's own name. is_whole: with its side, if it has one, and spelled as in the catalogue. shown: the other name, or "".
    """

    order: int
    text: str
    words: tuple[str, ...]
    is_own: bool
    is_whole: bool
    shown: str


def suggest(text: str, model: str = "", modality: str = "", most: int = MOST) -> list[Suggestion]:
    """Targets that the target being typed may become, the likeliest first; none where it is empty.

    Letters are compared with the beginnings of names, of other names and of their words in any order ("kid l"), with initials ("lag" is
    the left adrenal gland, "ivc" the inferior vena cava), and with British and adjective forms ("oes", "renal"). Where nothing begins like
    it, names that are written much like it are offered.

    Args:
        text: of the field up to the cursor; what follows the last "&" or line end counts: "liver & sple".
        model: name of the model that will be asked, a key of `models.MODELS`; "" where it is not known.
        modality: of the image, as DICOM spells it ("CT", "MR"); "" where it is not known.
        most: how many at most.

    Examples:
        >>> [each.name for each in suggest("liver & sple", modality="CT", most=1)]
        ['spleen']
    """
    typed = _normal(SEPARATORS.split(text)[-1][-_LONGEST:])
    if not typed or most < 1:
        return []
    modality = dicom_modality(modality)
    best = _ranked(typed) or (_alike(typed) if len(typed) >= _FEWEST_FOR_ALIKE else {})
    found = []
    for order, (rank, alias) in best.items():
        target = targets()[order]
        recommended = is_recommended(target, model, modality)
        found.append((rank != _EXACT, not recommended, rank, order, _suggestion(target, alias, recommended)))
    return [each[-1] for each in sorted(found, key=lambda each: each[:4])[:most]]


def span_at(text: str, position: int) -> tuple[int, int]:
    """Where the target lies that the cursor is in: first character and the one after its last, blanks around it left out.

    Args:
        text: of the field.
        position: of the cursor, in characters.

    Examples:
        >>> span_at("liver & sple", 12)
        (8, 12)
    """
    before = [found.end() for found in SEPARATORS.finditer(text, 0, position)]
    after = SEPARATORS.search(text, position)
    start, stop = (before[-1] if before else 0), (after.start() if after else len(text))
    inside = text[start:stop]
    start += len(inside) - len(inside.lstrip())
    return start, max(start, start + len(inside.strip()))


def is_recommended(target: Target, model: str = "", modality: str = "") -> bool:
    """Whether the model cards recommend a target for an image; True for what is not known.

    Args:
        target: of the catalogue.
        model: a key of `models.MODELS`, or "".
        modality: as DICOM spells it, or "".
    """
    known = set(target.modalities)
    if known and model in MODELS:
        known -= _ONLY_2D if MODELS[model].whole_volumes else _ONLY_3D
        if not known:
            return False
    return not target.modalities or not modality or modality in known


def meaning_of(target: Target) -> str:
    """What a target's codes mean, e.g. "Adrenal gland, Left" or "Neoplasm, Liver".

    Args:
        target: of the catalogue.
    """
    parts = [target.type, target.modifier, target.region, target.region_modifier]
    return ", ".join(dict.fromkeys(code[2] for code in parts if code and code[2]))


def group_of(target: Target) -> str:
    """The group that a target stands in where targets are browsed, one of GROUPS.

    Args:
        target: of the catalogue.
    """
    if target.modalities and set(target.modalities) <= {"GM", "SM"}:
        return CELLS
    if "Altered" in target.category[2]:
        return FINDINGS
    site = _GROUP_OF_SITE.get(target.site or "")
    if site:
        return site
    for group, words in ((BONES, _MUSCLE), (HEAD, _NECK), (CHEST, _HEART)):
        if words.search(target.base):
            return group
    return OTHER


def browse(model: str = "", modality: str = "", typed: str = "") -> dict[str, list[Suggestion]]:
    """The targets by group, in the order of GROUPS; groups without one are left out.

    Args:
        model: only what this model takes; "" for all.
        modality: only what the model cards recommend for it, as DICOM spells it; "" for all.
        typed: only what fits these letters, as `suggest` compares them; "" for all.
    """
    modality, letters = dicom_modality(modality), _normal(typed)
    fitting = _ranked(letters) if letters else dict.fromkeys(range(len(targets())), (0, ""))
    groups: dict[str, list[Suggestion]] = {group: [] for group in GROUPS}
    for order, target in enumerate(targets()):
        if order in fitting and is_recommended(target, model, modality):
            groups[group_of(target)].append(_suggestion(target, fitting[order][1], True))
    return {group: found for group, found in groups.items() if found}


def _suggestion(target: Target, alias: str, recommended: bool) -> Suggestion:
    return Suggestion(target.name, meaning_of(target), alias, recommended)


def _normal(text: str) -> str:
    return " ".join(re.sub(r"[_\-'’,;]+", " ", text.casefold()).split())


@cache
def _spellings() -> dict[str, list[_Spelling]]:
    """The spellings of all targets by each letter that a word of them begins with: what is typed begins with one of these."""
    spellings: dict[str, list[_Spelling]] = {}
    for order, target in enumerate(targets()):
        for spelling in _spellings_of(order, target):
            for letter in dict.fromkeys(word[0] for word in spelling.words):
                spellings.setdefault(letter, []).append(spelling)
    return spellings


def _spellings_of(order: int, target: Target) -> list[_Spelling]:
    """All that a target may be typed as: its names, those without their side, and those in other spellings of their words."""
    texts: dict[str, _Spelling] = {}

    def add(text: str, name: str, is_own: bool, is_whole: bool) -> None:
        shown = "" if name == target.name else name
        texts.setdefault(text, _Spelling(order, text, tuple(text.split()), is_own, is_whole, shown))

    names = [(name, _normal(name), name == target.name) for name in (target.name, *target.aliases)]
    for name, plain, is_own in names:
        add(plain, name, is_own, True)
        add(plain.removeprefix(f"{target.side} "), name, is_own, False)
    for name, plain, _is_own in names:
        words = plain.split()
        for number, word in enumerate(words):
            for other in other_spellings(word):
                add(" ".join([*words[:number], other, *words[number + 1 :]]), name, False, False)
    return list(texts.values())


def _ranked(typed: str) -> dict[int, tuple[int, str]]:
    """The targets that letters fit, by their number in the catalogue: how well, a small number is better, and the other name it was."""
    best: dict[int, tuple[int, str]] = {}
    tokens = typed.split()
    for spelling in _spellings().get(typed[0], ()):
        rank = _rank(spelling, typed, tokens)
        if rank is not None and (spelling.order not in best or rank < best[spelling.order][0]):
            best[spelling.order] = rank, spelling.shown
    return best


def _rank(spelling: _Spelling, typed: str, tokens: list[str]) -> int | None:
    text, words = spelling.text, spelling.words
    if text == typed:
        return _EXACT if spelling.is_whole else _START
    if text.startswith(typed):
        return _START if spelling.is_own else _ALIAS_START
    if _begin_words(tokens, words):
        return _WORDS if spelling.is_own else _ALIAS_WORDS
    if len(tokens) == 1 and len(words) > 1 and 1 < len(typed) <= _LONGEST_INITIALS and _is_abbreviation(typed, words):
        return _INITIALS
    return None


def _alike(typed: str) -> dict[int, tuple[int, str]]:
    """Targets that are written much like what was typed, and begin like it: "liver" for "livr"."""
    spellings = {spelling.text: spelling for spelling in _spellings().get(typed[0], ()) if spelling.text[0] == typed[0]}
    close = [spellings[text] for text in difflib.get_close_matches(typed, spellings, _ALIKE, _LIKENESS)]
    return {spelling.order: (place, spelling.shown) for place, spelling in reversed(list(enumerate(close, 1)))}


def _begin_words(tokens: list[str], words: tuple[str, ...]) -> bool:
    """Whether each of the typed words begins another word of a name, in any order."""
    left = list(words)
    for token in sorted(tokens, key=len, reverse=True):
        fitting = next((word for word in left if word.startswith(token)), None)
        if fitting is None:
            return False
        left.remove(fitting)
    return True


def _is_abbreviation(typed: str, words: tuple[str, ...]) -> bool:
    """Whether letters are the beginnings of a name's words, one after the other, each word with at least one: "lad", "ivc"."""
    if not typed:
        return True
    if not words:
        return False
    word = words[0]
    return any(
        typed[:count] == word[:count] and _is_abbreviation(typed[count:], words[1:]) for count in range(1, min(len(typed), len(word)) + 1)
    )
