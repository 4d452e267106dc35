"""Segmentations as DICOM, read back by highdicom (an independent reader) and contours filled by the even-odd rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_support import write_series

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.files.dicom_export import Maker, Structure, find_source, write_dicom_seg, write_rtstruct
from MedImageParseLib.files.read import read_image
from MedImageParseLib.imaging.volume import CroppedMask, Volume

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed: there is nothing to read the objects back with")

OBLIQUE = [0.8, 0.6, 0.0, -0.48, 0.64, 0.6]
SERIES = {
    "axial": ([1, 0, 0, 0, 1, 0], (0.0, 0.0, 2.5)),
    "reversed": ([1, 0, 0, 0, 1, 0], (0.0, 0.0, -2.5)),
    "sagittal": ([0, 1, 0, 0, 0, -1], (2.5, 0.0, 0.0)),
    "oblique": (OBLIQUE, tuple(2.5 * np.cross(OBLIQUE[:3], OBLIQUE[3:]))),
}
MAKER = Maker("MedImageParse 3D", "0.1.0")


def structures(volume: Volume, seed: int = 5) -> list[Structure]:
    """Three that overlap, with holes and parts, one of them with codes of its own."""
    generator = np.random.default_rng(seed)
    masks = [generator.random(volume.shape_kji) < share for share in (0.5, 0.3, 0.2)]
    return [
        Structure(text, text, (0.2, 0.4, 0.6), CroppedMask.from_full(mask))
        for text, mask in zip(("liver", "left kidney", "my thing"), masks)
    ]


def opened(folder: Path, name: str) -> tuple[Volume, Path]:
    orientation, step = SERIES[name]
    write_series(folder / "series", step=step, ImageOrientationPatient=orientation, FrameOfReferenceUID="1.2.9", StudyID="1", StudyDate="")
    return read_image(folder / "series")[0], folder / "series"


def slice_of(image: pydicom.Dataset, volume: Volume) -> int:
    """Which slice of the volume an image is, by its place in the patient (LPS to RAS)."""
    place = np.array([*image.ImagePositionPatient, 1.0], float) * [-1, -1, 1, 1]
    return round(float((np.linalg.inv(volume.ijk_to_ras) @ place)[2]))


@pytest.mark.parametrize("name", SERIES)
def test_a_segmentation_object_holds_the_very_voxels_and_refers_to_the_images(tmp_path, name):
    volume, folder = opened(tmp_path, name)
    written = structures(volume)
    write_dicom_seg(tmp_path / "s.dcm", volume, written, find_source(folder, volume), MAKER)
    images = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    read = highdicom.seg.segread(tmp_path / "s.dcm")
    pixels = read.get_pixels_by_source_instance([image.SOPInstanceUID for image in images], assert_missing_frames_are_empty=True)
    for number, structure in enumerate(written):
        full = structure.mask.full()
        for image, frame in zip(images, pixels[..., number]):
            assert np.array_equal(frame, full[slice_of(image, volume)])


def test_a_segmentation_object_says_what_made_it_and_what_it_is(tmp_path):
    volume, folder = opened(tmp_path, "axial")
    write_dicom_seg(tmp_path / "s.dcm", volume, structures(volume), find_source(folder, volume), MAKER)
    read = highdicom.seg.segread(tmp_path / "s.dcm")
    liver, kidney, thing = (read.get_segment_description(number) for number in (1, 2, 3))
    assert liver.segmented_property_type.value == "10200004" and kidney.segmented_property_type.value == "64033007"
    assert thing.segment_label == "my thing" and thing.segmented_property_type.value == "85756007"
    assert liver.algorithm_type.value == "AUTOMATIC" and liver.algorithm_identification[0].AlgorithmName == "MedImageParse 3D"
    assert "AI-generated" in read.SeriesDescription and str(read.PatientID) == "4711"
    demo = Maker("a demo engine", "1", is_ai=False)
    write_dicom_seg(tmp_path / "d.dcm", volume, structures(volume), find_source(folder, volume), demo)
    assert "AI" not in pydicom.dcmread(tmp_path / "d.dcm").SeriesDescription


def inside(polygon: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Even-odd rule at the middle of each pixel."""
    y, x = np.mgrid[:rows, :columns].astype(float)
    crossings = np.zeros((rows, columns), int)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0)):
        if y0 != y1:
            spans = (y >= min(y0, y1)) & (y < max(y0, y1))
            crossings += spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return crossings % 2 == 1


@pytest.mark.parametrize("name", SERIES)
def test_contours_of_a_structure_set_filled_give_the_very_voxels(tmp_path, name):
    volume, folder = opened(tmp_path, name)
    written = structures(volume)
    write_rtstruct(tmp_path / "r.dcm", volume, written, find_source(folder, volume), MAKER)
    read = pydicom.dcmread(tmp_path / "r.dcm")
    assert [region.ROIName for region in read.StructureSetROISequence] == [structure.name for structure in written]
    to_ijk = np.linalg.inv(volume.ijk_to_ras) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    for structure, contours in zip(written, read.ROIContourSequence):
        filled = np.zeros(volume.shape_kji, bool)
        for contour in contours.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3) @ to_ijk[:3, :3].T + to_ijk[:3, 3]
            k = round(float(points[0, 2]))
            assert np.abs(points[:, 2] - k).max() < 1e-3
            filled[k] ^= inside(points[:, :2], *volume.shape_kji[1:])
        assert np.array_equal(filled, structure.mask.full() != 0)


def test_no_dicom_and_other_slices_are_refused_before_anything_is_sent(tmp_path):
    volume, folder = opened(tmp_path, "axial")
    (tmp_path / "v.nii").write_bytes(b"no DICOM")
    with pytest.raises(UsageError, match="DICOM input"):
        find_source(tmp_path / "v.nii", volume)
    with pytest.raises(InputError, match="one by one"):
        find_source(folder, Volume(np.zeros((9, 6, 8), np.int16)))


def test_results_of_an_uneven_series_lie_on_its_own_slices(tmp_path):
    heights = [0.0, 2.5, 5.0, 12.5, 15.0, 17.0]
    write_series(tmp_path / "ct", count=6, positions=[[0, 0, height] for height in heights])
    volume, _warnings = read_image(tmp_path / "ct")
    mask = np.zeros(volume.shape_kji, np.uint8)
    mask[(np.arange(len(mask)) * volume.spacing_ijk[2] > 1) & (np.arange(len(mask)) * volume.spacing_ijk[2] < 14), 1:4, 2:6] = 1
    found = [Structure("liver", "liver", (0.9, 0.5, 0.4), CroppedMask.from_full(mask))]
    source = find_source(tmp_path / "ct", volume)
    made = pydicom.dcmread(write_dicom_seg(tmp_path / "s.dcm", volume, found, source, MAKER))
    places = {float(frame.PlanePositionSequence[0].ImagePositionPatient[2]) for frame in made.PerFrameFunctionalGroupsSequence}
    drawn = pydicom.dcmread(write_rtstruct(tmp_path / "r.dcm", volume, found, source, MAKER))
    assert places == {float(part.ContourData[2]) for part in drawn.ROIContourSequence[0].ContourSequence} == {2.5, 5.0, 12.5}
