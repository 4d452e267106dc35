"""Words of a prompt in one common form, so that "Left Kidneys", "kidney_left" and "kidney (L)" compare equal.

The form need not be good English: the catalogue and the prompt go through the same steps, so only their equality matters.
"""

from __future__ import annotations

import re
import unicodedata

Bag = tuple[str, ...]

# Left out of comparisons: they carry no meaning of their own.
_STOP_WORDS = frozenset("the a an of and or structure both bilateral".split())

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
    "larynges": "larynx",
}  # fmt: skip

_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_NUMBERS = {word: str(number) for number, word in enumerate(_ORDINALS, 1)}


def split_words(text: str) -> list[str]:
    """The words of a text in order, in the common form: lower case, American, singular, adjectives as organs, numbers as digits."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"\bx[\s-]*rays?\b", "xray", text)
    text = re.sub(r"\b(left|right)[\s-]+sided?\b", r"\1", text)
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
