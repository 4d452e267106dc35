"""Replies of the two segmentation models: every documented form is read and named, and nothing in a reply is trusted."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.forms import PICTURE_FORMS, VOLUME_FORMS, Form, nifti_bytes, picture_row, volume_row, wrap
from MedImageParseLib.errors import ReplyError
from MedImageParseLib.wire import medimageparse, medimageparse3d

SHAPE_IJK = (7, 6, 5)
SHAPE_KJI = SHAPE_IJK[::-1]
INNER_NAME = {"json": "JSON string", "repr": "Python-repr string", "object": "object"}


def volume_masks(count: int = 3, shape: tuple[int, int, int] = SHAPE_IJK) -> list[np.ndarray]:
    """Disjoint random masks in ijk order; the last is empty."""
    labels = np.random.default_rng(4).integers(0, count, shape)
    return [labels == number for number in range(1, count)] + [np.zeros(shape, bool)]


def reply_of(row: dict, outer: str = "list") -> bytes:
    return wrap([row], Form(outer=outer), "azureml")


def nifti_reply(data: bytes) -> bytes:
    return reply_of({"nifti_file": json.dumps({"data": base64.b64encode(data).decode()})})


@pytest.mark.parametrize("name", VOLUME_FORMS)
def test_every_3d_form_gives_the_true_masks_and_is_named(name):
    form = VOLUME_FORMS[name]
    masks = volume_masks()
    reply = medimageparse3d.parse_reply(wrap([volume_row(masks, np.eye(4), form)], form, "azureml"), 3, SHAPE_KJI)
    for mask, truth in zip(reply.masks, masks):
        np.testing.assert_array_equal(mask.full(), truth.transpose(2, 1, 0))
    assert reply.form.startswith("predictions" if form.outer == "predictions" else "list")
    assert INNER_NAME[form.inner] in reply.form
    assert {"labels": "labelmap", "stack": "4D", "image_features": "image_features"}[form.volume] in reply.form
    if form.volume != "image_features":
        assert ("gzip" if form.packed else "plain") in reply.form
    if form.volume != "labels":
        assert {"probabilities": "probabilities 0..255", "masks": "masks 0/1", "fractions": "probabilities 0..1"}[form.values] in reply.form
    assert not reply.warnings


@pytest.mark.parametrize("inner", ["json", "repr", "object"])
@pytest.mark.parametrize("packed", [True, False])
def test_3d_float_probabilities_of_the_only_prompt_are_cut_at_a_half_and_kept_on_request(inner, packed):
    truth = volume_masks()[0]
    body = reply_of(volume_row([truth], np.eye(4), Form(volume="single", inner=inner, packed=packed)))
    reply = medimageparse3d.parse_reply(body, 1, SHAPE_KJI, keep_probabilities=True)
    np.testing.assert_array_equal(reply.masks[0].full(), truth.transpose(2, 1, 0))
    np.testing.assert_allclose(reply.probabilities[0], np.where(truth, 0.93, 0.04).transpose(2, 1, 0), rtol=1e-6)
    assert "float probabilities" in reply.form


@pytest.mark.parametrize("volume", ["stack", "image_features"])
@pytest.mark.parametrize("values", ["fractions", "probabilities"])
def test_probabilities_of_a_stack_are_kept_in_0_to_1(volume, values):
    truth = volume_masks()
    body = reply_of(volume_row(truth, np.eye(4), Form(volume=volume, values=values)))
    reply = medimageparse3d.parse_reply(body, 3, SHAPE_KJI, keep_probabilities=True)
    for kept, mask in zip(reply.probabilities, truth):
        np.testing.assert_allclose(kept, np.where(mask, 0.93, 0.04).transpose(2, 1, 0), atol=0.5 / 255)


def test_masks_in_a_stack_carry_no_probabilities():
    body = reply_of(volume_row(volume_masks(), np.eye(4), Form(volume="stack", values="masks")))
    assert medimageparse3d.parse_reply(body, 3, SHAPE_KJI, keep_probabilities=True).probabilities is None


@pytest.mark.parametrize("values", ["fractions", "probabilities", "masks"])
@pytest.mark.parametrize("volume", ["stack", "image_features"])
def test_a_stack_of_one_prompt_is_a_stack_and_no_labelmap(volume, values):
    truth = volume_masks()[0]
    reply = medimageparse3d.parse_reply(reply_of(volume_row([truth], np.eye(4), Form(volume=volume, values=values))), 1, SHAPE_KJI)
    np.testing.assert_array_equal(reply.masks[0].full(), truth.transpose(2, 1, 0))
    assert "4D" in reply.form and not reply.warnings


def test_a_labelmap_with_a_fourth_dimension_of_one_is_a_labelmap():
    labels = np.zeros((*SHAPE_IJK, 1), np.uint8)
    labels[0], labels[1] = 1, 2
    reply = medimageparse3d.parse_reply(nifti_reply(nifti_bytes(labels, np.eye(4))), 2, SHAPE_KJI)
    assert [mask.count for mask in reply.masks] == [30, 30] and "labelmap" in reply.form


def test_overlapping_masks_of_a_stack_stay_overlapping():
    big, small = np.ones(SHAPE_IJK, bool), np.zeros(SHAPE_IJK, bool)
    small[2:4, 2:4, 2:4] = True
    reply = medimageparse3d.parse_reply(reply_of(volume_row([big, small], np.eye(4), Form(volume="stack", values="masks"))), 2, SHAPE_KJI)
    assert reply.masks[0].count == big.size and reply.masks[1].count == 8


def test_a_scale_in_the_replys_header_is_applied():
    import nibabel as nib

    image = nib.Nifti1Image(np.full(SHAPE_IJK, 3, np.uint8), np.eye(4))
    data = bytearray(image.to_bytes())
    data[112:120] = np.array([0.5, 0.5], "<f4").tobytes()  # scl_slope, scl_inter: 3 means 2
    reply = medimageparse3d.parse_reply(nifti_reply(bytes(data)), 2, SHAPE_KJI)
    assert reply.masks[0].count == 0 and reply.masks[1].count == np.prod(SHAPE_IJK)


def test_a_big_endian_nifti_reply_is_read():
    import nibabel as nib

    voxels = volume_masks()[0].astype(">i2") * 2
    header = nib.Nifti1Header(endianness=">")
    image = nib.Nifti1Image(voxels, np.eye(4), header=header, dtype=">i2")
    reply = medimageparse3d.parse_reply(nifti_reply(image.to_bytes()), 2, SHAPE_KJI)
    np.testing.assert_array_equal(reply.masks[1].full(), (voxels > 0).transpose(2, 1, 0))


@pytest.mark.parametrize("axes", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("volume", ["labels", "stack", "image_features"])
def test_a_permuted_shape_of_three_different_sizes_is_put_right_and_said(axes, volume):
    masks = volume_masks()
    reply = medimageparse3d.parse_reply(
        reply_of(volume_row(masks, np.eye(4), Form(volume=volume, axes=axes, values="masks"))), 3, SHAPE_KJI
    )
    for mask, truth in zip(reply.masks, masks):
        np.testing.assert_array_equal(mask.full(), truth.transpose(2, 1, 0))
    assert any("permuted" in warning for warning in reply.warnings)


@pytest.mark.parametrize("volume", ["labels", "stack", "image_features"])
def test_a_permuted_shape_with_two_equal_sizes_is_refused(volume):
    masks = volume_masks(shape=(6, 6, 5))
    with pytest.raises(ReplyError, match="more than one way"):
        medimageparse3d.parse_reply(reply_of(volume_row(masks, np.eye(4), Form(volume=volume, axes=(2, 0, 1)))), 3, (5, 6, 6))


@pytest.mark.parametrize("volume", ["labels", "stack", "image_features"])
@pytest.mark.parametrize("shape", [(7, 6, 4), (14, 12, 10), (1, 1, 1)])
def test_another_shape_is_refused_with_both_shapes_in_the_sentence(volume, shape):
    with pytest.raises(ReplyError) as caught:
        medimageparse3d.parse_reply(reply_of(volume_row(volume_masks(shape=shape), np.eye(4), Form(volume=volume))), 3, SHAPE_KJI)
    assert caught.value.code == "reply-shape"


@pytest.mark.parametrize("volume", ["stack", "image_features"])
def test_a_stack_with_another_number_of_prompts_is_refused(volume):
    with pytest.raises(ReplyError):
        medimageparse3d.parse_reply(reply_of(volume_row(volume_masks(4), np.eye(4), Form(volume=volume))), 3, SHAPE_KJI)


def test_labels_beyond_the_prompts_and_below_zero_become_background_with_a_warning():
    voxels = np.zeros(SHAPE_IJK, np.int16)
    voxels[0], voxels[1], voxels[2], voxels[3] = 1, 7, -2, 2
    reply = medimageparse3d.parse_reply(nifti_reply(nifti_bytes(voxels, np.eye(4))), 2, SHAPE_KJI)
    assert [mask.count for mask in reply.masks] == [30, 30]
    assert any("beyond" in warning and "7" in warning and "-2" in warning for warning in reply.warnings)


@pytest.mark.parametrize("volume", ["labels", "single", "stack", "image_features"])
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_become_background_with_a_warning(volume, strange):
    voxels = np.zeros(SHAPE_IJK, np.float32)
    voxels[1] = 1.0 if volume != "single" else 0.9
    voxels[0] = strange
    if volume == "image_features":
        row = {
            "image_features": {"data": base64.b64encode(voxels.T.copy().tobytes()).decode(), "shape": [1, *SHAPE_KJI], "dtype": "float32"}
        }
        body = reply_of(row)
    else:
        body = nifti_reply(nifti_bytes(voxels[..., None] if volume == "stack" else voxels, np.eye(4)))
    reply = medimageparse3d.parse_reply(body, 1, SHAPE_KJI, keep_probabilities=True)
    assert reply.masks[0].count == 30 and reply.masks[0].full()[:, :, 1].all()
    assert any("NaN" in warning for warning in reply.warnings)
    assert reply.probabilities is None or all(np.isfinite(kept).all() for kept in reply.probabilities)


def test_an_all_zero_labelmap_means_that_nothing_was_found():
    reply = medimageparse3d.parse_reply(nifti_reply(nifti_bytes(np.zeros(SHAPE_IJK, np.uint8), np.eye(4))), 2, SHAPE_KJI)
    assert [mask.count for mask in reply.masks] == [0, 0] and not reply.warnings


def test_fractions_in_3d_for_several_prompts_are_refused_because_they_cannot_be_told_apart():
    voxels = np.full(SHAPE_IJK, 0.7, np.float32)
    with pytest.raises(ReplyError, match="one by one"):
        medimageparse3d.parse_reply(nifti_reply(nifti_bytes(voxels, np.eye(4))), 2, SHAPE_KJI)


BAD_CELLS = {
    "a number": 5,
    "null": None,
    "a list": [1, 2],
    "an empty string": "",
    "a string of words": "no mask today",
    "an object without data": {"shape": [1]},
    "a repr with an unhashable key": "{[]: 1}",
    "a repr of a set of objects": "{{}}",
    "a call": "{'data': __import__('os').system('true')}",
    "deep brackets": "{" + "[" * 100_000,
    "data that is no base64": {"data": "%%%%"},
    "data that is null": {"data": None},
    "data that is a number": {"data": 3},
    "data with an accent": {"data": "é"},
    "base64 cut short": {"data": "AAAAA"},
    "empty data": {"data": ""},
    "a surrogate": "\ud800{'data'",
}


@pytest.mark.parametrize("name", BAD_CELLS)
@pytest.mark.parametrize("column", ["nifti_file", "image_features"])
def test_a_cell_that_is_no_documented_form_is_a_typed_error(name, column):
    body = json.dumps([{column: BAD_CELLS[name]}]).encode()
    with pytest.raises(ReplyError) as caught:
        medimageparse3d.parse_reply(body, 1, SHAPE_KJI)
    assert len(str(caught.value)) < 450
    if column == "image_features":
        with pytest.raises(ReplyError):
            medimageparse.parse_reply(body, 1, 1, (8, 8))


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.63, 0.64, 0.8, 0.99])
@pytest.mark.parametrize("packed", [True, False])
def test_a_nifti_that_is_cut_short_is_a_typed_error(share, packed):
    data = nifti_bytes(volume_masks()[0].astype(np.uint8), np.eye(4))
    data = gzip.compress(data) if packed else data
    data = data[: int(share * len(data))]
    with pytest.raises(ReplyError):
        medimageparse3d.parse_reply(nifti_reply(data), 1, SHAPE_KJI)


def test_a_nifti_that_goes_on_after_its_last_voxel_is_a_typed_error():
    data = nifti_bytes(volume_masks()[0].astype(np.uint8), np.eye(4)) + bytes(1000)
    for packed in (data, gzip.compress(data)):
        with pytest.raises(ReplyError):
            medimageparse3d.parse_reply(nifti_reply(packed), 1, SHAPE_KJI)


@pytest.mark.parametrize("code", [1, 32, 128, 1536, 1792, 2304, 9999])
def test_voxel_types_that_are_no_plain_numbers_are_refused(code):
    data = bytearray(nifti_bytes(np.zeros(SHAPE_IJK, np.uint8), np.eye(4)))
    data[70:72] = np.array(code, "<i2").tobytes()
    with pytest.raises(ReplyError):
        medimageparse3d.parse_reply(nifti_reply(bytes(data) + bytes(4000)), 1, SHAPE_KJI)


@pytest.mark.parametrize("dtype", ["complex64", "object", "S8", "U4", "datetime64[s]", "float128", "<u1", "", "None", "uint8, uint8"])
def test_array_types_off_the_list_are_refused(dtype):
    cell = {"data": base64.b64encode(bytes(64)).decode(), "shape": [1, 8, 8], "dtype": dtype}
    with pytest.raises(ReplyError):
        medimageparse.parse_reply(reply_of({"image_features": cell}), 1, 1, (8, 8))


@pytest.mark.parametrize(
    "shape",
    [
        None,
        [],
        [8, 8],
        [1, 8, 9],
        [1, 8, -8],
        [2, 8, 8],
        [1, 8.0, 8],
        [True, 8, 8],
        [1, "8", 8],
        [1, 8, 8, 1],
        "1,8,8",
        {"0": 1},
        [1, 2**62, 2**62],
    ],
    ids=str,
)
def test_declared_shapes_that_do_not_fit_what_was_sent_are_refused(shape):
    cell = {"data": base64.b64encode(bytes(64)).decode(), "shape": shape, "dtype": "uint8"}
    with pytest.raises(ReplyError):
        medimageparse.parse_reply(reply_of({"image_features": cell}), 1, 1, (8, 8))


@pytest.mark.parametrize("size", [0, 1, 63, 65, 640])
def test_a_byte_count_that_does_not_fit_the_shape_is_refused(size):
    cell = {"data": base64.b64encode(bytes(size)).decode(), "shape": [1, 8, 8], "dtype": "uint8"}
    with pytest.raises(ReplyError, match="bytes|base64"):
        medimageparse.parse_reply(reply_of({"image_features": cell}), 1, 1, (8, 8))


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """1 GB in 1 MB: behind a header that fits what was sent, behind one that promises all of it, behind one that puts the voxels
    after it, and behind none."""
    fitting = nifti_bytes(np.zeros(SHAPE_IJK, np.uint8), np.eye(4))[:352]
    promising = bytearray(fitting)
    promising[40:56] = np.array([3, 1024, 1024, 1024, 1, 1, 1, 1], "<i2").tobytes()
    far_data = bytearray(fitting)
    far_data[108:112] = np.array(1e9, "<f4").tobytes()  # vox_offset
    headers = {"none": b"", "fitting": fitting, "promising": bytes(promising), "far data": bytes(far_data)}
    return {name: bomb(header) for name, header in headers.items()}


def bomb(header: bytes) -> bytes:
    """One gzip stream of a header and a gigabyte of zeros, made by repeating one packed megabyte of them."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = pack.compress(header) + pack.flush(zlib.Z_FULL_FLUSH)
    megabyte = pack.compress(bytes(1 << 20)) + pack.flush(zlib.Z_FULL_FLUSH)
    return start + megabyte * 1024 + pack.flush()


