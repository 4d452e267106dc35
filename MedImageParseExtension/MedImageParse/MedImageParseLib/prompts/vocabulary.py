"""Words of a prompt in one common form, so that "Left Kidneys", "kidney_left" and "kidney (L)" compare equal.

The form need not be good English: the catalogue and the prompt go through the same steps, so only their equality matters.

How targets are wrapped into sentences, and how to unwrap them.

2D training prompts read "{target} in {site} {modality}" (BiomedParse create-customer-datasets.py). 3D ones are the bare name, the same
pattern, or sentences such as "{modality} imaging of {name} in {site}", "Visualization of {name} in …", "{name} observed in …",
"Segmentation of …" (the 3D model card's samples and the fine-tuning templates of Microsoft's healthcareai-examples).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

Bag = tuple[str, ...]

# Left out of comparisons: they carry no meaning of their own.
_STOP_WORDS = frozenset(["the", "a", "an", "of", "and", "or", "structure", "both", "bilateral"])
# Said of a target as a whole.
_ALL_OF = frozenset(["all", "entire", "whole", "complete"])

_SPELLING = {
    # British to American
    "tumour": "tumor", "oesophagus": "esophagus", "oesophageal": "esophageal", "oedema": "edema", "foetal": "fetal", "foetus": "fetus",
    "haemorrhage": "hemorrhage", "caecum": "cecum", "ischaemic": "ischemic", "grey": "gray", "disk": "disc",
    "visualisation": "visualization", "coeliac": "celiac",
    # adjectives to the organ
    "hepatic": "liver", "renal": "kidney", "splenic": "spleen", "pulmonary": "lung", "pancreatic": "pancreas", "gastric": "stomach",
    "cardiac": "heart", "aortic": "aorta", "prostatic": "prostate", "colonic": "colon", "esophageal": "esophagus", "duodenal": "duodenum",
    "uterine": "uterus", "ovarian": "ovary", "hippocampal": "hippocampus", "mammary": "breast", "ventricular": "ventricle",
    "atrial": "atrium", "myocardial": "myocardium", "retinal": "retina", "intestinal": "intestine", "cerebral": "brain", "pelvic": "pelvis",
    # synonyms of single words
    "bowel": "intestine", "neoplasm": "tumor", "cancer": "tumor", "suprarenal": "adrenal", "fetus": "fetal",
    # sides
    "l": "left", "lt": "left", "sinister": "left", "r": "right", "rt": "right", "dexter": "right",
}  # fmt: skip

_PLURALS = {
    "vertebrae": "vertebra", "nuclei": "nucleus", "atria": "atrium", "thalami": "thalamus", "hippocampi": "hippocampus",
    "bronchi": "bronchus", "metastases": "metastasis", "teeth": "tooth", "feet": "foot", "femora": "femur", "humeri": "humerus",
    "scapulae": "scapula", "claviculae": "clavicula", "cochleae": "cochlea", "patellae": "patella", "uteri": "uterus",
    "esophagi": "esophagus", "lenses": "lens", "amygdalae": "amygdala", "aortae": "aorta", "masses": "mass", "abscesses": "abscess",
    "sinuses": "sinus", "testes": "testis", "maxillae": "maxilla", "mandibulae": "mandible", "tibiae": "tibia", "fibulae": "fibula",
    "larynges": "larynx", "mitochondria": "mitochondrion",
}  # fmt: skip

_ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"]
_NUMBERS = {word: str(number) for number, word in enumerate(_ORDINALS, 1)}


def split_words(text: str) -> list[str]:
    """The words of a text in order, in the common form: lower case, American, singular, adjectives as organs, numbers as digits."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"\bx[\s-]*rays?\b", "xray", text)
    text = re.sub(r"\b(left|right)[\s-]+(?:hand[\s-]+)?sided?\b", r"\1", text)
    text = re.sub(r"\b(\d+)(?:st|nd|rd|th)\b", r"\1", text)
    if "vert" in text:  # "vertebra L-1", "L 1 vertebra"; elsewhere a lone letter is a side
        text = re.sub(r"\b([ctls])[\s_-]?(\d{1,2})\b", r"\1\2", text)
    return [_common_form(word) for word in re.findall(r"[^\W_]+", text)]


