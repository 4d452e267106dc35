"""The same request several times, and what the majority of the replies says.

MedImageParse 3D is not deterministic: its answers to one request differ a little from time to time. Where that matters, several runs and
their majority are steadier than one, and how far they agree tells how far to trust a border.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import Cancelled, MedImageParseError, UsageError
from ..imaging.volume import CroppedMask
from ..models import MODELS, VOLUMES
from .results import PromptResult, SegmentationResult
from .run import summed

MOST_RUNS = 25


def repeated(run: Callable[[], SegmentationResult], times: int) -> SegmentationResult:
    """Run several times and keep what more than half of the runs found.

    Args:
        run: one run.
        times: 1 to 25.

    Returns:
        the majority: a voxel belongs to a structure where more than half of the runs say so. Each prompt's `agreement` is the mean share of
        the runs that agree, over the voxels of its mask; the report holds `repeat`. Where a later run failed, the majority of those before
        it, and `failure` says so.

    Raises:
        UsageError: another number. Whatever the first run raises.
    """
    check_times(times)
    results = [run()]
    failure = results[0].failure
    kind: str | None = None
    while len(results) < times and not failure:
        try:
            results.append(run())
            failure = results[-1].failure
        except Cancelled:
            raise
        except MedImageParseError as error:
            failure, kind = str(error), error.kind
    # A run that stopped half-way has no say about what it did not do.
    whole = [result for result in results if not result.failure] or results[:1]
    if times == 1:
        return results[0]
    combined = [_majority([result.prompts[number] for result in whole]) for number in range(len(results[0].prompts))]
    report = summed([result.report for result in results]) | {
        "repeat": len(whole),
        "prompts": [prompt.report(results[0].volume) for prompt in combined],
    }
    report["kind"] = kind or report["kind"]
    if len(whole) < times:
        report["warnings"].append(f"The majority is that of {len(whole)} of {times} runs.")
    return SegmentationResult(results[0].volume, combined, report, failure)


def check_times(times: object, model: str = VOLUMES.name) -> None:
    """Raises UsageError for a number of runs that cannot be, or more than one for a model that answers alike each time."""
    if type(times) is not int or not 1 <= times <= MOST_RUNS:
        raise UsageError("The number of runs is 1 to {most_runs}.", most_runs=MOST_RUNS)
    if times > 1 and not MODELS[model].is_repeatable:
        raise UsageError("Repeated runs belong to the model {name}.", name=VOLUMES.name)


def _majority(prompts: Sequence[PromptResult]) -> PromptResult:
    """One prompt of several runs."""
    boxes = [prompt.mask.box for prompt in prompts if prompt.found]
    shape = prompts[0].mask.shape_kji
    if not boxes:
        return prompts[0]
    low = [min(box[axis].start for box in boxes) for axis in range(3)]
    high = [max(box[axis].stop for box in boxes) for axis in range(3)]
    votes = np.zeros([stop - start for start, stop in zip(low, high)], np.uint8)
    for prompt in prompts:
        if prompt.found:
            votes[tuple(slice(part.start - start, part.stop - start) for part, start in zip(prompt.mask.box, low))] += (
                prompt.mask.voxels != 0
            )
    inside = 2 * votes.astype(int) > len(prompts)
    mask = CroppedMask(shape, (low[0], low[1], low[2]), inside.astype(np.uint8)).trimmed()
    agreement = float(f"{votes[inside].mean() / len(prompts):.6g}") if mask.count else None
    return dataclasses.replace(prompts[0], mask=mask, agreement=agreement)