@pytest.mark.parametrize("name", ["none", "fitting", "promising", "far data"])
def test_a_gigabyte_packed_in_a_megabyte_is_not_unpacked(bombs, name):
    body = nifti_reply(bombs[name])
    tracemalloc.start()
    try:
        with pytest.raises(ReplyError):
            medimageparse3d.parse_reply(body, 1, SHAPE_KJI)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(body) * 4 + (8 << 20)


@pytest.mark.parametrize("name", PICTURE_FORMS)
def test_every_2d_form_gives_the_true_maps_and_is_named(name):
    form = PICTURE_FORMS[name]
    truth = [np.eye(16, dtype=bool), np.zeros((16, 16), bool), np.ones((16, 16), bool)]
    (reply,) = medimageparse.parse_reply(wrap([picture_row(truth, form)], form, "azureml"), 1, 3, (16, 16))
    np.testing.assert_array_equal(reply.maps >= reply.threshold, np.stack(truth))
    assert reply.form.startswith("predictions" if form.outer == "predictions" else "list") and INNER_NAME[form.inner] in reply.form
    assert {"probabilities": "probabilities 0..255", "masks": "masks 0/1", "fractions": "probabilities 0..1"}[form.values] in reply.form
    assert reply.classes == ["other organ"] * 3


@pytest.mark.parametrize("classes", [None, 5, "liver", "{[]: 1}", {"a": 1}, "[" * 5000, "\ud800"])
def test_text_features_are_never_needed(classes):
    row = picture_row([np.eye(8, dtype=bool)], Form()) | {"text_features": classes}
    (reply,) = medimageparse.parse_reply(json.dumps([row]).encode(), 1, 1, (8, 8))
    assert reply.maps.sum() > 0 and reply.classes == []


