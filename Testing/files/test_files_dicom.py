"""Reading DICOM: series made with pydicom, with SimpleITK's series reader and arithmetic by hand as oracles."""

from __future__ import annotations

import os

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_support import write_image, write_series

from MedImageParseLib.errors import InputError
from MedImageParseLib.files.read import read_image
from MedImageParseLib.imaging.geometry import acquisition_plane

pydicom = pytest.importorskip("pydicom", reason="pydicom makes the series and is not installed")
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

ENHANCED_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2.1"
TILTED = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)


@pytest.mark.parametrize(
    "orientation,step",
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 2.5)),
        ((1, 0, 0, 0, 1, 0), (0, 0, -2.5)),
        ((0, 1, 0, 0, 0, -1), (-3.0, 0, 0)),
        (TILTED, (0, 0, 4.0)),
    ],
)
def test_a_series_is_sorted_and_placed_as_simpleitk_places_it(tmp_path, orientation, step):
    write_series(tmp_path / "ct", step=step, ImageOrientationPatient=list(orientation))
    (tmp_path / "ct" / "notes.txt").write_text("not DICOM")
    (tmp_path / "ct" / "DICOMDIR").write_bytes(b"\0" * 200)
    volume, warnings = read_image(tmp_path / "ct")
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "ct")))
    assert volume.modality == "CT" and volume.voxels.dtype == np.int16 and not warnings and not volume.is_picture
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(image))
    for index in ((0, 0, 0), (7, 0, 0), (0, 5, 0), (2, 3, 4)):
        expected = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        assert np.allclose((volume.ijk_to_ras @ [*index, 1])[:3], expected, atol=1e-4)


def test_rescale_gives_hounsfield_units_and_a_broken_slope_gives_floats(tmp_path):
    pixels = write_series(tmp_path / "ct")
    assert np.array_equal(read_image(tmp_path / "ct")[0].voxels, pixels - 1024)
    pixels = write_series(tmp_path / "pet", RescaleSlope="0.25", RescaleIntercept="1.5", Modality="PT")
    volume = read_image(tmp_path / "pet")[0]
    assert volume.modality == "PT" and volume.voxels.dtype == np.float32 and np.allclose(volume.voxels, pixels * 0.25 + 1.5)


def test_a_tilted_gantry_gives_a_sheared_volume_with_every_slice_in_its_place(tmp_path):
    step = np.array([0.0, -0.8, 2.5])  # DICOM's axes: each slice lies 0.8 mm further forward
    write_series(tmp_path / "head", step=step)
    volume, warnings = read_image(tmp_path / "head")
    for k in range(5):
        expected = (np.array([-20.0, -30.0, 100.0]) + step * k + [3 * 0.7, 2 * 0.9, 0]) * [-1, -1, 1]
        assert np.allclose((volume.ijk_to_ras @ [3, 2, k, 1])[:3], expected, atol=1e-6)
    assert not warnings


def test_two_series_in_a_folder_are_refused_and_both_uids_listed(tmp_path):
    write_series(tmp_path / "both", SeriesInstanceUID="1.2.3.4")
    write_image(tmp_path / "both" / "other.dcm", np.zeros((6, 8), np.int16), SeriesInstanceUID="1.2.3.99")
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "both")
    assert "1.2.3.4 " in str(caught.value) and "1.2.3.99 " in str(caught.value) and "2 DICOM series" in str(caught.value)


def test_a_folder_without_series_uids_counts_as_one_series(tmp_path):
    pixels = write_series(tmp_path / "ct", SeriesInstanceUID=None)
    assert np.array_equal(read_image(tmp_path / "ct")[0].voxels, pixels - 1024)


def test_subfolders_belong_to_the_series_and_copies_of_a_file_count_once(tmp_path):
    pixels = write_series(tmp_path / "ct")
    (tmp_path / "ct" / "deeper").mkdir()
    os.rename(tmp_path / "ct" / "000.dcm", tmp_path / "ct" / "deeper" / "000.dcm")
    (tmp_path / "ct" / "copy.dcm").write_bytes((tmp_path / "ct" / "001.dcm").read_bytes())
    volume, warnings = read_image(tmp_path / "ct")
    assert np.array_equal(volume.voxels, pixels - 1024) and len(warnings) == 1 and "copies" in warnings[0]


