"""`medimageparse evaluate`: how well predictions fit references."""

from __future__ import annotations

import argparse

from ..api import evaluate
from .options import add_common
from .terminal import Terminal, raise_if_partly, reported

PROTOCOLS = ("plain", "cvpr25", "amos")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("evaluate", help="measure segmentations against references")
    parser.set_defaults(run=run)
    parser.add_argument("--reference", required=True, metavar="REF", help="labelmap, .seg.nrrd, folder of such, or a batch.jsonl")
    parser.add_argument("--prediction", required=True, metavar="PRED", help="the same; a batch's folder or batch.jsonl too")
    parser.add_argument("--names", metavar="MAP.json", help='which label is which: {"1": "spleen", "2": "liver"}')
    parser.add_argument("--protocol", choices=PROTOCOLS, default="plain", help="default plain")
    parser.add_argument("--tolerance", type=float, default=2.0, metavar="MM", help="of the surface Dice (default 2 mm)")
    parser.add_argument("--instances", action="store_true", help="the reference's labels are objects of one kind: F1 and Dice of the hits")
    parser.add_argument("--resample", action="store_true", help="bring predictions onto the reference's grid (nearest neighbour)")
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--csv", metavar="FILE", help="one row a case and structure")
    outputs.add_argument("--table", metavar="FILE.md", help="means beside the model card's published numbers")
    outputs.add_argument("--picture", metavar="FILE.png", help="the three cases that fit worst, with both outlines")
    outputs.add_argument("--images", metavar="DIR", help="the cases' images, for the picture (those of a batch are known)")
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    terminal = Terminal(arguments.quiet)
    inputs = [arguments.reference, arguments.prediction]
    result = reported(arguments, terminal, lambda: _evaluate(arguments, terminal), inputs)
    print(result.table)
    for path in result.report["outputs"]:
        print(path)
    raise_if_partly(result.failure)
    return 0


def _evaluate(arguments: argparse.Namespace, terminal: Terminal) -> evaluate.EvaluationResult:
    options = ("names", "protocol", "tolerance", "csv", "table", "picture", "images", "instances", "resample")
    return evaluate.evaluate(
        arguments.reference,
        arguments.prediction,
        progress=terminal.progress,
        cancellation=arguments.cancellation,
        **{name: getattr(arguments, name) for name in options},
    )
