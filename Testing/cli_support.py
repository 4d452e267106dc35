"""A place to run the command line in: a phantom in a folder, the endpoint double behind a URL."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exactness_support import ORIENTATIONS, RANGES, affine_of, write_phantom

from doubles.endpoint import EndpointDouble
from doubles.forms import Form
from doubles.truth import GrayRanges
from MedImageParseLib.cli.main import main

AFFINE = affine_of(*ORIENTATIONS[20])


class Bench:
    """A folder with a phantom, a double behind a URL, and a way to run the command line on them."""

    def __init__(self, folder: Path, double: EndpointDouble, url: str, capsys):
        self.folder, self.double, self.url, self._capsys = folder, double, url, capsys
        self.labels = write_phantom(folder / "phantom.nii.gz", AFFINE)
        self.out, self.err = "", ""

    def segment(self, *arguments: str, image: str = "phantom.nii.gz", model: str = "medimageparse3d", url: str | None = None) -> int:
        """Exit status of `segment`; stdout and stderr are kept in `out` and `err`."""
        words = ["segment", str(self.folder / image), "--model", model, "--endpoint", url or self.url, *arguments]
        return self.run(*words)

    def run(self, *words: str) -> int:
        self._capsys.readouterr()
        status = main(list(words))
        self.out, self.err = self._capsys.readouterr()
        return status

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def report(self) -> dict:
        return json.loads((self.folder / "report.json").read_text())

    def new_files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"phantom.nii.gz", "configuration"}


@pytest.fixture(scope="module")
def served():
    double = EndpointDouble(GrayRanges(RANGES))
    with double.serve() as url:
        yield double, url


@pytest.fixture
def bench(tmp_path, served, capsys):
    double, url = served
    double.seen.clear()
    double.form, double.tamper, double.pause = Form(), None, None
    return Bench(tmp_path, double, url, capsys)


def assert_one_error_line(bench: Bench) -> str:
    """stderr ends with one `error: ` line, one sentence, no traceback; nothing on stdout."""
    lines = bench.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and lines[-1] == errors[0], bench.err
    assert "Traceback" not in bench.err and bench.out == ""
    assert errors[0].rstrip().endswith((".", "…")) or ": " in errors[0]
    return errors[0]


def text_file(folder: Path) -> str:
    (folder / "text.nii.gz").write_text("This is no image.\n" * 50)
    return "text.nii.gz"


def write_dicom(path: Path, series: str, number: int) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = CTImageStorage, generate_uid(), series
    dataset.Modality, dataset.InstanceNumber, dataset.PatientName = "CT", number, "Secret^Name"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 6, 5, 16, 16, 15
    dataset.PixelRepresentation, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, 1, "MONOCHROME2"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing = [0, 0, 2.0 * number], [1, 0, 0, 0, 1, 0], [1, 1]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.SliceThickness = 1, -1024, 2
    dataset.PixelData = (np.arange(30, dtype=np.int16) + 1000).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
