"""`medimageparse batch INPUT…`: segment many images, and go on where the last run ended."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ..api import batch
from ..api.batch_cases import WRITES
from ..api.segment_options import ImageOptions
from ..errors import EndpointError, PartlyDone, UsageError
from ..models import SEGMENTING, WHICH_SEGMENTS
from ..options import add_options, names_of
from .options import add_common, add_connection, connection_options
from .terminal import reported

OPTIONS = ("model", "preset", "write", "output_dir", "at_once", "shard", "redo", "dry_run", "scheduler", *names_of(ImageOptions))


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser(
        "batch",
        help="segment many images; a second run goes on where the first one ended",
        epilog="Through an Azure ML batch endpoint instead: batch export-azure, batch submit-azure and batch import-azure.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="images, patterns, folders, cases.csv, cases.json, a BIDS data set, or - for paths on stdin",
    )
    parser.add_argument("--model", required=True, choices=SEGMENTING, help=WHICH_SEGMENTS)
    parser.add_argument("--prompt", action="append", metavar='"A & B"', help="targets of cases that have none in the table")
    parser.add_argument("--preset", default="", metavar="NAME", help="a named list of targets; `targets --presets` lists them")
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--output-dir", metavar="OUT", help="folder of the results, batch.jsonl and batch.csv")
    outputs.add_argument("--write", default="seg", metavar="A,B", help=f"what to write of each case: {', '.join(WRITES)} (default seg)")
    runs = parser.add_argument_group("run")
    runs.add_argument(
        "--at-once", type=int, default=batch.AT_ONCE, metavar="N", help=f"most requests at the same time (default {batch.AT_ONCE})"
    )
    runs.add_argument("--shard", default="", metavar="K/N", help="do the K-th of N parts of the cases; the others may run elsewhere")
    runs.add_argument(
        "--redo", choices=("failed", "changed", "all"), default="", help="do again: those that failed, those whose results are missing, all"
    )
    runs.add_argument("--dry-run", action="store_true", help="count cases, requests and megabytes; nothing is sent or written")
    runs.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="a Dask scheduler whose workers do the cases, such as tcp://host:8786"
    )
    add_options(parser, ImageOptions)
    add_connection(parser)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    if arguments.inputs.count("-") > 1:
        raise UsageError("Standard input can be read once only: give - once.")
    result = reported(arguments, lambda **run: _batch(arguments, run), _read(arguments), ())
    print(result.summary)
    for path in result.report["outputs"]:
        print(path)
    if result.exit_status == 4:
        raise PartlyDone(result.failure)
    if result.exit_status == 3:
        raise EndpointError(result.failure)
    return 0


def _batch(arguments: argparse.Namespace, run: dict[str, Any]) -> batch.BatchResult:
    return batch.batch(
        arguments.inputs,
        arguments.prompt or [],
        **run,
        **{name: getattr(arguments, name) for name in OPTIONS},
        **connection_options(arguments),
    )


def _read(arguments: argparse.Namespace) -> list[str]:
    """The inputs that the report must not replace; an earlier report among the results, which may lie in a folder that is read, it may."""
    among_results = (
        arguments.report
        and arguments.output_dir
        and Path(os.path.abspath(arguments.report)).is_relative_to(os.path.abspath(arguments.output_dir))
    )
    return [path for path in arguments.inputs if path != "-" and not (among_results and os.path.isdir(path))]
