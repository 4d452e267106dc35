"""`medimageparse check`: one sentence on whether the endpoint answers, with which model behind it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from ..api import segment
from ..models import MODELS
from ..tasks.run import Report
from .options import add_common, add_connection, connection_options
from .terminal import Terminal, reported


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


@dataclass(slots=True, frozen=True)
class _Checked:
    """What the probe found, and its report."""

    sentence: str
    report: dict


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""

    def work() -> _Checked:
        result = segment.check(model=arguments.model, cancellation=arguments.cancellation, **connection_options(arguments))
        report = Report(
            model=result.model, engine=result.engine or None, reply_form=result.reply_form, warnings=result.warnings,
            timings_s={"total": round(result.latency_s, 3)}, engine_facts=result.about.to_json() if result.about is not None else None,
        )  # fmt: skip
        return _Checked(result.sentence, report.as_dict())

    print(reported(arguments, Terminal(arguments.quiet), work, []).sentence)
    return 0
