"""`medimageparse check`: one sentence on whether the endpoint answers, with which model behind it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..api import segment
from ..models import MODELS
from .options import add_common, add_connection, connection_options
from .terminal import reported

if TYPE_CHECKING:
    from ..tasks.check_endpoint import CheckResult


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("check", help="test the connection with a tiny probe")
    parser.set_defaults(run=run)
    parser.add_argument(
        "--model",
        default="auto",
        choices=("auto", *MODELS),
        help="the model that should be there",
    )
    add_connection(parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""

    def work(**_run: object) -> CheckResult:
        return segment.check(model=arguments.model, cancellation=arguments.cancellation, **connection_options(arguments))

    print(reported(arguments, work, []).sentence)
    return 0