def bag(words: list[str] | tuple[str, ...]) -> Bag:
    """Words without order and without those that mean nothing; "left and right" together mean no side.

    >>> bag(split_words("the kidneys, left")) == bag(split_words("Left kidney"))
    True
    """
    kept = [word for word in words if word not in _STOP_WORDS]
    if "left" in kept and "right" in kept:
        kept = [word for word in kept if word not in ("left", "right")]
    return tuple(sorted(kept))


def ordinal(number: int) -> str:
    """1 to 12 in words, with a capital: "First"."""
    return _ORDINALS[number - 1].capitalize()


@cache
def _spellings_by_form() -> dict[str, tuple[str, ...]]:
    forms: dict[str, list[str]] = {}
    for spelling, form in _SPELLING.items():
        if len(spelling) > 2:  # a lone letter for a side is no word
            forms.setdefault(form, []).append(spelling)
    return {form: tuple(spellings) for form, spellings in forms.items()}


def other_spellings(word: str) -> tuple[str, ...]:
    """Other words for one in the common form: "oesophagus" and "esophageal" for "esophagus".

    Args:
        word: in lower case.
    """
    return _spellings_by_form().get(word, ())


def _common_form(word: str) -> str:
    word = _NUMBERS.get(word, word)
    word = _PLURALS.get(word, word)
    word = _SPELLING.get(word, word)
    word = _singular(word)
    return _SPELLING.get(word, word)