def test_a_missing_slice_is_warned_of_with_the_distances(tmp_path):
    write_series(tmp_path / "ct", positions=[[0, 0, height] for height in (0, 2.5, 5, 10, 12.5)])
    _volume, warnings = read_image(tmp_path / "ct")
    assert len(warnings) == 1 and "2.5 to 5 mm" in warnings[0]


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda folder: write_series(folder, positions=[[0, 0, 0], [0, 0, 2], [0, 0, 2], [0, 0, 4], [0, 0, 4]]), "same position"),
        (lambda folder: write_image(folder / "scout.dcm", np.zeros((9, 9), np.int16)), "differ in size"),
        (
            lambda folder: write_image(
                folder / "scout.dcm",
                np.zeros((6, 8), np.int16),
                ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
                ImagePositionPatient=[0, 0, 0],
                PixelSpacing=[0.9, 0.7],
            ),
            "differ in orientation",
        ),
        (lambda folder: (folder / "000.dcm").write_bytes((folder / "000.dcm").read_bytes()[:-60]), "cannot be decoded"),
    ],
)
def test_slices_that_make_no_volume_are_refused_without_naming_the_patient(tmp_path, change, words, capfd):
    write_series(tmp_path / "ct")
    change(tmp_path / "ct")
    with pytest.raises(InputError, match=words) as caught:
        read_image(tmp_path / "ct")
    assert "Mustermann" not in str(caught.value) and "4711" not in str(caught.value) and capfd.readouterr().err == ""


def test_monochrome1_is_inverted_within_its_stored_bits(tmp_path):
    pixels = np.random.default_rng(5).integers(0, 4096, (6, 8)).astype(np.uint16)
    write_image(
        tmp_path / "chest.dcm",
        pixels,
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
        Modality="CR",
        ImagerPixelSpacing=[0.2, 0.1],
    )
    volume, _warnings = read_image(tmp_path / "chest.dcm")
    assert np.array_equal(volume.voxels[0], 4095 - pixels)
    assert volume.modality == "CR" and volume.is_picture and np.allclose(volume.spacing_ijk[:2], [0.1, 0.2])


def test_a_color_photo_keeps_its_three_channels_and_is_a_picture(tmp_path):
    pixels = np.random.default_rng(6).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    write_image(tmp_path / "photo", pixels, Modality="XC")
    volume, _warnings = read_image(tmp_path / "photo")
    assert volume.is_picture and volume.voxels.shape == (1, 5, 7, 3) and np.array_equal(volume.voxels[0], pixels)


def test_one_file_of_a_ct_is_one_slice_in_its_place(tmp_path):
    pixels = write_series(tmp_path / "ct", count=1)
    volume, _warnings = read_image(tmp_path / "ct" / "000.dcm")
    assert volume.shape_kji == (1, 6, 8) and not volume.is_picture and np.array_equal(volume.voxels[0], pixels[0] - 1024)
    assert np.allclose(volume.ijk_to_ras, [[-0.7, 0, 0, 20], [0, -0.9, 0, 30], [0, 0, 2.5, 100], [0, 0, 0, 1]])


def test_compressed_slices_give_the_values_that_were_compressed(tmp_path):
    pixels = np.random.default_rng(7).integers(0, 3000, (48, 64)).astype(np.int16)
    write_image(tmp_path / "plain.dcm", pixels)
    image = pydicom.dcmread(tmp_path / "plain.dcm")
    image.compress(RLELossless)
    image.save_as(tmp_path / "packed.dcm")
    assert np.array_equal(read_image(tmp_path / "packed.dcm")[0].voxels[0], pixels)


