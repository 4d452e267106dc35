"""Several runs of one request: the majority, how far they agree, and what is kept where one fails."""

from __future__ import annotations

import numpy as np
import pytest

from MedImageParseLib.errors import EndpointError, UsageError
from MedImageParseLib.imaging.volume import CroppedMask, Volume
from MedImageParseLib.tasks.repeat import repeated
from MedImageParseLib.tasks.results import PromptResult, SegmentationResult
from MedImageParseLib.tasks.run import Report

VOLUME = Volume(np.zeros((4, 5, 6), np.int16))


def result_of(masks: list[np.ndarray], **report) -> SegmentationResult:
    prompts = [PromptResult(f"p{n}", f"p{n}", n, CroppedMask.from_full(mask)) for n, mask in enumerate(masks, start=1)]
    return SegmentationResult(VOLUME, prompts, Report(timings_s={"wait": 1.0}, **report).as_dict())


def test_a_voxel_belongs_where_more_than_half_of_the_runs_say_so_and_the_agreement_is_their_share():
    runs = [np.random.default_rng(seed).random((2, 4, 5, 6)) < 0.6 for seed in range(5)]
    waiting = [result_of(list(masks), bytes_sent=10, tries=1, request_ids=[str(n)], warnings=["w"]) for n, masks in enumerate(runs)]
    result = repeated(lambda: waiting.pop(0), 5)
    votes = np.sum(runs, axis=0)
    for number, prompt in enumerate(result.prompts):
        assert np.array_equal(prompt.mask.full() != 0, votes[number] >= 3)
        assert prompt.agreement == pytest.approx(votes[number][votes[number] >= 3].mean() / 5, rel=1e-5)
    report = result.report
    assert report["repeat"] == 5 and report["bytes_sent"] == 50 and report["tries"] == 5 and report["request_ids"] == list("01234")
    assert report["timings_s"]["wait"] == 5.0 and report["warnings"] == ["w"]


def test_an_even_split_is_no_majority_and_what_nobody_finds_stays_absent():
    some, none = np.ones((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    waiting = [result_of([some, none]), result_of([none, none])]
    result = repeated(lambda: waiting.pop(0), 2)
    assert not result.prompts[0].found and not result.prompts[1].found and result.report["prompts"][0]["found"] is False


def test_a_run_that_fails_ends_the_rest_and_keeps_the_majority_of_those_before():
    waiting = [result_of([np.ones((4, 5, 6), bool)]), EndpointError("It is gone.")]

    def run():
        one = waiting.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    result = repeated(run, 3)
    assert result.failure == "It is gone." and result.prompts[0].mask.count == 120 and result.report["repeat"] == 1
    assert "1 of 3 runs" in result.report["warnings"][0]


@pytest.mark.parametrize("times", [0, -1, 26, 1.5, True])
def test_another_number_of_runs_is_refused(times):
    with pytest.raises(UsageError, match="1 to 25"):
        repeated(lambda: result_of([]), times)
