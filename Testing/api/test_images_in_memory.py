"""Images of other libraries go in and masks of those libraries come out, each where the library itself says that it lies."""

from __future__ import annotations

import warnings

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from exactness_support import itk_points, values_at

from MedImageParseLib import InputError, UsageError, Volume, batch, classify, embed, index_add, index_search, segment
from MedImageParseLib.api.inputs import as_volume, listed

PROMPT = "cube & rod & corner"


def as_nibabel(phantom):
    return nib.Nifti1Image(phantom.voxels, phantom.affine)


def as_sitk(phantom):
    image = sitk.GetImageFromArray(phantom.voxels.transpose(2, 1, 0))
    lps = np.diag([-1.0, -1, 1]) @ phantom.affine[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:, 3].tolist())
    return image


def as_pair(phantom):
    return phantom.voxels.transpose(2, 1, 0), phantom.affine


def as_own(phantom):
    return Volume(phantom.voxels.transpose(2, 1, 0), phantom.affine)


@pytest.mark.parametrize("make", [as_nibabel, as_sitk, as_pair, as_own])
def test_every_kind_of_image_is_segmented_where_it_lies(make, phantom, url):
    result = segment(make(phantom), PROMPT, model="medimageparse3d", window="raw", endpoint=url)
    for number, name in enumerate(("cube", "rod", "corner"), start=1):
        truth = phantom.labels == number
        assert np.array_equal(result[name].array, truth.transpose(2, 1, 0))
        back = result[name].to_nibabel()
        assert np.array_equal(np.asarray(back.dataobj), truth)
        np.testing.assert_allclose(back.affine, phantom.affine, atol=1e-4)
        itk = result[name].to_sitk()
        inside = np.argwhere(sitk.GetArrayFromImage(itk).transpose(2, 1, 0))
        assert len(inside) == truth.sum()
        assert values_at(itk_points(itk, inside), phantom.affine, truth).all()


def test_a_mask_for_simpleitk_fits_the_image_that_was_given(phantom, url):
    image = as_sitk(phantom)
    mask = segment(image, "cube", model="medimageparse3d", window="raw", endpoint=url)["cube"].to_sitk()
    statistics = sitk.LabelStatisticsImageFilter()
    statistics.Execute(image, mask)  # refuses what lies elsewhere
    assert (statistics.GetMinimum(1), statistics.GetMaximum(1)) == (45, 45)


def test_the_2d_model_takes_them_too(phantom, url):
    result = segment(as_nibabel(phantom), "cube", model="medimageparse", slices="all", window="raw", endpoint=url)
    assert np.array_equal(result["cube"].array, (phantom.labels == 1).transpose(2, 1, 0))


def test_units_of_the_nibabel_header_are_heeded(phantom):
    image = nib.Nifti1Image(phantom.voxels, np.diag([1e-3, 1e-3, 1e-3, 1]))
    image.header.set_xyzt_units("meter")
    np.testing.assert_allclose(as_volume(image).spacing_ijk, [1, 1, 1], rtol=1e-6)


def test_a_scaled_nibabel_file_gives_its_true_values(phantom, tmp_path):
    scaled = nib.Nifti1Image(phantom.voxels * 0.5 + 3, phantom.affine, dtype=np.int16)
    nib.save(scaled, tmp_path / "scaled.nii.gz")
    loaded = nib.load(tmp_path / "scaled.nii.gz")
    np.testing.assert_array_equal(as_volume(loaded).voxels, loaded.get_fdata().transpose(2, 1, 0))


def test_colour_stays_colour_as_in_a_file(tmp_path):
    colours = np.random.default_rng(1).integers(0, 255, (4, 5, 6, 3), np.uint8)
    record = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    image = nib.Nifti1Image(np.ascontiguousarray(colours).view(record)[..., 0], np.eye(4))
    assert np.array_equal(as_volume(image).voxels, colours.transpose(2, 1, 0, 3))
    itk = sitk.GetImageFromArray(colours.transpose(2, 1, 0, 3), isVector=True)
    assert np.array_equal(as_volume(itk).voxels, colours.transpose(2, 1, 0, 3))


def test_of_several_volumes_a_frame_is_taken_and_without_one_they_are_refused(phantom):
    several = np.stack([phantom.voxels, phantom.voxels + 1], axis=-1)
    nibabel_image = nib.Nifti1Image(several, phantom.affine)
    itk_image = sitk.GetImageFromArray(several.T, isVector=False)
    for image in (nibabel_image, itk_image):
        with pytest.raises(InputError, match="one volume"):
            as_volume(image)
        assert np.array_equal(as_volume(image, frame=1).voxels, phantom.voxels.T + 1)
        with pytest.raises(InputError, match="no frame 2"):
            as_volume(image, frame=2)


