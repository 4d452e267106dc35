"""What a prompt tells about the image: body site, modality, and how the model saw such images in training."""

from __future__ import annotations

from dataclasses import dataclass

from .catalogue import Match, find
from .vocabulary import modality_words, named_modality, readings

# Names by which volumes and people call a modality, other than the DICOM code.
_MODALITY_NAMES = {"MRI": "MR", "CR": "DX", "XR": "DX", "RG": "DX", "PET": "PT", "ULTRASOUND": "US"}


@dataclass(slots=True, frozen=True)
class TrainedOrientation:
    """How axial training pictures lie.

    Attributes:
        down: patient direction towards which the rows run, i.e. what is at the bottom of the picture: "R", "L", "A", "P", "S" or "I".
        right: patient direction towards which the columns run, i.e. what is at the picture's right.
    """

    down: str
    right: str


RADIOLOGICAL = TrainedOrientation(down="P", right="L")
_LEFT_ANTERIOR = TrainedOrientation(down="L", right="A")
_RIGHT_ANTERIOR = TrainedOrientation(down="R", right="A")

_AMOS_ORGANS = frozenset(
    (
        "spleen", "kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta", "inferior vena cava", "pancreas", "adrenal gland",
        "duodenum", "bladder",
    )
)  # fmt: skip

# Read off the 2D model's published demo images (BiomedParseData-Demo): modality, targets without their side, explicit sites for which
# the row holds (None: the prompt names no site), orientation. The first row that fits counts. What is not here (uterus, heart, T1 with
# contrast) is turned differently from data set to data set, or was not published.
_ABDOMEN = frozenset((None, "abdomen"))
_ANY_SITE = None
_TRAINED: tuple[tuple[str, frozenset[str], frozenset[str | None] | None, TrainedOrientation], ...] = (
    ("CT", frozenset(("kidney tumor", "kidney cyst")), _ANY_SITE, RADIOLOGICAL),  # KiTS
    ("CT", frozenset(("lung nodule", "nodule")), frozenset((None, "lung")), RADIOLOGICAL),  # LIDC
    ("CT", frozenset(("COVID-19 infection",)), _ANY_SITE, _LEFT_ANTERIOR),
    ("CT", frozenset(("liver tumor", "liver vessel", "lung tumor", "colon tumor", "pancreas tumor")), _ANY_SITE, _RIGHT_ANTERIOR),  # MSD
    ("CT", frozenset(("liver",)), frozenset(("liver",)), _RIGHT_ANTERIOR),  # "liver in liver CT": MSD
    ("CT", frozenset(("pancreas",)), frozenset(("pancreas",)), _RIGHT_ANTERIOR),  # MSD
    ("CT", _AMOS_ORGANS, _ABDOMEN, _LEFT_ANTERIOR),
    ("MR", _AMOS_ORGANS, _ABDOMEN, _RIGHT_ANTERIOR),
    ("MR", frozenset(("prostate", "peripheral zone", "transitional zone")), frozenset((None, "pelvis")), RADIOLOGICAL),
)
_GLIOMAS = frozenset(("glioma", "lower-grade glioma"))


def site_of(prompt: str) -> str | None:
    """CT window site of a prompt, a key of imaging.windows.CT_WINDOWS, or None.

    A site that the prompt names wins ("liver in abdomen CT", "… in chest CT"), else it is that of the known target (liver: abdomen,
    liver tumor: liver).
    """
    match = find(prompt)
    if match:
        elsewhere = match.target.generic and match.reading.places  # "nodule in thyroid ultrasound" is not in the lung
        return match.reading.site or (None if elsewhere else match.target.site)
    # Not a known target, but "… in abdominal CT" still says where.
    return next((reading.site for reading in readings(prompt) if reading.wrapped and reading.site), None)


def modality_of(prompt: str) -> str | None:
    """DICOM modality that a prompt's words name ("CT", "MR", "US", "DX", "PT", "OPT", "OP", "DMS", "ES", "SM", "GM"), or None."""
    return named_modality(prompt)


def trained_orientation(prompt: str, modality: str = "") -> TrainedOrientation | None:
    """How the 2D model saw axial pictures of this target in training, or None where that is unknown or varied.

    Args:
        prompt: one structure, as a person typed it; it may name site and modality.
        modality: of the image, as DICOM spells it ("CT", "MR"); "" where it is not known, and then only a modality that the prompt
            itself names counts.
    """
    match = find(prompt)
    modality = dicom_modality(modality) or modality_of(prompt) or ""
    if match is None or not modality:
        return None
    if modality == "MR" and match.target.base in _GLIOMAS:
        return _glioma_orientation(prompt)
    for row_modality, names, sites, orientation in _TRAINED:
        if modality == row_modality and match.target.base in names and (sites is _ANY_SITE or _named_site(match) in sites):
            return orientation
    return None


def _named_site(match: Match) -> str | None:
    """Site that the prompt itself names, None where it names none; "" for a place that is no window site."""
    return match.reading.site or ("" if match.reading.places else None)


def _glioma_orientation(prompt: str) -> TrainedOrientation | None:
    """Gliomas were FLAIR images seen radiologically; other sequences come from a data set that is turned in its own way."""
    sequences = modality_words(prompt) & {"t1", "t2", "t1w", "t2w", "t1gd", "t1ce", "gd", "dwi", "adc"}
    return None if sequences else RADIOLOGICAL


def dicom_modality(modality: str) -> str:
    """The DICOM code of a modality, however people and volumes call it ("MRI", "CR"); "" for none."""
    name = modality.strip().upper()
    return _MODALITY_NAMES.get(name, name)
