"""Fixtures that the suites of this folder share."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from effect_support import openedEditor
from panel_support import Gate, endpoint

__all__ = ["annotator", "endpoint"]

_open: list = []  # (stack to close, Annotator): one editor for all files of this folder, as to start it takes longer than most tests


@pytest.fixture
def opened():
    """Slicer with the Segment Editor open in front."""
    if not _open:
        stack = ExitStack()
        _open.append((stack, stack.enter_context(openedEditor())))
    person = _open[0][1]
    person.open()
    return person


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Quit after the last test of this folder: another folder starts a Slicer of its own."""
    result = yield
    if _open and (nextitem is None or Path(nextitem.path).parent != Path(__file__).parent):
        _open.pop()[0].close()
    return result


@pytest.fixture
def annotator(opened, endpoint):
    """The Segment Editor with the effect, a volume, an empty segmentation, and an endpoint that finds a cube and a bar."""
    opened.host.close_scene()
    opened.load()
    opened.addEndpoint(endpoint[0])
    yield opened
    opened.box.logic.cancelAll()
    opened.host.process()


@pytest.fixture
def held(annotator, endpoint):
    """A run into a segment "cube" that waits for the endpoint's answer. Returns (annotator, segment ID, job, go)."""
    made = annotator.addSegment("cube")
    endpoint[1].pause = gate = Gate()
    job = annotator.start()
    annotator.box._timer.start()
    annotator.host.wait_until(gate.reached.is_set, 30)
    yield annotator, made, job, gate.open
    gate.open()
