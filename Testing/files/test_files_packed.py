"""Packed images: FreeSurfer's files against nibabel, gzipped DICOM, zips of a series, DICOMDIR; bounded and never believed."""

from __future__ import annotations

import gzip
import shutil
import zipfile

import nibabel
import numpy as np
import pytest
from dicom_support import write_series

from MedImageParseLib.errors import InputError
from MedImageParseLib.files import packed
from MedImageParseLib.files.read import read_image

AFFINE = np.array([[0.1, -0.9, 0.2, 11.0], [1.1, 0.1, 0.1, -7.5], [0.0, 0.2, -2.0, 30.25], [0, 0, 0, 1]])


@pytest.mark.parametrize("ending", ["mgz", "mgh"])
@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32"])
def test_a_volume_of_freesurfer_is_read_as_nibabel_reads_it(tmp_path, ending, kind):
    voxels = np.random.default_rng(1).integers(0, 200, (7, 6, 5)).astype(kind)
    affine = np.linalg.qr(AFFINE[:3, :3])[0] * [0.8, 1.1, 2.5]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = affine, [11.0, -7.5, 30.25]
    nibabel.save(nibabel.MGHImage(voxels, matrix), tmp_path / f"v.{ending}")
    volume, warnings = read_image(tmp_path / f"v.{ending}")
    expected = nibabel.load(tmp_path / f"v.{ending}")
    assert np.array_equal(volume.voxels, np.asarray(expected.dataobj).T) and warnings == []
    assert np.allclose(volume.ijk_to_ras, expected.affine, atol=1e-5)


def test_one_of_several_volumes_is_chosen_by_number(tmp_path):
    voxels = np.random.default_rng(1).integers(0, 200, (7, 6, 5, 3)).astype(np.uint8)
    nibabel.save(nibabel.MGHImage(voxels, np.eye(4)), tmp_path / "v.mgz")
    with pytest.raises(InputError, match="3 volumes"):
        read_image(tmp_path / "v.mgz")
    assert np.array_equal(read_image(tmp_path / "v.mgz", frame=2)[0].voxels, voxels[..., 2].T)


@pytest.mark.parametrize("cut", [10, 100, 300, 330])
def test_a_cut_volume_is_refused_with_its_name(tmp_path, cut):
    nibabel.save(nibabel.MGHImage(np.zeros((7, 6, 5), np.uint8), np.eye(4)), tmp_path / "v.mgh")
    data = (tmp_path / "v.mgh").read_bytes()
    (tmp_path / "c.mgh").write_bytes(data[:cut])
    with pytest.raises(InputError, match="c.mgh"):
        read_image(tmp_path / "c.mgh")


def test_a_gzipped_file_a_zip_and_a_dicomdir_are_the_series_that_they_hold(tmp_path):
    write_series(tmp_path / "s")
    series, _ = read_image(tmp_path / "s")
    first = sorted((tmp_path / "s").iterdir())[0]
    (tmp_path / "one.dcm.gz").write_bytes(gzip.compress(first.read_bytes()))
    one, _ = read_image(tmp_path / "one.dcm.gz")
    assert np.array_equal(one.voxels, read_image(first)[0].voxels)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in (tmp_path / "s").iterdir():
            archive.write(path, f"../../outside/{path.name}")
        archive.writestr("__MACOSX/._0", b"no image")
    before = sorted(each.name for each in tmp_path.iterdir())
    zipped, _ = read_image(tmp_path / "s.zip")
    assert np.array_equal(zipped.voxels, series.voxels) and np.allclose(zipped.ijk_to_ras, series.ijk_to_ras)
    assert sorted(each.name for each in tmp_path.iterdir()) == before  # nothing was written beside it
    shutil.copytree(tmp_path / "s", tmp_path / "cd")
    (tmp_path / "cd" / "DICOMDIR").write_bytes(b"an index that is not needed")
    assert np.array_equal(read_image(tmp_path / "cd" / "DICOMDIR")[0].voxels, series.voxels)


def test_a_zip_with_one_volume_is_that_volume(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), AFFINE), tmp_path / "v.nii.gz")
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.write(tmp_path / "v.nii.gz", "deep/er/v.nii.gz")
    assert np.array_equal(read_image(tmp_path / "v.zip")[0].voxels, np.arange(60).reshape(3, 4, 5).T)


def test_what_unpacks_to_more_than_is_allowed_or_is_damaged_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "LARGEST", 2**20)
    (tmp_path / "large.dcm.gz").write_bytes(gzip.compress(bytes(2**22)))
    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(2**22))
    (tmp_path / "cut.zip").write_bytes((tmp_path / "large.zip").read_bytes()[:200])
    (tmp_path / "cut.dcm.gz").write_bytes(gzip.compress(b"x" * 5000)[:20])
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    for name in ("large.dcm.gz", "large.zip", "cut.zip", "cut.dcm.gz", "empty.zip"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


def test_files_of_a_zip_keep_their_names_in_sentences_and_a_sidecar_is_no_image(tmp_path):
    write_series(tmp_path / "s")
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in (tmp_path / "s").iterdir():
            archive.writestr(f"a/{path.name}", b"" if path.name == "002.dcm" else path.read_bytes())
    assert "002.dcm" in read_image(tmp_path / "s.zip")[1][0]
    nibabel.save(nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), AFFINE), tmp_path / "v.nii.gz")
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.write(tmp_path / "v.nii.gz", "sub/v.nii.gz")
        archive.writestr("sub/v.json", "{}")
    assert read_image(tmp_path / "v.zip")[0].shape_kji == (5, 4, 3)
    with zipfile.ZipFile(tmp_path / "v.zip", "a") as archive:
        archive.write(tmp_path / "v.nii.gz", "sub/w.nii.gz")
    with pytest.raises(InputError, match=r"2 images \(v.nii.gz, w.nii.gz\)"):
        read_image(tmp_path / "v.zip")