def test_the_frame_of_segment_is_the_volume_that_is_sent(phantom, url):
    empty = np.zeros_like(phantom.voxels)
    image = nib.Nifti1Image(np.stack([empty, phantom.voxels], axis=-1), phantom.affine)
    assert segment(image, "cube", model="medimageparse3d", window="raw", endpoint=url, frame=1)["cube"].found
    assert not segment(image, "cube", model="medimageparse3d", window="raw", endpoint=url, frame=0)["cube"].found


@pytest.mark.parametrize("dtype", [">i2", "?", "<f2", ">f8"])
def test_unusual_numbers_are_made_plain_ones_of_the_same_value(dtype):
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    volume = as_volume((array, np.eye(4)))
    assert volume.voxels.dtype.isnative and volume.voxels.dtype.kind in "uif"
    np.testing.assert_array_equal(volume.voxels, array)


def test_a_flat_8_bit_simpleitk_image_is_a_picture():
    image = sitk.GetImageFromArray(np.arange(30, dtype=np.uint8).reshape(5, 6))
    volume = as_volume(image)
    assert volume.is_picture and volume.shape_kji == (1, 5, 6)


@pytest.mark.parametrize(
    "thing", [np.zeros((4, 5, 6)), None, 5, b"ct.nii.gz", {}, (np.zeros((4, 5, 6)), np.eye(3)), (np.zeros((4, 5, 6)), "here"), object()]
)
def test_anything_else_is_one_sentence_and_nothing_is_sent(thing, served, url):
    for call in (
        lambda: segment(thing, "cube", model="medimageparse3d", window="raw", endpoint=url),
        lambda: embed(thing, endpoint=url),
        lambda: classify(thing, label=["a", "b"], endpoint=url),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "mm"))
    assert not served[0].seen


@pytest.mark.parametrize("call", [
    lambda: segment("", "liver", model="medimageparse3d", endpoint="http://127.0.0.1:9/score"),
    lambda: embed([""], endpoint="http://127.0.0.1:9/score"),
    lambda: batch([""], "liver", model="medimageparse3d", output_dir="out", endpoint="http://127.0.0.1:9/score"),
], ids=["segment", "embed", "batch"])  # fmt: skip
def test_an_empty_path_is_not_the_current_folder(call):
    with pytest.raises(UsageError, match="is empty"):
        call()


def test_a_bare_array_is_told_to_bring_its_affine():
    with pytest.raises(UsageError, match=r"numpy array alone .* tuple \(array, affine\)"):
        as_volume(np.zeros((4, 5, 6)))


def test_a_sentence_names_every_kind_that_is_taken():
    with pytest.raises(UsageError) as caught:
        listed([1.5])
    assert all(word in str(caught.value) for word in ("path", "Volume", "nibabel", "SimpleITK", "affine", "kji"))


def test_a_tuple_of_array_and_affine_is_one_image_and_a_list_is_several(phantom):
    assert len(listed(as_pair(phantom))) == 1
    assert len(listed([as_pair(phantom), as_nibabel(phantom), "ct.nii.gz"])) == 3
    assert len(listed(("a.png", "b.png"))) == 2
    assert len(listed(path for path in ("a.png", "b.png"))) == 2


def test_values_that_are_no_numbers_are_refused(phantom):
    holed = phantom.voxels.astype(float)
    holed[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        as_volume((holed, phantom.affine))
    with pytest.raises(InputError, match="no numbers"):
        as_volume((np.full((2, 3, 4), "a"), np.eye(4)))


def test_images_in_memory_go_into_an_index_and_are_found_again(phantom, tmp_path):
    from embed_support import reached

    with warnings.catch_warnings(), reached() as (_double, client):
        warnings.simplefilter("error")
        vectors = [embed(make(phantom), client=client).vectors for make in (as_nibabel, as_sitk, as_pair, as_own)]
        several = embed([as_nibabel(phantom), as_pair(phantom)], client=client).vectors
        added = index_add(tmp_path / "i.mipindex", as_nibabel(phantom), client=client)
        found = index_search(tmp_path / "i.mipindex", image=as_sitk(phantom), slices="4", client=client)
        ranked = classify(as_pair(phantom), label=["one", "other"], client=client).ranked
    assert all(np.allclose(each, vectors[-1], atol=1e-6) for each in vectors)
    assert len(several) == 2 * len(vectors[0]) and added.embedded == len(vectors[0])
    assert found.hits[0].similarity == pytest.approx(1, abs=1e-5)
    assert len(ranked) == 2
