"""Reading DICOM: series made with pydicom, with SimpleITK's series reader and arithmetic by hand as oracles."""

from __future__ import annotations

import os

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_support import write_image, write_series

from MedImageParseLib.errors import InputError
from MedImageParseLib.files.read import read_image

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
