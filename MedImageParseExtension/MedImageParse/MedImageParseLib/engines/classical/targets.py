"""Which structure a prompt asks the local demo engine for.

A prompt is read as the published prompt patterns are built ("liver", "liver in abdomen CT", "Visualization of the liver in abdominal CT
imaging", "CT imaging of the spleen within the abdomen"): the site and the modality are cut off, what is left must be a known name as a
whole. So "liver tumor" is not the liver, and anything unknown is nothing at all: the engine never guesses from part of a phrase.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMES = {
    "body": ("body", "patient", "body outline", "torso", "trunk"),
    "foreground": ("foreground", "object", "subject", "foreground structure"),
    "skin": ("skin",),
    "lung": ("lung", "pulmonary parenchyma"),
    "bone": ("bone", "skeleton", "skeletal structure", "bony structure", "osseous structure", "bone tissue"),
    "spine": ("spine", "vertebrae", "vertebra", "vertebral column", "spinal column", "backbone", "vertebral body", "vertebral bodies"),
    "airway": ("airway", "bronchi", "tracheobronchial tree", "airway tree", "trachea and bronchi"),
    "trachea": ("trachea", "windpipe"),
    "fat": ("fat", "adipose tissue", "fat tissue", "fatty tissue", "adipose"),
    "soft tissue": ("soft tissue", "lean tissue"),
    "liver": ("liver", "hepatic parenchyma"),
    "spleen": ("spleen",),
    "kidney": ("kidney",),
    "head": ("head", "skull and brain"),
    "brain": ("brain", "whole brain", "brain tissue", "intracranial content"),
    "lesion": (
        "lesion",
        "tumor",
        "mass",
        "nodule",
        "cyst",
        "melanoma",
        "polyp",
        "cancer",
        "breast tumor",
        "breast lesion",
        "breast mass",
        "skin lesion",
        "breast cyst",
        "neoplastic polyp",
        "malignant tumor",
        "benign tumor",
        "breast nodule",
        "breast cancer",
    ),
    "bright lesion": ("glioma", "lower grade glioma", "low grade glioma", "whole tumor", "brain tumor", "edema", "brain lesion"),
}
_KNOWN = {name: kind for kind, names in _NAMES.items() for name in names}
_SIDED = ("lung", "kidney")

_LEADING = re.compile(
    r"^(?:(?:\w+ ){0,3}(?:visuali[sz]ation|segmentation|imaging|image|scan|delineation|outline|depiction|view)s? (?:of|showing) )+"
)
_CONTEXT = re.compile(r"\b(?:observed in|seen in|visible in|shown in|in|within|inside|on|from|of)\b")
_FILLER = {"the", "a", "an", "all", "both", "entire", "whole", "patient's", "organ", "organs", "region", "area", "anatomy"}
_PLURALS = {
    "lungs": "lung", "bones": "bone", "structures": "structure", "airways": "airway", "kidneys": "kidney", "tissues": "tissue",
    "lesions": "lesion", "tumors": "tumor", "tumour": "tumor", "tumours": "tumor", "masses": "mass", "nodules": "nodule", "cysts": "cyst",
    "polyps": "polyp", "objects": "object", "gliomas": "glioma", "contents": "content", "oedema": "edema", "livers": "liver",
}  # fmt: skip


@dataclass(slots=True, frozen=True)
class Target:
    """What a prompt means to the engine.

    Attributes:
        kind: a structure of the engine, "" where it knows none.
        side: "left" or "right" of the patient, "" for both.
        context: what the prompt says besides, lower case: site and modality ("abdomen ct").
    """

    kind: str
    side: str = ""
    context: str = ""


def read_prompt(prompt: str) -> Target:
    """The structure that one prompt (one part between `&`) names.

    Example:
        >>> read_prompt("Visualization of the left kidney in abdominal CT imaging")
        Target(kind='kidney', side='left', context='abdominal ct imaging')
        >>> read_prompt("liver tumor").kind
        ''
    """
    text = re.sub(r"[^a-z0-9']+", " ", prompt.lower()).strip()
    text = _LEADING.sub("", text)
    parts = _CONTEXT.split(text, maxsplit=1)
    context = parts[1].strip() if len(parts) > 1 else ""
    words = [_PLURALS.get(word, word) for word in parts[0].split()]
    if " ".join(words) not in _KNOWN:
        words = [word for word in words if word not in _FILLER]
    side = ""
    if " ".join(words) not in _KNOWN:
        sides = [word for word in words if word in ("left", "right")]
        if len(sides) == 1:
            side = sides[0]
        words = [word for word in words if word not in ("left", "right", "and")] if sides else words
    kind = _KNOWN.get(" ".join(words), "")
    if side and kind not in _SIDED:
        # "left liver" or "right bone" would be a guess.
        return Target("", "", context)
    return Target(kind, side, context)
