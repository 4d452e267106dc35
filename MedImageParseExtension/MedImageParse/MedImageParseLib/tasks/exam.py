"""Exam parameters: what a series is by its pixels (plane, sequence, body part, contrast, field strength), beside what its header says.

Ready sets of labels are made from DICOM headers; a head is learned for each, on one vector a series. Where both sides speak and differ,
that is a contradiction to look at: the header may be wrong, and so may the head.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import UsageError
from ..search.heads import Head, Learning
from ..search.index import EmbeddingIndex
from ..search.labels import PlaceLabel
from ..search.records import Record
from .adapters import AdapterResult, Told, train
from .run import Report

PREFIX = "exam "  # of the sets of labels that are made from headers
FIELDS = (
    "Modality", "BodyPartExamined", "ProtocolName", "SeriesDescription", "ImageType", "ScanningSequence", "SequenceVariant", "SequenceName",
    "ScanOptions", "ImageOrientationPatient", "ContrastBolusAgent", "MagneticFieldStrength", "EchoTime", "RepetitionTime", "InversionTime",
)  # fmt: skip
Fields = Mapping[str, str]
_SURE = 0.8  # probability from which on a head contradicts a header

# Words of protocol names, the most telling first. \b would part "t2_tse" from its digits.
_SEQUENCES = (
    ("FLAIR", r"flair|dark.?fluid|tirm.*dark"), ("DWI", r"dwi|diff|\badc|trace|\bdti"), ("SWI", r"swi|swan|suscept"), ("TOF", r"tof|angio|mra"),
    ("perfusion", r"perf|dsc|asl"), ("STIR", r"stir|tirm"), ("T2*", r"t2\*|t2star|gre.*t2|hemo"), ("T2", r"t2"),
    ("T1", r"t1|mprage|spgr|bravo|vibe|lava"), ("PD", r"\bpd|proton"), ("localizer", r"local|scout|survey"),
)  # fmt: skip
_PARTS = {
    "HEAD": "head", "BRAIN": "head", "SKULL": "head", "NECK": "neck", "CSPINE": "spine", "TSPINE": "spine", "LSPINE": "spine", "SPINE": "spine",
    "CHEST": "chest", "THORAX": "chest", "LUNG": "chest", "ABDOMEN": "abdomen", "LIVER": "abdomen", "PELVIS": "pelvis", "PROSTATE": "pelvis",
    "BREAST": "breast", "HEART": "heart", "KNEE": "knee", "HIP": "hip", "SHOULDER": "shoulder", "ANKLE": "ankle", "FOOT": "foot", "HAND": "hand",
    "WRIST": "wrist", "ELBOW": "elbow",
}  # fmt: skip


def modality_of(fields: Fields) -> str:
    """The DICOM modality code."""
    return fields.get("Modality", "").upper()


def plane_of(fields: Fields) -> str:
    """axial, coronal or sagittal from the orientation; "" where it is oblique by more than 35 degrees or absent."""
    try:
        row = [float(part) for part in fields.get("ImageOrientationPatient", "").split("\\")]
    except ValueError:
        return ""
    if len(row) != 6:
        return ""
    a, b = row[:3], row[3:]
    normal = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    largest = max(range(3), key=lambda axis: abs(normal[axis]))
    return ("sagittal", "coronal", "axial")[largest] if abs(normal[largest]) > 0.82 else ""


def part_of(fields: Fields) -> str:
    """The body part: the coded field, else a word of the protocol's or series' name."""
    coded = re.sub(r"[^A-Z]", "", fields.get("BodyPartExamined", "").upper())
    if coded in _PARTS:
        return _PARTS[coded]
    words = re.findall(r"[A-Z]+", f"{fields.get('ProtocolName', '')} {fields.get('SeriesDescription', '')}".upper())
    return next((_PARTS[word] for word in words if word in _PARTS), coded.lower())


def sequence_of(fields: Fields) -> str:
    """The kind of MR sequence: by the names that people gave it, else by its times; "" for other modalities."""
    if modality_of(fields) != "MR":
        return ""
    named = " ".join(fields.get(name, "") for name in ("SeriesDescription", "ProtocolName", "SequenceName")).lower()
    for sequence, pattern in _SEQUENCES:
        if re.search(pattern, named):
            return sequence
    times = [_number(fields.get(name, "")) for name in ("EchoTime", "RepetitionTime", "InversionTime")]
    echo, repetition, inversion = times
    if echo is None or repetition is None:
        return ""
    if inversion is not None and inversion > 1500 and echo > 70:
        return "FLAIR"
    return (
        "T1"
        if echo < 30 and repetition < 1000
        else "T2"
        if echo > 70 and repetition > 2000
        else "PD"
        if echo < 40 and repetition > 2000
        else ""
    )


def contrast_of(fields: Fields) -> str:
    """Whether contrast agent was given; "" where the header says nothing either way."""
    agent = fields.get("ContrastBolusAgent", "").strip().lower()
    if agent:
        return "without contrast" if agent in ("no", "none", "n", "without") else "with contrast"
    named = f"{fields.get('SeriesDescription', '')} {fields.get('ProtocolName', '')}".lower()
    if re.search(r"nativ|without|w/?o\b|non.?contrast|\bpre\b", named):
        return "without contrast"
    return "with contrast" if re.search(r"post|with contrast|\bkm\b|\+c\b|\bgd\b|\bce\b", named) else ""


def strength_of(fields: Fields) -> str:
    """The field strength of an MR scanner in tesla, as scanners are sold."""
    value = _number(fields.get("MagneticFieldStrength", ""))
    if value is None or value <= 0:
        return ""
    value = value / 10000.0 if value > 100 else value  # gauss, in old files
    return f"{min((0.2, 0.35, 0.5, 1.0, 1.5, 3.0, 7.0), key=lambda known: abs(known - value)):g} T"


ATTRIBUTES: dict[str, tuple[str, Callable[[Fields], str]]] = {
    "modality": ("Modality", modality_of),
    "plane": ("ImageOrientationPatient", plane_of),
    "body part": ("BodyPartExamined", part_of),
    "sequence": ("SeriesDescription", sequence_of),
    "contrast": ("ContrastBolusAgent", contrast_of),
    "field strength": ("MagneticFieldStrength", strength_of),
}


def _number(text: str) -> float | None:
    try:
        return float(text.split("\\")[0])
    except ValueError:
        return None


@dataclass(slots=True, frozen=True)
class ExamRow:
    """One attribute of one series.

    Attributes:
        record: of the series. attribute: one of ATTRIBUTES.
        pixels: what the head says; probability: of it.
        tag: the DICOM field beside it. header: what that says, in the head's words; "" where it says nothing.
        state: "agrees", "contradicts" (both speak, and the head is sure), "unsure" (they differ, and it is not), or "no header".
    """

    record: Record
    attribute: str
    pixels: str
    probability: float
    tag: str
    header: str
    state: str


@dataclass(slots=True)
class ExamResult:
    """Heads by attribute, or rows of a table, with a report in plain JSON types."""

    heads: dict[str, AdapterResult] = field(default_factory=dict)
    rows: list[ExamRow] = field(default_factory=list)
    report: dict = field(default_factory=dict)
    failure: str = ""

    @property
    def contradictions(self) -> list[ExamRow]:
        """The rows that somebody should look at."""
        return [row for row in self.rows if row.state == "contradicts"]


def label_from_headers(index: EmbeddingIndex, read: Callable[[str, str], Fields | None], attributes: Sequence[str]) -> dict[str, int]:
    """Make the ready sets of labels from the headers of an index's files.

    Args:
        index: open.
        read: gives the fields of a file or series' UID, None where there is no DICOM any more.
        attributes: which.

    Returns:
        for each attribute how many series have a label.
    """
    labels, counts = [], dict.fromkeys(attributes, 0)
    for record in {one.series: one for one in index.records().values() if one.series and one.source}.values():
        fields = read(record.source, str(record.position.get("dicom_series", "")))
        for attribute in attributes if fields is not None else ():
            value = ATTRIBUTES[attribute][1](fields or {})
            if value:
                labels.append(PlaceLabel(PREFIX + attribute, value[:200], record.series))
                counts[attribute] += 1
    index.add_labels(labels)
    return counts


def train_exam(
    index: EmbeddingIndex, attributes: Sequence[str], how: Learning, *, patients: str = "", recipe: str = "", seed: int = 0
) -> ExamResult:
    """Learn a head for each attribute whose set of labels has anything to learn from.

    Args:
        index: open, with sets of labels named "exam plane" and so on.
        attributes: which.
        how: to learn.
        patients: which images are of one patient, as for adapters.train.
        recipe: which of the index's recipes, as for adapters.train.
        seed: of the split, as for adapters.train.

    Raises:
        UsageError: none could be learned; the first reason.
    """
    result, notes, first = ExamResult(), list[str](), None
    sets = {one.set for one in index.label_sets()}
    for attribute in attributes:
        try:
            if PREFIX + attribute not in sets:
                raise UsageError("No DICOM header of the index's files tells the {attribute}.", attribute=attribute)
            result.heads[attribute] = train(index, PREFIX + attribute, how, by="mean", patients=patients, recipe=recipe, seed=seed)
        except UsageError as error:
            first = first or error
            notes.append(f"Nothing was learned for {attribute}: {error}")
    if not result.heads:
        raise first or UsageError("Name at least one attribute to learn.")
    learned = {name: one.report["figures"] for name, one in result.heads.items()}
    warnings = [*notes, *dict.fromkeys(note for one in result.heads.values() for note in one.report["warnings"])]
    result.report = Report(warnings=warnings, details={"attributes": learned}).as_dict()
    return result


def compare_exam(heads: Mapping[str, Head], told: Mapping[str, Sequence[Told]], read: Callable[[str, str], Fields | None]) -> ExamResult:
    """The table of what pixels and headers say.

    Args:
        heads: by attribute.
        told: by attribute: what its head says, a series each.
        read: as for `label_from_headers`.
    """
    result, known = ExamResult(), dict[tuple[str, str], Fields]()
    for attribute, answers in told.items():
        tag, derive = ATTRIBUTES[attribute]
        for one in answers:
            key = (one.record.source, str(one.record.position.get("dicom_series", "")))
            if key not in known:
                known[key] = (read(*key) if key[0] else None) or {}
            label, probability = one.ranked(heads[attribute].labels)[0]
            header = derive(known[key])
            state = "no header" if not header else "agrees" if header == label else "contradicts" if probability >= _SURE else "unsure"
            result.rows.append(ExamRow(one.record, attribute, label, probability, tag, header, state))
    result.rows.sort(key=lambda row: (row.record.source, row.record.series))
    details = {
        "series": len({row.record.series for row in result.rows}), "contradictions": len(result.contradictions),
        "rows": [
            {"source": row.record.source, "series": row.record.series, "attribute": row.attribute, "pixels": row.pixels,
             "probability": round(row.probability, 6), "tag": row.tag, "header": row.header or None, "state": row.state} for row in result.rows
        ],
    }  # fmt: skip
    warnings = ["Where pixels and header differ, either may be wrong: look at the series before changing anything."]
    result.report = Report(warnings=warnings if result.contradictions else [], details=details).as_dict()
    return result
