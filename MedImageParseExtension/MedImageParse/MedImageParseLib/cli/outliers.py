"""`medimageparse outliers INDEX --reference NAME`: what in an index is unlike a reference set. No endpoint takes part."""

from __future__ import annotations

import argparse

from ..api import compare
from ..api.insight_options import OutlierOptions
from ..errors import UsageError
from ..options import add_options, options_from
from ..redaction import visible
from ..tasks.outliers import describe_item
from .options import add_common, add_part
from .terminal import Terminal, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = add_part(commands, "outliers", "rank what is in an index by its distance to a reference set", run)
    parser.add_argument(
        "--reference", required=True, action="append", metavar="NAME",
        help="what is usual: a file's name (wildcards * and ?), a path, a folder or a series in the index; may be given several times",
    )  # fmt: skip
    parser.add_argument("--top", type=int, default=20, metavar="N", help="how many to print (default 20; the report has all)")
    add_options(parser, OutlierOptions)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""

    if arguments.top < 1:
        raise UsageError("The number of results must be at least 1.")

    def work(**_run):
        return compare.outliers(arguments.index, reference=arguments.reference, options=options_from(OutlierOptions, arguments))

    result = reported(arguments, work, [arguments.index])
    for rank, item in enumerate(result.items[: arguments.top], start=1):
        entry = describe_item(rank, item)
        above = "-" if entry["percentile"] is None else f"{entry['percentile']:.1f} %"
        print(f"{rank}\t{item.distance:.4f}\t{above}\t{entry['name']}\t{entry['place']}\t{visible(entry['source'])}")
    if (threshold := result.report["threshold"]) is not None:
        rate = 100 * result.report["false_alarms_expected"]
        beyond = f"{result.report['beyond']} of {len(result.items)} are beyond {threshold:.4f}"
        Terminal(arguments.quiet).say(f"note: {beyond}, the threshold for {rate:.3g} % false alarms.")
    if (known := result.report.get("known")) is not None:
        print(f"AUROC {known['auroc']:.4f} of {known['items']}, {known['unusual']} of them unusual")
    if arguments.map:
        print(arguments.map)
    return 0
