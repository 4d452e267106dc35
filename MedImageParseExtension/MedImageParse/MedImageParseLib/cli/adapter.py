"""`medimageparse adapter train|evaluate|apply`: small heads on MedImageInsight's vectors."""

from __future__ import annotations

import argparse

from ..api import adapters
from ..tasks.find_similar import name_of, place_of
from .options import INPUT_HELP, Parser, add_common, add_connection, add_slices, add_speed, connection_unless_index, image_options
from .terminal import Terminal, raise_if_partly, reported

_TRAINED = (
    "kind", "by", "patients", "only", "several", "weights", "strength", "engine", "epochs", "patience", "batch", "rate", "width", "test",
    "validate", "seed", "recipe", "picture",
)  # fmt: skip


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("adapter", help="learn a small head on the vectors of an index, measure it, apply it")
    parts = parser.add_subparsers(title="what to do", required=True, metavar="WHAT", parser_class=Parser)
    train = parts.add_parser("train", help="learn from a set of labels")
    train.set_defaults(run=_train)
    train.add_argument("index", metavar="INDEX", help="the index file")
    add_training(train)
    add_common(train)
    evaluate = parts.add_parser("evaluate", help="measure an adapter on an index")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("adapter", metavar="ADAPTER.npz", help="what `adapter train` has written")
    evaluate.add_argument("index", metavar="INDEX", help="the index file")
    evaluate.add_argument("--labels", default="", metavar="SET", help="the set of labels (default: the one it learned from)")
    evaluate.add_argument("--part", choices=("test", "new", "all"), default="test", help="test: kept for it; new: never met; all flatters")
    evaluate.add_argument("--patients", default="", metavar="SET", help="the set of labels that tells patients apart")
    evaluate.add_argument("--picture", metavar="CHART.png", help="curves, confusion and reliability")
    add_common(evaluate)
    apply = parts.add_parser("apply", help="ask an adapter about images, or about an index")
    apply.set_defaults(run=_apply)
    apply.add_argument("adapter", metavar="ADAPTER.npz", help="what `adapter train` has written")
    apply.add_argument("input", nargs="+", metavar="INPUT", help=f"{INPUT_HELP}; or an index, which needs no endpoint")
    apply.add_argument("--csv", metavar="FILE.csv", help="a row an image, with the probability of each label")
    apply.add_argument("--write", default="", metavar="SET", help="of an index: keep the answers in this set of labels")
    apply.add_argument("--least", type=float, default=0.5, metavar="P", help="the probability from which on they are kept (default 0.5)")
    apply.add_argument("--modality", default="", help="DICOM modality code, where the file does not say")
    add_slices(apply)
    add_speed(apply)
    add_connection(apply)
    add_common(apply)


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options of learning."""
    parser.add_argument("--labels", required=True, metavar="SET", help="the set of labels, as `index labels` lists them")
    parser.add_argument("--output", required=True, metavar="ADAPTER.npz", help="the file to write")
    parser.add_argument(
        "--kind", choices=("linear", "network"), default="linear", help="logistic regression (default), or the published network"
    )
    parser.add_argument(
        "--by", choices=("slice", "mean", "statistics"), default="slice", help="each slice (default), or one vector a series"
    )
    parser.add_argument(
        "--patients", default="", metavar="SET", help="the set of labels that tells patients apart (default: each series is one)"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="LABEL", help="a label to learn; may be given several times (default all)"
    )
    parser.add_argument("--several", choices=("auto", "one", "many"), default="auto", help="labels an image (default auto)")
    parser.add_argument("--weights", choices=("none", "balanced"), default="none", help="balanced: rare labels count more")
    parser.add_argument("--strength", type=float, default=0.0, metavar="C", help="of the linear head; 0 (default) chooses it")
    parser.add_argument("--engine", choices=("auto", "scikit-learn", "scipy"), default="auto", help="of the linear head")
    group = parser.add_argument_group("network")
    group.add_argument("--epochs", type=int, default=30, metavar="N", help="at most (default 30)")
    group.add_argument("--patience", type=int, default=10, metavar="N", help="epochs without a better figure before it stops (default 10)")
    group.add_argument("--batch", type=int, default=8, metavar="N", help="examples a step (default 8)")
    group.add_argument("--rate", type=float, default=3e-4, metavar="R", help="learning rate (default 0.0003)")
    group.add_argument("--width", type=int, default=512, metavar="N", help="of its features (default 512)")
    group = parser.add_argument_group("parts (split by patient, never by slice)")
    group.add_argument("--test", type=float, default=0.2, metavar="SHARE", help="kept for testing (default 0.2)")
    group.add_argument(
        "--validate", type=float, default=0.15, metavar="SHARE", help="for choosing the epoch or the strength (default 0.15)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn")
    parser.add_argument("--recipe", default="", metavar="RECIPE", help="where the index has several, as `index info` prints them")
    parser.add_argument("--picture", metavar="CHART.png", help="curves, confusion and reliability of the test part")


def _train(arguments: argparse.Namespace) -> int:
    terminal = Terminal(arguments.quiet)

    def work():
        return adapters.adapter_train(
            arguments.index, labels=arguments.labels, output=arguments.output, progress=terminal.progress, cancellation=arguments.cancellation,
            **{name: getattr(arguments, name) for name in _TRAINED},
        )  # fmt: skip

    result = reported(arguments, terminal, work, [])
    parts = result.report["parts"]
    print(
        f"{len(result.head.labels)} labels learned from {parts['train']} images, chosen on {parts['validate']}, tested on {parts['test']}"
    )
    print_figures(result.figures)
    print(arguments.output)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    def work():
        return adapters.adapter_evaluate(
            arguments.adapter,
            arguments.index,
            labels=arguments.labels,
            part=arguments.part,
            patients=arguments.patients,
            picture=arguments.picture,
        )

    result = reported(arguments, Terminal(arguments.quiet), work, [arguments.adapter])
    print_figures(result.figures)
    if arguments.picture:
        print(arguments.picture)
    return 0


def print_figures(figures) -> None:
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
    terminal = Terminal(arguments.quiet)

    def work():
        options = image_options(arguments) | connection_unless_index(arguments)
        return adapters.adapter_apply(
            arguments.adapter, arguments.input, csv=arguments.csv, write=arguments.write, least=arguments.least, progress=terminal.progress,
            cancellation=arguments.cancellation, **options,
        )  # fmt: skip

    result = reported(arguments, terminal, work, [arguments.adapter, *arguments.input])
    for one in result.answers:
        said = ", ".join(f"{label} {share:.3f}" for label, share in one.ranked(result.labels)[:3])
        print(f"{name_of(one.record)}\t{place_of(one.record)}\t{said}")
    if arguments.csv:
        print(arguments.csv)
    raise_if_partly(result.failure)
    return 0
