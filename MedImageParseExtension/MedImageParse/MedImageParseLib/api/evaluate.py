"""Measuring segmentations against references from Python; `medimageparse evaluate` on the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, UsageError
from ..files.collisions import check_outputs
from ..files.write import check_writable, write_atomically
from ..options import Path_, option
from ..progress import Cancellation, Progress, no_progress
from ..tasks.run import Report
from .calls import in_sentences

if TYPE_CHECKING:
    from ..cohort.evaluate import Evaluation

PROTOCOLS = ("plain", "cvpr25", "amos")
_OUTPUTS = "outputs"


@dataclass(frozen=True)
class EvaluateOptions:
    """How segmentations are measured, and what is written."""

    names: Path_ | None = option(
        None,
        help='which label is which: {"1": "spleen", "2": "liver"}, {"spleen": 1}, or one such for "reference" and "prediction"',
        metavar="MAP.json",
    )
    protocol: str = option("plain", help="whose rules", choices=PROTOCOLS)
    tolerance: float = option(2.0, help="mm, of the surface Dice", metavar="MM")
    instances: bool = option(False, help="the reference's labels are objects of one kind: F1 and Dice of the hits")
    resample: bool = option(False, help="bring predictions onto the reference's grid (nearest neighbour)")
    csv: Path_ | None = option(None, help="one row a case and structure", metavar="FILE", group=_OUTPUTS)
    table: Path_ | None = option(None, help="means beside the model card's published numbers", metavar="FILE.md", group=_OUTPUTS)
    picture: Path_ | None = option(None, help="the three cases that fit worst, with both outlines", metavar="FILE.png", group=_OUTPUTS)
    images: Path_ | None = option(
        None, help="the cases' images, for the picture (those of a batch are known)", metavar="DIR", group=_OUTPUTS
    )


@dataclass(slots=True)
class EvaluationResult:
    """What `evaluate` gives back.

    Attributes:
        evaluation: rows, cases, means.
        table: the Markdown text.
        report: plain JSON types: means with intervals, cases, warnings, outputs.
        failure: a sentence where some cases could not be measured, "" where all were.
    """

    evaluation: Evaluation
    table: str
    report: dict
    failure: str = ""


@in_sentences
def evaluate(
    reference: str | os.PathLike,
    prediction: str | os.PathLike,
    *,
    options: EvaluateOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> EvaluationResult:
    """Measure predictions against references.

    Args:
        reference: a labelmap, .seg.nrrd or folder of masks; a folder of such; or a batch.jsonl whose table named references.
        prediction: the same, or the batch.jsonl of a run (or its folder).
        options: how they are measured, and what is written; each of its fields is a keyword too.
        progress: told "measuring" in cases.
        cancellation: stops it between cases.

    Returns:
        EvaluationResult; `failure` says where cases could not be measured.

    Raises:
        UsageError, InputError: nothing could be measured.

    Examples:
        >>> result = evaluate("references", "out/batch.jsonl", protocol="amos")  # doctest: +SKIP
        >>> result.report["overall"]["dice"]["mean"]                             # doctest: +SKIP
        0.9
    """
    from ..cohort import tables
    from ..cohort.evaluate import evaluate_files

    targets = _outputs(options, (reference, prediction, options.names))
    images = options.images
    if images is not None and not Path(images).is_dir():
        raise UsageError("{path} is no folder of images.", path=images)
    evaluation = evaluate_files(
        Path(reference).expanduser(),
        Path(prediction).expanduser(),
        names=Path(options.names) if options.names else None,
        protocol=options.protocol,
        tolerance_mm=options.tolerance,
        instances=options.instances,
        resample=options.resample,
        progress=progress,
        cancellation=cancellation,
    )
    text = tables.markdown_table(evaluation)
    if targets.get("csv"):
        write_atomically(targets["csv"], tables.csv_table(evaluation).encode())
    if targets.get("table"):
        write_atomically(targets["table"], text.encode())
    if targets.get("picture"):
        from ..cohort.worst_picture import render_worst

        write_atomically(targets["picture"], render_worst(evaluation, Path(images) if images else None))
    failure = f"{len(evaluation.failed)} of {len(evaluation.cases)} cases could not be measured" if evaluation.failed else ""
    return EvaluationResult(evaluation, text, _report(evaluation, [str(path) for path in targets.values()]), failure)


def _outputs(options: EvaluateOptions, inputs: tuple) -> dict[str, Path]:
    """The files to write, checked before anything is read: none of them may be an input."""
    endings = {"csv": (".csv",), "table": (".md", ".txt"), "picture": (".png",)}
    given = {"csv": options.csv, "table": options.table, "picture": options.picture}
    targets = {name: check_writable(path, endings[name]) for name, path in given.items() if path}
    check_outputs(targets, inputs)
    return targets


def _report(evaluation: Evaluation, outputs: list[str]) -> dict:
    details = {
        "protocol": evaluation.protocol,
        "tolerance_mm": evaluation.tolerance_mm,
        **evaluation.summary(),
        "cases": [
            {"case": case.case, "dice": _plain(case.dice), "nsd": _plain(case.nsd), "failure": case.failure or None}
            | ({"instance_f1": case.instances.f1, "dsc_tp": case.instances.dice_of_hits} if case.instances else {})
            for case in evaluation.cases
        ],
        "engines": evaluation.engines,
    }
    return Report(
        kind=InputError.kind if evaluation.failed else None, outputs=outputs, warnings=evaluation.warnings, details=details
    ).as_dict()


def _plain(value: float) -> float | None:
    return value if value == value else None
