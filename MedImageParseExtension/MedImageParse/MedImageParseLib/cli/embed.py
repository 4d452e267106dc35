"""`medimageparse embed INPUT…`: vectors of slices, pictures or whole volumes in a file."""

from __future__ import annotations

import argparse
from typing import Any

from ..api import embed
from ..api.insight_options import EmbedOptions
from ..errors import UsageError
from ..options import add_options, options_from
from .options import INPUT_HELP, add_common, add_connection, connection_options
from .terminal import raise_if_partly, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("embed", help="vectors of images, by MedImageInsight")
    parser.set_defaults(run=run)
    parser.add_argument("input", nargs="+", metavar="INPUT", help=INPUT_HELP)
    add_options(parser, EmbedOptions)
    add_connection(parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""

    def work(**run: Any) -> embed.EmbedResult:
        if not arguments.output:
            raise UsageError("Say where the vectors go: --output FILE.npz or FILE.csv.")
        return embed.embed(arguments.input, options=options_from(EmbedOptions, arguments), **run, **connection_options(arguments))

    result = reported(arguments, work, arguments.input)
    print(f"{len(result.vectors)} vectors of {result.vectors.shape[1]}")
    print(arguments.output)
    raise_if_partly(result)
    return 0
