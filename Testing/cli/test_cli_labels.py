"""`index label` and `index labels`: labels from tables, folders, DICOM headers and segmentations, as a person types them."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from dicom_support import SECRET, write_series
from PIL import Image

from doubles.insight import InsightDouble
from MedImageParseLib.cli.main import main
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.labels import PlaceLabel
from MedImageParseLib.search.records import Record
from MedImageParseLib.tasks.labelling import from_headers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of pictures in folders, a NIfTI volume with a segmentation, and a DICOM series, indexed by the command."""
    folder = tmp_path_factory.mktemp("labels")
    random = np.random.default_rng(1)
    for number in range(4):
        (folder / ("cats" if number % 2 else "dogs")).mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 30), dtype=np.uint8)).save(
            folder / ("cats" if number % 2 else "dogs") / f"{number}.png"
        )
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(random.integers(-1000, 1000, (16, 14, 6)).astype(np.int16), affine), folder / "ct.nii.gz")
    labels = np.zeros((16, 14, 6), np.uint8)
    labels[2:6, 3:7, 1:4], labels[9, 9, 3] = 1, 2
    nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "organs.nii.gz")
    (folder / "organs.json").write_text(json.dumps({"1": "liver", "2": "cyst"}))
    write_series(folder / "dicom", count=3)
    inputs = [str(folder / name) for name in ("cats", "dogs", "ct.nii.gz", "dicom")]
    with InsightDouble().serve() as url:
        assert main(["index", "add", str(folder / "a.index"), *inputs, "--plane", "axial", "--endpoint", url, "--quiet"]) == 0
    return folder


@pytest.fixture
def label(folder, capsys):
    def run(*words: str) -> tuple[int, str, str]:
        status = main(["index", "label", str(folder / "a.index"), *words])
        return (status, *capsys.readouterr())

    return run


def labels_by_slice(folder, name: str) -> dict[tuple[str, int], set[str]]:
    with EmbeddingIndex.open(folder / "a.index", create=False) as index:
        records = index.records()
        return {
            (str(records[number].position["name"]), records[number].slice_index): set(labels)
            for number, labels in index.labels_of(records, name).items()
        }


def test_folder_names_become_labels(folder, label):
    status, out, _ = label("--set", "animal", "--folders", "--quiet")
    assert status == 0 and "animal\tcats\t2" in out and "animal\tdogs\t2" in out
    assert labels_by_slice(folder, "animal")[("1.png", -1)] == {"cats"}


def test_the_segments_of_a_slice_become_its_labels(folder, label):
    status, out, _ = label("--set", "organ", "--segments", str(folder / "organs.nii.gz"), "--absent", "nothing", "--quiet")
    assert status == 0 and "organ\tliver\t3" in out and "organ\tnothing\t3" in out
    expected = {0: {"nothing"}, 1: {"liver"}, 2: {"liver"}, 3: {"liver", "cyst"}, 4: {"nothing"}, 5: {"nothing"}}
    assert labels_by_slice(folder, "organ") == {("ct.nii.gz", number): labels for number, labels in expected.items()}
    assert label("--set", "large", "--segments", str(folder / "organs.nii.gz"), "--least", "2", "--quiet")[1].count("\n") == 2


def test_a_table_labels_slices_and_whole_files_and_names_the_lines_without_a_place(folder, label):
    (folder / "table.csv").write_text("file;slice;label\nct.nii.gz;2;a|b\ncats/1.png;;c\nabsent.png;;c\n")
    status, out, err = label("--set", "mixed", "--csv", str(folder / "table.csv"))
    assert status == 0 and out.startswith("3 labels added\n") and "1 found no place in the index: absent.png." in err
    assert labels_by_slice(folder, "mixed") == {("ct.nii.gz", 2): {"a", "b"}, ("1.png", -1): {"c"}}