def test_probabilities_of_128_and_more_are_inside_and_127_is_not():
    row = {"image_features": {"data": base64.b64encode(bytes([127, 128, 129, 255])).decode(), "shape": [1, 2, 2], "dtype": "uint8"}}
    (reply,) = medimageparse.parse_reply(reply_of(row), 1, 1, (2, 2))
    assert (reply.maps[0] >= reply.threshold).tolist() == [[False, True], [True, True]]


def test_nan_in_a_2d_map_is_background_with_a_warning():
    maps = np.array([[[np.nan, 0.9], [np.inf, 0.2]]], np.float32)
    row = {"image_features": {"data": base64.b64encode(maps.tobytes()).decode(), "shape": [1, 2, 2], "dtype": "float32"}}
    (reply,) = medimageparse.parse_reply(reply_of(row), 1, 1, (2, 2))
    assert (reply.maps[0] >= reply.threshold).tolist() == [[False, True], [False, False]] and reply.warnings


def test_rows_of_several_pictures_come_back_in_the_order_sent():
    rows = [picture_row([mask], Form()) for mask in (np.eye(8, dtype=bool), np.ones((8, 8), bool))]
    first, second = medimageparse.parse_reply(wrap(rows, Form(), "mlflow"), 2, 1, (8, 8))
    assert np.count_nonzero(first.maps >= 128) == 8 and np.count_nonzero(second.maps >= 128) == 64


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["AAAA", "{'data': 'AAAA'}", '{"data": "H4sI"}']),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "shape", "dtype", "image_features", "nifti_file", "predictions", "error"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_JSON, st.sampled_from(["nifti_file", "image_features"]))
def test_whatever_json_comes_the_only_error_is_a_typed_one(value, column):
    for outer in (value, [value], [{column: value}], {"predictions": [{column: value}]}):
        body = json.dumps(outer).encode()
        for parse in (lambda: medimageparse3d.parse_reply(body, 1, (1, 1, 3)), lambda: medimageparse.parse_reply(body, 1, 1, (1, 3))):
            with pytest.raises(ReplyError):
                parse()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 800), st.integers(0, 255), st.booleans())
