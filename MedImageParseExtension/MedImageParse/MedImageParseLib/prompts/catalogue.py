"""Known targets: what a prompt means, in codes, colors and names.

The data is catalogue.json beside this file. Fields of a target there:
    name        the name that segments get; with "sides", "left …" and "right …" exist too
    aliases     other names; side_aliases are those of one side
    category, type, modifier, region
                codes as [value, meaning] in SNOMED CT ("SCT") or [scheme, value, meaning]; category is a key of "categories"
    color       red, green, blue, 0 to 255 (that of Slicer's General Anatomy list where the target is in it)
    site        CT window site, a key of imaging.windows.CT_WINDOWS, or null
    modalities  DICOM modalities in which the model cards recommend the target (OPT, OP, DMS, ES, SM for the 2D-only ones; GM is microscopy)
    inside      names of targets that contain it
    generic     a finding that a site makes specific: "tumor in liver CT" is "liver tumor"
    broader     the code says less than the name, because no public list has one that says as much
"families" are series such as vertebrae and ribs, one target a member.

Sources of the codes: 3D Slicer's bundled terminologies, DICOM PS3.16 (muscles of the calf: its CID 3031), SlicerTotalSegmentator's mapping;
HL7 CodeX's mapping of the TG-263 names for arytenoids and cervical esophagus; SNOMED CT itself for nine that these lack.
"""

from __future__ import annotations

import colorsys
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import overload

from .vocabulary import Bag, Reading, bag, ordinal, readings, split_words

Code = tuple[str, str, str]  # (scheme, value, meaning), e.g. ("SCT", "10200004", "Liver")

LATERALITY: dict[str, Code] = {"left": ("SCT", "7771000", "Left"), "right": ("SCT", "24028007", "Right")}
_FILE = Path(__file__).with_name("catalogue.json")
_ROMAN = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]


@dataclass(slots=True, frozen=True)
class Target:
    """Something that a prompt can ask for.

    Attributes:
        name: canonical name, e.g. "left kidney".
        base: the name without its side, e.g. "kidney".
        side: "left", "right" or "".
        category, type: DICOM segmented property category and type.
        modifier: property type modifier (the side of an organ, or a part of it), None where there is none.
        region, region_modifier: anatomic region of a finding, and its side.
        color: red, green, blue, 0 to 255.
        site: CT window site (a key of imaging.windows.CT_WINDOWS), None where no window is better than another.
        modalities: DICOM modalities in which the model cards recommend it.
        aliases: other names that mean the same.
        inside: base names of targets that contain this one.
        generic: a finding that its site makes specific.
        broader: the codes say less than the name.
    """

    name: str
    base: str
    side: str
    category: Code
    type: Code
    modifier: Code | None
    region: Code | None
    region_modifier: Code | None
    color: tuple[int, int, int]
    site: str | None
    modalities: tuple[str, ...]
    aliases: tuple[str, ...]
    inside: tuple[str, ...]
    generic: bool
    broader: bool

    @property
    def codes(self) -> dict[str, Code]:
        """The codes that are there, by the role they play, for reports."""
        roles = ("category", "type", "modifier", "region", "region_modifier")
        return {role: getattr(self, role) for role in roles if getattr(self, role)}

    def terminology_entry(
        self,
        context: str = "Segmentation category and type - 3D Slicer General Anatomy list",
        region_context: str = "Anatomic codes - DICOM master list",
    ) -> str:
        """The codes as Slicer keeps them in the segment tag "TerminologyEntry": context, category, type, modifier, region context,
        region and region modifier joined by "~", the parts of a code by "^" (vtkSlicerTerminologiesModuleLogic)."""
        category, kind, modifier, region, region_modifier = (
            "^".join(code) if code else "^^" for code in (self.category, self.type, self.modifier, self.region, self.region_modifier)
        )
        return "~".join((context, category, kind, modifier, region_context, region, region_modifier))


@dataclass(slots=True, frozen=True)
class Match:
    """A prompt understood: the target, and the words around it."""

    target: Target
    reading: Reading


@cache
def targets() -> tuple[Target, ...]:
    """All known targets, sides and members of families written out."""
    data = json.loads(_FILE.read_text(encoding="utf-8"))
    entries = data["targets"] + [member for family in data["families"] for member in _members(family)]
    return tuple(target for entry in entries for target in _sides(entry, data["categories"]))


def find(prompt: str) -> Match | None:
    """What a prompt asks for, or None where it is not known. Exact: every word has to be understood.

    Understands bare names, "{target} in {site} {modality}" and the sentences of the model cards (patterns.py).
    """
    known = _index()
    said = _sides_in(prompt)
    for reading in readings(prompt):
        target = known.get(reading.target)
        if target is None:
            continue
        if target.generic:
            target = _specific(target, reading, known)
        target = _on_side(target, reading, known)
        if target and (not said or _sides_in(target.name) == (said if len(said) == 1 else set())):
            return Match(target, reading)
    return None


def lookup(prompt: str) -> Target | None:
    """The target that a prompt asks for, or None.

    >>> lookup("Visualization of the liver in abdominal CT imaging").name
    'liver'
    >>> lookup("kidney_left").codes["modifier"]
    ('SCT', '7771000', 'Left')
    >>> lookup("unicorn") is None
    True
    """
    match = find(prompt)
    return match.target if match else None