def test_frames_of_an_enhanced_file_are_stacked_by_their_positions_not_their_order(tmp_path):
    pixels = np.random.default_rng(8).integers(0, 2000, (4, 6, 8)).astype(np.int16)
    heights = [6.0, 0.0, 9.0, 3.0]
    shared, frames = pydicom.Dataset(), []
    measures, plane = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.9, 0.7], 3.0
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    for height in heights:
        frame, place = pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = [1.0, 2.0, height]
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    write_image(
        tmp_path / "enhanced.dcm",
        pixels,
        storage=ENHANCED_CT_STORAGE,
        NumberOfFrames=4,
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
    volume, _warnings = read_image(tmp_path / "enhanced.dcm")
    assert np.array_equal(volume.voxels, pixels[np.argsort(heights)])
    assert np.allclose(volume.ijk_to_ras, [[-0.7, 0, 0, -1], [0, -0.9, 0, -2], [0, 0, 3, 0], [0, 0, 0, 1]])


def test_frames_without_positions_keep_their_order_and_a_warning_says_so(tmp_path):
    pixels = np.random.default_rng(9).integers(0, 255, (3, 6, 8)).astype(np.uint8)
    write_image(tmp_path / "cine.dcm", pixels, Modality="US", NumberOfFrames=3)
    volume, warnings = read_image(tmp_path / "cine.dcm")
    assert np.array_equal(volume.voxels, pixels) and len(warnings) == 1 and "do not say where" in warnings[0]


def test_old_files_without_a_preamble_are_read(tmp_path):
    write_series(tmp_path / "ct", count=1)
    content = (tmp_path / "ct" / "000.dcm").read_bytes()
    image = pydicom.dcmread(tmp_path / "ct" / "000.dcm")
    image.preamble = None
    image.file_meta = FileMetaDataset()
    pydicom.dcmwrite(tmp_path / "old.dcm", image, implicit_vr=True, little_endian=True, force_encoding=True)
    assert (tmp_path / "old.dcm").read_bytes()[128:132] != b"DICM" == content[128:132]
    assert np.array_equal(read_image(tmp_path / "old.dcm")[0].voxels, read_image(tmp_path / "ct" / "000.dcm")[0].voxels)


def test_odd_values_in_a_header_raise_no_python_warning_that_could_quote_them(tmp_path, recwarn):
    write_series(tmp_path / "ct")
    for path in (tmp_path / "ct").iterdir():
        path.write_bytes(path.read_bytes().replace(b"2.5 ", b"2.x "))
    volume, _warnings = read_image(tmp_path / "ct")
    assert volume.shape_kji == (5, 6, 8) and not recwarn.list


def test_files_that_pydicom_ships_as_test_data_read_with_the_values_pydicom_finds():
    from pydicom.data import get_testdata_file
    from pydicom.pixels import apply_modality_lut

    for name in ("CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "examples_rgb_color.dcm"):
        path = get_testdata_file(name, download=False)
        image = pydicom.dcmread(path)
        expected = apply_modality_lut(image.pixel_array, image)
        assert np.array_equal(read_image(path)[0].voxels[0], expected), name


FLAT = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.9, 0.7]}


@pytest.mark.parametrize("content", [b"", bytes(5000), b"<html>error 500</html>" * 20, b"\x89PNG\r\n\x1a\n" + bytes(300)])
@pytest.mark.parametrize("name", ["000.dcm", "IM000"])
def test_a_slice_that_is_no_dicom_any_more_is_named_and_other_files_are_not(tmp_path, content, name):
    write_series(tmp_path / "ct")
    if name == "IM000":
        for path in sorted((tmp_path / "ct").iterdir()):
            path.rename(path.with_name(f"IM{path.stem}"))
    (tmp_path / "ct" / name).write_bytes(content)
    (tmp_path / "ct" / "README").write_text("notes")
    (tmp_path / "ct" / "Thumbs.db").write_bytes(bytes(3000))
    _volume, warnings = read_image(tmp_path / "ct")
    assert warnings[0].startswith("1 of 5 files") and warnings[0].endswith(f": {name}.")


