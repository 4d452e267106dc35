"""Which images of a DICOM series are slices of one volume: copies, scouts and strays are left out by name, and what is none is refused."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..remedies import Sentence, few
from .dicom_geometry import frame_geometries, groups_by_place, odd_ones
from .dicom_pixels import pixel_values

if TYPE_CHECKING:
    from pydicom import Dataset

# Projections, photographs, screenshots and ultrasound pictures: two of them are two pictures, not two slices.
PROJECTIONS = {"CR", "DX", "MG", "IO", "PX", "RG", "RTIMAGE", "XA", "RF", "XC", "OP", "ES", "GM", "SM", "DG", "US", "OT", "SC"}


@dataclass(slots=True, frozen=True)
class Image:
    """One image: its file, and the few fields of its header that are read."""

    path: Path
    header: Dataset


def kinds_of(header: Dataset) -> set[str]:
    """The words of ImageType."""
    words = header.get("ImageType") or []
    return {str(word).strip().upper() for word in ([words] if isinstance(words, str) else words)}


def number_of(header: Dataset, name: str, default: float) -> float:
    """A field that is a number; the default where it is absent, 0 or no number."""
    try:
        return float(header.get(name, default) or default)
    except (TypeError, ValueError):
        return default


def require_slices(image: Image, where: str) -> None:
    """Refuse one picture that holds many: mosaics and the tiles of whole slides."""
    header = image.header
    if "MOSAIC" in kinds_of(header):
        raise InputError(
            "The DICOM file {name} is a mosaic: many slices tiled in one picture. Convert the series with dcm2niix and give the NIfTI file.",
            name=image.path.name,
        )
    tiled = number_of(header, "TotalPixelMatrixColumns", 0) > header.Columns or number_of(header, "TotalPixelMatrixRows", 0) > header.Rows
    if tiled:
        raise InputError(
            "{where} holds the tiles of a whole-slide image ({name}), not slices of a volume: export the region that you want as PNG or TIFF.",
            where=where,
            name=image.path.name,
        )


def require_no_mixture(images: list[Image], counts: list[int], where: str) -> None:
    """Refuse several files of which one holds several frames; `counts` are the frames of each."""
    several = [image.path.name for image, count in zip(images, counts, strict=True) if count > 1]
    if len(images) == 1 or not several:
        return
    if len(several) == len(images):
        raise InputError("{where} holds {count} files of several frames each; give one of these files.", where=where, count=len(images))
    raise InputError(
        "{where} holds files of several frames beside single images: {listed}. Give these files one by one, and the single images alone.",
        where=where,
        listed=few(sorted(several)),
    )


def _are_scouts(images: list[Image]) -> bool:
    return len(images) > 1 and all(image.header.get("Modality") == "CT" and "LOCALIZER" in kinds_of(image.header) for image in images)


def _are_projections(images: list[Image]) -> bool:
    """Whether these are several pictures that are no slices, because of what they are and because none says where it is."""
    modality = str(images[0].header.get("Modality") or "").strip().upper()
    places = (place for image in images for place in frame_geometries(image.header))
    return len(images) > 1 and modality in PROJECTIONS and all(place.position is None for place in places)


def are_pictures(images: list[Image]) -> bool:
    """Whether these are several pictures, each for itself, and no slices."""
    return _are_scouts(images) or _are_projections(images)


def require_no_projections(images: list[Image], where: str) -> None:
    """Refuse several overviews of a CT, and several pictures of a kind that is never stacked."""
    modality = str(images[0].header.get("Modality") or "").strip().upper()
    listed = few(sorted(image.path.name for image in images))
    if _are_scouts(images):
        raise InputError(
            "{where} holds {count} overview images of a CT ({listed}), not slices of a volume; give one of these files.",
            where=where,
            count=len(images),
            listed=listed,
        )
    if _are_projections(images):
        raise InputError(
            "{where} holds {count} {modality} pictures ({listed}), not slices of a volume; give one of these files.",
            where=where,
            count=len(images),
            modality=modality,
            listed=listed,
        )


def without_copies(images: list[Image], warnings: list[str]) -> list[Image]:
    """Leave out files that are the same image again."""
    seen: set[tuple[str, ...]] = set()
    kept = []
    for image in images:
        # The UID alone is not enough: careless anonymizers give every slice the same one.
        identity = tuple(str(image.header.get(name)) for name in ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient"))
        if not image.header.get("SOPInstanceUID") or identity not in seen:
            kept.append(image)
        seen.add(identity)
    if len(kept) < len(images):
        warnings.append(Sentence("{count} DICOM files are copies of others and were passed over.", count=len(images) - len(kept)))
    return kept


def without_homeless(images: list[Image], warnings: list[str]) -> list[Image]:
    """Leave out the few images that do not say where they are among many that do: dose reports, screenshots."""
    homeless = [image for image in images if frame_geometries(image.header)[0].position is None]
    if not homeless or 2 * len(homeless) >= len(images):
        return images
    named = few(sorted(image.path.name for image in homeless))
    warnings.append(
        Sentence("Images without a place in the patient were left out of the volume ({count}): {named}.", count=len(homeless), named=named)
    )
    return [image for image in images if image not in homeless]


def without_twins(images: list[Image], warnings: list[str]) -> list[Image]:
    """Leave out images that lie where another lies and show the very same: a series that was exported twice under new numbers."""
    places = [frame_geometries(image.header)[0] for image in images]
    twins: set[int] = set()
    for group in groups_by_place(places):
        first, *others = group
        if others:
            shown = pixel_values(images[first].path, images[first].header)
            same = [each for each in others if np.array_equal(shown, pixel_values(images[each].path, images[each].header))]
            if len(same) < len(others):  # something else is there: phases, echoes
                return images
            twins.update(same)
    if twins:
        named = few(sorted(images[number].path.name for number in twins))
        warnings.append(
            Sentence(
                "Images that are the same as others at their positions were passed over ({count}): {named}.", count=len(twins), named=named
            )
        )
    return [image for number, image in enumerate(images) if number not in twins]


def without_scouts(images: list[Image], warnings: list[str]) -> list[Image]:
    """Leave out overview images (ImageType LOCALIZER) among slices that are none, where they do not fit the slices."""
    scouts = [image for image in images if "LOCALIZER" in kinds_of(image.header)]
    if not scouts or len(scouts) == len(images):
        return images
    rest = [image for image in images if image not in scouts]
    geometries = [frame_geometries(image.header)[0] for image in [*rest, *scouts]]
    odd = {number - len(rest) for number in odd_ones(geometries) if number >= len(rest)}
    shapes = {(image.header.Rows, image.header.Columns) for image in rest}
    odd |= {number for number, image in enumerate(scouts) if (image.header.Rows, image.header.Columns) not in shapes}
    dropped = [scouts[number] for number in sorted(odd)]
    if dropped:
        named = few(sorted(image.path.name for image in dropped))
        left = (
            "1 overview image was left out of the volume: {named}."
            if len(dropped) == 1
            else "{count} overview images were left out of the volume: {named}."
        )
        warnings.append(Sentence(left, count=len(dropped), named=named))
    return [image for image in images if image not in dropped]


def require_one_shape(images: list[Image]) -> None:
    """Refuse images of different sizes, by the names of the odd ones."""
    by_shape: dict[tuple[int, int], list[Image]] = defaultdict(list)
    for image in images:
        by_shape[int(image.header.Rows), int(image.header.Columns)].append(image)
    if len(by_shape) > 1:
        main = max(by_shape.values(), key=len)
        odd = few(sorted(image.path.name for image in images if image not in main))
        raise InputError(
            "The images of the series differ in size (a scout among the slices?): unlike the rest are {odd}. Move them out of the folder.",
            odd=odd,
        )
