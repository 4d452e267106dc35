"""Measuring predictions against references, case by case and structure by structure, by one of three protocols.

- plain: Dice, surface Dice with the right axes, 95 % Hausdorff distance, volumes, sensitivity, precision; who is there and who is not.
- cvpr25: as the CVPR 2025 challenge's script has it, quirks included (see cohort.metrics).
- amos: Dice a structure, mean over cases.
Intervals are 95 % percentile bootstrap over cases, 2,000 draws, a fixed seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, MedImageParseError, UsageError
from ..packages import require
from ..progress import Cancellation, Progress, no_progress
from ..remedies import Sentence
from . import metrics
from .labels import LabelSet, label_set, read_labels, resampled, same_grid, structure_key
from .metrics import Instances, Overlap
from .pairs import Pair, pair_up, read_names

PROTOCOLS = ("plain", "cvpr25", "amos")
_KEPT_WORST = 3


@dataclass(slots=True, frozen=True)
class Row:
    """A structure of one case."""

    case: str
    structure: str
    overlap: Overlap


@dataclass(slots=True)
class CaseScore:
    """A case as a whole.

    Attributes:
        case: its name.
        dice, nsd: mean over the counted structures; NaN where none counts or the case failed.
        instances: where the reference's labels are objects.
        failure: why it could not be measured, "" where it was.
        engine, modality: of the prediction, where known.
        pair: the files.
    """

    case: str
    dice: float = float("nan")
    nsd: float = float("nan")
    instances: Instances | None = None
    failure: str = ""
    engine: str = ""
    modality: str = ""
    pair: Pair | None = None

    @property
    def badness(self) -> float:
        """Larger is worse; for the picture of the worst."""
        value = self.instances.f1 if self.instances else self.dice
        return -value if not np.isnan(value) else -np.inf


@dataclass(slots=True)
class Evaluation:
    """What was measured.

    Attributes:
        protocol: one of PROTOCOLS.
        tolerance_mm: of the surface Dice.
        rows: structure by structure.
        cases: case by case.
        warnings: sentences.
        with_instances: whether labels were taken for objects.
        with_surfaces: whether NSD and HD95 were measured.
        worst: the cases that fit worst, the worst first, with both sides; three at most are kept.
    """

    protocol: str
    tolerance_mm: float
    rows: list[Row] = field(default_factory=list)
    cases: list[CaseScore] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    with_instances: bool = False
    with_surfaces: bool = True
    worst: list[tuple[CaseScore, LabelSet, LabelSet]] = field(default_factory=list)

    @property
    def structures(self) -> list[str]:
        """In the order in which they came up."""
        return list(dict.fromkeys(row.structure for row in self.rows))

    @property
    def failed(self) -> list[CaseScore]:
        return [case for case in self.cases if case.failure]

    @property
    def engines(self) -> list[str]:
        """What made the predictions, where the batch says so."""
        return sorted({case.engine for case in self.cases if case.engine})

    def values(self, structure: str, name: str) -> np.ndarray:
        """A measure ("dice", "nsd", …) of one structure, one number a measured case."""
        return np.array([getattr(row.overlap, name) for row in self.rows if row.structure == structure], float)

    def table(self, name: str) -> np.ndarray:
        """(measured cases, structures) of one measure, NaN where a case lacks the structure."""
        measured = [case.case for case in self.cases if not case.failure]
        places = {case: number for number, case in enumerate(measured)}
        columns = {structure: number for number, structure in enumerate(self.structures)}
        filled = np.full((len(places), len(columns)), np.nan)
        for row in self.rows:
            filled[places[row.case], columns[row.structure]] = getattr(row.overlap, name)
        return filled

    def summary(self) -> dict:
        """Means with intervals, as plain JSON types: overall and a structure."""
        overall: dict[str, dict] = {}
        if self.protocol == "cvpr25":
            overall["dice"] = mean_and_interval(np.array([case.dice for case in self.cases]))
            overall["nsd"] = mean_and_interval(np.array([case.nsd for case in self.cases]))
        elif self.rows:
            for name in ("dice", "nsd") if self.with_surfaces and self.protocol == "plain" else ("dice",):
                overall[name] = mean_and_interval(self.table(name))
        if self.with_instances:
            found = [case.instances for case in self.cases if case.instances]
            overall["instance_f1"] = mean_and_interval(np.array([one.f1 for one in found], float))
            overall["dsc_tp"] = mean_and_interval(np.array([one.dice_of_hits for one in found], float))
        names = ["dice", "nsd", "hd95_mm", "difference_ml", "difference_percent", "sensitivity", "precision"]
        structures = {
            structure: {
                **{name: mean_and_interval(self.values(structure, name)) for name in names},
                "presence": {kind: sum(row.overlap.presence == kind for row in self.rows if row.structure == structure) for kind in _KINDS},
            }
            for structure in self.structures
        }
        return {"overall": overall, "structures": structures}


_KINDS = ("TP", "FP", "FN", "TN")


def mean_and_interval(values: np.ndarray) -> dict:
    """{"mean", "low", "high", "cases"}; infinite and missing values are left out, None where nothing is left."""
    values = np.where(np.isfinite(values), values, np.nan)
    table = values.reshape(len(values), -1) if values.size else np.full((1, 1), np.nan)
    counted = int(np.count_nonzero(~np.isnan(table).all(axis=1)))
    mean = float(metrics.mean_of_means(table))
    low, high = metrics.bootstrap_interval(values) if counted else (float("nan"), float("nan"))
    return {"mean": _plain(mean), "low": _plain(low), "high": _plain(high), "cases": counted}


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def evaluate_files(
    reference: Path,
    prediction: Path,
    *,
    names: Path | None = None,
    protocol: str = "plain",
    tolerance_mm: float = metrics.CHALLENGE_TOLERANCE_MM,
    instances: bool = False,
    resample: bool = False,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> Evaluation:
    """Measure every case that pairs up.

    Args:
        reference: a file, a folder, or a batch.jsonl whose table named references.
        prediction: a file, a folder, or a batch.jsonl.
        names: a JSON file that says which label is which (see `pairs.read_names`).
        protocol: "plain", "cvpr25" or "amos".
        tolerance_mm: for the surface Dice.
        instances: the reference's labels are objects of one kind, not structures.
        resample: bring predictions onto the reference's grid by nearest neighbour instead of refusing other grids.
        progress: told the cases that are measured, of all.
        cancellation: stops it between two cases.

    Returns:
        Evaluation; cases that could not be measured are in it with their `failure`.

    Raises:
        UsageError, InputError: nothing could be measured at all; the first reason.
    """
    evaluation = _begin(protocol, tolerance_mm, instances)
    pairs, unpaired = pair_up(reference, prediction)
    said = read_names(names) if names else {"reference": {}, "prediction": {}, "rename": {}}
    if unpaired:
        evaluation.warnings.append(
            Sentence("These predictions have no reference and were passed over: {listed}.", listed=", ".join(unpaired))
        )
    cancellation = cancellation or Cancellation()
    first: MedImageParseError | None = None
    for number, pair in enumerate(pairs):
        cancellation.check()
        progress("measuring", number, len(pairs))
        made = pair.prediction
        score = CaseScore(pair.case, engine=made.engine if made else "", modality=made.modality if made else "", pair=pair)
        evaluation.cases.append(score)
        try:
            if made is None or made.path is None:
                raise InputError("{case} has no prediction.", case=pair.case)
            sides = read_labels(pair.reference, said["reference"]), read_labels(made.path, made.names or said["prediction"])
            sides = _comparable(*sides, pair, said["rename"], evaluation, resample)
            add_case(evaluation, score, *sides)
        except (InputError, UsageError) as error:
            first = first or error
            score.failure = str(error)
    progress("measuring", len(pairs), len(pairs))
    if first is not None and len(evaluation.failed) == len(evaluation.cases):
        raise first
    evaluation.warnings += [Sentence("Not measured: {failure}", failure=case.failure) for case in evaluation.failed]
    return evaluation


def evaluate_pair(
    reference: LabelSet,
    prediction: LabelSet,
    *,
    case: str,
    protocol: str = "plain",
    tolerance_mm: float = metrics.CHALLENGE_TOLERANCE_MM,
) -> Evaluation:
    """Measure one segmentation that is in memory against another.

    Args:
        reference: what is right; structures are paired by name, or by what the catalogue takes for the same.
        prediction: what is measured, on the same grid.
        case: what it is called.
        protocol: "plain", "cvpr25" or "amos".
        tolerance_mm: for the surface Dice.

    Raises:
        UsageError: an unknown protocol. InputError: other grids, or no structure in common.
    """
    evaluation = _begin(protocol, tolerance_mm, False)
    pair = Pair(case, Path(), None)
    score = CaseScore(case, pair=pair)
    evaluation.cases.append(score)
    add_case(evaluation, score, *_comparable(reference, prediction, pair, {}, evaluation, False))
    return evaluation


def _begin(protocol: str, tolerance_mm: float, instances: bool) -> Evaluation:
    if protocol not in PROTOCOLS:
        raise UsageError("The protocol '{protocol}' is not known; give plain, cvpr25 or amos.", protocol=protocol)
    if not 0 < tolerance_mm < 1e4:
        raise UsageError("The tolerance is a distance in mm above 0.")
    evaluation = Evaluation(protocol, tolerance_mm, with_instances=instances, with_surfaces=protocol != "amos" and not instances)
    if evaluation.with_surfaces and not metrics.has_surface_distances():
        if protocol == "cvpr25":
            require("surface_distance", "the protocol cvpr25")
        evaluation.with_surfaces = False
        evaluation.warnings.append(
            "Surface Dice and Hausdorff distance were left out: they need the package surface-distance (`pip install surface-distance`)."
        )
    return evaluation


def add_case(evaluation: Evaluation, score: CaseScore, reference: LabelSet, prediction: LabelSet) -> None:
    """Measure one case whose two sides lie on one grid and use one set of names, and add it to the evaluation."""
    _measure(evaluation, score, reference, prediction)
    if np.isfinite(score.badness):
        ranked = sorted([*evaluation.worst, (score, reference, prediction)], key=lambda kept: (-kept[0].badness, kept[0].case))
        evaluation.worst = ranked[:_KEPT_WORST]


def _measure(evaluation: Evaluation, score: CaseScore, reference: LabelSet, prediction: LabelSet) -> None:
    if evaluation.with_instances:
        judge: Callable = metrics.challenge_instances if evaluation.protocol == "cvpr25" else metrics.instances
        score.instances = judge(reference.labels(), prediction.labels())
        return
    is_challenge = evaluation.protocol == "cvpr25"
    rows = []
    for name in reference.masks:
        there = reference.masks[name].count > 0
        if is_challenge and not there:
            continue  # a structure that the reference lacks does not count
        overlap = metrics.measure(
            reference.full(name), prediction.full(name), reference.ijk_to_ras, evaluation.tolerance_mm,
            surfaces=evaluation.with_surfaces and not is_challenge,
        )  # fmt: skip
        rows.append(Row(score.case, name, overlap))
    if is_challenge:
        spacing = [float(length) for length in np.linalg.norm(reference.ijk_to_ras[:3, :3], axis=0)]
        labels = reference.labels(), _as_values_of(reference, prediction)
        values = [reference.values[name] for name in reference.masks]
        score.dice, score.nsd = metrics.challenge_semantic(*labels, spacing, values, evaluation.tolerance_mm)
        rows = [_challenge_row(row, labels, reference.values[row.structure], spacing, evaluation.tolerance_mm) for row in rows]
    else:
        score.dice, score.nsd = (_mean([getattr(row.overlap, name) for row in rows]) for name in ("dice", "nsd"))
    evaluation.rows += rows


def _challenge_row(row: Row, labels: tuple[np.ndarray, np.ndarray], value: int, spacing: list[float], tolerance_mm: float) -> Row:
    """The row with the Dice and NSD that the script counts."""
    true, made = (side.astype(np.uint8) == np.uint8(value % 256) for side in labels)
    nsd, hd95 = metrics.surface_measures(true, made, spacing, tolerance_mm)
    return replace(row, overlap=replace(row.overlap, dice=metrics.dice(true, made), nsd=nsd, hd95_mm=hd95))


def _as_values_of(reference: LabelSet, prediction: LabelSet) -> np.ndarray:
    """The prediction as labels with the reference's values."""
    same = all(prediction.values.get(name) == value for name, value in reference.values.items())
    if prediction.array is not None and same:
        return prediction.array
    labels = np.zeros(prediction.shape_kji, np.int32)
    for name, mask in prediction.masks.items():
        if name in reference.values:
            labels[mask.box][mask.voxels != 0] = reference.values[name]
    return labels


