"""`medimageparse classify INPUT`: which of several labels a picture, each slice and a whole volume fit best."""

from __future__ import annotations

import argparse

from ..api import compare
from ..api.insight_options import ClassifyOptions
from ..options import add_options, options_from
from .options import INPUT_HELP, add_common, add_connection, connection_options
from .terminal import Terminal, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("classify", help="compare an image with labels, without training, by MedImageInsight")
    parser.set_defaults(run=run)
    parser.add_argument("input", metavar="INPUT", help=INPUT_HELP)
    add_options(parser, ClassifyOptions)
    add_connection(parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""

    def work(**run):
        return compare.classify(arguments.input, options=options_from(ClassifyOptions, arguments), **run, **connection_options(arguments))

    result = reported(arguments, work, [arguments.input, *([arguments.labels] if arguments.labels else [])])
    names = [label.name for label in result.labels]
    print("slice", *names, sep="\t")
    for index, row in [*zip(result.indices, result.slices), ("all", result.volume)]:
        print(index, *(f"{value:.4f}" for value in row), sep="\t")
    if arguments.picture:
        print(arguments.picture)
    Terminal(arguments.quiet).say(f"note: {result.report['note']}")
    return 0