@pytest.mark.parametrize("storage,name", [("1.2.840.10008.5.1.4.1.1.78.1", "Lensometry"), ("1.3.12.2.1107.5.9.1", "private")])
def test_an_object_without_an_image_is_no_damaged_slice(tmp_path, storage, name):
    pixels = write_series(tmp_path / "mr")
    write_image(tmp_path / "mr" / "other.dcm", pixels[0], storage=storage, Rows=None, Columns=None, PixelData=None)
    volume, warnings = read_image(tmp_path / "mr")
    assert volume.shape_kji == (5, 6, 8) and not warnings
    with pytest.raises(InputError, match=name):
        read_image(tmp_path / "mr" / "other.dcm")


@pytest.mark.parametrize(
    "modality,tags", [("US", {}), ("OT", {}), ("DX", {"shape": (9, 7)}), ("CT", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})]
)
def test_two_pictures_are_no_volume_and_both_are_named(tmp_path, modality, tags):
    for number in range(2):
        shape = tags.get("shape", (6, 8)) if number else (6, 8)
        place = FLAT | {"ImagePositionPatient": [0, 0, number]} if modality == "CT" else {}
        kinds = {"ImageType": tags["ImageType"]} if "ImageType" in tags else {}
        write_image(tmp_path / f"{number}.dcm", np.zeros(shape, np.uint16), Modality=modality, **place, **kinds)
    with pytest.raises(InputError, match=r"not slices of a volume.*one of these") as caught:
        read_image(tmp_path)
    assert "0.dcm, 1.dcm" in str(caught.value)


def test_a_screenshot_without_a_place_among_slices_is_left_out_by_name(tmp_path):
    pixels = write_series(tmp_path / "ct")
    write_image(tmp_path / "ct" / "dose.dcm", pixels[0])
    volume, warnings = read_image(tmp_path / "ct")
    assert np.array_equal(volume.voxels, pixels - 1024) and len(warnings) == 1 and "dose.dcm" in warnings[0]


def test_slices_exported_twice_count_once_and_other_images_at_a_place_are_named(tmp_path):
    pixels = write_series(tmp_path / "ct")
    place = FLAT | {"ImagePositionPatient": [-20, -30, 100], "RescaleIntercept": -1024, "RescaleSlope": 1}
    write_image(tmp_path / "ct" / "again.dcm", pixels[0], InstanceNumber=99, **place)
    volume, warnings = read_image(tmp_path / "ct")
    assert np.array_equal(volume.voxels, pixels - 1024) and len(warnings) == 1 and "again.dcm" in warnings[0]
    write_image(tmp_path / "ct" / "again.dcm", pixels[1], InstanceNumber=99, **place)
    with pytest.raises(InputError, match="same position.*again.dcm"):
        read_image(tmp_path / "ct")


def test_files_of_several_frames_among_single_images_are_named(tmp_path):
    pixels = write_series(tmp_path / "ct")
    write_image(tmp_path / "ct" / "cine.dcm", pixels, NumberOfFrames=5)
    with pytest.raises(InputError, match="several frames beside single images: cine.dcm"):
        read_image(tmp_path / "ct")


@pytest.mark.parametrize("cut", [0, 60])
@pytest.mark.parametrize("implicit", [True, False])
def test_fewer_frames_than_promised_are_refused(tmp_path, cut, implicit):
    pixels = np.zeros((3, 6, 8), np.int16)
    write_image(tmp_path / "cine.dcm", pixels, NumberOfFrames=3 if cut else 4)
    if implicit:
        image = pydicom.dcmread(tmp_path / "cine.dcm")
        image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        image.save_as(tmp_path / "cine.dcm", implicit_vr=True, little_endian=True)
    content = (tmp_path / "cine.dcm").read_bytes()
    (tmp_path / "cine.dcm").write_bytes(content[: len(content) - cut])
    with pytest.raises(InputError, match="2 of the 3 frames" if cut else "3 of the 4 frames"):
        read_image(tmp_path / "cine.dcm")


