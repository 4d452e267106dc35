"""Reading volumes and pictures: nibabel, SimpleITK and Pillow write, ours reads; and every bad file has its sentence."""

from __future__ import annotations

import gzip
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from MedImageParseLib.errors import InputError
from MedImageParseLib.files.read import PAIRED, quiet_codecs, read_image
from MedImageParseLib.files.write import write_labels

nib = pytest.importorskip("nibabel", reason="nibabel is the oracle here and is not installed")

AXIS_ORDERS = [(order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@st.composite
def affines(draw, sheared: bool = True) -> np.ndarray:
    """Any of the 48 axis orders, tilted, with unequal spacing and, where asked, sheared."""
    order, signs = draw(st.sampled_from(AXIS_ORDERS))
    matrix = np.eye(3)[:, order] * signs
    angle = draw(st.floats(-0.6, 0.6))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    shear = np.eye(3)
    shear[0, 2] = draw(st.sampled_from([0.0, 0.3])) if sheared else 0.0
    spacing = [draw(st.floats(0.3, 6.0)) for _axis in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = turn @ matrix @ shear * spacing
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _axis in range(3)]
    return affine


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(max(limits.min, -30000), min(limits.max, 30000), shape).astype(dtype)


@settings(deadline=None, max_examples=40)
@given(
    affine=affines(),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    extension=st.sampled_from([".nii", ".nii.gz", ".NII.GZ"]),
    trailing=st.sampled_from([(), (1,), (1, 1)]),
)
def test_nifti_of_any_orientation_and_type_reads_as_nibabel_wrote_it(affine, dtype, extension, trailing):
    data = numbers((4, 5, 3), dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "volume" + extension)
        content = nib.Nifti1Image(data.reshape(data.shape + trailing), affine).to_bytes()
        path.write_bytes(gzip.compress(content) if extension.lower().endswith("gz") else content)
        volume, warnings = read_image(path)
    assert volume.voxels.dtype == data.dtype and np.array_equal(volume.voxels, data.transpose(2, 1, 0))
    assert np.allclose(volume.ijk_to_ras, affine, atol=1e-4) and not warnings and volume.modality == "" and not volume.is_picture


@settings(deadline=None, max_examples=30)
@given(affine=affines(), extension=st.sampled_from([".nrrd", ".mha", ".mhd"]), dtype=st.sampled_from(["uint8", "int16", "float32"]))
def test_nrrd_and_metaimage_read_where_simpleitk_put_them(affine, extension, dtype):
    data = numbers((3, 5, 4), dtype)
    lps = LPS_TO_RAS @ affine
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(np.linalg.norm(lps[:3, :3], axis=0).tolist())
    image.SetDirection((lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "volume" + extension))
        sitk.WriteImage(image, path)
        volume, _warnings = read_image(path)
    assert np.array_equal(volume.voxels, data)
    for index in ((0, 0, 0), (3, 0, 0), (0, 4, 0), (1, 2, 2)):
        expected = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        assert np.allclose((volume.ijk_to_ras @ [*index, 1])[:3], expected, atol=1e-3)


def test_nrrd_written_in_ras_space_is_read_in_the_same_place_as_in_lps(tmp_path):
    voxels = np.arange(24, dtype=np.uint8)
    for space, sign in (("right-anterior-superior", 1), ("left-posterior-superior", -1)):
        header = (
            f"NRRD0004\ntype: uint8\ndimension: 3\nspace: {space}\nsizes: 4 3 2\n"
            f"space directions: ({2 * sign},0,0) (0,{3 * sign},0) (0,0,4)\n"
            f"kinds: domain domain domain\nencoding: raw\nspace origin: ({10 * sign},{20 * sign},30)\n\n"
        )
        (tmp_path / f"{sign}.nrrd").write_bytes(header.encode() + voxels.tobytes())
    first, second = (read_image(tmp_path / f"{sign}.nrrd")[0] for sign in (1, -1))
    expected = np.array([[2, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1.0]])
    assert np.allclose(first.ijk_to_ras, expected) and np.allclose(second.ijk_to_ras, expected)


def test_modality_is_taken_from_nrrd_and_metaimage_where_they_state_it(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    image.SetMetaData("modality", "ct")
    for name in ("a.nrrd", "a.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        assert read_image(tmp_path / name)[0].modality == "CT"


def test_color_volumes_come_with_three_channels_last_and_no_alpha(tmp_path):
    rgba = numbers((3, 4, 5, 4), "uint8")
    sitk.WriteImage(sitk.GetImageFromArray(rgba, isVector=True), str(tmp_path / "color.nrrd"))
    assert np.array_equal(read_image(tmp_path / "color.nrrd")[0].voxels, rgba[..., :3])


@pytest.mark.parametrize(
    "mode,expected",
    [
        ("1", (2, "uint8")),
        ("L", (2, "uint8")),
        ("LA", (2, "uint8")),
        ("P", (3, "uint8")),
        ("RGB", (3, "uint8")),
        ("RGBA", (3, "uint8")),
        ("I;16", (2, "uint16")),
    ],
)
def test_png_of_every_color_mode_reads_as_pillow_shows_it(tmp_path, mode, expected):
    gray = numbers((7, 9), "uint8", 3)
    picture = (
        Image.fromarray(gray.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(np.dstack([gray, gray[::-1], gray.T[:7, :7].repeat(2, 1)[:, :9], gray])).convert(mode)
    )
    picture.save(tmp_path / "picture.png")
    volume, warnings = read_image(tmp_path / "picture.png")
    assert volume.is_picture and volume.shape_kji == (1, 7, 9) and volume.voxels.ndim - 1 == expected[0]
    assert volume.voxels.dtype == expected[1] and not warnings
    shown = picture if mode == "I;16" else picture.convert("RGB" if expected[0] == 3 else "L")
    assert np.array_equal(volume.voxels[0], np.asarray(shown))


def test_palette_with_transparency_and_cmyk_jpeg_become_rgb(tmp_path):
    palette = Image.fromarray(numbers((6, 6), "uint8") % 4, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    palette.save(tmp_path / "palette.png", transparency=1)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
    assert np.array_equal(read_image(tmp_path / "palette.png")[0].voxels[0], colors[np.asarray(palette)])
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=95)
    red = read_image(tmp_path / "ink.jpg")[0].voxels
    assert red.shape == (1, 8, 8, 3) and red[..., 0].min() > 240 and red[..., 1:].max() < 15


def test_a_sixteen_bit_tiff_of_either_byte_order_keeps_its_values(tmp_path):
    values = numbers((5, 6), "int16").astype(np.int32) + 32768
    for name, dtype in (("little.tif", "<u2"), ("big.tiff", ">u2")):
        Image.fromarray(values.astype("<u2")).save(tmp_path / name) if dtype == "<u2" else Image.frombytes(
            "I;16B", (6, 5), values.astype(">u2").tobytes()
        ).save(tmp_path / name)
        voxels = read_image(tmp_path / name)[0].voxels
        assert voxels.dtype == np.uint16 and np.array_equal(voxels[0], values)


def test_a_turn_noted_by_the_camera_is_not_carried_out_but_told(tmp_path):
    picture = Image.fromarray(numbers((4, 8, 3), "uint8"))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    volume, warnings = read_image(tmp_path / "turned.png")
    assert np.array_equal(volume.voxels[0], np.asarray(picture)) and any("not turned" in warning for warning in warnings)


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name of the fault: (path, words that its sentence must contain)."""
    good = gzip.compress(nib.Nifti1Image(numbers((6, 5, 4), "int16"), np.eye(4)).to_bytes())
    series = nib.Nifti1Image(numbers((4, 4, 4, 2), "int16"), np.eye(4))
    holes = numbers((4, 4, 4), "float32")
    holes[1, 2, 3] = np.nan
    contents = {
        "text.nii.gz": (b"this is no image at all, just a note\n" * 20, "not NIfTI"),
        "cut.nii.gz": (good[:-40], "truncated"),
        "bytes.nii": (series.to_bytes()[:400], "truncated"),
        "series.nii": (series.to_bytes(), "one volume"),
        "hole.nii": (nib.Nifti1Image(holes, np.eye(4)).to_bytes(), "not finite"),
        "empty.nii": (nib.Nifti1Image(np.zeros((4, 0, 4), np.int16), np.eye(4)).to_bytes(), "empty"),
        "nothing.nii.gz": (b"", "0 bytes"),
        "text.nrrd": (b"NRRD0004\nbut not really", "damaged"),
        "lost.mhd": (b"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_SHORT\nElementDataFile = gone.raw\n", "damaged"),
        "text.png": (b"no picture", "no picture"),
        "note.txt": (b"hello", "kind that is not read"),
        "text.dcm": (b"hello" * 100, "kind that is not read"),
    }
    for name, (content, _words) in contents.items():
        (folder / name).write_bytes(content)
    Image.fromarray(numbers((64, 64, 3), "uint8")).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:3000])
    Image.new("L", (4, 4)).save(folder / "pages.tif", save_all=True, append_images=[Image.new("L", (4, 4))])
    sitk.WriteImage(sitk.GetImageFromArray(numbers((2, 3, 4, 5), "int16"), isVector=False), str(folder / "four.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(numbers((3, 4, 5, 2), "float32"), isVector=True), str(folder / "vectors.mha"))
    (folder / "no_images").mkdir()
    (folder / "no_images" / "readme.txt").write_text("nothing here")
    faults = {name: (folder / name, words) for name, (_content, words) in contents.items()}
    return faults | {
        "missing": (folder / "absent.nii.gz", "no file or folder"),
        "cut.png": (folder / "cut.png", "damaged"),
        "pages.tif": (folder / "pages.tif", "2 pages"),
        "four.nrrd": (folder / "four.nrrd", "one volume"),
        "vectors.mha": (folder / "vectors.mha", "no colors"),
        "no_images": (folder / "no_images", "no DICOM image"),
    }


@pytest.mark.parametrize(
    "fault",
    [
        "text.nii.gz",
        "cut.nii.gz",
        "bytes.nii",
        "series.nii",
        "hole.nii",
        "empty.nii",
        "nothing.nii.gz",
        "text.nrrd",
        "lost.mhd",
        "text.png",
        "note.txt",
        "text.dcm",
        "missing",
        "cut.png",
        "pages.tif",
        "four.nrrd",
        "vectors.mha",
        "no_images",
    ],
)
def test_a_bad_file_is_refused_with_one_sentence_and_exit_status_two(tmp_path, fault, capfd):
    path, words = bad_files(tmp_path)[fault]
    with pytest.raises(InputError) as caught:
        read_image(path)
    sentence = str(caught.value)
    assert words in sentence and sentence.endswith(".") and "\n" not in sentence and len(sentence) < 300
    assert caught.value.exit_status == 2
    assert capfd.readouterr().err == ""


def test_a_file_that_may_not_be_opened_says_so(tmp_path, monkeypatch):
    path = tmp_path / "locked.nii.gz"
    path.write_bytes(b"x")

    def refuse(self, *_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        read_image(path)


def test_codecs_are_quiet_inside_and_heard_again_after_even_when_nested(capfd):
    import os

    with quiet_codecs():
        with quiet_codecs():
            os.write(2, b"first chatter")
        os.write(2, b"second chatter")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_reference_ct_reads_as_nibabel_reads_it(shared_data):
    image = nib.load(shared_data / "ct_abdomen_3mm.nii.gz")
    volume, _warnings = read_image(shared_data / "ct_abdomen_3mm.nii.gz")
    assert np.array_equal(volume.voxels, np.asarray(image.dataobj).transpose(2, 1, 0)) and np.allclose(volume.ijk_to_ras, image.affine)


@pytest.mark.parametrize("kind", ["Nifti1Pair", "Nifti2Pair"])
@pytest.mark.parametrize("half", [".hdr", ".img", ".hdr.gz", ".img.gz"])
def test_either_half_of_a_pair_is_the_image_with_both_its_positions(tmp_path, kind, half):
    matrix = np.array([[-0.8, 0.1, 0, 30], [0, 0.9, 0, -20], [0, 0, 2.5, 100], [0, 0, 0, 1]])
    image = getattr(nib, kind)(numbers((6, 5, 4), "int16"), matrix)
    image.set_sform(matrix, 2)
    image.set_qform(np.diag([-0.8, 0.9, 2.5, 1]), 1)
    nib.save(image, tmp_path / ("v.img.gz" if half.endswith("gz") else "v.img"))
    volume, warnings = read_image(tmp_path / f"v{half}")
    assert np.array_equal(volume.voxels, numbers((6, 5, 4), "int16").T) and np.allclose(volume.ijk_to_ras, matrix, atol=1e-5)
    assert volume.forms.sform_code == 2 and volume.forms.qform_code == 1 and len(warnings) == 1 and "two positions" in warnings[0]
    (tmp_path / f"v{PAIRED[half]}").unlink()
    with pytest.raises(InputError, match=f"v{PAIRED[half]} is not beside it"):
        read_image(tmp_path / f"v{half}")


def test_an_analyze_image_is_read_by_either_half(tmp_path):
    nib.save(nib.AnalyzeImage(numbers((6, 5, 4), "int16"), np.diag([-0.8, 0.9, 2.5, 1])), tmp_path / "a.img")
    assert np.array_equal(read_image(tmp_path / "a.img")[0].voxels, read_image(tmp_path / "a.hdr")[0].voxels)


@pytest.mark.parametrize(
    "array,tags",
    [
        (np.zeros((4, 5)), {}),
        (np.zeros((4, 5), np.int16), {"photometric": "miniswhite"}),
        (np.zeros((4, 5), np.uint32), {"photometric": "miniswhite"}),
    ],
)
def test_a_tiff_of_an_unusual_kind_is_not_called_damaged(tmp_path, array, tags):
    tifffile = pytest.importorskip("tifffile", reason="tifffile writes these and is not installed")
    tifffile.imwrite(tmp_path / "x.tif", array, **tags)
    with pytest.raises(InputError, match="save it with 8 or 16 bits"):
        read_image(tmp_path / "x.tif")


def test_colors_cut_to_eight_bits_are_told_of_in_either_byte_order(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="tifffile writes these and is not installed")
    for order in "<>":
        tifffile.imwrite(tmp_path / "x.tif", np.full((4, 5, 3), 300, order + "u2"), photometric="rgb", byteorder=order)
        assert "only the upper 8" in read_image(tmp_path / "x.tif")[1][0]


@pytest.mark.parametrize("unit,mm", [("um", 1e-3), ("µm", 1e-3), ("m", 1000), ("mm", 1), ("???", 1)])
def test_units_of_a_nrrd_are_read_and_labels_still_fit_it_in_itk(tmp_path, unit, mm):
    header = (
        "NRRD0004\ntype: short\nendian: little\nencoding: raw\ndimension: 3\nsizes: 4 5 6\nspace: left-posterior-superior\n"
        f'space directions: (8,0,0) (0,9,0) (0,0,25)\nspace origin: (1,2,3)\nspace units: "{unit}" "{unit}" "{unit}"\n\n'
    )
    (tmp_path / "v.nrrd").write_bytes(header.encode() + numbers((4, 5, 6), "int16").tobytes())
    volume, _warnings = read_image(tmp_path / "v.nrrd")
    assert np.allclose(volume.spacing_ijk, np.array([8, 9, 25]) * mm) and np.allclose(volume.ijk_to_ras[:3, 3], np.array([-1, -2, 3]) * mm)
    write_labels(tmp_path / "l.nrrd", np.ones(volume.shape_kji, np.uint8), volume)
    sitk.Mask(sitk.ReadImage(str(tmp_path / "v.nrrd")), sitk.ReadImage(str(tmp_path / "l.nrrd")))
