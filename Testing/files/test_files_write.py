"""Writing labelmaps and probabilities: nibabel and SimpleITK read back what ours wrote, in the same place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from test_files_read import affines

from MedImageParseLib.errors import UsageError
from MedImageParseLib.files import write
from MedImageParseLib.files.read import read_image
from MedImageParseLib.files.write import csv_cell, safe_file_stem, write_labels, write_probabilities
from MedImageParseLib.imaging.volume import Volume

nib = pytest.importorskip("nibabel", reason="nibabel is the oracle here and is not installed")


def labelled(affine: np.ndarray, highest: int = 5) -> tuple[np.ndarray, Volume]:
    labels = np.random.default_rng(0).integers(0, highest + 1, (3, 4, 5))
    labels[0, 0, 0] = highest
    return labels, Volume(np.zeros((3, 4, 5), np.int16), affine)


@settings(deadline=None, max_examples=30)
@given(affine=affines(), highest=st.sampled_from([1, 255, 256, 65535]), extension=st.sampled_from([".nii.gz", ".nii"]))
def test_nifti_labels_read_back_by_nibabel_on_the_same_grid(affine, highest, extension):
    labels, volume = labelled(affine, highest)
    with tempfile.TemporaryDirectory() as folder:
        image = nib.load(write_labels(Path(folder, "labels" + extension), labels, volume))
        read = np.asarray(image.dataobj)
    assert read.dtype == (np.uint8 if highest < 256 else np.uint16) and np.array_equal(read, labels.transpose(2, 1, 0))
    assert np.allclose(image.affine, affine, rtol=1e-5, atol=1e-3) and image.header["sform_code"] > 0


@settings(deadline=None, max_examples=30)
@given(affine=affines(), highest=st.sampled_from([1, 300]))
def test_nrrd_labels_read_back_by_simpleitk_in_the_same_place_sheared_ones_too(affine, highest):
    labels, volume = labelled(affine, highest)
    with tempfile.TemporaryDirectory() as folder:
        image = sitk.ReadImage(str(write_labels(Path(folder, "labels.nrrd"), labels, volume)))
    assert np.array_equal(sitk.GetArrayFromImage(image), labels)
    for index in ((0, 0, 0), (4, 0, 0), (0, 3, 0), (2, 1, 2)):
        lps = (affine @ [*index, 1])[:3] * [-1, -1, 1]
        assert np.allclose(image.TransformIndexToPhysicalPoint(index), lps, atol=1e-6 * max(1, np.abs(lps).max()))


@settings(deadline=None, max_examples=15)
@given(affine=affines(sheared=False))
def test_nifti_labels_read_back_by_simpleitk_where_it_takes_the_matrix(affine):
    labels, volume = labelled(affine)
    with tempfile.TemporaryDirectory() as folder:
        image = sitk.ReadImage(str(write_labels(Path(folder, "labels.nii.gz"), labels, volume)))
    assert np.array_equal(sitk.GetArrayFromImage(image), labels)
    assert np.allclose(image.TransformIndexToPhysicalPoint((4, 3, 2)), (affine @ [4, 3, 2, 1])[:3] * [-1, -1, 1], atol=1e-2)


def test_labels_of_a_picture_are_columns_by_rows_by_one(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((4, 7, 3), np.uint8)).save(tmp_path / "picture.png")
    volume, _warnings = read_image(tmp_path / "picture.png")
    labels = np.zeros((1, 4, 7), np.uint8)
    labels[0, 3, 6] = 2
    for name in ("labels.nii.gz", "labels.nrrd"):
        image = sitk.ReadImage(str(write_labels(tmp_path / name, labels, volume)))
        assert image.GetSize() == (7, 4, 1) and image.GetPixel(6, 3, 0) == 2


def test_all_zero_labels_are_written(tmp_path):
    _labels, volume = labelled(np.eye(4))
    path = write_labels(tmp_path / "none.nrrd", np.zeros((3, 4, 5), bool), volume)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(path))).max() == 0


@pytest.mark.parametrize(
    "name,labels,words",
    [
        ("labels.mha", np.zeros((3, 4, 5), int), "must end with"),
        ("absent/labels.nrrd", np.zeros((3, 4, 5), int), "does not exist"),
        ("labels.nrrd", np.zeros((5, 4, 3), int), "must be alike"),
        ("labels.nrrd", np.full((3, 4, 5), 70000), "0 to 65535"),
        ("labels.nrrd", np.full((3, 4, 5), -1), "0 to 65535"),
        ("labels.nrrd", np.zeros((3, 4, 5)), "0 to 65535"),
    ],
)
def test_labels_that_cannot_be_written_are_refused_and_leave_nothing(tmp_path, name, labels, words):
    with pytest.raises(UsageError, match=words) as caught:
        write_labels(tmp_path / name, labels, labelled(np.eye(4))[1])
    assert str(caught.value).endswith(".") and not list(tmp_path.iterdir())


def test_a_write_that_fails_half_way_keeps_the_old_file_and_leaves_no_part(tmp_path, monkeypatch):
    path = tmp_path / "labels.nrrd"
    path.write_bytes(b"what was there")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_labels(path, *labelled(np.eye(4)))
    assert path.read_bytes() == b"what was there" and os.listdir(tmp_path) == ["labels.nrrd"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission bits")
def test_a_written_file_gets_the_permissions_that_any_new_file_gets(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    path = write_labels(tmp_path / "labels.nii.gz", *labelled(np.eye(4)))
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_probabilities_are_float_volumes_on_the_same_grid_named_after_the_prompt(tmp_path):
    affine = np.diag([-2.0, 1.0, 3.0, 1.0])
    _labels, volume = labelled(affine)
    values = np.random.default_rng(1).random((3, 4, 5))
    path = write_probabilities(tmp_path / "new", "left kidney", values, volume)
    image = nib.load(path)
    assert path.name == "left kidney.nii.gz" and image.get_data_dtype() == np.float32
    assert np.allclose(np.asarray(image.dataobj).transpose(2, 1, 0), values, atol=1e-6) and np.allclose(image.affine, affine)


@settings(deadline=None)
@given(name=st.text(min_size=1, max_size=200))
def test_a_file_name_from_any_prompt_stays_in_its_folder_and_is_legal_everywhere(name):
    stem = safe_file_stem(name)
    assert stem and not set(stem) & set('/\\:*?"<>|\0\n') and len(stem) <= 110 and stem.strip(" .") == stem
    assert Path("folder", stem + ".nii.gz").parent == Path("folder") and stem.split(".")[0].lower() not in ("con", "nul", "aux", "com1")
    assert safe_file_stem(name) == stem


def test_prompts_that_look_alike_on_disk_do_not_share_a_file(tmp_path):
    _labels, volume = labelled(np.eye(4))
    names = ["a/b", "a:b", "a_b", "Liver", "liver", "..", "con"]
    paths = [write_probabilities(tmp_path, name, np.zeros((3, 4, 5)), volume) for name in names]
    assert len({path.name.lower() for path in paths}) == len(names) == len(list(tmp_path.iterdir()))
    again = write_probabilities(tmp_path, "a/b", np.ones((3, 4, 5)), volume)
    assert again == paths[0] and nib.load(again).get_fdata().min() == 1


def test_the_check_before_the_work_refuses_what_writing_would_refuse(tmp_path):
    assert write.check_writable(tmp_path / "out.PNG", (".png",)) == tmp_path / "out.PNG"
    refused = {tmp_path / "out.jpg": "must end with .png", tmp_path / "no" / "out.png": "does not exist", tmp_path: "is a folder"}
    for path, words in refused.items():
        with pytest.raises(UsageError, match=words):
            write.check_writable(path, (".png",) if path != tmp_path else ())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r", " =", "＝", "＋", "－", "＠"])
def test_no_cell_of_a_table_begins_as_a_formula(start):
    assert csv_cell(start + "cmd|' /C calc'!A0") == "'" + start + "cmd|' /C calc'!A0"
    assert csv_cell("left kidney - cyst = 3") == "left kidney - cyst = 3" and csv_cell("") == ""
    assert csv_cell(f"a\x1b[31m\u202eb\x07{start[0]}") == f"a [31m b {start[0]}"


def test_labels_of_a_flat_nifti_are_flat_so_that_itk_takes_both_together(tmp_path):
    nib.save(nib.Nifti1Image(np.arange(30, dtype=np.int16).reshape(6, 5), np.diag([-0.8, 0.9, 2.5, 1])), tmp_path / "v.nii.gz")
    volume, _warnings = read_image(tmp_path / "v.nii.gz")
    write_labels(tmp_path / "l.nii.gz", np.ones(volume.shape_kji, np.uint8), volume)
    sitk.Mask(sitk.ReadImage(str(tmp_path / "v.nii.gz")), sitk.ReadImage(str(tmp_path / "l.nii.gz")))
    assert nib.load(tmp_path / "l.nii.gz").shape == (6, 5)
