"""How wide the effect's options are, and that nothing in them is cut off, in every state that a person may see."""

from __future__ import annotations

import datetime

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")

from panel_support import WIDEST, settled, wideOnes

from MedImageParseLib.errors import EndpointError

LONG = "an endpoint with a very long name in a subscription with many others in western europe, department 7"
NAME = "a structure with a name that goes on and on without any end that one could foresee"


def idle(annotator):
    """Nothing is chosen but the volume."""
    annotator.editor.setSourceVolumeNode(None)


def everyChoice(annotator):
    annotator.addSegment(NAME)
    annotator.host.choose("extentComboBox", "Slices from–to (2D)")
    annotator.host.choose("regionComboBox", "Box around the selected segment")
    annotator.host.find("marginSpinBox").setValue(499.9)


def newSegments(annotator):
    annotator.host.choose("intoComboBox", "New segments")
    annotator.host.type("promptEdit", "&".join([NAME] * 3))


def demoEndpoint(annotator):
    annotator.host.choose("profileComboBox", "Local demo")


def longEndpoint(annotator):
    annotator.addEndpoint("https://a-very-long-name-of-an-endpoint.westeurope.inference.ml.azure.com/score", LONG)
    annotator.box.endpoint._costs[LONG] = [LONG + " costs money. " + LONG]
    expires = datetime.datetime(2030, 5, 17, 10, 15, tzinfo=datetime.timezone.utc)
    annotator.box.endpoint.showDeviceCode("https://microsoft.com/devicelogin", "EXAMPLE-CODE", expires)
    annotator.box.endpoint.poll()


def running(annotator):
    annotator.addSegment("cube")
    job = annotator.start()
    job.stage, job.done, job.total = "model working", 1, 3
    annotator.box._showJob()
    assert annotator.host.find("progressBar").visible and annotator.host.find("stageLabel").visible


def done(annotator):
    annotator.host.choose("intoComboBox", "New segments")
    annotator.run(f"cube & bar & {NAME}")
    assert "Not found" in annotator.message


def failed(annotator):
    annotator.box._message.sayError(EndpointError("Could not reach " + LONG + ". " + LONG, request_id="4711"))
    assert annotator.host.find("promptMessageCopyButton").visible and annotator.host.find("promptMessageHelpButton").visible


@pytest.mark.parametrize("state", [idle, everyChoice, newSegments, demoEndpoint, longEndpoint, running, done, failed])
def test_no_widget_of_the_effect_asks_for_more_than_300_pixels(annotator, state):
    state(annotator)
    settled(annotator)
    root = annotator.box.widget
    assert wideOnes(root) == []
    assert root.layout().minimumSize().width() <= WIDEST, "all of it together, which no policy may hide"
    assert annotator.host.layout_faults(WIDEST, 900) == [] and annotator.host.panel.window.width == 420


def test_the_segments_name_stands_in_the_field_only_where_it_is_the_prompt(annotator):
    shown = lambda: annotator.host.find("promptEdit").placeholderText  # noqa: E731
    annotator.addSegment("spleen")
    assert shown() == "spleen"
    annotator.host.choose("intoComboBox", "New segments")
    assert shown() == "such as liver" and not annotator.host.find("runButton").enabled
