"""`medimageparse classify INPUT`: which of several labels a picture, each slice and a whole volume fit best."""

from __future__ import annotations

import argparse

from ..api import compare
from .options import INPUT_HELP, add_common, add_connection, add_recipe, add_slices, add_speed, connection_options, image_options
from .terminal import Terminal, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("classify", help="compare an image with labels, without training, by MedImageInsight")
    parser.set_defaults(run=run)
    parser.add_argument("input", metavar="INPUT", help=INPUT_HELP)
    parser.add_argument("--label", action="append", default=[], metavar='"…"', help="a label; at least two")
    parser.add_argument("--labels", metavar="FILE.csv|NAME", help='labels from a file, or a ready set, e.g. "CT chest"')
    parser.add_argument("--set", dest="label_set", default="", metavar="NAME", help="which set of a file that holds several")
    prefix = 'begins the text of each --label: "modality anatomy parameters", such as "x-ray chest anteroposterior"'
    parser.add_argument("--prefix", default="", metavar='"…"', help=prefix)
    parser.add_argument("--tuned", action="store_true", help="the endpoint is a fine-tuned classifier, which has labels of its own")
    parser.add_argument("--picture", metavar="CHART.png", help="the probabilities as a chart")
    add_slices(parser)
    add_recipe(parser, pools=False)
    add_speed(parser)
    add_connection(parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    terminal = Terminal(arguments.quiet)

    def work():
        return compare.classify(
            arguments.input, label=arguments.label, labels=arguments.labels, label_set=arguments.label_set, prefix=arguments.prefix, tuned=arguments.tuned, picture=arguments.picture,
            **image_options(arguments), progress=terminal.progress, cancellation=arguments.cancellation, **connection_options(arguments),
        )  # fmt: skip

    result = reported(arguments, terminal, work, [arguments.input, *([arguments.labels] if arguments.labels else [])])
    names = [label.name for label in result.labels]
    print("\t".join(["slice", *names]))
    for index, row in zip(result.indices, result.slices):
        print("\t".join([str(index), *(f"{value:.4f}" for value in row)]))
    print("\t".join(["all", *(f"{value:.4f}" for value in result.volume)]))
    if arguments.picture:
        print(arguments.picture)
    terminal.say(f"note: {result.report['note']}")
    return 0