def _comparable(
    reference: LabelSet, prediction: LabelSet, pair: Pair, rename: dict, evaluation: Evaluation, resample: bool
) -> tuple[LabelSet, LabelSet]:
    """Both sides on one grid and with the reference's names; prompts that the reference does not know become empty references."""
    if not same_grid(reference, prediction):
        if not resample:
            raise InputError(
                "{case}: the prediction lies on another grid than the reference ({one} and {other} voxels, or another place); "
                "give it on the reference's grid, or say --resample.",
                case=pair.case,
                one="x".join(map(str, prediction.shape_kji[::-1])),
                other="x".join(map(str, reference.shape_kji[::-1])),
            )
        prediction = resampled(prediction, reference)
    if evaluation.with_instances:
        return reference, prediction
    named_by_value = _named_alike(reference, prediction, pair)
    if named_by_value is not None:
        reference, prediction = named_by_value
    return _by_structure(reference, prediction, pair, rename, evaluation)


def _by_structure(reference: LabelSet, prediction: LabelSet, pair: Pair, rename: dict, evaluation: Evaluation) -> tuple[LabelSet, LabelSet]:
    """The structures that count, under the reference's names: those of the reference, and where prompts are known, that were asked for."""
    lookup = {structure_key(rename.get(name, name)): name for name in prediction.masks}
    prompts = pair.prediction.names.values() if pair.prediction else []
    asked = {structure_key(rename.get(name, name)) for name in prompts}
    counted = {name: key for name in reference.masks if (key := structure_key(name)) in asked or not asked}
    masks = {name: prediction.masks[lookup[key]] for name, key in counted.items() if key in lookup}
    values = {name: prediction.values[lookup[key]] for name, key in counted.items() if key in lookup}
    found_something = any(mask.count for mask in prediction.masks.values())
    if reference.masks and (not counted or (not masks and found_something)):
        raise InputError(
            "{case}: the prediction's structures ({made}) and the reference's ({true}) have no name in common; "
            "say with --names which is which.",
            case=pair.case,
            made=_few(prompts if asked else prediction.masks),
            true=_few(reference.masks),
        )
    unknown = sorted((set(lookup) | asked) - set(counted.values()))
    sentence = Sentence("Not in the reference and not measured: {unknown}.", unknown=_few(unknown)) if unknown else ""
    if sentence and sentence not in evaluation.warnings:
        evaluation.warnings.append(sentence)
    return replace(reference, masks={name: reference.masks[name] for name in counted}), replace(prediction, masks=masks, values=values)


