"""Single values from DICOM headers: of one file, or of the first image of a series in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from .dicom import is_dicom_file, read_header

_MOST_FILES = 20_000  # of a folder that are looked at for a series
_LONGEST_VALUE = 200  # letters

# Fields by which a person can be known, or a day: their values never leave the header. DICOM PS3.15 E.1 lists them for de-identification.
IDENTIFYING = frozenset({
    "AccessionNumber", "AcquisitionDate", "AcquisitionDateTime", "AdditionalPatientHistory", "AdmissionID", "ContentDate", "DeviceSerialNumber",
    "FrameOfReferenceUID", "InstitutionAddress", "InstitutionName", "InstitutionalDepartmentName", "IssuerOfPatientID", "NameOfPhysiciansReadingStudy", "OperatorsName", "OtherPatientIDs",
    "OtherPatientNames", "PatientAddress", "PatientBirthDate", "PatientBirthName", "PatientBirthTime", "PatientComments", "PatientID", "PatientMotherBirthName",
    "PatientName", "PatientTelephoneNumbers", "PerformedProcedureStepID", "PerformingPhysicianName", "ReferringPhysicianName", "RequestingPhysician", "SOPInstanceUID", "SeriesDate", "SeriesInstanceUID",
    "StationName", "StudyDate", "StudyID", "StudyInstanceUID", "StudyTime",
})  # fmt: skip


def check_field(field: str) -> None:
    """Raises UsageError unless DICOM has a field of this keyword."""
    from pydicom.datadict import tag_for_keyword

    if not field.isalnum() or tag_for_keyword(field) is None:
        raise UsageError("DICOM has no field '{field}'; give its keyword, such as Modality or BodyPartExamined.", field=field[:64])


def read_fields(path: str | Path, fields: Sequence[str], series: str = "") -> dict[str, str] | None:
    """Values of header fields.

    Args:
        path: a DICOM file, or a folder with a series.
        fields: keywords; several values of one are joined by a backslash, as DICOM writes them.
        series: UID of the series, where a folder holds several.

    Returns:
        the values of those fields that are there and not empty; None where there is no DICOM image.
    """
    for one in _files(Path(path)):
        header = read_header(one, [*fields, "SeriesInstanceUID", "Rows"])
        if header is None or "Rows" not in header or (series and str(header.get("SeriesInstanceUID", "")).strip() != series):
            continue
        found = {}
        for field in fields:
            text = _text(header.get(field))
            if text:
                found[field] = text
        return found
    return None


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [one for one in sorted(path.iterdir())[:_MOST_FILES] if one.is_file() and is_dicom_file(one)]
    return [path] if path.is_file() and is_dicom_file(path) else []


def _text(value: object) -> str:
    """A value as text on one line, "" where there is none or it is no plain value."""
    from pydicom.multival import MultiValue
    from pydicom.sequence import Sequence as Items

    if value is None or isinstance(value, (Items, bytes)):
        return ""
    parts = value if isinstance(value, (MultiValue, list)) else [value]
    text = "\\".join(" ".join(str(part).split()) for part in parts)
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_VALUE].strip()
