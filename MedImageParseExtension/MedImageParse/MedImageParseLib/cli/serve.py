"""`medimageparse serve`: the local endpoint, in the foreground, on loopback."""

from __future__ import annotations

import argparse

from ..api import segment


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser(
        "serve", help="run the local endpoint on loopback: the classical demo engine (not MedImageParse), or an engine that you added"
    )
    parser.set_defaults(run=run)
    parser.add_argument("--port", type=int, default=5001, help="default 5001; 0 takes any free port")
    parser.add_argument(
        "--engine",
        default="",
        metavar="NAME|FILE.py:Class",
        help="who answers: one that `engine list` shows, or a class of your own (default classical)",
    )
    parser.add_argument("--quiet", action="store_true", help="print the URL only")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    from .main import end_when_interrupted

    end_when_interrupted()
    segment.serve(arguments.port, quiet=arguments.quiet, engine=arguments.engine)
    return 0