def _singular(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is", "as")) or word == "lens":
        return word
    return word[:-3] + "y" if word.endswith("ies") else word[:-1]


# DICOM modality codes by the words that stand for them (in the common form of words.py).
MODALITY_WORDS: dict[str, str] = {
    **dict.fromkeys(["ct", "cta", "cbct", "ncct", "cect", "tomography"], "CT"),
    **dict.fromkeys(["mr", "mri", "mra", "cmr", "dwi", "adc", "flair", "t1", "t2", "t1w", "t2w", "t1gd", "t1ce", "gd"], "MR"),
    **dict.fromkeys(["ultrasound", "ultrasonography", "sonography", "sonogram", "echocardiography", "echocardiogram"], "US"),
    **dict.fromkeys(["xray", "radiograph", "radiography", "cxr"], "DX"),
    **dict.fromkeys(["pet", "petct"], "PT"),
    "oct": "OPT", "fundus": "OP", "fundoscopy": "OP",
    **dict.fromkeys(["dermoscopy", "dermatoscopy", "dermoscopic"], "DMS"),
    **dict.fromkeys(["endoscope", "endoscopy", "endoscopic", "colonoscopy", "colonoscope"], "ES"),
    **dict.fromkeys(["pathology", "histology", "histopathology"], "SM"),
    "microscopy": "GM",
}  # fmt: skip
# Sequences that a vertebra could be confused with, and words too short to trust by themselves.
_WEAK_MODALITY = frozenset(("t1", "t2", "gd", "tomography"))

# Site words and the CT window they stand for (None: a place, but without a window of its own).
SITE_WORDS: dict[str, str | None] = {
    "abdomen": "abdomen", "abdominal": "abdomen", "abdominopelvic": "abdomen", "upper": None, "lower": None,
    "chest": "lung", "thorax": "lung", "thoracic": "lung", "lung": "lung", "pelvis": "pelvis", "liver": "liver", "colon": "colon",
    "pancreas": "pancreas", "brain": "brain", "head": "brain", "cranial": "brain", "intracranial": "brain", "neck": "soft",
    "heart": "soft", "mediastinum": "soft", "mediastinal": "soft", "breast": "soft", "prostate": "pelvis", "bone": "bone",
    "spine": "bone", "spinal": "bone", "retina": None, "eye": None, "skin": None, "kidney": "abdomen", "body": None, "whole": None,
    "torso": None, "trunk": None, "transperineal": None, "fetal": None, "obstetric": None, "knee": "bone", "shoulder": "bone",
    "hip": "bone", "limb": None, "calf": None, "thigh": None,
    **dict.fromkeys(["adrenal", "gland", "bile", "duct", "bladder", "cervix", "esophagus", "ovary", "stomach", "testis", "thyroid", "uterus", "intestine", "spleen"]),
}  # fmt: skip
# Organ that a generic finding belongs to when only such a word tells ("nodule in chest CT" is a lung nodule).
_ORGAN_OF_SITE = {"chest": "lung", "thorax": "lung", "thoracic": "lung", "head": "brain", "cranial": "brain", "intracranial": "brain"}
_VAGUE_PLACES = frozenset(["whole", "body", "torso", "trunk", "upper", "lower", "left", "right"])
_ORGAN_OF_MODALITY = {"OPT": "retina", "DMS": "skin"}

_FILLERS = frozenset([
    "the", "a", "an", "of", "image", "imaging", "scan", "study", "region", "area", "view", "slice", "volume", "picture", "exam", "examination",
    "series", "data", "dataset", "section", "contrast", "enhanced", "weighted", "axial", "coronal", "sagittal", "3d", "2d", "magnetic",
    "resonance", "computed", "computerized", "photograph", "and", "cavity", "electron", "light", "sheet", "lightsheet",
])  # fmt: skip
_FRAMES = frozenset([
    "visualization", "segmentation", "presence", "delineation", "depiction", "view", "imaging", "image", "scan", "appearance", "location",
    "localization", "contour", "outline", "detection", "identification", "mask", "display",
])  # fmt: skip
_LINKS = frozenset(["of", "showing", "with", "depicting", "demonstrating", "displaying", "containing", "for"])
_PREPOSITIONS = frozenset(["in", "within", "inside", "on", "from", "at", "using", "via", "through", "by"])
_PARTICIPLES = frozenset([
    "observed", "seen", "detected", "visible", "shown", "identified", "found", "present", "visualized", "depicted", "located", "imaged",
    "segmented",
])  # fmt: skip


@dataclass(slots=True, frozen=True)
class Reading:
    """One way to understand a prompt.

    Attributes:
        target: the words of the target, without order.
        context: the words that say where and in what kind of image, in order, without fillers.
        wrapped: whether anything was unwrapped, i.e. the prompt is more than the bare target.
    """

    target: Bag
    context: tuple[str, ...] = ()
    wrapped: bool = False

    @property
    def modality(self) -> str | None:
        """DICOM modality that the context names, e.g. "CT"."""
        return _modality_of(self.context)

    @property
    def places(self) -> tuple[str, ...]:
        """Parts of the body that the context names."""
        return tuple(word for word in self.context if word not in MODALITY_WORDS and word not in _VAGUE_PLACES)

    @property
    def side(self) -> str:
        """Side that the context names: "left", "right" or ""."""
        sides = {word for word in self.context if word in ("left", "right")}
        return sides.pop() if len(sides) == 1 else ""

    @property
    def site(self) -> str | None:
        """CT window site that the context names, None where it names none."""
        sites = (SITE_WORDS.get(word) for word in self.places)
        return next((site for site in sites if site), None)

    @property
    def organs(self) -> tuple[str, ...]:
        """Organs that a generic finding in this context may belong to, best first."""
        found = [_ORGAN_OF_SITE.get(word, word) for word in self.places]
        implied = _ORGAN_OF_MODALITY.get(self.modality or "")
        return tuple(dict.fromkeys([*found, *([implied] if implied else [])]))


def readings(prompt: str) -> Iterator[Reading]:
    """The ways to understand a prompt, the plainest first; the first whose target is known is the right one.

    Args:
        prompt: as typed.
    """
    words = split_words(re.sub(r"\bUS\b", "ultrasound", prompt))  # in capitals only: "us" is a word
    yield from _readings(words)
    fewer = [word for word in words if word not in _ALL_OF]  # "whole tumor" is a target, "the whole liver" is the liver
    if len(fewer) < len(words):
        yield from _readings(fewer)


def _readings(words: list[str]) -> Iterator[Reading]:
    yield Reading(bag(words))
    for start, end in _cuts(words):
        core = words[start:end]
        while core and core[-1] in _PARTICIPLES:
            core.pop()
        while core and core[0] in ("the", "a", "an"):
            core.pop(0)
        if core:
            context = tuple(word for word in words[:start] + words[end:] if word not in _FILLERS | _FRAMES | _LINKS | _PREPOSITIONS)
            yield Reading(bag(core), context, True)


def named_modality(prompt: str) -> str | None:
    """DICOM modality that a prompt's words name: "CT", "MR", "US", "DX", "PT", …, or None.

    "US" counts in capitals only ("show us"), T1 and T2 only beside other signs of an image, as they are vertebrae too.
    """
    if re.search(r"\bUS\b", prompt):
        return "US"
    words = split_words(prompt)
    strong = _modality_of(tuple(word for word in words if word not in _WEAK_MODALITY))
    if strong:
        return strong
    if "resonance" in words or "weighted" in words:
        return "MR"
    if "tomography" in words and "computed" in words:
        return "CT"
    before = next((number for number, word in enumerate(words) if word in _PREPOSITIONS), None)
    weak = before is not None and "vertebra" not in words and any(word in ("t1", "t2", "gd") for word in words[before:])
    return "MR" if weak else None


def modality_words(prompt: str) -> frozenset[str]:
    """Words of a prompt that tell of the modality or the sequence, e.g. {"mr", "flair"}."""
    return frozenset(word for word in split_words(prompt) if word in MODALITY_WORDS)


def _modality_of(words: tuple[str, ...]) -> str | None:
    found = [MODALITY_WORDS[word] for word in words if word in MODALITY_WORDS]
    return "PT" if "PT" in found else (found[0] if found else None)


def _cuts(words: list[str]) -> Iterator[tuple[int, int]]:
    """(start, end) of the part that could be the target, all else being recognised as frame or context."""
    starts = [0, *_frame_ends(words)]
    ends = [number for number, word in enumerate(words) if word in _PREPOSITIONS and _is_context(words[number + 1 :])]
    for start in starts:
        for end in [*ends, len(words)]:
            if start < end and (start, end) != (0, len(words)):
                yield start, end
    # "liver CT", "CT liver": a modality beside the name, without a preposition
    trusted = MODALITY_WORDS.keys() - _WEAK_MODALITY
    first, last = 0, len(words)
    while first < last and words[first] in trusted:
        first += 1
    while last > first and (words[last - 1] in trusted or words[last - 1] in _FILLERS):
        last -= 1
    named = any(word in trusted for word in words[:first] + words[last:])
    if named and first < last and (first, last) != (0, len(words)):
        yield first, last


def _frame_ends(words: list[str]) -> Iterator[int]:
    """Where the target may begin after "Visualization of", "CT scan of", "Abdominal CT showing"."""
    for number, word in enumerate(words):
        if word not in _LINKS:
            continue
        head = words[:number]
        recognised = all(_is_known(part) or part in _FRAMES for part in head)
        if recognised and any(part in _FRAMES or part in MODALITY_WORDS for part in head):
            yield number + 1


def _is_context(words: list[str]) -> bool:
    return bool(words) and all(_is_known(word) or word in _PREPOSITIONS for word in words)


def _is_known(word: str) -> bool:
    return word in MODALITY_WORDS or word in SITE_WORDS or word in _FILLERS or word in ("left", "right")
