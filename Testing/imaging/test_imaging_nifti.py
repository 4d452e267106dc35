"""The in-memory NIfTI codec against nibabel, which reads and writes the same files independently."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MedImageParseLib.errors import InputError
from MedImageParseLib.imaging.nifti import decode_nifti, encode_nifti

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
SHEARED = np.array([[0.9, 0.2, 0.0, -11.0], [-0.1, 1.4, 0.7, 25.5], [0.05, 0.0, 2.5, 300.25], [0, 0, 0, 1]])


def voxels_of(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Random voxels over a good part of the type's range."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(scale=1000, size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(max(limits.min, -(2**50)), min(limits.max, 2**50), shape, dtype=np.int64, endpoint=True).astype(dtype)


def written_by_nibabel(
    voxels_ijk: np.ndarray, *, version: int = 1, order: str = "<", sform=None, qform=None, zooms=None, slope=None, packed=True
) -> bytes:
    """A file as nibabel writes it, with exactly the header fields asked for."""
    image_class, header_class = (nib.Nifti1Image, nib.Nifti1Header) if version == 1 else (nib.Nifti2Image, nib.Nifti2Header)
    header = header_class(endianness=order)
    header.set_data_dtype(voxels_ijk.dtype.newbyteorder(order))
    image = image_class(voxels_ijk.astype(voxels_ijk.dtype.newbyteorder(order)), None, header=header)
    image.header.set_zooms(zooms or (1.0,) * voxels_ijk.ndim)
    image.set_sform(sform, 0 if sform is None else 1)
    image.set_qform(qform, 0 if qform is None else 1)
    data = bytearray(image.to_bytes())
    if slope is not None:
        # nibabel would rescale the voxels on writing; the stored numbers are wanted as they are.
        position, kind = (112, "f4") if version == 1 else (176, "f8")
        data[position : position + 2 * np.dtype(kind).itemsize] = np.array(slope, order + kind).tobytes()
    return gzip.compress(bytes(data), 1) if packed else bytes(data)


def read_by_nibabel(data: bytes):
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return (nib.Nifti1Image if data[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c") else nib.Nifti2Image).from_bytes(data)


def rotation(seed: int) -> np.ndarray:
    matrix, _rest = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix if np.linalg.det(matrix) > 0 else -matrix


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3), dtype=st.sampled_from(DTYPES), order=st.sampled_from("<>"), version=st.sampled_from([1, 2]),
    packed=st.booleans(), geometry=st.sampled_from(["sform", "qform", "both", "none", "left-handed qform"]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_files_of_nibabel_are_read_with_its_voxels_and_its_affine(shape, dtype, order, version, packed, geometry, seed):
    voxels = voxels_of(shape, dtype, seed)
    oblique = np.eye(4)
    zooms = (0.7, 1.3, 2.9)
    oblique[:3, :3] = rotation(seed) * zooms
    if geometry == "left-handed qform":
        oblique[:3, 2] *= -1
    oblique[:3, 3] = [-120.5, 33.25, 900]
    data = written_by_nibabel(
        voxels, version=version, order=order, packed=packed, zooms=zooms,
        sform=SHEARED if geometry in ("sform", "both") else None, qform=oblique if "qform" in geometry or geometry == "both" else None,
    )  # fmt: skip
    expected = read_by_nibabel(data)
    image = decode_nifti(data)
    assert image.voxels.dtype == np.dtype(dtype) and image.voxels.dtype.isnative
    np.testing.assert_array_equal(image.voxels, np.asarray(expected.dataobj).transpose(2, 1, 0))
    np.testing.assert_allclose(image.ijk_to_ras, expected.affine, atol=1e-4)


@pytest.mark.parametrize("slope", [(1, -1024), (2, 0), (0.5, 3.25), (-1, 0), (0, 7), (1e-3, -5), (np.nan, 3)], ids=str)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("version", [1, 2])
def test_slope_and_intercept_are_applied_as_nibabel_applies_them(slope, dtype, version):
    data = written_by_nibabel(voxels_of((4, 3, 2), dtype), slope=slope, version=version)
    image = decode_nifti(data)
    expected = read_by_nibabel(data).get_fdata().transpose(2, 1, 0)
    np.testing.assert_allclose(image.voxels.astype(float), expected, rtol=2e-6, atol=1e-3)
    if np.dtype(dtype).kind in "iu" and slope in ((1, -1024), (2, 0)):
        assert image.voxels.dtype.kind == "i"
        np.testing.assert_array_equal(image.voxels, expected)


@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (4, 3, 2, 1), (4, 3), (4,), (4, 3, 2, 1, 1), (1, 1, 1)])
def test_other_numbers_of_dimensions_are_read_with_trailing_ones_dropped_beyond_three(shape):
    voxels = voxels_of(shape, "i2")
    image = decode_nifti(gzip.compress(nib.Nifti1Image(voxels, np.eye(4)).to_bytes()))
    kept = voxels.reshape((*shape, 1, 1, 1)[:3] if len(shape) < 3 else shape[:4] if shape[3:4] not in ((1,), ()) else shape[:3])
    np.testing.assert_array_equal(image.voxels, kept.transpose(range(kept.ndim)[::-1]))
    assert not image.is_color


@pytest.mark.parametrize("fields", [("R", "G", "B"), ("R", "G", "B", "A")])
def test_color_voxels_are_read_as_three_channels(fields):
    channels = voxels_of((4, 3, 2, len(fields)), "u1")
    packed = np.ascontiguousarray(channels).view(np.dtype([(name, "u1") for name in fields]))[..., 0]
    image = decode_nifti(nib.Nifti1Image(packed, np.eye(4)).to_bytes())
    assert image.is_color
    np.testing.assert_array_equal(image.voxels, channels[..., :3].transpose(2, 1, 0, 3))


def test_a_vector_image_as_itk_writes_it_is_color(tmp_path):
    import SimpleITK as sitk

    voxels = voxels_of((2, 3, 4, 3), "u1")
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=True), str(tmp_path / "color.nii.gz"))
    image = decode_nifti((tmp_path / "color.nii.gz").read_bytes())
    assert image.is_color
    np.testing.assert_array_equal(image.voxels, voxels)


def test_header_extensions_are_passed_over():
    image = nib.Nifti1Image(voxels_of((4, 3, 2), "i2"), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a remark" * 40))
    np.testing.assert_array_equal(decode_nifti(gzip.compress(image.to_bytes())).voxels, np.asarray(image.dataobj).transpose(2, 1, 0))


@pytest.mark.parametrize("packed", [True, False])
def test_bytes_after_the_last_voxel_are_passed_over_in_files(packed):
    image = nib.Nifti1Image(voxels_of((4, 3, 2), "i2"), np.eye(4))
    data = image.to_bytes() + bytes(range(256)) * 600
    np.testing.assert_array_equal(
        decode_nifti(gzip.compress(data) if packed else data).voxels, np.asarray(image.dataobj).transpose(2, 1, 0)
    )


def test_a_gzip_of_many_members_is_read_whole_and_zero_padding_after_it_is_harmless():
    image = nib.Nifti1Image(voxels_of((40, 30, 20), "i2"), np.eye(4))
    data = image.to_bytes()
    members = b"".join(gzip.compress(data[start : start + 700], 1) for start in range(0, len(data), 700))
    for tail in (b"", bytes(512)):
        np.testing.assert_array_equal(decode_nifti(members + tail).voxels, np.asarray(image.dataobj).transpose(2, 1, 0))


def test_a_member_of_a_gzip_may_end_anywhere_in_the_readers_chunks():
    noise = voxels_of((30, 30, 20), "u1")
    data = nib.Nifti1Image(noise, np.eye(4)).to_bytes()
    for size in range(16330, 16400):  # stored blocks: the first member's end sweeps over the border of 16 KB
        packed = gzip.compress(data[:size], 0) + gzip.compress(data[size:], 0)
        np.testing.assert_array_equal(decode_nifti(packed).voxels, noise.transpose(2, 1, 0))


@settings(max_examples=120, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), packed=st.booleans(), version=st.sampled_from([1, 2]))
def test_a_file_truncated_anywhere_is_an_input_error(share, packed, version):
    data = written_by_nibabel(voxels_of((6, 5, 4), "i2"), packed=packed, version=version)
    with pytest.raises(InputError):
        decode_nifti(data[: int(share * len(data))])


@pytest.mark.parametrize(
    "data",
    [b"", b"\x1f\x8b", b"just a text\n" * 100, gzip.compress(b"just a text\n" * 100), bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(500)],
    ids=len,
)
def test_what_is_no_nifti_is_an_input_error(data):
    with pytest.raises(InputError):
        decode_nifti(data)


def test_half_of_a_pair_is_refused_with_advice():
    header = bytearray(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None).to_bytes())
    header[344:348] = b"ni1\0"
    with pytest.raises(InputError, match=r"\.img"):
        decode_nifti(bytes(header))


@pytest.mark.parametrize("code", [0, 1, 32, 1536, 1792, 2048, 77])
def test_voxels_that_are_no_plain_numbers_are_refused(code):
    data = bytearray(nib.Nifti1Image(np.zeros((2, 2, 2), np.complex64), np.eye(4)).to_bytes())
    data[70:72] = np.array(code, "<i2").tobytes()
    with pytest.raises(InputError, match="convert"):
        decode_nifti(bytes(data) + bytes(200))


def test_more_voxels_than_allowed_are_refused_before_any_is_unpacked():
    data = gzip.compress(nib.Nifti1Image(np.zeros((100, 100, 10), np.uint8), np.eye(4)).to_bytes())
    with pytest.raises(InputError, match="100000"):
        decode_nifti(data, max_bytes=99_999)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    dtype=st.sampled_from([*DTYPES, ">i2", ">f4", "?", "f2"]),
    packed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_is_written_nibabel_reads_back_with_the_same_voxels_and_affine(shape, dtype, packed, seed):
    voxels = voxels_of(shape, "f4" if dtype == "f2" else "u1" if dtype == "?" else dtype, seed).clip(-60000, None).astype(dtype)
    data = encode_nifti(voxels, SHEARED, compress=packed)
    assert (data[:2] == b"\x1f\x8b") == packed
    image = read_by_nibabel(data)
    np.testing.assert_array_equal(np.asarray(image.dataobj), voxels.transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine, SHEARED, atol=1e-5)
    np.testing.assert_allclose(image.header.get_zooms(), np.linalg.norm(SHEARED[:3, :3], axis=0), rtol=1e-6)


def test_a_side_too_long_for_nifti_1_is_written_as_nifti_2():
    voxels = np.arange(40000, dtype=np.uint16).reshape(1, 1, 40000)
    image = nib.Nifti2Image.from_bytes(gzip.decompress(encode_nifti(voxels, SHEARED)))
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, 0, 0], voxels[0, 0])


def test_color_is_written_so_that_nibabel_sees_color():
    voxels = voxels_of((2, 3, 4, 3), "u1")
    image = nib.Nifti1Image.from_bytes(encode_nifti(voxels, np.eye(4), compress=False))
    colors = np.asarray(image.dataobj)
    np.testing.assert_array_equal(np.stack([colors[name] for name in "RGB"], axis=-1).transpose(2, 1, 0, 3), voxels)


def test_nothing_but_voxels_and_geometry_is_written():
    data = encode_nifti(voxels_of((2, 3, 4), "i2"), SHEARED)
    assert data[3] == 0 and data[4:8] == bytes(4)  # gzip: no name, no comment, no time
    header = nib.Nifti1Image.from_bytes(gzip.decompress(data)).header
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        assert bytes(header[field]).strip(b"\0") == b""
    assert not header.extensions and header["cal_max"] == 0


def test_the_same_input_gives_the_same_bytes():
    voxels = voxels_of((2, 3, 4), "i2")
    assert encode_nifti(voxels, SHEARED) == encode_nifti(voxels.copy(order="F"), SHEARED.copy())


def test_an_empty_volume_can_be_decoded_so_that_it_can_be_refused_by_name():
    data = bytearray(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes())
    data[42:44] = np.array(0, "<i2").tobytes()
    assert 0 in decode_nifti(bytes(data)).voxels.shape


@pytest.mark.parametrize("broken", [np.full((3, 4), np.nan), [[1, 1, 0, 5], [2, 2, 0, 6], [0, 0, 3, 7]], np.zeros((3, 4))])
def test_a_sform_that_places_nothing_gives_way_to_a_good_qform(broken):
    matrix = np.array([[-0.8, 0, 0, 30], [0, 0.9, 0, -20], [0, 0, 2.5, 100], [0, 0, 0, 1]])
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), matrix)
    image.set_qform(matrix, 1)
    header = bytearray(image.to_bytes())
    header[280:328] = np.array(broken, "<f4").tobytes()
    read = decode_nifti(bytes(header))
    assert np.allclose(read.ijk_to_ras, matrix, atol=1e-5) and "its qform places" in read.header.remarks[0]