def test_a_nifti_with_a_changed_byte_is_read_or_refused_but_never_crashes(position, value, packed):
    data = bytearray(nifti_bytes(volume_masks()[0].astype(np.uint8), np.eye(4)))
    data[position % len(data)] = value
    body = nifti_reply(gzip.compress(bytes(data)) if packed else bytes(data))
    try:
        reply = medimageparse3d.parse_reply(body, 1, SHAPE_KJI)
    except ReplyError:
        return
    assert reply.masks[0].shape_kji == SHAPE_KJI


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_gzip_with_a_changed_byte_is_read_or_refused_but_never_crashes(data):
    packed = bytearray(gzip.compress(nifti_bytes(volume_masks()[0].astype(np.uint8), np.eye(4)), mtime=0))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        reply = medimageparse3d.parse_reply(nifti_reply(bytes(packed)), 1, SHAPE_KJI)
    except ReplyError as error:
        assert str(error).endswith(".") or "'" in str(error)
        return
    # gzip's header (names, time) may change without changing what is in it; anything else must be noticed by its checksum
    np.testing.assert_array_equal(reply.masks[0].full(), volume_masks()[0].transpose())


def test_forms_can_be_combined_freely():
    masks = volume_masks()
    for form in (replace(VOLUME_FORMS["int16 labels"], packed=False, inner="object", outer="predictions", axes=(2, 1, 0), affine="wrong"),):
        reply = medimageparse3d.parse_reply(wrap([volume_row(masks, np.eye(4), form)], form, "mlflow"), 3, SHAPE_KJI)
        np.testing.assert_array_equal(reply.masks[0].full(), masks[0].transpose(2, 1, 0))


@pytest.mark.parametrize("reply", [b'[[{"label": "a", "score": 0.9}, {"label": "b", "score": 0.1}]]', b'[{"label": "a", "score": 0.9}]'])
def test_a_reply_of_labels_and_scores_is_told_as_a_classification_endpoints(reply):
    from MedImageParseLib.wire import medimageinsight, medimageparse, medimageparse3d

    for parse in (
        lambda: medimageparse.parse_reply(reply, 1, 1, (8, 8)),
        lambda: medimageparse3d.parse_reply(reply, 1, (2, 3, 4)),
        lambda: medimageinsight.parse_reply(reply, 1, "image_features"),
    ):
        with pytest.raises(ReplyError, match="classification endpoint"):
            parse()
