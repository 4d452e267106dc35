"""Threads starve while Slicer's window idles, because its event loop keeps the GIL: the host has to show that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from places import LIBRARY, ROOT

from host import Host


class Counter:
    """A thread that counts as fast as it may."""

    def __init__(self):
        self.count, self._going = 0, True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while self._going:
            self.count += 1

    def progress(self, wait) -> int:
        before = self.count
        wait()
        return self.count - before

    def stop(self):
        self._going = False
        self._thread.join()


@pytest.fixture()
def counter():
    counting = Counter()
    yield counting
    counting.stop()


def test_a_thread_starves_while_the_window_idles_and_recovers_when_the_main_thread_yields(counter):
    with Host() as host:
        host.run_idle(0.01)
        alone = counter.progress(lambda: time.sleep(0.5))
        idle = counter.progress(lambda: host.run_idle(0.5))
        timer = host.qt.QTimer()
        timer.interval = 10
        timer.connect("timeout()", lambda: time.sleep(0.003))
        timer.start()
        yielding = counter.progress(lambda: host.run_idle(0.5))
        timer.stop()
        assert host.slot_errors == []
    assert idle < 0.1 * alone
    assert yielding > 5 * idle and yielding > 0.3 * alone


def test_slots_are_called_while_the_gil_is_held():
    with Host() as host:
        heard = []
        host.qt.QTimer.singleShot(5, lambda: heard.append("timer"))
        host.run_idle(0.05)
        assert heard == ["timer"]


def test_waiting_ends_as_soon_as_it_holds_and_complains_when_it_never_does():
    with Host() as host:
        heard = []
        host.qt.QTimer.singleShot(20, lambda: heard.append(1))
        assert host.wait_until(lambda: heard, 5) == [1]
        with pytest.raises(TimeoutError):
            host.wait_until(lambda: False, 0.1)
        with pytest.raises(ZeroDivisionError):
            host.wait_until(lambda: 1 / 0, 1)


def test_a_long_session_does_not_use_up_none():
    """PySide gives a reference to None back with each call that returns nothing; before Python 3.12 the session then ended in an abort."""
    code = "from host import Host\nwith Host() as host:\n    label = host.qt.QLabel()\n    for _ in range(30000): label.setText('x')\nprint('all is well')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "Testing"), str(LIBRARY)])}
    outcome = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (outcome.returncode, outcome.stdout.strip()) == (0, "all is well"), outcome.stderr[-500:]
