"""Inputs for embedding: files, DICOM folders, folders of many images, and Volumes, as sources that are read when their turn comes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import InputError, UsageError
from ..imaging.volume import Volume
from ..remedies import Sentence, joined
from ..tasks.indexing import Source
from .frames import one_frame
from .inputs import Image, check_series, is_path, listed, read_volumes

Input = Image


def find_sources(
    inputs: Input | Iterable[Input], modality: str = "", *, series: str | int = "", frame: int | str | None = None
) -> list[Source]:
    """One source an image.

    A folder stands for the image files in it and below (.nii, .nrrd, .png, …) and for each series in each folder below that holds DICOM
    files. Nothing is read yet but names and, of DICOM files, headers; hidden files are passed over.

    Args:
        inputs: a path, a Volume or another image in memory (`inputs.as_volume`), or several of them.
        modality: DICOM modality code, where the files do not say.
        series: UID or number of the one DICOM series to take of each folder.
        frame: which volume, from 0, of images with several.

    Raises:
        UsageError: no input, or an object that is no image. InputError: a path that is not there, or a folder without images.
    """
    chosen = _Choice(modality, str(series), one_frame(frame))
    sources: list[Source] = []
    for number, one in enumerate(listed(inputs), start=1):
        if not is_path(one):
            check_series(one, chosen.series)
            sources.append(Source(Sentence("volume {number}", number=number), "", partial(chosen.read, one)))
        elif chosen.series and Path(one).expanduser().is_dir():
            sources.append(_file_source(Path(one).expanduser(), chosen))  # wherever below it lies
        else:
            for path in _images_at(Path(one).expanduser()):
                sources += _series_sources(path, chosen) if path.is_dir() else [_file_source(path, chosen)]
    if not sources:
        raise UsageError("Name at least one image, volume or folder to embed.")
    return sources


def _images_at(path: Path) -> list[Path]:
    from ..files.dicom import is_dicom_file
    from ..files.read import IMAGE_EXTENSIONS, known_extension

    if not path.exists():
        raise InputError("There is no file or folder {path}; check the path.", path=path)
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, below, names in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith("."))
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        images = [file for file in files if known_extension(file, IMAGE_EXTENSIONS)]
        found += images
        if any(is_dicom_file(file) for file in files if file not in images):
            found.append(Path(folder))
    if not found:
        raise InputError(
            "The folder {path} holds no image that can be read; give a folder with volumes, pictures or DICOM files.", path=path
        )
    return found


@dataclass(slots=True, frozen=True)
class _Choice:
    """What is taken of each input."""

    modality: str
    series: str
    frame: int | None

    def read(self, image: Image) -> tuple[Volume, list[str]]:
        """The volume, and warnings."""
        (volume,), warnings = read_volumes(image, self.modality, self.series, self.frame)
        return volume, warnings


def _series_sources(folder: Path, chosen: _Choice) -> list[Source]:
    """A DICOM folder: one source a series, or a radiograph or photograph. Whatever else it holds (reports, segmentations) is passed over."""
    from ..files.dicom import series_of

    found = series_of(sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")))
    if len(found) < 2:
        return [_file_source(folder, chosen)]
    return [
        _file_source(file, chosen)
        if file is not None
        else _file_source(folder, replace(chosen, series=uid), uid, Sentence("series {number}", number=number))
        for number, (uid, file) in enumerate(found, start=1)
    ]


def _file_source(path: Path, chosen: _Choice, series: str = "", which: str = "") -> Source:
    named = [path.name or str(path)]
    named += [which] if which else [Sentence("series {number}", number=chosen.series)] if chosen.series else []
    named += [] if chosen.frame is None else [Sentence("frame {frame}", frame=chosen.frame)]
    return Source(joined(named, ", "), os.path.abspath(path), partial(chosen.read, path), series or chosen.series, chosen.frame)
