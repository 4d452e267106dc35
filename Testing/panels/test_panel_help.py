"""What the panel offers when something is missing or wrong, who made what, and Slicer's own Show 3D button."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed: there is no Qt to test against")


def shownText(opened: Any, name: str) -> str:
    return "" if opened.host.find(name).isHidden() else opened.text(name)


def test_what_keeps_run_disabled_has_one_button_that_does_it(opened):
    assert shownText(opened, "reasonButton") == "" and "Select a volume" in shownText(opened, "reasonLabel")
    opened.addVolume()
    opened.host.choose("volumeSelector", "CT")
    assert shownText(opened, "reasonButton") == ""  # prompts are missing, and these are typed
    opened.host.type("promptsEdit", "liver")
    opened.host.key("promptsEdit", "Esc")
    assert shownText(opened, "reasonButton") == "Start local demo" and "local demo" in shownText(opened, "reasonLabel")
    started: list[str] = []
    opened.panel.endpoint.demo.start = lambda *_arguments: started.append("demo")
    opened.host.click("reasonButton")
    assert started == ["demo"]


def test_an_endpoint_of_the_wrong_model_leads_to_the_settings(opened):
    opened.makeReady("https://radiology.example/score", "liver", model="medimageinsight")
    assert shownText(opened, "reasonButton") == "Open endpoint settings"
    opened.host.click("reasonButton")
    assert opened.panel.settings.dialog.visible


def test_who_is_not_signed_in_is_offered_to_sign_in(opened):
    from MedImageParseLib.errors import EndpointError
    from MedImageParseLib.signin.auth import SignInError

    opened.makeReady("https://radiology.example/score", "liver", sign_in="entra")
    for error, text in (
        (SignInError("No."), "Sign in"),
        (EndpointError("No.", status=401), "Sign in"),
        (EndpointError("No."), "Open endpoint settings"),
    ):
        opened.panel.runBox.sayError(error)
        assert shownText(opened, "messageHelpButton") == text and shownText(opened, "messageCopyButton") == "Copy"
        assert not opened.host.find("messageIcon").isHidden()


def test_nested_targets_in_one_request_run_again_with_one_request_each(opened, endpoint):
    url, double = endpoint
    opened.makeReady(url, "cube & cube left")
    opened.panel.parameters["Group"] = "together"
    opened.run()
    assert shownText(opened, "apartButton") == "Run again, one request each"
    before = len(double.seen)
    opened.host.click("apartButton")
    opened.host.wait_until(lambda: not opened.jobs, 20, every=0.02)
    opened.host.process()
    assert len(double.seen) - before == 2 and opened.panel.parameters["Group"] == "each"
    assert shownText(opened, "apartButton") == ""


def test_a_run_names_the_host_that_it_was_sent_to(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    opened.run()
    (action,) = opened.host.find("runsButton").menu().actions()
    assert action.text.endswith("1 of 1 found, Ward 3 (127.0.0.1)")
    assert "Endpoint: Ward 3 (127.0.0.1)" in opened.besides()[0]["tip"]


def test_the_preview_says_when_a_slice_is_turned_as_the_model_was_trained(opened):
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.panels.preview import slicePreview, windowFor

    volume = Volume(np.arange(4 * 30 * 40, dtype=np.int16).reshape(4, 30, 40), np.diag([-1.0, -1.0, 2.0, 1.0]), modality="CT")
    window = windowFor(volume, "raw", "liver")
    assert slicePreview(volume, window, "axial", 1, "trained", "liver").isTurned
    assert not slicePreview(volume, window, "axial", 1, "radiological", "liver").isTurned
    assert not slicePreview(
        volume, window, "axial", 1, "trained", "kidney tumor"
    ).isTurned  # its training images lay as radiologists look at them
    node = opened.addVolume()
    node.SetAttribute("DICOM.Modality", "CT")
    for control, text in (("volumeSelector", "CT"), ("modeComboBox", "This slice (2D)")):
        opened.host.choose(control, text)
    opened.host.type("promptsEdit", "liver")
    opened.host.click("optionsButton")
    opened.panel.options.drawPreview()
    assert "rotated to the orientation of the model's training images" in opened.text("previewText")


def test_show_3d_follows_surfaces_that_others_make_and_its_menu_smooths(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    opened.run()
    (node,) = opened.segmentations()
    button, segmentation = opened.host.find("show3DButton"), node.GetSegmentation()
    segmentation.CreateRepresentation("Closed surface")
    assert button.checked
    smoothing = button.menu().actions()[0]
    smoothing.setChecked(False)
    assert float(segmentation.GetConversionParameter("Smoothing factor")) < 0 and segmentation.ContainsRepresentation("Closed surface")
    segmentation.RemoveRepresentation("Closed surface")
    assert not button.checked
    segmentation.RemoveAllSegments()
    assert not button.enabled