def color_for(prompt: str) -> tuple[float, float, float]:
    """Color of a prompt's segment: red, green, blue, 0 to 1. The same in every session and on every machine."""
    target = lookup(prompt)
    if target:
        red, green, blue = target.color
        return red / 255, green / 255, blue / 255
    digest = hashlib.sha256(" ".join(prompt.casefold().split()).encode("utf-8", "surrogatepass")).digest()
    hue = int.from_bytes(digest[:4], "big") / 2**32
    return colorsys.hsv_to_rgb(hue, (0.7, 0.85, 1.0)[digest[4] % 3], (0.75, 0.9, 1.0)[digest[5] % 3])


def segment_names(prompts: list[str]) -> list[str]:
    """Names of the segments, one a prompt, no two alike (case aside).

    The prompt as typed, or for a sentence around a known target the target's name ("Visualization of the liver in abdominal CT imaging"
    becomes "liver"). Where that would give two segments one name, they keep their prompts as typed.
    """
    names = []
    for prompt in prompts:
        match = find(prompt)
        names.append(match.target.name if match and match.reading.wrapped else prompt)
    while True:
        clashes = {name.casefold() for name in names if sum(name.casefold() == other.casefold() for other in names) > 1}
        typed = [prompt if name.casefold() in clashes else name for name, prompt in zip(names, prompts)]
        if typed == names:
            break
        names = typed
    taken: set[str] = set()
    return [_free_name(name, taken) for name in names]


def _free_name(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken already; only prompts typed twice need one."""
    free, number = name, 1
    while free.casefold() in taken:
        number += 1
        free = f"{name} ({number})"
    taken.add(free.casefold())
    return free


def _specific(target: Target, reading: Reading, known: dict[Bag, Target]) -> Target:
    """The finding in the organ that the context names, else the finding itself."""
    for place in (reading.places, *((organ,) for organ in reading.organs)):
        specific = known.get(bag(reading.target + place)) if place else None
        if specific and specific is not target:
            return specific
    return target


def _on_side(target: Target, reading: Reading, known: dict[Bag, Target]) -> Target | None:
    """The target on the side that the context names ("rib 7 on the left"), None where it has no such side."""
    if not reading.side or _sides_in(target.name):
        return target
    return known.get(bag((*split_words(target.name), reading.side)))


def _sides_in(text: str) -> set[str]:
    """Sides that are said anywhere: what is found must be on the one that is said, or on both where both are. None is ever dropped."""
    return {word for word in split_words(text) if word in ("left", "right")}


@cache
def _index() -> dict[Bag, Target]:
    index: dict[Bag, Target] = {}
    for target in targets():
        for name in (target.name, *target.aliases):
            index.setdefault(bag(split_words(name)), target)
    return index


def _members(family: dict) -> list[dict]:
    """The targets of a series, neighbors in clearly different shades between the family's two colors."""
    (start, end), entries = family["colors"], []
    for number, (key, value) in enumerate(family["members"].items()):
        position = (number * 0.618) % 1
        place = int(key) if key.isdecimal() else 0
        words = {"key": key, "ordinal": ordinal(place) if place else "", "roman": _ROMAN[place - 1] if place else ""}
        entries.append(
            {
                **family,
                "name": family["name"].format(**words),
                "aliases": [alias.format(**words) for alias in family.get("aliases", [])],
                "type": [value, family["meaning"].format(**words)],
                "color": [round(low + (high - low) * position) for low, high in zip(start, end)],
            }
        )
    return entries


def _sides(entry: dict, categories: dict[str, list[str]]) -> list[Target]:
    """The target without a side and, where it has them, its left and right ones."""
    made = []
    for side in ("", "left", "right") if entry.get("sides") else ("",):
        in_region = bool(side) and "region" in entry
        aliases = [f"{side} {alias}".strip() for alias in entry.get("aliases", [])] + entry.get("side_aliases", {}).get(side, [])
        made.append(
            Target(
                name=f"{side} {entry['name']}".strip(),
                base=entry["name"],
                side=side,
                category=_code(categories[entry.get("category", "anatomy")]),
                type=_code(entry["type"]),
                modifier=LATERALITY[side] if side and not in_region else _code(entry.get("modifier")),
                region=_code(entry.get("region")),
                region_modifier=LATERALITY[side] if in_region else None,
                color=tuple(entry["color"]),
                site=entry.get("site"),
                modalities=tuple(entry.get("modalities", [])),
                aliases=tuple(aliases),
                inside=tuple(entry.get("inside", [])),
                generic=entry.get("generic", False),
                broader=entry.get("broader", False),
            )
        )
    return made


@overload
def _code(parts: list[str]) -> Code: ...


@overload
def _code(parts: list[str] | None) -> Code | None: ...


def _code(parts: list[str] | None) -> Code | None:
    """[value, meaning] is SNOMED CT."""
    if parts is None:
        return None
    scheme, value, meaning = parts if len(parts) == 3 else ("SCT", *parts)
    return scheme, value, meaning
