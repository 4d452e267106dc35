"""`medimageparse embed INPUT…`: vectors of slices, pictures or whole volumes in a file."""

from __future__ import annotations

import argparse

from ..api import embed
from ..errors import UsageError
from .options import INPUT_HELP, add_common, add_connection, add_recipe, add_slices, add_speed, connection_options, image_options
from .terminal import Terminal, raise_if_partly, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("embed", help="vectors of images, by MedImageInsight")
    parser.set_defaults(run=run)
    parser.add_argument("input", nargs="+", metavar="INPUT", help=INPUT_HELP)
    parser.add_argument("--output", metavar="FILE.npz|.csv", help="where the vectors go")
    parser.add_argument("--no-paths", dest="paths", action="store_false", help="leave names and paths out of the file")
    add_slices(parser)
    add_recipe(parser)
    add_speed(parser)
    add_connection(parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    terminal = Terminal(arguments.quiet)

    def work() -> embed.EmbedResult:
        if not arguments.output:
            raise UsageError("Say where the vectors go: --output FILE.npz or FILE.csv.")
        return embed.embed(
            arguments.input, output=arguments.output, paths=arguments.paths, **image_options(arguments),
            progress=terminal.progress, cancellation=arguments.cancellation, **connection_options(arguments),
        )  # fmt: skip

    result = reported(arguments, terminal, work, arguments.input)
    print(f"{len(result.vectors)} vectors of {result.vectors.shape[1]}")
    print(arguments.output)
    raise_if_partly(result.failure)
    return 0
