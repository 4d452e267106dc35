"""`medimageparse exam train|apply`: what a series is by its pixels, beside what its DICOM header says."""

from __future__ import annotations

import argparse

from ..api import exam
from ..api.insight_options import ExamOptions
from ..options import add_options, options_from
from ..tasks.find_similar import name_of
from .options import INPUT_HELP, Parser, add_common, add_connection, add_part, connection_unless_index
from .terminal import raise_if_partly, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("exam", help="tell plane, sequence, body part and contrast from pixels, beside the DICOM header")
    parts = parser.add_subparsers(title="what to do", required=True, metavar="WHAT", parser_class=Parser)
    train = add_part(
        parts,
        "train",
        "learn from the headers of an index's DICOM files",
        _train,
        index="the index file; sets of labels named 'exam plane' and so on are made in it",
    )
    train.add_argument("--output", required=True, metavar="FOLDER", help="an adapter for each attribute")
    add_options(train, ExamOptions)
    add_common(train)
    apply = add_part(parts, "apply", "a row an attribute, with the DICOM tag beside it; contradictions are marked", _apply, index="")
    apply.add_argument("exam", metavar="FOLDER", help="what `exam train` has written")
    apply.add_argument("input", nargs="+", metavar="INPUT", help=f"{INPUT_HELP}; or an index, which needs no endpoint")
    apply.add_argument("--csv", metavar="FILE.csv", help="a row an attribute of a series")
    add_connection(apply)
    add_common(apply)


def _train(arguments: argparse.Namespace) -> int:
    def work(**_run):
        return exam.exam_train(arguments.index, output=arguments.output, options=options_from(ExamOptions, arguments))

    result = reported(arguments, work, [], written=())
    for name, made in result.heads.items():
        tested = f"accuracy {made.figures.overall['accuracy']:.3f} on {made.figures.items} series" if made.figures else "not tested"
        print(f"{name}\t{', '.join(made.head.labels)}\t{tested}")
    print(arguments.output)
    return 0


def _apply(arguments: argparse.Namespace) -> int:
    def work(**run):
        return exam.exam_apply(arguments.exam, arguments.input, csv=arguments.csv, **run, **connection_unless_index(arguments))

    result = reported(arguments, work, [arguments.exam, *arguments.input])
    for row in result.rows:
        mark = "CONTRADICTS" if row.state == "contradicts" else row.state
        print(f"{name_of(row.record)}\t{row.attribute}\t{row.pixels}\t{row.probability:.3f}\t{row.tag}\t{row.header or '-'}\t{mark}")
    print(f"{len(result.contradictions)} contradictions in {result.report['series']} series")
    if arguments.csv:
        print(arguments.csv)
    raise_if_partly(result)
    return 0
