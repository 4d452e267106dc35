"""The job queue: order, steps, threads and progress."""

from __future__ import annotations

import logging
import threading

import pytest
from jobs_support import Script, bring_to, poll_until

from MedImageParseLib.errors import UsageError
from MedImageParseLib.logic.jobs import Job, JobQueue, stage_in_words


@pytest.fixture
def jobs():
    threads = set(threading.enumerate())
    queue = JobQueue()
    yield queue
    queue.close()
    assert set(threading.enumerate()) <= threads


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
        Script(
            str(number),
            prepare=lambda n=number: log.append(f"prepare {n}"),
            work=lambda *_, n=number: log.append(f"work {n}"),
            finish=lambda _, n=number: log.append(f"finish {n}"),
        )
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
            at_each[number].wait(60)

    at_each = [threading.Event() for _ in range(5)]
    job = Job("parts", work=work, prepare=lambda: steps.append("prepare"), arrived=steps.append, finish=lambda _: steps.append("finish"))
    jobs.add(job)
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
    monkeypatch.setattr("MedImageParseLib.logic.jobs.time.sleep", slept.append)
    jobs = JobQueue(yield_s=0.0015)
    script = Script()
    jobs.add(script.job)
    jobs.poll()  # its turn comes
    assert slept == []
    jobs.poll()  # prepared, the worker starts
    assert script.at_work.wait(60)
    jobs.poll()
    assert slept == [0.0015, 0.0015]
    jobs.close()
    jobs.poll()
    assert slept == [0.0015, 0.0015]


# --- progress ------------------------------------------------------------------------------------------------------


def test_progress_shows_bytes_seconds_and_finished_requests_in_words(jobs):
    told, go_on = threading.Event(), threading.Event()
    stages = [("uploading", 42.4e6, 118e6), ("model working", 12.9, 0), ("slices", 6, 20)]
    stages += [("waiting to try again", 7.2, 10), ("downloading", 2.5e6, 0)]

    def work(_prepared, progress, _cancellation):
        for stage in stages:
            progress(*stage)
            told.set()
            assert go_on.wait(60)
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
        release.wait(60)

    release = threading.Event()
    job = jobs.add(Job("flood", work=work))
    polls = 0
    while not job.has_ended:
        jobs.poll()
        polls += 1
        if job.state == "running" and flooded.wait(60) and polls > 6:
            release.set()
    assert len(told) <= polls
    assert told == [("preparing", 0), ("running", 0), ("running", 4999), ("importing", 4999), ("done", 4999)]
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


# --- misuse ----------------------------------------------------------------------------------------------------


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
    job = Job(
        "first", work=lambda *_: 1, callback=lambda job: results.append(jobs.wait(jobs.add(Job("second", work=lambda *_: job.result + 1))))
    )
    jobs.wait(jobs.add(job))
    assert results == [2]


def test_an_interrupt_while_waiting_cancels_the_job(jobs, monkeypatch):
    script = Script()
    jobs.add(script.job)
    bring_to(jobs, script, "running")

    def interrupted(_seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("MedImageParseLib.logic.jobs.time.sleep", interrupted)
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


def test_what_is_put_off_is_asked_for_again_though_nothing_more_arrives():
    given, release = [], threading.Event()

    def work(_prepared, _progress, _cancellation):
        job.deliver("part")
        release.wait(60)

    def arrived(parts):
        given.append(list(parts))
        if len(given) == 3:
            release.set()
        return len(given) < 3

    jobs = JobQueue(yield_s=0.0)
    job = jobs.add(Job("parts", work=work, arrived=arrived))
    jobs.wait(job)
    jobs.close()
    assert given == [["part"], [], []]
