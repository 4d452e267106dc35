"""`medimageparse outliers INDEX --reference NAME`: what in an index is unlike a reference set. No endpoint takes part."""

from __future__ import annotations

import argparse

from ..api import compare
from ..tasks.outliers import describe_item
from .options import add_common
from .terminal import Terminal, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("outliers", help="rank what is in an index by its distance to a reference set")
    parser.set_defaults(run=run)
    parser.add_argument("index", metavar="INDEX", help="the index file")
    parser.add_argument(
        "--reference", required=True, action="append", metavar="NAME",
        help="what is usual: a file's name (wildcards * and ?), a path, a folder or a series in the index; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--by", choices=("slice", "study"), default="slice", help="rank slices (default), or volumes by statistics of their slices"
    )
    parser.add_argument("--neighbors", type=int, default=1, metavar="N", help="average over the N nearest of the reference set (default 1)")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="how many to print (default 20; the report has all)")
    parser.add_argument("--recipe", default="", metavar="RECIPE", help="where the index has several, as `index info` prints them")
    parser.add_argument("--map", metavar="MAP.png", help="all of the index as points in the plane")
    parser.add_argument(
        "--map-method",
        choices=("auto", "pca", "umap"),
        default="auto",
        help="principal components, or UMAP where umap-learn is installed (default auto)",
    )
    parser.add_argument("--method", choices=("knn", "lof", "forest"), default="knn", help="lof and forest need scikit-learn (default knn)")
    parser.add_argument(
        "--false-alarms", type=float, default=0.05, metavar="RATE", help="expected, which sets the threshold (default 0.05)"
    )
    parser.add_argument("--labels", default="", metavar="SET", help="a set of labels that says what is unusual, for the ROC curve")
    parser.add_argument("--unusual", action="append", default=[], metavar="LABEL", help="a label of that set; may be given several times")
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""

    def work():
        return compare.outliers(
            arguments.index, reference=arguments.reference, by=arguments.by, neighbors=arguments.neighbors, recipe=arguments.recipe,
            map=arguments.map, map_method=arguments.map_method, method=arguments.method, false_alarms=arguments.false_alarms, labels=arguments.labels,
            unusual=arguments.unusual,
        )  # fmt: skip

    result = reported(arguments, Terminal(arguments.quiet), work, [arguments.index])
    for rank, item in enumerate(result.items[: arguments.top], start=1):
        entry = describe_item(rank, item)
        above = "-" if entry["percentile"] is None else f"{entry['percentile']:.1f} %"
        print(f"{rank}\t{item.distance:.4f}\t{above}\t{entry['name']}\t{entry['place']}\t{entry['source']}")
    if (known := result.report.get("known")) is not None:
        print(f"AUROC {known['auroc']:.4f} of {known['items']}, {known['unusual']} of them unusual")
    if arguments.map:
        print(arguments.map)
    return 0
