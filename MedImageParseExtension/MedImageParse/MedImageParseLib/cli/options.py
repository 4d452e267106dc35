"""Options that several commands share and that no options dataclass holds."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import UsageError
from ..options import add_options, names_of
from ..profiles.options import ConnectionOptions
from ..program import command_name
from .terminal import print_prompt


class RefuseKey(argparse.Action):
    """`--key SECRET` is refused by name: anybody on this computer can read a command's arguments, and argparse would print it back."""

    def __call__(self, *_: object) -> None:
        raise UsageError(
            "A key is never given on the command line, where others can read it: set MEDIMAGEPARSE_KEY or use --key-file FILE."
        )


class Parser(argparse.ArgumentParser):
    """argparse that raises a sentence instead of printing usage and leaving, and that knows no abbreviations (--key is not --key-file)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})
        self.commands: dict[str, argparse.ArgumentParser] = {}  # of the whole program, by name

    def error(self, message: str) -> NoReturn:
        raise UsageError("{upper}{message}; see `{prog} --help`.", upper=message[:1].upper(), message=message[1:], prog=self.prog)


def add_part(
    parts: argparse._SubParsersAction, name: str, words: str, run: Callable[[argparse.Namespace], int], *, index: str = "the index file"
) -> argparse.ArgumentParser:
    """A command, or a part of one such as `index search`.

    Args:
        parts: what it joins.
        name: as it is typed.
        words: its line in the help.
        run: does it, and returns the exit status.
        index: what the help says of its argument INDEX; "" where it has none.
    """
    parser = parts.add_parser(name, help=words)
    parser.set_defaults(run=run)
    if index:
        parser.add_argument("index", metavar="INDEX", help=index)
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """--report and --quiet."""
    parser.add_argument("--report", metavar="FILE.json", help="write what was done, machine-readable")
    add_quiet(parser)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """--quiet."""
    parser.add_argument("--quiet", action="store_true", help="stderr carries the error line only")


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
        raise UsageError(
            "Say where to send: --endpoint URL or --profile NAME (`{command_name} serve` starts a local endpoint).",
            command_name=command_name(),
        )
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
