"""Masks of MedImageParse 3D come back onto exactly the voxels they belong to: Dice 1.0 in the patient, judged by nibabel and SimpleITK."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from exactness_support import (
    LEVELS,
    ORIENTATIONS,
    RANGES,
    WORLDS,
    affine_of,
    assert_labels_are,
    assert_segments_are,
    phantom_labels,
    phantom_voxels,
    write_phantom,
)

from doubles.endpoint import EndpointDouble
from doubles.forms import VOLUME_FORMS, Form
from doubles.truth import GrayRanges, References
from MedImageParseLib import segment

PROMPTS = ["cube & rod & corner & unicorn"]


def run(folder, labels_only=False, form=Form(), dialect="azureml", **options):
    """Segment the phantom in `folder` through a double; returns (double, result)."""
    double = EndpointDouble(GrayRanges(RANGES), form)
    options = {"window": "0,255", "slabs": "none"} | options
    outputs = {"labels": folder / "labels.nii.gz"} | ({} if labels_only else {"output": folder / "masks.seg.nrrd"})
    return double, segment(folder / "phantom.nii.gz", PROMPTS, model="medimageparse3d", client=double.client(dialect), **outputs, **options)


def truth_of(labels: np.ndarray) -> dict[str, np.ndarray]:
    return {name: labels == number for number, name in enumerate(LEVELS, start=1)} | {"unicorn": np.zeros(labels.shape, bool)}


@pytest.mark.parametrize("order,signs", ORIENTATIONS)
def test_all_48_axis_orders_and_flips_are_exact(tmp_path, order, signs):
    affine = affine_of(order, signs)
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine)
    run(tmp_path)
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine)
    assert_segments_are(tmp_path / "masks.seg.nrrd", truth_of(labels), affine)


@pytest.mark.parametrize("world", ["oblique", "sheared"])
@pytest.mark.parametrize("number", range(0, 48, 5))
def test_oblique_and_sheared_volumes_are_exact(tmp_path, world, number):
    affine = affine_of(*ORIENTATIONS[number], WORLDS[world])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine)
    run(tmp_path)
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine, with_itk=world != "sheared")
    assert_segments_are(tmp_path / "masks.seg.nrrd", truth_of(labels), affine, is_sheared=world == "sheared")


@pytest.mark.parametrize("world", WORLDS)
def test_every_orientation_of_every_kind_is_exact_in_the_labelmap_with_slabs_and_single_prompts(tmp_path, world):
    for number, (order, signs) in enumerate(ORIENTATIONS[::3]):
        affine = affine_of(order, signs, WORLDS[world])
        labels = write_phantom(tmp_path / "phantom.nii.gz", affine)
        run(tmp_path, labels_only=True, slabs="3" if number % 2 else "none", group="each" if number % 3 else "together")
        assert_labels_are(tmp_path / "labels.nii.gz", labels, affine, with_itk=world != "sheared")


@pytest.mark.parametrize("shape", [(13, 11, 1), (13, 1, 9), (1, 11, 9), (1, 1, 9), (1, 1, 1), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("number", [0, 13, 30])
def test_volumes_of_one_slice_are_exact(tmp_path, shape, number):
    affine = affine_of(*ORIENTATIONS[number], WORLDS["oblique"])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine, shape)
    run(tmp_path)
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine)
    assert_segments_are(tmp_path / "masks.seg.nrrd", truth_of(labels), affine)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize("window", ["0,255", "raw"])
def test_every_voxel_type_is_exact(tmp_path, dtype, window):
    affine = affine_of(*ORIENTATIONS[29], WORLDS["oblique"])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine, dtype=dtype)
    double, result = run(tmp_path, labels_only=True, window=window)
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine)
    sent = double.seen[0].nifti()
    assert sent.get_data_dtype() == (np.uint8 if window == "0,255" else np.dtype(dtype))
    assert result.report["window"] == ("raw values" if window == "raw" else "range as given: 0 to 255")


@pytest.mark.parametrize("name", VOLUME_FORMS)
def test_every_reply_form_is_exact_and_named_in_the_report(tmp_path, name):
    affine = affine_of(*ORIENTATIONS[17], WORLDS["oblique"])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine)
    form = VOLUME_FORMS[name]
    _double, result = run(tmp_path, labels_only=True, form=form)
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine)
    wrapping = "predictions" if form.outer == "predictions" else "list"
    assert result.report["reply_form"].startswith(
        f"{wrapping}; {'image_features' if form.volume == 'image_features' else 'nifti_file'} as "
    )


@pytest.mark.parametrize("axes", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_a_reply_with_permuted_axes_is_exact(tmp_path, axes):
    affine = affine_of(*ORIENTATIONS[40])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine)
    _double, result = run(tmp_path, labels_only=True, form=Form(axes=axes, affine="wrong"))
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine)
    assert any("permuted" in warning for warning in result.report["warnings"])


@pytest.mark.parametrize("dialect", ["azureml", "mlflow"])
@pytest.mark.parametrize("slabs,group", [("3", "together"), ("none", "each"), ("3", "each"), ("2", "together"), ("5", "each")])
def test_slabs_and_single_prompts_are_exact_and_the_report_names_them(tmp_path, dialect, slabs, group):
    affine = affine_of(*ORIENTATIONS[8], WORLDS["oblique"])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine, (13, 30, 12))
    double, result = run(tmp_path, dialect=dialect, slabs=slabs, group=group)
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine)
    assert_segments_are(tmp_path / "masks.seg.nrrd", truth_of(labels), affine)
    count = 1 if slabs == "none" else int(slabs)
    assert (result.report["slabs"], result.report["group"]) == (count, group)
    assert len(double.seen) == count * (4 if group == "each" else 1)
    assert any(f"{count} slabs" in warning for warning in result.report["warnings"]) == (count > 1)
    assert {seen.dialect for seen in double.seen} == {dialect}


def test_slabs_cut_along_the_patients_axial_axis_whatever_the_array_axis(tmp_path):
    affine = affine_of((2, 0, 1), (-1, 1, -1))  # i runs down the patient
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine, (20, 11, 9))
    double, _result = run(tmp_path, slabs="3")
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine)
    shapes = sorted(seen.nifti().shape for seen in double.seen)
    assert all(shape[:2] == (11, 9) for shape in shapes) and sum(shape[2] for shape in shapes) == 20 + 2 * 2
    for seen in double.seen:
        assert nib.aff2axcodes(seen.nifti().affine) == ("R", "A", "S")


def test_auto_slabs_of_a_volume_in_the_axis_trap_are_exact_and_said(tmp_path):
    affine = affine_of(*ORIENTATIONS[3])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine, (24, 24, 16))
    double, result = run(tmp_path, slabs="auto")
    assert_labels_are(tmp_path / "labels.nii.gz", labels, affine)
    assert len(double.seen) == result.report["slabs"] > 1
    assert any("slabs" in warning and "direction" in warning for warning in result.report["warnings"])


def test_a_region_is_sent_alone_and_its_masks_come_back_in_place(tmp_path):
    affine = affine_of(*ORIENTATIONS[21], WORLDS["oblique"])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine)
    double, _result = run(tmp_path, region="1:12,3:,:8")
    inside = np.zeros_like(labels)
    inside[1:12, 3:, :8] = labels[1:12, 3:, :8]
    assert_labels_are(tmp_path / "labels.nii.gz", inside, affine)
    assert_segments_are(tmp_path / "masks.seg.nrrd", truth_of(inside), affine)
    assert sorted(double.seen[0].nifti().shape) == [8, 8, 11]


def test_probabilities_lie_on_the_inputs_grid_too(tmp_path):
    affine = affine_of(*ORIENTATIONS[26], WORLDS["oblique"])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine, (13, 11, 12))
    run(tmp_path, form=Form(volume="stack", values="fractions"), slabs="2", probability=tmp_path / "maps")
    for name, mask in truth_of(labels).items():
        image = nib.load(tmp_path / "maps" / f"{name}.nii.gz")
        np.testing.assert_allclose(image.affine, affine, atol=1e-4)
        np.testing.assert_allclose(image.get_fdata(), np.where(mask, 0.93, 0.04), atol=1e-6)


def test_overlapping_masks_stay_whole_in_the_segmentation_and_the_later_wins_in_the_labelmap(tmp_path):
    affine = affine_of(*ORIENTATIONS[11])
    labels = write_phantom(tmp_path / "phantom.nii.gz", affine)
    double = EndpointDouble(GrayRanges({"all": (33, 127), "rod": RANGES["rod"]}), Form(volume="stack", values="masks"))
    result = segment(
        tmp_path / "phantom.nii.gz", "all & rod", model="medimageparse3d", client=double.client(), window="0,255", slabs="none",
        labels=tmp_path / "labels.nii.gz", output=tmp_path / "masks.seg.nrrd",
    )  # fmt: skip
    assert_labels_are(tmp_path / "labels.nii.gz", np.where(labels == 2, 2, labels > 0).astype(np.uint8), affine)
    assert_segments_are(tmp_path / "masks.seg.nrrd", {"all": labels > 0, "rod": labels == 2}, affine)
    assert any("overlap" in warning for warning in result.report["warnings"])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("number", [0, 35])
def test_every_kind_of_volume_file_is_exact_for_an_independent_reader(tmp_path, ending, number):
    """Written by SimpleITK, whose own reading of the file is the truth."""
    affine = affine_of(*ORIENTATIONS[number], WORLDS["oblique"])
    labels = phantom_labels((13, 11, 9))
    image = sitk.GetImageFromArray(phantom_voxels(labels).transpose(2, 1, 0))
    lps = np.diag([-1.0, -1, 1]) @ affine[:3, :3]
    image.SetSpacing(np.linalg.norm(lps, axis=0).tolist())
    image.SetDirection((lps / np.linalg.norm(lps, axis=0)).ravel().tolist())
    image.SetOrigin((np.diag([-1.0, -1, 1]) @ affine[:3, 3]).tolist())
    sitk.WriteImage(image, str(tmp_path / f"phantom{ending}"))
    written = sitk.ReadImage(str(tmp_path / f"phantom{ending}"))
    double = EndpointDouble(GrayRanges(RANGES))
    segment(
        tmp_path / f"phantom{ending}",
        PROMPTS,
        model="medimageparse3d",
        client=double.client(),
        window="0,255",
        labels=tmp_path / "labels.nrrd",
    )
    result = sitk.ReadImage(str(tmp_path / "labels.nrrd"))
    np.testing.assert_allclose(result.GetOrigin(), written.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(result.GetSpacing(), written.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(result.GetDirection(), written.GetDirection(), atol=1e-5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result), labels.transpose(2, 1, 0))


@pytest.mark.parametrize("number", [0, 10, 21, 33, 47])
@pytest.mark.parametrize("slabs", ["none", "3"])
def test_the_real_ct_gets_its_reference_labels_back_in_any_orientation(tmp_path, shared_data, number, slabs):
    references = real_references(shared_data)
    order, signs = ORIENTATIONS[number]
    original = nib.load(shared_data / "ct_abdomen_3mm.nii.gz")
    turn = np.array([[axis, sign] for axis, sign in zip(order, signs)])
    turned = original.as_reoriented(turn)
    nib.save(turned, tmp_path / "ct.nii.gz")
    double = EndpointDouble(references)
    result = segment(
        tmp_path / "ct.nii.gz", "liver & spleen & aorta", model="medimageparse3d", client=double.client(), slabs=slabs, labels=tmp_path / "labels.nii.gz",
    )  # fmt: skip
    labels = np.asarray(nib.load(shared_data / "ct_abdomen_3mm_labels.nii.gz").as_reoriented(turn).dataobj)
    truth = np.select([labels == 5, labels == 1, labels == 52], [1, 2, 3]).astype(np.uint8)
    assert result.report["window"] == "soft: -160 to 240"
    assert truth.any()
    written = nib.load(tmp_path / "labels.nii.gz")
    np.testing.assert_allclose(written.affine, turned.affine, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(written.dataobj), truth)


_REFERENCES: dict = {}


def real_references(folder) -> References:
    """Loaded once for all tests."""
    if folder not in _REFERENCES:
        _REFERENCES[folder] = References.of_folder(folder)
    return _REFERENCES[folder]
