"""Fixtures that the suites of this folder share."""

from __future__ import annotations

import pytest
from effect_support import openedEditor
from panel_support import endpoint

__all__ = ["annotator", "endpoint"]


@pytest.fixture(scope="package")
def opened():
    """One editor for all files of tests here: to start it takes longer than most of them."""
    with openedEditor() as person:
        yield person


@pytest.fixture
def annotator(opened, endpoint):
    """The Segment Editor with the effect, a volume, an empty segmentation, and an endpoint that finds a cube and a bar."""
    opened.host.close_scene()
    opened.load()
    opened.addEndpoint(endpoint[0])
    logic = opened.box.logic
    yield opened
    logic.cancelAll()
    opened.host.process()
