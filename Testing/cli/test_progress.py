"""What a person is told while a run goes on: one count for the whole run, its rate and the time left. No test waits: the clock is made up."""

from __future__ import annotations

import io
import itertools
import re
import sys
import threading

import nibabel as nib
import numpy as np
import pytest

from MedImageParseLib.cli.run_progress import RunProgress
from MedImageParseLib.cli.terminal import PlainStream, Terminal
from MedImageParseLib.tasks.run import RunLog, run_all

LINE = re.compile(r"slices \d+ of 76(, \d+:\d\d so far|, [\d.]+ s a slice(, \d+:\d\d left)?)")


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A terminal: a return goes back to the beginning of the line, and what is written there covers what was there."""

    def __init__(self, is_terminal: bool):
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def states(self) -> list[str]:
        """All that the changing line ever said."""
        return [state.rstrip() for state in re.split("[\r\n]", self.getvalue()) if state.strip()]

    def visible(self) -> str:
        """What is to be seen at the end, and where the next text would begin."""
        shown = ""
        for state in self.getvalue().split("\n")[-1].split("\r"):
            shown = state + shown[len(state) :]
        return shown.rstrip()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def screen(monkeypatch, is_terminal: bool) -> Screen:
    made = Screen(is_terminal)
    monkeypatch.setattr(sys, "stderr", PlainStream(made))
    return made


def run_of_slices(terminal: Terminal, clock: Clock, count: int, seconds: float, workers: int = 4) -> None:
    """A run as its workers tell it: each of its own request, all mixed, and the count between them."""
    terminal.progress("reading", 0, 0)
    terminal.progress("preparing", 0, 0)
    terminal.progress("slices", 0, count)
    for done in range(1, count + 1):
        for worker in range(workers):
            clock.now += seconds / workers
            terminal.progress("uploading", 300 * worker, 1200)
            terminal.progress("model working", worker, 0)
            terminal.progress("downloading", 500, 1000)
        terminal.progress("slices", done, count)
    terminal.progress("writing", 0, 0)
    terminal.end()


def test_a_run_tells_how_many_are_done_the_seconds_for_each_and_the_time_left(clock):
    run = RunProgress(clock)
    run.told("slices", 0, 76)
    for done in range(1, 38):
        clock.now += 2.1
        run.told("slices", done, 76)
    assert run.line() == "slices 37 of 76, 2.1 s a slice, 1:22 left"


def test_before_the_first_is_done_no_rate_is_made_up(clock):
    run = RunProgress(clock)
    assert run.line() == ""
    run.told("slices", 0, 76)
    clock.now += 71
    run.told("model working", 70, 0)
    assert run.line() == "slices 0 of 76, 1:11 so far"


@pytest.mark.parametrize(
    ("stage", "done", "total", "line"),
    [
        ("slices", 2, 4, "slices 2 of 4, 5.0 s a slice, 0:10 left"),
        ("replies", 1, 3, "replies 1 of 3, 10 s a reply, 0:20 left"),
        ("embedding", 100, 300, "images 100 of 300, 0.10 s an image, 0:20 left"),
        ("embedding", 100, 0, "images 100, 0.10 s an image"),
        ("measuring", 1, 1000, "cases 1 of 1000, 10 s a case, 2:46:30 left"),
        ("slices", 4, 4, "slices 4 of 4, 2.5 s a slice"),
    ],
)
def test_a_line_names_what_is_counted_and_promises_nothing_that_is_not_known(clock, stage, done, total, line):
    run = RunProgress(clock)
    run.told(stage, 0, total)
    clock.now += 10
    run.told(stage, done, total)
    assert run.line() == line


def test_a_slow_start_is_forgotten_and_a_standstill_makes_the_rate_worse(clock):
    run = RunProgress(clock)
    run.told("slices", 0, 100)
    clock.now += 300  # the endpoint wakes up
    for done in range(1, 31):
        clock.now += 1
        run.told("slices", done, 100)
    assert run.line() == "slices 30 of 100, 1.0 s a slice, 1:10 left"
    clock.now += 1
    assert run.line() == "slices 30 of 100, 1.0 s a slice, 1:10 left"
    clock.now += 170
    assert run.seconds_each() == pytest.approx((16 + 171) / 17) and run.line().endswith(" left")


def test_steps_of_workers_never_hide_the_count_and_the_next_step_of_the_run_does(clock):
    run = RunProgress(clock)
    run.told("uploading", 1.2e6, 3e6)
    assert run.line() == "uploading 1.2 of 3.0 MB" and run.is_worker
    run.told("slices", 0, 3)
    clock.now += 2
    run.told("slices", 1, 3)
    for step in ("uploading", "model working", "downloading", "waiting to try again"):
        run.told(step, 1, 2)
        assert run.line() == "slices 1 of 3, 2.0 s a slice, 0:04 left", step
    run.told("slices", 3, 3)
    run.told("writing", 0, 0)
    assert run.line() == "writing" and not run.is_counting


def test_a_terminal_shows_one_line_in_which_the_count_only_grows(monkeypatch, clock):
    seen = screen(monkeypatch, is_terminal=True)
    run_of_slices(Terminal(False, clock), clock, 76, 2.1)
    states = seen.states()
    counts = [state for state in states if state.startswith("slices")]
    assert states[:2] == ["reading", "preparing"] and states[-1] == "writing" and states[2:-1] == counts
    assert all(LINE.fullmatch(state) for state in counts)
    numbers = [int(state.split()[1]) for state in counts]
    assert numbers == sorted(numbers) and set(numbers) == set(range(77))
    assert "slices 37 of 76, 2.1 s a slice, 1:22 left" in counts
    assert "\n" not in seen.getvalue() and seen.visible() == ""


def test_what_is_said_after_a_terminals_line_begins_at_the_left(monkeypatch, clock):
    seen = screen(monkeypatch, is_terminal=True)
    terminal = Terminal(False, clock)
    terminal.progress("slices", 0, 76)
    terminal.say("warning: something")
    assert seen.getvalue().endswith("\rwarning: something\n")


def test_a_terminals_line_is_never_wider_than_the_terminal(monkeypatch, clock):
    monkeypatch.setenv("COLUMNS", "20")
    seen = screen(monkeypatch, is_terminal=True)
    run_of_slices(Terminal(False, clock), clock, 76, 2.1)
    assert max(map(len, seen.states())) == 19


@pytest.mark.parametrize(("seconds", "most"), [(0.01, 10), (2.1, 76 * 2.1 / 10 + 10)])
def test_a_log_gets_a_line_every_ten_seconds_or_ten_percent_each_with_the_count(monkeypatch, clock, seconds, most):
    seen = screen(monkeypatch, is_terminal=False)
    run_of_slices(Terminal(False, clock), clock, 76, seconds)
    lines = seen.getvalue().splitlines()
    assert 8 <= len(lines) <= most + 1
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert lines[-1].startswith("slices 76 of 76") and "\r" not in seen.getvalue()


def test_a_log_of_a_run_that_stands_still_goes_on_every_ten_seconds(monkeypatch, clock):
    seen = screen(monkeypatch, is_terminal=False)
    terminal = Terminal(False, clock)
    terminal.progress("slices", 0, 76)
    for second in range(1, 36):
        clock.now += 1
        terminal.progress("model working", second, 0)
    assert seen.getvalue().splitlines() == [f"slices 0 of 76, 0:{seconds} so far" for seconds in (10, 20, 30)]


def test_a_log_of_a_single_request_tells_its_bytes_and_then_the_time(monkeypatch, clock):
    seen = screen(monkeypatch, is_terminal=False)
    terminal = Terminal(False, clock)
    for step in (("reading", 0, 0), ("preparing", 0, 0), ("uploading", 0, 42e6), ("uploading", 42e6, 42e6), ("model working", 0, 0)):
        terminal.progress(*step)
    for second in range(1, 25):
        clock.now += 1
        terminal.progress("model working", second, 0)
    assert seen.getvalue().splitlines() == ["uploading 0.0 of 42.0 MB", "model working 0:10", "model working 0:20"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_quiet_says_nothing_of_the_progress(monkeypatch, clock, is_terminal):
    seen = screen(monkeypatch, is_terminal)
    run_of_slices(Terminal(True, clock), clock, 76, 20)
    assert seen.getvalue() == ""


@pytest.mark.parametrize(
    ("jobs", "per_item", "told"),
    [
        (3, 1, [("slices", done, 3) for done in range(4)]),
        (8, 4, [("slices", done, 2) for done in range(3)]),
        (4, 4, [("replies", done, 4) for done in range(5)]),
        (1, 1, []),
    ],
)
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_run_counts_whole_slices_however_many_requests_each_takes(jobs, per_item, told, at_once):
    heard, threads = [], set()
    log = RunLog("medimageparse", lambda *step: heard.append(step))
    assert run_all([lambda: threads.add(threading.get_ident())] * jobs, log, at_once, "slices", per_item) is None
    assert heard == told and threads


@pytest.mark.parametrize("orient", ["radiological", "vote"])
def test_a_real_run_of_20_slices_leaves_at_most_12_lines_each_with_the_count_of_slices(bench, orient):
    voxels = np.tile(np.arange(12, dtype=np.int16) * 20, (10, 20, 1)).transpose(2, 0, 1)  # ijk
    nib.save(nib.Nifti1Image(np.ascontiguousarray(voxels), np.eye(4)), bench.folder / "twenty.nii.gz")
    options = ("--slices", "all", "--plane", "axial", "--orient", orient, "--prompt", "cube", "--labels", bench.path("labels.nii.gz"))
    assert bench.segment(*options, image="twenty.nii.gz", model="medimageparse") == 0
    lines = [line for line in bench.err.splitlines() if not line.startswith("warning: ")]
    assert 2 <= len(lines) <= 12 and len(bench.double.seen) == (80 if orient == "vote" else 20)
    counts = [re.fullmatch(r"slices (\d+) of 20, (\d+:\d\d so far|[\d.]+ s a slice(, \d+:\d\d left)?)", line) for line in lines]
    assert all(counts), lines
    numbers = [int(count[1]) for count in counts]
    assert numbers[-1] == 20 and all(earlier < later for earlier, later in itertools.pairwise(numbers)), lines
