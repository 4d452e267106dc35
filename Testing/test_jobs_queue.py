"""The job queue: order, steps and threads, and that every job ends cleanly whatever happens in whatever stage."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref

import pytest

from MedImageParseLib.errors import Cancelled, InputError, MedImageParseError, UsageError
from MedImageParseLib.jobs.job import Dropped, Job, stage_in_words
from MedImageParseLib.jobs.queue import JobQueue

STAGES = ("queued", "preparing", "running", "importing")


@pytest.fixture
def jobs():
    threads = set(threading.enumerate())
    queue = JobQueue()
    yield queue
    queue.close()
    assert set(threading.enumerate()) <= threads


class Script:
    """A job that writes down each step with its thread, and whose work waits until it is let go."""

    def __init__(self, name="job", **changes):
        self.steps: list[str] = []
        self.on_main: dict[str, bool] = {}
        self.go, self.at_work = threading.Event(), threading.Event()
        self.why_stale = ""
        options = {
            "prepare": lambda: self._step("prepare", "input"),
            "work": self._work,
            "finish": lambda result: self._step("finish", result * 2),
            "stale": lambda: self.why_stale,
            "ended": lambda job: self._step("ended", None),
            "callback": lambda job: self._step(f"callback {job.state}", None),
        }
        self.job = Job(name, **(options | changes))

    def _step(self, name, value):
        self.steps.append(name)
        self.on_main[name] = threading.current_thread() is threading.main_thread()
        return value

    def _work(self, prepared, progress, cancellation):
        self._step("work", None)
        self.at_work.set()
        while not self.go.wait(0.005):
            cancellation.check()
        return prepared + "!"


def poll_until(queue, condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        queue.poll()
        time.sleep(0.001)


def bring_to(queue, script, stage):
    """Poll until the job is in a stage; in "importing" its work has been done and `finish` is what comes next."""
    if stage == "queued":
        return
    if stage == "importing":
        script.go.set()
    poll_until(queue, lambda: script.job.state == stage)
    if stage == "running":
        assert script.at_work.wait(5)


# --- order and threads ---------------------------------------------------------------------------------------------


def test_a_job_prepares_on_the_main_thread_works_in_another_and_finishes_on_the_main_thread(jobs):
    script = Script()
    script.go.set()
    jobs.add(script.job)
    assert jobs.wait(script.job) == "input!input!"
    assert script.steps == ["prepare", "work", "finish", "ended", "callback done"]
    assert script.on_main == {"prepare": True, "work": False, "finish": True, "ended": True, "callback done": True}
    assert script.job.result == "input!input!" and script.job.state == "done" and script.job.sentence == ""


def test_jobs_run_one_after_the_other_in_the_order_they_were_added(jobs):
    log = []
    scripts = [
        Script(str(number), prepare=lambda n=number: log.append(f"prepare {n}"), work=lambda *_, n=number: log.append(f"work {n}"), finish=lambda _, n=number: log.append(f"finish {n}"))
        for number in range(3)
    ]
    for script in scripts:
        jobs.add(script.job)
    assert jobs.jobs == [script.job for script in scripts]
    jobs.wait(scripts[2].job)
    assert log == [f"{step} {number}" for number in range(3) for step in ("prepare", "work", "finish")]
    poll_until(jobs, lambda: jobs.is_idle)


def test_nothing_happens_before_the_first_poll_and_no_thread_is_left_when_idle(jobs):
    before = threading.active_count()
    script = Script()
    jobs.add(script.job)
    assert script.steps == [] and threading.active_count() == before
    script.go.set()
    poll_until(jobs, lambda: jobs.is_idle)
    assert script.job.state == "done" and threading.active_count() == before


def test_each_poll_does_at_most_one_step_of_the_main_thread(jobs):
    steps = []

    def work(_prepared, _progress, _cancellation):
        for number in range(5):
            job.deliver(number)
            at_each[number].wait(5)

    at_each = [threading.Event() for _ in range(5)]
    job = jobs.add(Job("parts", prepare=lambda: steps.append("prepare"), work=work, arrived=lambda parts: steps.append(parts), finish=lambda _: steps.append("finish")))
    while not job.has_ended:
        before = len(steps)
        jobs.poll()
        assert len(steps) - before <= 1
        for number, event in enumerate(at_each):
            if any(number in step for step in steps if isinstance(step, list)):
                event.set()
    assert steps == ["prepare", [0], [1], [2], [3], [4], "finish"]


def test_parts_that_come_faster_than_polls_arrive_together_and_before_the_end(jobs):
    seen = []

    def work(*_):
        for number in range(100):
            job.deliver(number)

    job = jobs.add(Job("parts", work=work, arrived=seen.extend, finish=lambda _: len(seen)))
    assert jobs.wait(job) == 100
    assert seen == list(range(100))


def test_polling_while_the_worker_lives_sleeps_and_otherwise_does_not(monkeypatch):
    slept = []
    monkeypatch.setattr("MedImageParseLib.jobs.queue.time.sleep", slept.append)
    jobs = JobQueue(yield_s=0.0015)
    script = Script()
    jobs.add(script.job)
    jobs.poll()  # its turn comes
    assert slept == []
    jobs.poll()  # prepared, the worker starts
    assert script.at_work.wait(5)
    jobs.poll()
    assert slept == [0.0015, 0.0015]
    jobs.close()
    jobs.poll()
    assert slept == [0.0015, 0.0015]


# --- progress ------------------------------------------------------------------------------------------------------


def test_progress_shows_bytes_seconds_and_finished_requests_in_words(jobs):
    told, go_on = threading.Event(), threading.Event()
    stages = [("uploading", 42.4e6, 118e6), ("model working", 12.9, 0), ("slices", 6, 20), ("waiting to try again", 7.2, 10), ("downloading", 2.5e6, 0)]

    def work(_prepared, progress, _cancellation):
        for stage in stages:
            progress(*stage)
            told.set()
            assert go_on.wait(5)
            go_on.clear()

    seen = []
    job = jobs.add(Job("progress", work=work))
    assert job.display == "waiting for its turn"
    for _ in stages:
        poll_until(jobs, told.is_set)
        told.clear()
        jobs.poll()
        seen.append(job.display)
        go_on.set()
    assert seen == [
        "uploading 42 of 118 MB",
        "model working 0:12",
        "6 of 20 done, model working 0:12",
        "6 of 20 done, waiting to try again in 8 s",
        "6 of 20 done, downloading 2.5 MB",
    ]
    assert stage_in_words("model working", 3600, 0) == "model working 60:00"
    jobs.wait(job)
    assert job.display == "done" and job.elapsed > 0


def test_changes_are_told_once_a_poll_however_much_the_worker_says():
    told = []
    jobs = JobQueue(on_change=lambda job: told.append((job.state, job.done)))
    flooded = threading.Event()

    def work(_prepared, progress, _cancellation):
        for number in range(5000):
            progress("uploading", number, 5000)
        flooded.set()

    job = jobs.add(Job("flood", work=work))
    polls = 0
    while not job.has_ended:
        jobs.poll()
        polls += 1
        flooded.wait(5) if job.state == "running" else None
    assert len(told) <= polls
    assert [state for state, _ in told][-1] == "done"
    assert ("running", 4999) in told
    jobs.close()


def test_a_listener_that_fails_is_logged_and_the_job_goes_on(caplog):
    def broken(job):
        raise ValueError("a listener's own fault")

    jobs = JobQueue(on_change=broken)
    job = jobs.add(Job("fine", work=lambda *_: 1, callback=broken))
    with caplog.at_level(logging.ERROR):
        assert jobs.wait(job) == 1
    assert "a listener's own fault" in caplog.text
    jobs.close()


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
        release.wait(5)
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


def test_a_poll_within_a_step_does_nothing_and_waiting_within_one_is_refused(jobs):
    outcome = []

    def finish(_result):
        before = other.state
        for _ in range(5):
            jobs.poll()
        outcome.append(before == other.state)
        with pytest.raises(UsageError, match="own step"):
            jobs.wait(other)
        outcome.append(other.state)

    job = Job("outer", work=lambda *_: None, finish=finish)
    other = Job("other", work=lambda *_: "fine")
    jobs.add(job)
    jobs.add(other)
    jobs.wait(job)
    assert job.state == "done", job.sentence
    assert outcome[0] is True


def test_a_callback_may_start_a_job_and_wait_for_it(jobs):
    results = []
    job = Job("first", work=lambda *_: 1, callback=lambda job: results.append(jobs.wait(jobs.add(Job("second", work=lambda *_: job.result + 1)))))
    jobs.wait(jobs.add(job))
    assert results == [2]


def test_an_interrupt_while_waiting_cancels_the_job(jobs, monkeypatch):
    script = Script()
    jobs.add(script.job)
    bring_to(jobs, script, "running")

    def interrupted(_seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("MedImageParseLib.jobs.queue.time.sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            jobs.wait(script.job)
    assert script.job.state == "cancelled"


def test_a_job_runs_only_once_and_the_queue_belongs_to_one_thread(jobs):
    job = jobs.add(Job("once", work=lambda *_: 1))
    with pytest.raises(UsageError, match="runs once"):
        jobs.add(job)
    jobs.wait(job)
    with pytest.raises(UsageError, match="runs once"):
        jobs.add(job)
    refused = []

    def elsewhere():
        try:
            jobs.poll()
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert refused and "belongs to the thread" in refused[0]
