"""DICOM files that the suites write for themselves, by pydicom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
SECRET = "Mustermann^Erika"


def write_image(path: Path, pixels: np.ndarray, storage: str = CT_STORAGE, syntax: str = ExplicitVRLittleEndian, **tags) -> None:
    """One DICOM file; a tag given as None is left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = storage, syntax
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
    image.PatientName, image.PatientID, image.Modality = SECRET, "4711", "CT"
    image.SeriesInstanceUID, image.StudyInstanceUID = "1.2.3.4", "1.2.3"
    color = pixels.shape[-1] == 3 and pixels.ndim > 2
    image.SamplesPerPixel, image.PhotometricInterpretation = (3, "RGB") if color else (1, "MONOCHROME2")
    image.Rows, image.Columns = (pixels.shape[:-1] if color else pixels.shape)[-2:]
    if color:
        image.PlanarConfiguration = 0
    image.BitsAllocated = image.BitsStored = pixels.dtype.itemsize * 8
    image.HighBit, image.PixelRepresentation = image.BitsStored - 1, int(pixels.dtype.kind == "i")
    image.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in tags.items():
        if value is None:
            if name in image:
                delattr(image, name)
        else:
            setattr(image, name, value)
    image.save_as(path, enforce_file_format=True)


def write_series(folder: Path, count: int = 5, step=(0.0, 0.0, 2.5), seed: int = 1, positions=None, **tags) -> np.ndarray:
    """A series, its files named in a shuffled order; returns the stored pixels, lowest slice first."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 2000, (count, 6, 8)).astype(np.int16)
    names = generator.permutation(count)
    for number in range(count):
        position = positions[number] if positions is not None else [-20.0, -30.0, 100.0] + np.array(step) * number
        options = {
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [float(part) for part in position],
            "PixelSpacing": [0.9, 0.7],
            "SliceThickness": 2.5,
            "InstanceNumber": count - number,
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
        } | tags
        write_image(folder / f"{names[number]:03d}.dcm", pixels[number], **options)
    return pixels
