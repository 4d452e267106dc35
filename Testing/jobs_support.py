"""What the job queue's tests share: a job that writes down its steps and works until it is let go."""

from __future__ import annotations

import threading
import time

from MedImageParseLib.logic.jobs import Job

STAGES = ("queued", "preparing", "running", "importing")


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
        assert script.at_work.wait(60)