def test_the_last_slice_of_uneven_ones_lies_within_the_volume(tmp_path):
    heights = [0, 2.5, 5, 7.3, 9.95, 12.5]
    write_series(tmp_path / "ct", count=6, positions=[[0, 0, height] for height in heights])
    volume, _warnings = read_image(tmp_path / "ct")
    top = (volume.ijk_to_ras @ [0, 0, volume.shape_kji[0] - 0.5, 1])[2]
    assert 12.5 <= top < 12.5 + volume.spacing_ijk[2]


@pytest.mark.parametrize("tagged", [True, False])
def test_padding_is_never_mixed_with_tissue(tmp_path, tagged):
    tags = FLAT | ({"PixelPaddingValue": -3024} if tagged else {})
    for number, height in enumerate((0, 2, 4, 10)):
        pixels = np.full((20, 20), 40, np.int16)
        pixels[:, : 2 + 4 * number] = -3024
        write_image(tmp_path / f"{number}.dcm", pixels, ImagePositionPatient=[0, 0, height], **tags)
    volume, _warnings = read_image(tmp_path)
    assert volume.shape_kji[0] == 6 and set(np.unique(volume.voxels)) == {-3024, 40}


@pytest.mark.parametrize(
    "tags,expected",
    [
        ({"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1", "Modality": "DX"}, (4095,)),
        ({"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1", "Modality": "CT"}, (0,)),
        ({"PixelPaddingValue": 10, "PixelPaddingRangeLimit": 30, "RescaleSlope": 2, "RescaleIntercept": -100}, (-80, -40)),
        ({"PixelPaddingRangeLimit": 30}, ()),
    ],
)
def test_padding_is_changed_as_the_pixels_are(tmp_path, tags, expected):
    write_image(tmp_path / "x.dcm", np.full((4, 4), 77, np.uint16), BitsStored=12, HighBit=11, **tags)
    assert read_image(tmp_path / "x.dcm")[0].padding == expected


def test_a_modality_table_comes_before_the_inversion(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (6, 8)).astype(np.uint16)
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "US"
    curve = (np.arange(256) ** 2).astype(np.uint16)
    table.add_new(0x00283006, "OW", curve.tobytes())
    tags = {"Modality": "CR", "ModalityLUTSequence": Sequence([table])}
    write_image(tmp_path / "x.dcm", pixels, PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.array_equal(read_image(tmp_path / "x.dcm")[0].voxels[0], 65535 - curve[pixels].astype(int))


@pytest.mark.parametrize("shift", [4, 0])
def test_values_stored_in_the_upper_bits_are_read_and_a_header_that_says_so_falsely_is_not_believed(tmp_path, shift):
    pixels = np.random.default_rng(1).integers(0, 4096, (6, 8)).astype(np.uint16)
    write_image(tmp_path / "x.dcm", pixels << shift, BitsStored=12, HighBit=15)
    assert np.array_equal(read_image(tmp_path / "x.dcm")[0].voxels[0], pixels)


@pytest.mark.parametrize("name", ["SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm"])
def test_deep_colors_are_their_upper_eight_bits(name):
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    stored = pydicom.dcmread(path).pixel_array
    assert np.array_equal(read_image(path)[0].voxels[0], stored >> (8 * stored.dtype.itemsize - 8))


def ultrasound_volume(folder):
    shared, frames = pydicom.Dataset(), []
    measures, plane = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.9, 0.7], 1.0
    plane.ImageOrientationVolume = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationVolumeSequence = Sequence([measures]), Sequence([plane])
    for number in (2, 0, 1):
        frame, place = pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionVolume = [1.0, 2.0, 3.0 * number]
        frame.PlanePositionVolumeSequence = Sequence([place])
        frames.append(frame)
    pixels = np.random.default_rng(8).integers(0, 255, (3, 6, 8)).astype(np.uint8)
    groups = {"SharedFunctionalGroupsSequence": Sequence([shared]), "PerFrameFunctionalGroupsSequence": Sequence(frames)}
    write_image(folder / "us.dcm", pixels, storage="1.2.840.10008.5.1.4.1.1.6.2", Modality="US", NumberOfFrames=3, **groups)
    return pixels


