"""`medimageparse adapter train|evaluate|apply`: small heads on MedImageInsight's vectors."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..api import adapters
from ..api.insight_options import ApplyOptions, MeasureOptions, TrainOptions
from ..options import add_options, options_from
from ..redaction import visible
from ..tasks.find_similar import name_of, place_of
from .options import INPUT_HELP, Parser, add_common, add_connection, add_part, connection_unless_index
from .terminal import raise_if_partly, reported

if TYPE_CHECKING:
    from ..search.measures import Figures


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("adapter", help="learn a small head on the vectors of an index, measure it, apply it")
    parts = parser.add_subparsers(title="what to do", required=True, metavar="WHAT", parser_class=Parser)
    train = add_part(parts, "train", "learn from a set of labels", _train)
    add_training(train)
    add_common(train)
    evaluate = add_part(parts, "evaluate", "measure an adapter on an index", _evaluate, index="")
    evaluate.add_argument("adapter", metavar="ADAPTER.npz", help="what `adapter train` has written")
    evaluate.add_argument("index", metavar="INDEX", help="the index file")
    add_options(evaluate, MeasureOptions)
    add_common(evaluate)
    apply = add_part(parts, "apply", "ask an adapter about images, or about an index", _apply, index="")
    apply.add_argument("adapter", metavar="ADAPTER.npz", help="what `adapter train` has written")
    apply.add_argument("input", nargs="+", metavar="INPUT", help=f"{INPUT_HELP}; or an index, which needs no endpoint")
    add_options(apply, ApplyOptions)
    add_connection(apply)
    add_common(apply)


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options of learning."""
    parser.add_argument("--labels", required=True, metavar="SET", help="the set of labels, as `index labels` lists them")
    parser.add_argument("--output", required=True, metavar="ADAPTER.npz", help="the file to write")
    add_options(parser, TrainOptions)


def _train(arguments: argparse.Namespace) -> int:
    def work(**run):
        options = options_from(TrainOptions, arguments)
        return adapters.adapter_train(arguments.index, labels=arguments.labels, output=arguments.output, options=options, **run)

    result = reported(arguments, work, [])
    parts = result.report["parts"]
    print(
        f"{len(result.head.labels)} labels learned from {parts['train']} images, chosen on {parts['validate']}, tested on {parts['test']}"
    )
    print_figures(result.figures)
    print(arguments.output)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    def work(**_run):
        return adapters.adapter_evaluate(arguments.adapter, arguments.index, options=options_from(MeasureOptions, arguments))

    result = reported(arguments, work, [arguments.adapter])
    print_figures(result.figures)
    if arguments.picture:
        print(arguments.picture)
    return 0


def print_figures(figures: Figures | None) -> None:
    """The figures with their intervals, and a line a label."""
    if figures is None:
        return
    for name, value in figures.overall.items():
        low, high = figures.intervals[name]
        print(f"{name}\t{value:.4f}\t{low:.4f}\t{high:.4f}")
    for label, support in zip(figures.labels, figures.support, strict=True):
        own = figures.by_label[label]
        print(f"{label}\t{support}\tAUROC {own['auroc']:.4f}\tprecision {own['precision']:.4f}\trecall {own['recall']:.4f}")


def _apply(arguments: argparse.Namespace) -> int:
    def work(**run):
        options = options_from(ApplyOptions, arguments)
        return adapters.adapter_apply(arguments.adapter, arguments.input, options=options, **run, **connection_unless_index(arguments))

    result = reported(arguments, work, [arguments.adapter, *arguments.input])
    for one in result.answers:
        said = ", ".join(f"{label} {share:.3f}" for label, share in one.ranked(result.labels)[:3])
        print(f"{name_of(one.record)}\t{place_of(one.record)}\t{visible(said)}")
    if arguments.csv:
        print(arguments.csv)
    raise_if_partly(result)
    return 0
