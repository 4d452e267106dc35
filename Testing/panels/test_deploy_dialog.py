"""Making and deleting an endpoint from the panel, against the look-alike of Azure Resource Manager."""

from __future__ import annotations

import json

import pytest

from doubles.azure_control_plane import WORKSPACE, ControlPlane
from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges
from MedImageParseLib.api.deploy import Azure
from MedImageParseLib.azure.resource_manager import ResourceManager
from MedImageParseLib.profiles.profiles import ProfileStore
from MedImageParseLib.signin.auth import StaticKey, session_keys


@pytest.fixture
def plane(tmp_path):
    with EndpointDouble(GrayRanges({"liver": (90, 110)})).serve() as url, ControlPlane(tmp_path, scoring_url=url) as plane:
        yield plane
    session_keys.forget()
    assert plane.errors == []


@pytest.fixture
def dialog(opened, plane, monkeypatch):
    """The dialog, open, signed in to the look-alike."""
    import MedImageParseLib.panels.deploy_dialog as module

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(plane.ca_file))

    def signed_in(*, cancellation, **_options):
        manager = ResourceManager(StaticKey(plane.token), plane.url, ca_bundle=str(plane.ca_file), cancellation=cancellation)
        return Azure(manager, arm_url=plane.url, prices_url=plane.prices_url, poll_s=0.02)

    monkeypatch.setattr(module, "sign_in_to_azure", signed_in)
    for button in ("settingsButton", "findSection", "deployButton"):
        opened.host.click(button)
    return opened


def ended(dialog, button="deployPlanButton"):
    dialog.host.wait_until(lambda: dialog.host.find(button).enabled, 60, every=0.02)
    dialog.host.process()


def seen(dialog):
    dialog.host.choose("deployModelComboBox", "MedImageParse 3D")
    dialog.host.type("deployWorkspaceEdit", WORKSPACE)
    dialog.host.click("deployPlanButton")
    ended(dialog)


def test_the_person_sees_what_is_made_and_its_price_before_it_can_be_made(dialog, plane):
    assert not dialog.host.find("deployMakeButton").enabled
    seen(dialog)
    text = dialog.text("deployPlanLabel")
    assert "MedImageParse 3D" in text and "8.90 USD an hour" in text and "bills while idle" in text
    assert plane.bodies == [] and dialog.host.find("deployMakeButton").enabled
    window = dialog.panel.settings._deploy.dialog
    for width in (window.width, 1):  # as narrow as it goes
        window.resize(width, 500)
        for _pass in range(4):
            dialog.host.process()
        for name in ("deployIntroLabel", "deployPlanLabel"):
            label = dialog.host.find(name)
            assert label.height >= label.heightForWidth(label.width), "the dialog scrolls rather than cutting a sentence off"
    dialog.host.choose("deploySignInComboBox", "Microsoft Entra")
    assert not dialog.host.find("deployMakeButton").enabled and dialog.host.find("deployPlanLabel").isHidden()


def test_an_endpoint_is_made_chosen_listed_and_deleted_and_no_key_is_kept_in_the_open(dialog, plane, tmp_path):
    seen(dialog)
    dialog.host.click("deployMakeButton")
    assert dialog.host.find("deployStopButton").visible
    ended(dialog)
    (name,) = plane.endpoints
    assert dialog.host.find("profileComboBox").currentText == name and ProfileStore().get(name).url == plane.scoring_url
    assert "answers" in dialog.text("deployNoteLabel") and "has cost money since" in dialog.text("costsLabel")
    dialog.host.click("deployListButton")
    ended(dialog)
    assert dialog.host.find("deployList").count == 1 and not dialog.host.find("deployDeleteButton").enabled
    dialog.host.find("deployList").setCurrentRow(0)
    dialog.host.click("deployDeleteButton")
    assert name in plane.endpoints, "nothing is deleted without a yes"
    dialog.host.messages.answers.append(True)
    dialog.host.click("deployDeleteButton")
    ended(dialog)
    assert plane.endpoints == {} and dialog.host.find("costsLabel").isHidden()
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert plane.key not in written + json.dumps(dialog.host.messages.texts()) and plane.token not in written


def test_missing_quota_is_told_with_its_numbers_and_a_refusal_with_the_role(dialog, plane):
    plane.free = {}
    seen(dialog)
    assert "Ask for more under Quotas" in dialog.text("deployNoteLabel") and not dialog.host.find("deployMakeButton").enabled
    plane.free = {"Standard_NC40ads_H100_v5": 40}
    plane.refused.add("workspaces/onlineEndpoints/write")
    seen(dialog)
    dialog.host.click("deployMakeButton")
    ended(dialog)
    assert "role Contributor on the resource group" in dialog.text("deployNoteLabel") and plane.endpoints == {}
    assert not any(dialog.host.find(f"deployNoteMessage{part}").isHidden() for part in ("Icon", "CopyButton"))


def test_waiting_can_be_stopped_and_the_next_run_goes_on(dialog, plane):
    plane.looks = 10_000
    seen(dialog)
    dialog.host.click("deployMakeButton")
    dialog.host.wait_until(lambda: plane.endpoints, 60, every=0.02)
    dialog.host.click("deployStopButton")
    ended(dialog)
    assert "continues what was started, and it costs money" in dialog.text("deployNoteLabel")
    assert dialog.host.find("deployNoteMessageIcon").isHidden(), "stopping is no error"
    plane.finish_all()
    plane.looks = 1
    seen(dialog)
    assert "Continues with" in dialog.text("deployPlanLabel")
    dialog.host.click("deployMakeButton")
    ended(dialog)
    assert "answers" in dialog.text("deployNoteLabel")


def test_the_window_stays_alive_and_closing_the_panel_ends_the_waiting(dialog, plane):
    plane.looks = 10_000
    seen(dialog)
    dialog.host.click("deployMakeButton")
    dialog.host.wait_until(lambda: plane.endpoints, 60, every=0.02)
    assert dialog.host.find("volumeSelector").enabled and dialog.host.find("findButton").enabled
    dialog.host.reload_module()
    assert dialog.host.find("settingsButton").enabled
