"""`medimageparse segment INPUT`: segment one image by text prompts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..api import segment
from ..errors import UsageError
from ..imaging.geometry import PLANE_CHOICES
from ..imaging.windows import CT_WINDOWS
from ..prompts.grouping import GROUPS
from .options import add_common, add_connection, connection_options
from .terminal import Terminal, raise_if_partly, reported

if TYPE_CHECKING:
    from ..tasks.run import SegmentationResult


OUTPUTS = ("output", "labels", "picture", "statistics", "dicom_seg", "rtstruct")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("segment", help="segment an image by text prompts")
    parser.set_defaults(run=run)
    parser.add_argument("input", metavar="INPUT", help=".nii .nii.gz .nrrd .mha .mhd, a DICOM file or folder, .png .jpg .tif")
    parser.add_argument("--model", required=True, choices=segment.MODELS)
    parser.add_argument("--prompt", action="append", metavar='"A & B"', help="targets; may be given several times")
    parser.add_argument("--preset", default="", metavar="NAME", help="a named list of targets; `targets --presets` lists them")
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--output", metavar="OUT.seg.nrrd", help="a Slicer segmentation; overlaps are kept")
    outputs.add_argument("--labels", metavar="FILE", help=".nii.gz or .nrrd labelmap on the input's own grid; value k = k-th prompt")
    outputs.add_argument("--probability", metavar="DIR", help="folder for one float volume a prompt, where the reply carries them")
    outputs.add_argument("--picture", metavar="FILE.png", help="the input with the masks over it")
    outputs.add_argument("--masks", metavar="DIR", help="folder for one labelmap a found structure")
    outputs.add_argument("--statistics", metavar="FILE", help=".csv or .json: voxels, ml, values and place of each structure")
    outputs.add_argument("--dicom-seg", metavar="FILE.dcm", help="a DICOM Segmentation object (DICOM input)")
    outputs.add_argument("--rtstruct", metavar="FILE.dcm", help="an RT Structure Set (DICOM input)")
    outputs.add_argument(
        "--instances", metavar="ML", type=float, help="separate structures of at least so many ml become segments of their own"
    )
    image = parser.add_argument_group("image")
    image.add_argument(
        "--plane", choices=PLANE_CHOICES, default="", help="default axial; auto: the volume's own slices, as for a volume of one slice"
    )
    image.add_argument(
        "--slices", metavar="15|10:20|all", help="medimageparse on a volume: indices along the plane's axis, end not included"
    )
    image.add_argument(
        "--window", default="auto", metavar="WINDOW", help=f"auto, raw, percentile, LOW,HIGH or one of {', '.join(CT_WINDOWS)}"
    )
    image.add_argument("--orient", choices=("trained", "radiological", "vote"), help="medimageparse on a volume (default trained)")
    image.add_argument("--slabs", metavar="none|auto|N", help="medimageparse3d: split a tall volume along its axial axis (default auto)")
    image.add_argument(
        "--region", default="", metavar="I0:I1,J0:J1,K0:K1", help="medimageparse3d: send only this part, in voxels, ends not included"
    )
    image.add_argument(
        "--group",
        choices=GROUPS,
        default="auto",
        help="auto (default): nested targets in different requests, as few as possible; one request; one a prompt",
    )
    image.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="medimageparse3d: the majority of N runs, as its answers differ a little"
    )
    image.add_argument("--modality", default="", help="DICOM modality code (CT, MR, …), where the file does not say")
    image.add_argument("--series", default="", metavar="UID|NUMBER", help="which DICOM series of a folder that holds several")
    image.add_argument(
        "--frame", metavar="N|all", help="which volume of an image that holds several, counted from 0; all: each, into files of its own"
    )
    add_connection(parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    result = reported(arguments, terminal := Terminal(arguments.quiet), lambda: _segment(arguments, terminal), [arguments.input], OUTPUTS)
    for entry in result.report["prompts"]:
        print(_line(entry))
    for path in result.report["outputs"]:
        print(path)
    raise_if_partly(result.failure)
    return 0


def _segment(arguments: argparse.Namespace, terminal: Terminal) -> SegmentationResult:
    if not arguments.prompt and not arguments.preset:
        raise UsageError('Say what to look for: --prompt "liver & spleen", or --preset NAME (`targets --presets` lists them).')
    if not any(getattr(arguments, name) for name in (*OUTPUTS, "probability", "masks", "report")):
        raise UsageError("Say what to write: --output OUT.seg.nrrd, --labels FILE, --picture FILE.png or --report FILE.json.")
    return segment.segment(
        arguments.input,
        arguments.prompt or [],
        model=arguments.model,
        preset=arguments.preset,
        output=arguments.output,
        labels=arguments.labels,
        probability=arguments.probability,
        picture=arguments.picture,
        masks=arguments.masks,
        statistics=arguments.statistics,
        dicom_seg=arguments.dicom_seg,
        rtstruct=arguments.rtstruct,
        instances=arguments.instances,
        plane=arguments.plane,
        slices=arguments.slices,
        window=arguments.window,
        orient=arguments.orient,
        slabs=arguments.slabs,
        region=arguments.region,
        group=arguments.group,
        repeat=arguments.repeat,
        modality=arguments.modality,
        series=arguments.series,
        frame=arguments.frame,
        progress=terminal.progress,
        cancellation=arguments.cancellation,
        **connection_options(arguments),
    )


def _line(entry: dict) -> str:
    if "frame" in entry:
        return f"frame {entry['frame']}, {_line({name: value for name, value in entry.items() if name != 'frame'})}"
    if entry["found"] is None:
        return f"{entry['name']}: not done"
    if not entry["found"]:
        return f"{entry['name']}: not found"
    volume = f", {entry['volume_ml']:.1f} ml" if entry["volume_ml"] is not None else ""
    return f"{entry['name']}: found, {entry['voxels']} {'voxels' + volume if volume else 'pixels'}"
