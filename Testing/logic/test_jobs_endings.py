"""However and whenever a job ends - cancelled, dropped, failed, closed - it ends cleanly and the next one runs."""

from __future__ import annotations

import gc
import logging
import threading
import weakref

import pytest
from jobs_support import STAGES, Script, bring_to, poll_until

from MedImageParseLib.errors import Cancelled, InputError, MedImageParseError, UsageError
from MedImageParseLib.logic.jobs import Dropped, Job, JobQueue


@pytest.fixture
def jobs():
    threads = set(threading.enumerate())
    queue = JobQueue()
    yield queue
    queue.close()
    assert set(threading.enumerate()) <= threads


# --- cancelling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_cancelling_ends_a_job_at_once_in_every_stage_and_nothing_of_it_happens_later(jobs, stage):
    script = Script()
    jobs.add(script.job)
    bring_to(jobs, script, stage)
    assert jobs.cancel(script.job)
    assert script.job.state == "cancelled" and script.job.sentence == "Cancelled."
    poll_until(jobs, lambda: jobs.is_idle)
    assert "finish" not in script.steps
    assert script.steps[-2:] == ["ended", "callback cancelled"]
    assert not jobs.cancel(script.job)


@pytest.mark.parametrize("stage", STAGES)
def test_the_jobs_own_switch_turned_in_another_thread_cancels_it_with_the_next_poll(jobs, stage):
    script = Script()
    jobs.add(script.job)
    bring_to(jobs, script, stage)
    other = threading.Thread(target=script.job.cancellation.cancel)
    other.start()
    other.join()
    jobs.poll()
    assert script.job.state == "cancelled" and "finish" not in script.steps


def test_a_reply_that_comes_after_cancelling_is_thrown_away_and_the_next_job_is_not_mixed_up_with_it(jobs):
    stubborn, release = threading.Event(), threading.Event()

    def deaf_work(_prepared, progress, _cancellation):
        stubborn.set()
        release.wait(60)
        late.deliver("late part")
        progress("uploading", 1, 2)
        return "late reply"

    imported = []
    late = jobs.add(Job("late", work=deaf_work, finish=imported.append, arrived=imported.extend))
    after = jobs.add(Job("after", work=lambda *_: "on time", finish=imported.append, arrived=imported.extend))
    poll_until(jobs, stubborn.is_set)
    jobs.cancel(late)
    for _ in range(20):
        jobs.poll()
    assert after.state == "queued"  # one worker: it waits until the deaf one has ended
    release.set()
    jobs.wait(after)
    assert imported == ["on time"] and late.state == "cancelled" and late.stage == ""


def test_cancelling_everything_starts_none_of_the_waiting_jobs(jobs):
    scripts = [Script(str(number)) for number in range(3)]
    for script in scripts:
        jobs.add(script.job)
    bring_to(jobs, scripts[0], "running")
    jobs.cancel_all("The scene was closed.")
    assert [script.job.state for script in scripts] == ["cancelled"] * 3
    assert {script.job.sentence for script in scripts} == {"The scene was closed."}
    poll_until(jobs, lambda: jobs.is_idle)
    assert "prepare" not in scripts[1].steps + scripts[2].steps


# --- stale replies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_whose_purpose_is_gone_is_dropped_with_its_sentence_in_every_stage(jobs, stage):
    script = Script()
    jobs.add(script.job)
    bring_to(jobs, script, stage)
    script.why_stale = "The volume was deleted."
    jobs.poll()
    assert script.job.state == "dropped" and script.job.sentence == script.job.display == "The volume was deleted."
    assert script.job.cancellation.is_cancelled  # the worker need not go on uploading
    poll_until(jobs, lambda: jobs.is_idle)
    assert "finish" not in script.steps and script.steps[-2:] == ["ended", "callback dropped"]


def test_a_waiting_job_is_dropped_while_another_one_works(jobs):
    first, second = Script("first"), Script("second")
    jobs.add(first.job)
    jobs.add(second.job)
    bring_to(jobs, first, "running")
    second.why_stale = "gone"
    jobs.poll()
    assert (first.job.state, second.job.state) == ("running", "dropped")
    first.go.set()
    jobs.wait(first.job)


def test_waiting_for_a_dropped_job_raises_its_sentence(jobs):
    script = Script()
    script.why_stale = "The scene was closed."
    jobs.add(script.job)
    with pytest.raises(Dropped, match="scene was closed"):
        jobs.wait(script.job)


