"""An evaluation as tables: Markdown in the model card's own layout beside the card's published numbers, CSV a case and structure."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from ..files.write import csv_text
from .evaluate import Evaluation, by_modality, mean_and_interval
from .labels import structure_key

CSV_COLUMNS = (
    "case", "structure", "dice", "nsd", "hd95_mm", "reference_ml", "prediction_ml", "difference_ml", "difference_percent",
    "sensitivity", "precision", "presence", "instance_f1", "dsc_tp", "hits", "false_positives", "false_negatives",
    "protocol", "tolerance_mm", "failure",
)  # fmt: skip
_MEASURES = CSV_COLUMNS[2:12]
WHOLE_CASE = "all"


@cache
def published() -> dict:
    """The model card's numbers: "amos" in % by modality and structure, "cvpr25" as DSC, NSD, F1, DSC of true positives."""
    return json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))


def csv_table(evaluation: Evaluation) -> str:
    """One row a case and structure, and one a case with the structure "all" (its means, its objects, or why it failed).

    Numbers have all their digits; a value that does not exist is empty, an infinite distance is "inf".
    """
    rows: list[dict] = []
    common = {"protocol": evaluation.protocol, "tolerance_mm": evaluation.tolerance_mm}
    for case in evaluation.cases:
        for row in evaluation.rows:
            if row.case == case.case:
                measures = {name: getattr(row.overlap, name) for name in _MEASURES}
                rows.append({"case": row.case, "structure": row.structure, **measures, **common})
        whole: dict = {"dice": case.dice, "nsd": case.nsd, "failure": case.failure}
        if case.instances:
            found = case.instances
            whole |= {"instance_f1": found.f1, "dsc_tp": found.dice_of_hits, "hits": found.hits}
            whole |= {"false_positives": found.false_positives, "false_negatives": found.false_negatives}
        rows.append({"case": case.case, "structure": WHOLE_CASE, **whole, **common})
    return csv_text(CSV_COLUMNS, rows)


def markdown_table(evaluation: Evaluation) -> str:
    """The report that a person reads: what was measured and how, the means beside the published numbers, what is missing."""
    parts = [_heading(evaluation)]
    if evaluation.protocol == "cvpr25":
        parts.append(_challenge_table(evaluation))
    elif evaluation.with_instances:
        parts.append(_instance_table(evaluation))
    if evaluation.rows:
        parts.append(_structure_table(evaluation))
        if evaluation.protocol == "plain":
            parts.append(_presence_table(evaluation))
    if evaluation.failed:
        lines = "\n".join(f"- {_text(case.case)}: {_text(case.failure)}" for case in evaluation.failed)
        parts.append(f"## Cases that could not be measured\n\nThey are in none of the means.\n\n{lines}\n")
    return "\n".join(parts)


def _heading(evaluation: Evaluation) -> str:
    measured = len(evaluation.cases) - len(evaluation.failed)
    lines = [
        "# Evaluation",
        "",
        f"Protocol {evaluation.protocol}, {measured} of {len(evaluation.cases)} cases measured. "
        f"Tolerance of the surface Dice (NSD): {evaluation.tolerance_mm:g} mm. "
        "Means with 95 % percentile bootstrap intervals over cases (2,000 draws, fixed seed).",
    ]
    engines = evaluation.engines
    if engines:
        lines += ["", f"The predictions were made by: {_text('; '.join(engines))}. The published numbers are MedImageParse 3D's."]
    if evaluation.protocol == "cvpr25":
        lines += [
            "",
            "As the challenge's script computes it: 8-bit labels, the smallest label of a reference is background, the spacing is taken "
            "in stored order (x, y, z) for arrays in z, y, x, and a structure that the reference lacks does not count.",
        ]
    elif evaluation.protocol == "amos":
        lines += [
            "",
            "Dice a structure, mean over cases; the average is the mean over structures. The NSD tolerance of AMOS22 is not published.",
        ]
    return "\n".join(lines) + "\n"


