"""Options that several commands share.

Options that the MedImageInsight commands share.
"""

from __future__ import annotations

import argparse

from ..errors import UsageError
from ..imaging.geometry import AUTO_PLANE, PLANE_CHOICES
from ..imaging.windows import CT_WINDOWS
from ..options import add_options, names_of
from ..profiles.options import ConnectionOptions
from ..program import command_name
from ..tasks.preprocessing import FITS, POOLS
from .terminal import print_prompt


class RefuseKey(argparse.Action):
    """`--key SECRET` is refused by name: anybody on this computer can read a command's arguments, and argparse would print it back."""

    def __call__(self, *_: object) -> None:
        raise UsageError(
            "A key is never given on the command line, where others can read it: set MEDIMAGEPARSE_KEY or use --key-file FILE."
        )


class Parser(argparse.ArgumentParser):
    """argparse that raises a sentence instead of printing usage and leaving, and that knows no abbreviations (--key is not --key-file)."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})
        self.commands: dict[str, argparse.ArgumentParser] = {}  # of the whole program, by name

    def error(self, message: str) -> None:
        raise UsageError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def add_common(parser: argparse.ArgumentParser) -> None:
    """--report, --quiet and --debug."""
    parser.add_argument("--report", metavar="FILE.json", help="write what was done, machine-readable")
    parser.add_argument("--quiet", action="store_true", help="stderr carries the error line only")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Where to send and how to sign in."""
    group = parser.add_argument_group("endpoint")
    where = group.add_mutually_exclusive_group()
    where.add_argument("--endpoint", metavar="URL", help="scoring URL")
    where.add_argument("--profile", metavar="NAME", help="a stored profile (see `profiles`)")
    group.add_argument("--key", action=RefuseKey, nargs="?", help=argparse.SUPPRESS)
    add_options(parser, ConnectionOptions)


def connection_options(arguments: argparse.Namespace) -> dict:
    """Keyword arguments of `connect` from parsed options; those not given are left out."""
    given = {name: value for name in names_of(ConnectionOptions) if (value := getattr(arguments, name, None)) not in ("", None)}
    if not arguments.endpoint and not arguments.profile:
        raise UsageError(f"Say where to send: --endpoint URL or --profile NAME (`{command_name()} serve` starts a local endpoint).")
    return {
        "endpoint": arguments.endpoint,
        "profile": arguments.profile,
        "show_device_code": print_prompt,
        **given,
    }


def connection_unless_index(arguments: argparse.Namespace) -> dict:
    """As `connection_options`; nothing where the only input is an index, which needs no endpoint."""
    from ..api.adapters import is_one_index  # here, as only two commands need that file

    if arguments.endpoint or arguments.profile:
        return connection_options(arguments)
    if not is_one_index(arguments.input):
        raise UsageError("Say where to send the images: --endpoint URL or --profile NAME; only an index needs none.")
    return {}


INPUT_HELP = ".nii .nii.gz .nrrd .mha .mhd, a DICOM file or folder, .png .jpg .tif, or a folder of such"


def add_slices(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Which slices."""
    group = parser.add_argument_group("slices of a volume")
    group.add_argument(
        "--slices", default="all", metavar="15|10:20|all", help="indices along the plane's axis, end not included (default all)"
    )
    group.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th of them")
    group.add_argument("--content", action="store_true", help="only slices on which something is seen")
    group.add_argument("--plane", choices=PLANE_CHOICES, default=AUTO_PLANE, help="default auto: the volume's own slices")
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
        group.add_argument(
            "--pool", choices=POOLS, default="none", help="one vector a volume: mean, or seven statistics (default none: one a slice)"
        )
    parser.add_argument("--modality", default="", help="DICOM modality code (CT, MR, …), where the file does not say")
    add_which(parser)


def add_which(parser: argparse.ArgumentParser) -> None:
    """Which of several images in one place."""
    parser.add_argument("--series", default="", metavar="UID|NUMBER", help="which DICOM series of a folder that holds several")
    parser.add_argument("--frame", metavar="N", help="which volume of an image that holds several, counted from 0")


def add_speed(parser: argparse.ArgumentParser) -> None:
    """How much at the same time."""
    from ..tasks.embed import AT_ONCE, BATCH  # here, as only some commands need that file

    group = parser.add_argument_group("speed")
    group.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N", help=f"most requests at the same time (default {AT_ONCE})")
    group.add_argument("--batch", type=int, default=BATCH, metavar="N", help=f"images in a request (default {BATCH})")


def image_options(arguments: argparse.Namespace) -> dict:
    """Keyword arguments of the console functions from the options above."""
    names = ("slices", "every", "content", "plane", "window", "fit", "pool", "modality", "series", "frame", "at_once", "batch")
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
