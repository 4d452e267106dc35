"""How wide the panel is: Slicer makes what a module's widget asks for the least width of its panel, and its main window grows with it."""

from __future__ import annotations

from typing import Any

import pytest
from panel_support import WIDEST, settled, wideOnes

from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges

driving = pytest.importorskip("host.driving", reason="PySide6 is not installed: there is no Qt to test against")
slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
QtWidgets = pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed: there is no Qt to test against")

LONG = "an endpoint with a very long name in a subscription with many others in western europe, department 7"
URL = "https://a-very-long-name-of-an-endpoint-in-a-subscription-with-many-others.westeurope.inference.ml.azure.com/score"


def emptyPanel(opened: Any, url: str) -> None:
    """Nothing is chosen yet."""


def afterRuns(opened: Any, url: str) -> None:
    opened.makeReady(url, "cube & bar & " + "a structure with a name that goes on and on without any end that one could foresee")
    for _run in range(3):
        opened.run()
        opened.host.type("promptsEdit", "cube")


def withOptions(opened: Any, url: str) -> None:
    opened.makeReady(url)
    opened.host.click("optionsButton")
    for mode in ("Volume (3D)", "Slices from–to (2D)"):
        opened.host.choose("modeComboBox", mode)
        opened.host.choose("windowComboBox", "Custom range")
        assert wideOnes(settled(opened)) == []


def longNames(opened: Any, url: str) -> None:
    opened.makeReady(url)
    opened.addVolume("A volume whose name comes from a series description of more than one line, " * 3)
    opened.addProfile(LONG, URL)
    opened.panel.runBox.say("Could not reach " + LONG + LONG)
    opened.panel.endpoint._setStatus(LONG, "Bad", LONG + LONG)


@pytest.mark.parametrize("state", [emptyPanel, afterRuns, withOptions, longNames])
def test_no_widget_of_the_segment_tab_asks_for_more_than_300_pixels(opened, endpoint, state):
    state(opened, endpoint[0])
    assert wideOnes(settled(opened)) == []
    assert opened.host.panel.window.width == 420


def test_no_widget_of_the_settings_asks_for_more_than_300_pixels(opened, endpoint):
    opened.addProfile(LONG, URL, sign_in="key")
    for button in ("settingsButton", "moreButton", "findSection", "privacySection"):
        opened.host.click(button)
    assert wideOnes(opened.panel.settings.widget) == []


def test_no_widget_of_the_search_tab_asks_for_more_than_300_pixels(search):
    assert wideOnes(settled(search)) == []
    search.fill()
    search.host.type("labelsEdit", "chest x-ray with a finding whose description is long\nchest x-ray without any finding")
    search.do("classifyButton")
    for mode in ("This region", "This text"):
        search.host.choose("queryModeComboBox", mode)
        assert wideOnes(settled(search)) == []
    assert search.host.panel.window.width == 420


def test_a_run_does_not_widen_the_window(opened, endpoint):
    """The table of results once followed its contents, its stretched column followed the table, and so on with every layout pass."""
    opened.makeReady(endpoint[0])
    widths = [opened.host.panel.window.width]
    for prompts in ("cube & bar & unicorn", "bar", "cube & unicorn"):
        opened.host.type("promptsEdit", prompts)
        opened.run()
        settled(opened)
        widths.append(opened.host.panel.window.width)
    assert widths == [420] * 4
    assert len(opened.results()) >= 3


def afterARun(opened: Any, url: str) -> None:
    opened.makeReady(url, "liver & left kidney & unicorn")
    opened.run()
    assert len(opened.results()) == 3


def withAnError(opened: Any, url: str) -> None:
    from MedImageParseLib.errors import EndpointError

    afterARun(opened, url)
    opened.panel.runBox.sayError(
        EndpointError("The endpoint refused the request as too large; choose fewer slices, or see the endpoint's log.")
    )


@pytest.mark.parametrize("state", [emptyPanel, afterARun, withAnError])
def test_the_working_panel_needs_no_scrolling_at_900_by_300_pixels(opened, state):
    with EndpointDouble(GrayRanges({"liver": (90, 110), "left kidney": (190, 210)})).serve() as url:
        state(opened, url)
    opened.panel.prompts.hints.show()
    with opened.host.panel.dressed(WIDEST, 900, 1.0, "light"):
        for _pass in range(5):
            opened.host.process()
        inner = opened.host.panel.scroll.widget()
        assert (QtWidgets.QWidget.width(inner), QtWidgets.QWidget.height(inner)) == (WIDEST, 900)
    assert opened.host.layout_faults(WIDEST, 900) == []


@pytest.mark.parametrize("state", [emptyPanel, afterARun, afterRuns, withOptions, longNames, withAnError])
def test_at_a_font_half_as_large_again_nothing_is_cut_and_300_pixels_are_enough(opened, endpoint, state):
    state(opened, endpoint[0])
    opened.panel.prompts.hints.show()
    assert atLargeFont(opened) == []


def test_the_search_tab_at_a_font_half_as_large_again_needs_no_more_than_300_pixels(search):
    assert atLargeFont(search) == []
    search.fill()
    search.host.type("labelsEdit", "chest x-ray with a finding whose description is long\nchest x-ray without any finding")
    search.do("classifyButton")
    assert atLargeFont(search) == []


def atLargeFont(opened: Any) -> list[str]:
    """What is wrong with the panel at the least width and at a large font, sideways scrolling included."""
    with opened.host.panel.dressed(WIDEST, 900, 1.5, "light"):
        settled(opened)
        opened.host.panel.window.resize(WIDEST, 900)
        settled(opened)
        scroll = opened.host.panel.scroll
        sideways = scroll.horizontalScrollBar().maximum
        faults = [f"{sideways} pixels lie beside the panel"] if sideways else []
        if opened.host.panel.needed_width() > WIDEST:
            faults.append(f"Slicer would make the panel {opened.host.panel.needed_width()} pixels wide")
        return faults + driving.layout_faults(opened.host.panel)