def _named_alike(reference: LabelSet, prediction: LabelSet, pair: Pair) -> tuple[LabelSet, LabelSet] | None:
    """Where one side's labels have no names: by value where neither has, one structure to one structure, else an error."""
    if reference.named == prediction.named:
        return None
    if len(reference.masks) == len(prediction.masks) == 1:
        (true,), (made,) = reference.masks, prediction.masks
        name = true if reference.named else made
        one, other = (
            replace(side, masks={name: side.masks[old]}, values={name: side.values[old]})
            for side, old in ((reference, true), (prediction, made))
        )
        return one, other
    unnamed = reference if not reference.named else prediction
    if unnamed.array is not None and not any(mask.count for mask in unnamed.masks.values()):
        named = prediction if unnamed is reference else reference
        empty = label_set(unnamed.array, unnamed.ijk_to_ras, {value: name for name, value in named.values.items()})
        return (empty, prediction) if unnamed is reference else (reference, empty)
    raise InputError(
        "{case}: it is not known which label of the {side} is which structure; say it with --names MAP.json.",
        case=pair.case,
        side="reference" if unnamed is reference else "prediction",
    )


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:4]) + (", …" if len(listed) > 4 else "") if listed else "none"


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def by_modality(evaluation: Evaluation) -> dict[str, list[CaseScore]]:
    """Cases by the modality of their images, "" where it is not known."""
    groups: dict[str, list[CaseScore]] = defaultdict(list)
    for case in evaluation.cases:
        groups[case.modality].append(case)
    return dict(groups)
