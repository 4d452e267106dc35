"""`medimageparse segment INPUT`: segment one image by text prompts."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any

from ..api import segment
from ..api.outputs import FILES
from ..api.segment_options import SegmentOptions
from ..errors import UsageError
from ..models import SEGMENTING, WHICH_SEGMENTS
from ..options import add_options, options_from
from .options import add_common, add_connection, connection_options
from .terminal import raise_if_partly, reported

if TYPE_CHECKING:
    from ..tasks.results import SegmentationResult


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("segment", help="segment an image by text prompts")
    parser.set_defaults(run=run)
    parser.add_argument("input", metavar="INPUT", help=".nii .nii.gz .nrrd .mha .mhd, a DICOM file or folder, .png .jpg .tif")
    parser.add_argument("--model", required=True, choices=SEGMENTING, help=WHICH_SEGMENTS)
    parser.add_argument("--prompt", action="append", metavar='"A & B"', help="targets; may be given several times")
    parser.add_argument("--preset", default="", metavar="NAME", help="a named list of targets; `targets --presets` lists them")
    add_options(parser, SegmentOptions)
    add_connection(parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    result = reported(arguments, lambda **run: _segment(arguments, run), [arguments.input], FILES)
    for entry in result.report["prompts"]:
        print(_line(entry))
    for path in result.report["outputs"]:
        print(path)
    raise_if_partly(result)
    return 0


def _segment(arguments: argparse.Namespace, run: dict[str, Any]) -> SegmentationResult:
    if not arguments.prompt and not arguments.preset:
        raise UsageError('Say what to look for: --prompt "liver & spleen", or --preset NAME (`targets --presets` lists them).')
    if not any(getattr(arguments, name) for name in (*FILES, "probability", "masks", "report")):
        raise UsageError("Say what to write: --output OUT.seg.nrrd, --labels FILE, --picture FILE.png or --report FILE.json.")
    if re.search(r"[*?]|\[[^\]]+\]", arguments.input) and not os.path.lexists(arguments.input):
        raise UsageError("The input is a pattern for several files, and segment takes one image: give one, or use `batch` for all of them.")
    return segment.segment(
        arguments.input,
        arguments.prompt or [],
        model=arguments.model,
        preset=arguments.preset,
        options=options_from(SegmentOptions, arguments),
        **run,
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