def test_a_name_that_several_files_have_labels_none_of_them_and_a_path_does(tmp_path, capsys):
    for number in range(2):
        (tmp_path / f"p{number}").mkdir()
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 30), dtype=np.uint8)).save(
            tmp_path / f"p{number}" / "image.png"
        )
    with InsightDouble().serve() as url:
        assert main(["index", "add", str(tmp_path / "a.index"), str(tmp_path), "--endpoint", url, "--quiet"]) == 0
    words = ["index", "label", str(tmp_path / "a.index"), "--set", "finding", "--csv", str(tmp_path / "t.csv")]
    (tmp_path / "t.csv").write_text("name,label\nimage.png,tumor\n")
    capsys.readouterr()
    assert main(words) == 2 and "as several files of the index have the name image.png; give their paths" in capsys.readouterr().err
    (tmp_path / "t.csv").write_text("name,label\nimage.png,tumor\np1/image.png,cyst\n")
    assert main(words) == 0
    said = capsys.readouterr()
    assert "image.png: several files of the index have this name" in said.err and said.out == "1 labels added\nfinding\tcyst\t1\n"


def test_a_dicom_field_becomes_a_label_and_one_that_identifies_only_a_number(folder, label):
    assert "modality\tCT\t1" in label("--set", "modality", "--dicom", "Modality", "--quiet")[1]
    status, out, err = label("--set", "patient", "--dicom", "PatientName")
    assert status == 0 and "patient\tpatient 1\t1" in out and "identify people" in err
    assert SECRET.encode() not in (folder / "a.index").read_bytes() and b"Mustermann" not in (folder / "a.index").read_bytes()


def test_a_number_in_place_of_a_name_is_not_given_to_somebody_else_where_files_are_no_longer_read():
    records = {
        number: Record(f"{number:064x}", series=f"series-{number}", source=f"/{number}", vector=np.ones(2), slice_index=0, plane="axial")
        for number in range(3)
    }
    people = {"/0": None, "/1": "Anna", "/2": "Berta"}  # the first file is gone
    held = [PlaceLabel("patient", "patient 1", "series-0"), PlaceLabel("patient", "patient 2", "series-1")]
    made = from_headers(records, "patient", lambda path, _uid: people[path], is_identifying=True, held=held)
    assert [(one.series, one.label) for one in made.labels] == [("series-1", "patient 2"), ("series-2", "patient 3")]
    assert "may be those of the same people" in made.notes[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dicom", "NoSuchField"], "DICOM has no field 'NoSuchField'"),
        (["--dicom", "PatientComments"], "No label was given, as no image of the index has a DICOM file with that field"),
        (["--label", "x", "--source", "nowhere"], "No label was given, as nothing in the index has these names"),
        (["--folders", "99"], "No label was given, as no file of the index lies in so many folders"),
        (["--csv", "no-header.csv"], "needs a header with a column `label`"),
        (["--csv", "odd-slice.csv"], "which is no whole number"),
        (["--segments", "other-size.nii.gz"], "no volume of the segmentation's size"),
        ([], "Say where the labels come from"),
    ],
)
def test_what_cannot_be_a_label_is_one_sentence_and_the_index_is_as_it_was(folder, label, monkeypatch, words, sentence):
    monkeypatch.chdir(folder)
    (folder / "no-header.csv").write_text("cats/1.png,cat\n")
    (folder / "odd-slice.csv").write_text("name,slice,label\nct.nii.gz,two,x\n")
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), folder / "other-size.nii.gz")
    before = (folder / "a.index").read_bytes()
    status, out, err = label("--set", "odd", *words, "--quiet")
    assert status == 2 and not out and err.startswith("error: ") and sentence in err and err.count("\n") == 1
    assert (folder / "a.index").read_bytes() == before


def test_sets_are_listed_and_removed_by_name(folder, label, capsys):
    label("--set", "short-lived", "--label", "x", "--source", "ct.nii.gz")
    assert main(["index", "labels", str(folder / "a.index"), "--remove", "short-lived"]) == 0
    assert capsys.readouterr().out == "1 labels removed\n"
    assert main(["index", "labels", str(folder / "a.index"), "--remove", "short-lived"]) == 2
    assert main(["index", "labels", str(folder / "a.index")]) == 0
    assert "short-lived" not in capsys.readouterr().out
