"""`exam train` and `exam apply`: pixels beside headers, and headers that the pixels contradict."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from dicom_support import SECRET, write_image

from doubles.insight import InsightDouble
from MedImageParseLib.cli.main import main
from MedImageParseLib.tasks.exam import contrast_of, part_of, plane_of, sequence_of, strength_of

ORIENTATIONS = {"axial": [1, 0, 0, 0, 1, 0], "coronal": [1, 0, 0, 0, 0, -1]}


def write_series(folder, number: int, sequence: str, told: str, plane: str = "axial") -> None:
    """Two slices whose pixels show the sequence; the header tells what it is told."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(number).integers(0, 60, (2, 24, 24)).astype(np.int16)
    pixels[:, : 12 if sequence == "T1" else 24, : 24 if sequence == "T1" else 12] += 900
    for k in range(2):
        tags = {"SeriesInstanceUID": f"1.2.{number}", "Modality": "MR", "SeriesDescription": f"{told}_tse", "ImageOrientationPatient": ORIENTATIONS[plane],
                "ImagePositionPatient": [0, 0, 3.0 * k] if plane == "axial" else [0, 3.0 * k, 0], "PixelSpacing": [1, 1], "InstanceNumber": k + 1}  # fmt: skip
        write_image(folder / f"{k}.dcm", pixels[k], "1.2.840.10008.5.1.4.1.1.4", **tags)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exam")
    for number in range(14):
        sequence = "T1" if number % 2 else "T2"
        write_series(folder / "series" / f"{number:02d}", number + 1, sequence, sequence)
    write_series(folder / "wrong", 99, "T1", "T2")
    with InsightDouble().serve() as url:
        assert main(["index", "add", str(folder / "a.index"), str(folder / "series"), "--endpoint", url, "--quiet"]) == 0
        assert main(["exam", "train", str(folder / "a.index"), "--output", str(folder / "exam"), "--quiet"]) == 0
        words = [
            "exam",
            "apply",
            str(folder / "exam"),
            str(folder / "wrong"),
            "--endpoint",
            url,
            "--csv",
            str(folder / "wrong.csv"),
            "--quiet",
        ]
        assert main(words) == 0
    return folder


def test_a_header_that_the_pixels_contradict_is_marked(made):
    with open(made / "wrong.csv", newline="") as file:
        rows = {row["attribute"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"sequence"}  # the only attribute with two values to learn from
    assert rows["sequence"]["pixels"] == "T1" and rows["sequence"]["header"] == "T2" and rows["sequence"]["tag"] == "SeriesDescription"
    assert rows["sequence"]["state"] in ("contradicts", "unsure")


def test_an_index_is_told_without_an_endpoint_and_agrees_with_its_headers(made, capsys):
    assert main(["exam", "apply", str(made / "exam"), str(made / "a.index"), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.count("\tagrees\n") == 14 and out.endswith("0 contradictions in 14 series\n")
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in made.glob("exam/*")) + (made / "a.index").read_bytes()


def test_a_folder_without_exam_parameters_and_an_unknown_attribute_are_one_sentence(made, tmp_path, capsys):
    assert main(["exam", "apply", str(tmp_path), str(made / "a.index")]) == 2
    assert "holds no exam parameters" in capsys.readouterr().err
    assert main(["exam", "train", str(made / "a.index"), "--output", str(tmp_path / "x"), "--attribute", "mood"]) == 2
    assert "no exam parameter 'mood'" in capsys.readouterr().err and not (tmp_path / "x").exists()
    assert main(["exam", "train", str(made / "a.index"), "--output", str(tmp_path / "x"), "--attribute", "field strength"]) == 2
    assert "No DICOM header of the index's files tells the field strength." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("derive", "fields", "value"),
    [
        (plane_of, {"ImageOrientationPatient": "0\\1\\0\\0\\0\\-1"}, "sagittal"),
        (plane_of, {"ImageOrientationPatient": "0.7\\0.7\\0\\0\\0\\-1"}, ""),
        (sequence_of, {"Modality": "MR", "SeriesDescription": "t2_tirm_dark-fluid"}, "FLAIR"),
        (sequence_of, {"Modality": "MR", "EchoTime": "90", "RepetitionTime": "4000"}, "T2"),
        (sequence_of, {"Modality": "CT", "SeriesDescription": "T1"}, ""),
        (part_of, {"BodyPartExamined": "BRAIN"}, "head"),
        (part_of, {"ProtocolName": "Abdomen^Routine"}, "abdomen"),
        (contrast_of, {"ContrastBolusAgent": "Gadovist"}, "with contrast"),
        (contrast_of, {"SeriesDescription": "t1 pre"}, "without contrast"),
        (strength_of, {"MagneticFieldStrength": "2.89"}, "3 T"),
        (strength_of, {"MagneticFieldStrength": "15000"}, "1.5 T"),
    ],
)
def test_headers_are_read_as_people_read_them(derive, fields, value):
    assert derive(fields) == value