def _structure_table(evaluation: Evaluation) -> str:
    card = published()["amos"]
    beside = evaluation.protocol != "cvpr25"
    full = evaluation.protocol == "plain" and evaluation.with_surfaces
    heads = ["structure", "cases", "Dice (%)"]
    heads += ["NSD (%)"] if evaluation.with_surfaces else []
    heads += ["HD95 (mm)"] if full else []
    heads += ["volume difference (ml)"] if evaluation.protocol == "plain" else []
    heads += ["published Dice, CT (%)", "published Dice, MR (%)"] if beside else []
    rows = []
    summary = evaluation.summary()
    for structure in evaluation.structures:
        means = summary["structures"][structure]
        cells = [_text(structure), str(means["dice"]["cases"]), _percent(means["dice"])]
        cells += [_percent(means["nsd"])] if evaluation.with_surfaces else []
        cells += [_number(means["hd95_mm"])] if full else []
        cells += [_number(means["difference_ml"], sign=True)] if evaluation.protocol == "plain" else []
        cells += [_given(card[modality].get(structure_key(structure))) for modality in ("CT", "MR")] if beside else []
        rows.append(cells)
    if beside:
        whole = mean_and_interval(evaluation.table("dice"))
        cells = ["**average**", str(whole["cases"]), _percent(whole)]
        cells += [_percent(mean_and_interval(evaluation.table("nsd")))] if evaluation.with_surfaces else []
        cells += [""] * (len(heads) - len(cells) - 2) + [_given(card[modality]["average"]) for modality in ("CT", "MR")]
        rows.append(cells)
    notes = ""
    if beside:
        notes = (
            "\nPublished: MedImageParse 3D on AMOS22, from the model card; the CT average there includes prostate/uterus, "
            "which has no number of its own. Other images than yours: a comparison of orders of magnitude, not of models.\n"
        )
    return "## By structure\n\n" + _markdown(heads, rows) + notes


def _challenge_table(evaluation: Evaluation) -> str:
    heads = ["", "cases", "DSC semantic", "NSD semantic", "F1 instance", "DSC of true positives"]
    rows = []
    for modality, cases in sorted(by_modality(evaluation).items()):
        label = "this evaluation" + (f", {_text(modality)}" if modality else "")
        found = [case.instances for case in cases if case.instances]
        values = [
            np.array([case.dice for case in cases]),
            np.array([case.nsd for case in cases]),
            np.array([one.f1 for one in found], float),
            np.array([one.dice_of_hits for one in found], float),
        ]
        rows.append([label, str(len(cases)), *(_fraction(mean_and_interval(column)) for column in values)])
    for modality, numbers in published()["cvpr25"].items():
        rows.append([f"published, {modality}", "", *("–" if number is None else f"{number:.4f}" for number in numbers)])
    return "## By modality\n\n" + _markdown(heads, rows) + "\nPublished: validation set of the CVPR 2025 challenge.\n"


def _instance_table(evaluation: Evaluation) -> str:
    whole = evaluation.summary()["overall"]
    found = [case.instances for case in evaluation.cases if case.instances]
    counts = [sum(getattr(one, name) for one in found) for name in ("hits", "false_positives", "false_negatives")]
    heads = ["cases", "F1 instance", "DSC of true positives", "found", "false", "missed"]
    row = [str(len(found)), _fraction(whole["instance_f1"]), _fraction(whole["dsc_tp"]), *map(str, counts)]
    return "## Objects\n\n" + _markdown(heads, [row]) + "\nAn object counts as found at an IoU of 0.5 or more.\n"


def _presence_table(evaluation: Evaluation) -> str:
    rows = []
    for structure, means in evaluation.summary()["structures"].items():
        counts = means["presence"]
        rows.append([_text(structure), *(str(counts[kind]) for kind in ("TP", "FN", "FP", "TN"))])
    heads = ["structure", "there and found", "there and missed", "absent but found", "absent and not found"]
    note = "\nA structure that only one side has counts as Dice 0 above; one that neither has counts nowhere.\n"
    return "## Is it there at all?\n\n" + _markdown(heads, rows) + note


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in rows]) + "\n"


def _percent(mean: dict) -> str:
    return _interval(mean, 100.0, 2)


def _fraction(mean: dict) -> str:
    return _interval(mean, 1.0, 4)


def _number(mean: dict, sign: bool = False) -> str:
    return _interval(mean, 1.0, 2, "+" if sign else "")


def _interval(mean: dict, factor: float, digits: int, sign: str = "") -> str:
    if mean["mean"] is None:
        return "–"
    text = f"{mean['mean'] * factor:{sign}.{digits}f}"
    return text if mean["low"] is None else f"{text} ({mean['low'] * factor:.{digits}f} to {mean['high'] * factor:.{digits}f})"


def _given(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def _text(words: str) -> str:
    """Text that cannot break a table."""
    return words.replace("|", "/").replace("\n", " ")