def test_an_ultrasound_volume_is_stacked_by_its_own_positions(tmp_path):
    pixels = ultrasound_volume(tmp_path)
    volume, warnings = read_image(tmp_path / "us.dcm")
    assert np.array_equal(volume.voxels, pixels[[1, 2, 0]]) and np.allclose(volume.spacing_ijk, [0.7, 0.9, 3.0])
    assert len(warnings) == 1 and "are assumed" in warnings[0]


@pytest.mark.parametrize("kind,is_volume", [("RECON TOMO", True), ("WHOLE BODY", False), ("TOMO", False), ("DYNAMIC", False)])
def test_views_of_a_gamma_camera_are_no_slices(tmp_path, kind, is_volume):
    detector = pydicom.Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [0, 0, 50], [1, 0, 0, 0, 1, 0]
    tags = {"Modality": "NM", "NumberOfFrames": 3, "ImageType": ["ORIGINAL", "PRIMARY", kind, "EMISSION"], "SliceThickness": 4}
    write_image(tmp_path / "nm.dcm", np.zeros((3, 6, 8), np.uint16), DetectorInformationSequence=Sequence([detector]), **tags)
    warnings = read_image(tmp_path / "nm.dcm")[1]
    assert any("do not say where" in warning for warning in warnings) is not is_volume


@pytest.mark.parametrize("spacing", [None, [0, 0]])
def test_an_unknown_pixel_size_is_told(tmp_path, spacing):
    write_series(tmp_path / "ct", PixelSpacing=spacing)
    volume, warnings = read_image(tmp_path / "ct")
    assert np.allclose(volume.spacing_ijk, [1, 1, 2.5]) and len(warnings) == 1 and "1 mm is assumed" in warnings[0]


def test_the_colored_one_among_gray_slices_is_named(tmp_path):
    write_series(tmp_path / "ct")
    place = FLAT | {"ImagePositionPatient": [-20, -30, 112.5]}
    write_image(tmp_path / "ct" / "fused.dcm", np.zeros((6, 8, 3), np.uint8), **place)
    with pytest.raises(InputError, match="partly colored; unlike the rest are fused.dcm"):
        read_image(tmp_path / "ct")


@pytest.mark.parametrize("modality,is_film", [("US", True), ("XA", True), ("CT", False)])
def test_a_film_has_no_volume_and_its_frames_are_its_plane_whatever_its_pixel_sizes(tmp_path, modality, is_film):
    write_image(tmp_path / "cine.dcm", np.zeros((3, 6, 8), np.uint8), Modality=modality, NumberOfFrames=3, PixelSpacing=[1.0, 0.3])
    volume, _warnings = read_image(tmp_path / "cine.dcm")
    assert volume.is_film is is_film and volume.has_volume is not is_film
    assert acquisition_plane(volume) == ("axial" if is_film else "sagittal")


def test_what_a_mac_puts_beside_the_files_is_no_damaged_slice(tmp_path):
    write_series(tmp_path / "ct")
    (tmp_path / "ct" / "._000.dcm").write_bytes(b"\0\5\x16\7" + bytes(200))
    assert read_image(tmp_path / "ct")[1] == []


def test_a_gap_that_would_multiply_the_volume_is_refused_by_the_names_beside_it(tmp_path):
    for number, height in enumerate((0, 1, 2, 500)):
        write_image(tmp_path / f"{number}.dcm", np.zeros((6, 8), np.int16), ImagePositionPatient=[0, 0, height], **FLAT)
    with pytest.raises(InputError, match=r"Between 2.dcm and 3.dcm .* 498 mm"):
        read_image(tmp_path)


def test_slices_of_a_microscope_lie_at_places_of_their_own(tmp_path):
    place = FLAT | {"PixelSpacing": [1e-4, 1e-4]}
    for number in range(4):
        write_image(tmp_path / f"{number}.dcm", np.zeros((6, 8), np.int16), ImagePositionPatient=[0, 0, number * 5e-4], **place)
    volume, warnings = read_image(tmp_path)
    assert np.allclose(volume.spacing_ijk, [1e-4, 1e-4, 5e-4]) and not warnings
