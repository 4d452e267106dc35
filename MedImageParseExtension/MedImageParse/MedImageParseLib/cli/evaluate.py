"""`medimageparse evaluate`: how well predictions fit references."""

from __future__ import annotations

import argparse

from ..api import evaluate
from ..api.evaluate import EvaluateOptions
from ..options import add_options, options_from
from .options import add_common
from .terminal import raise_if_partly, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("evaluate", help="measure segmentations against references")
    parser.set_defaults(run=run)
    parser.add_argument("--reference", required=True, metavar="REF", help="labelmap, .seg.nrrd, folder of such, or a batch.jsonl")
    parser.add_argument("--prediction", required=True, metavar="PRED", help="the same; a batch's folder or batch.jsonl too")
    add_options(parser, EvaluateOptions)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    inputs = [arguments.reference, arguments.prediction]
    result = reported(arguments, lambda **run: evaluate.evaluate(*inputs, options=options_from(EvaluateOptions, arguments), **run), inputs)
    print(result.table)
    for path in result.report["outputs"]:
        print(path)
    raise_if_partly(result)
    return 0
