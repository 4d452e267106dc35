"""Options that the MedImageInsight commands share."""

from __future__ import annotations

import argparse

from ..imaging.planes import PLANES
from ..imaging.windows import CT_WINDOWS
from ..tasks.embed import AT_ONCE, BATCH
from ..tasks.preprocessing import FITS, POOLS

INPUT_HELP = ".nii .nii.gz .nrrd .mha .mhd, a DICOM file or folder, .png .jpg .tif, or a folder of such"


def add_slices(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Which slices."""
    group = parser.add_argument_group("slices of a volume")
    group.add_argument("--slices", default="all", metavar="15|10:20|all", help="indices along the plane's axis, end not included (default all)")
    group.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th of them")
    group.add_argument("--content", action="store_true", help="only slices on which something is seen")
    group.add_argument("--plane", choices=PLANES, default="axial")
    return group


def add_recipe(parser: argparse.ArgumentParser, *, pools: bool = True) -> None:
    """How pictures are made. Vectors of different recipes are never compared."""
    group = parser.add_argument_group("recipe (kept with each vector; vectors of different recipes are never compared)")
    group.add_argument(
        "--window", default="auto", metavar="WINDOW",
        help=f"auto (CT -1000 to 1000 HU, 8-bit as it is, else percentiles 1 to 99), percentile, LOW,HIGH or one of {', '.join(CT_WINDOWS)}",
    )  # fmt: skip
    group.add_argument("--fit", choices=FITS, default="pad", help="to the square that is sent: padded with black (default) or stretched")
    if pools:
        group.add_argument("--pool", choices=POOLS, default="none", help="one vector a volume: mean, or seven statistics (default none: one a slice)")
    parser.add_argument("--modality", default="", help="DICOM modality code (CT, MR, …), where the file does not say")


def add_speed(parser: argparse.ArgumentParser) -> None:
    """How much at the same time."""
    group = parser.add_argument_group("speed")
    group.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N", help=f"most requests at the same time (default {AT_ONCE})")
    group.add_argument("--batch", type=int, default=BATCH, metavar="N", help=f"images in a request (default {BATCH})")


def image_options(arguments: argparse.Namespace) -> dict:
    """Keyword arguments of the console functions from the options above."""
    names = ("slices", "every", "content", "plane", "window", "fit", "pool", "modality", "at_once", "batch")
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
