"""The options of segmenting, written once: the functions of the API, the commands and the panel's choices are made from them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..imaging.geometry import PLANE_CHOICES
from ..imaging.windows import CT_WINDOWS
from ..models import SLICES, VOLUMES
from ..options import option
from ..prompts.grouping import GROUPS

ORIENTATIONS = ("trained", "radiological", "vote")
_IMAGE = "image"
_OUTPUTS = "outputs"


@dataclass(frozen=True)
class RequestOptions:
    """How an image is put into requests."""

    plane: str = option(
        "",
        help="plane of the slices; axial where none is given, auto for the volume's own slices, as for a volume of one slice",
        choices=PLANE_CHOICES,
        group=_IMAGE,
    )
    slices: str | list[int] | None = option(
        None,
        help=f"{SLICES.name} on a volume: indices along the plane's axis, end not included",
        metavar="15|10:20|all",
        group=_IMAGE,
    )
    window: str = option("auto", help=f"auto, raw, percentile, LOW,HIGH or one of {', '.join(CT_WINDOWS)}", metavar="WINDOW", group=_IMAGE)
    orient: str | None = option(
        None,
        help=f"{SLICES.name} on a volume: how slices are turned (default trained)",
        choices=ORIENTATIONS,
        group=_IMAGE,
    )
    slabs: str | int | None = option(
        None,
        help=f"{VOLUMES.name}: split a tall volume along its axial axis (default auto)",
        metavar="none|auto|N",
        group=_IMAGE,
    )
    group: str = option(
        "auto",
        help="auto (default): nested targets in different requests, as few as possible; one request; one a prompt",
        choices=GROUPS,
        group=_IMAGE,
    )
    modality: str = option("", help="DICOM modality code (CT, MR, …), where the file does not say", group=_IMAGE)


@dataclass(frozen=True)
class ImageOptions(RequestOptions):
    """How an image is sent, and what is made of the answers: of `segment`, and for all cases of `batch`."""

    region: str = option(
        "",
        help=f"{VOLUMES.name}: send only this part, in voxels, ends not included",
        metavar="I0:I1,J0:J1,K0:K1",
        group=_IMAGE,
    )
    repeat: int = option(1, help=f"{VOLUMES.name}: the majority of N runs, as its answers differ a little", metavar="N", group=_IMAGE)
    instances: float | None = option(
        None,
        help="separate structures of at least so many ml become segments of their own, NAME 1 the largest",
        metavar="ML",
        group=_OUTPUTS,
    )


@dataclass(frozen=True)
class SegmentOptions(ImageOptions):
    """What `segment` writes, and which image it takes of several."""

    output: str | os.PathLike | None = option(None, help="a Slicer segmentation; overlaps are kept", metavar="OUT.seg.nrrd", group=_OUTPUTS)
    labels: str | os.PathLike | None = option(
        None, help=".nii.gz or .nrrd labelmap on the input's own grid; value k = k-th prompt", metavar="FILE", group=_OUTPUTS
    )
    probability: str | os.PathLike | None = option(
        None, help="folder for one float volume a prompt, where the reply carries them", metavar="DIR", group=_OUTPUTS
    )
    picture: str | os.PathLike | None = option(None, help="the input with the masks over it", metavar="FILE.png", group=_OUTPUTS)
    masks: str | os.PathLike | None = option(None, help="folder for one labelmap a found structure", metavar="DIR", group=_OUTPUTS)
    statistics: str | os.PathLike | None = option(
        None, help=".csv or .json: voxels, ml, values and place of each structure", metavar="FILE", group=_OUTPUTS
    )
    dicom_seg: str | os.PathLike | None = option(None, help="a DICOM Segmentation object (DICOM input)", metavar="FILE.dcm", group=_OUTPUTS)
    rtstruct: str | os.PathLike | None = option(None, help="an RT Structure Set (DICOM input)", metavar="FILE.dcm", group=_OUTPUTS)
    series: str | int = option("", help="which DICOM series of a folder that holds several", metavar="UID|NUMBER", group=_IMAGE)
    frame: int | str | None = option(
        None,
        help="which volume of an image that holds several, counted from 0; all: each, into files of its own",
        metavar="N|all",
        group=_IMAGE,
    )