# --- failures ------------------------------------------------------------------------------------------------------


def _raiser(error):
    def step(*_):
        raise error

    return step


def _failing(where, error):
    def work(_prepared, _progress, _cancellation):
        job.deliver("part")
        return "reply"

    job = Job("fails", **({"work": work, "arrived": lambda parts: None} | {where: _raiser(error)}))
    return job


@pytest.mark.parametrize("where", ["prepare", "work", "arrived", "finish", "stale"])
def test_an_error_with_a_sentence_in_any_step_becomes_the_jobs_sentence_and_the_next_job_runs(jobs, where):
    job = jobs.add(_failing(where, InputError("There is no volume.")))
    following = jobs.add(Job("next", work=lambda *_: "fine"))
    assert jobs.wait(following) == "fine"
    assert (job.state, job.sentence) == ("failed", "There is no volume.")
    assert isinstance(job.error, InputError)


@pytest.mark.parametrize("where", ["prepare", "work", "arrived", "finish", "stale"])
def test_an_unexpected_error_in_any_step_becomes_a_plain_sentence_with_the_traceback_in_the_log(jobs, where, caplog):
    job = jobs.add(_failing(where, ZeroDivisionError("secret detail")))
    following = jobs.add(Job("next", work=lambda *_: "fine"))
    with caplog.at_level(logging.ERROR):
        assert jobs.wait(following) == "fine"
    assert job.state == "failed" and "ZeroDivisionError" in job.sentence and "log" in job.sentence
    assert "secret detail" not in job.sentence
    assert "Traceback" in caplog.text and "secret detail" in caplog.text
    with pytest.raises(MedImageParseError, match="unexpected"):
        jobs.wait(job)


def test_running_out_of_memory_is_said_in_plain_words(jobs):
    job = jobs.add(_failing("work", MemoryError()))
    with pytest.raises(MedImageParseError, match="not enough memory"):
        jobs.wait(job)


def test_work_that_says_it_was_cancelled_or_leaves_the_interpreter_ends_only_the_job(jobs):
    cancelled = jobs.add(_failing("work", Cancelled()))
    exits = jobs.add(_failing("work", SystemExit(3)))
    with pytest.raises(Cancelled):
        jobs.wait(cancelled)
    poll_until(jobs, lambda: exits.has_ended)
    assert (cancelled.state, exits.state) == ("cancelled", "failed")


def test_tidying_up_that_fails_does_not_keep_the_next_job_from_its_turn(jobs, caplog):
    first = jobs.add(Job("first", work=lambda *_: 1, ended=_raiser(RuntimeError("untidy"))))
    second = jobs.add(Job("second", work=lambda *_: 2))
    with caplog.at_level(logging.ERROR):
        assert (jobs.wait(first), jobs.wait(second)) == (1, 2)
    assert "untidy" in caplog.text


class Heavy:
    """Stands for a volume."""


@pytest.mark.parametrize("how", ["done", "failed", "cancelled", "dropped"])
def test_an_ended_job_that_is_kept_holds_on_to_no_volume(jobs, how):
    heavy = Heavy()
    gone = weakref.ref(heavy)
    script = Script(prepare=lambda heavy=heavy: heavy)

    def work(prepared, _progress, cancellation):
        held = prepared
        script.at_work.set()
        while not script.go.wait(0.005):
            cancellation.check()
        if how == "failed":
            raise InputError(f"{type(held).__name__} is no volume.")

    script.job.work = work
    script.job.finish = lambda result: None
    jobs.add(script.job)
    del heavy
    bring_to(jobs, script, "running")
    if how == "cancelled":
        jobs.cancel(script.job)
    elif how == "dropped":
        script.why_stale = "gone"
    script.go.set()
    poll_until(jobs, lambda: jobs.is_idle)
    del work
    gc.collect()
    assert script.job.state == how and gone() is None


# --- closing and misuse --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_closing_in_any_stage_cancels_and_leaves_no_thread(stage):
    threads = set(threading.enumerate())
    jobs = JobQueue()
    script, waiting = Script(), Script("waiting")
    jobs.add(script.job)
    jobs.add(waiting.job)
    bring_to(jobs, script, stage)
    jobs.close()
    jobs.close()
    assert script.job.state == waiting.job.state == "cancelled"
    assert jobs.is_idle and set(threading.enumerate()) <= threads
    with pytest.raises(UsageError, match="closed or reloaded"):
        jobs.add(Script().job)
