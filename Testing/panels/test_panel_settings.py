"""Endpoint settings: profiles, keys, consent, the record of requests."""

from __future__ import annotations

import json

import pytest

KEY = "k3y-typed-by-a-person-4711"


@pytest.fixture
def settings(opened):
    opened.host.click("settingsButton")
    return opened


def fillIn(opened, name="Ward 3", url="https://ward3.example/score"):
    opened.host.click("newButton")
    opened.host.type("nameEdit", name)
    opened.host.type("urlEdit", url)


def shown(opened, prefix):
    """What stands around a message."""
    parts = ("MessageIcon", "MessageHelpButton", "MessageCopyButton")
    return [part for part in parts if not opened.host.find(prefix + part).isHidden()]


def stored():
    from MedImageParseLib.profiles.profiles import ProfileStore

    return {profile.name: profile for profile in ProfileStore().profiles()}


def test_a_profile_is_made_changed_and_removed(settings):
    host = settings.host
    fillIn(settings)
    host.choose("modelComboBox", "MedImageParse 3D (volumes)")
    host.click("saveButton")
    assert settings.text("noteLabel") == "Saved. Test the connection next."
    assert host.find("profileComboBox").currentText == "Ward 3" and stored()["Ward 3"].model == "medimageparse3d"
    host.type("nameEdit", "Ward 4")
    host.click("moreButton")
    host.type("deploymentEdit", "green")
    host.click("saveButton")
    assert set(stored()) == {"Local demo", "Ward 4"} and stored()["Ward 4"].deployment == "green"
    host.click("removeButton")
    assert set(stored()) == {"Local demo"} and host.find("profileComboBox").currentText == "Local demo"
    assert not host.find("saveButton").enabled and not host.find("nameEdit").enabled  # the demo has no settings


def test_what_is_wrong_with_a_profile_is_told_and_nothing_is_kept(settings):
    fillIn(settings, url="http://ward3.example/score")
    settings.host.click("saveButton")
    assert "plain http" in settings.text("noteLabel") and "Settings" in settings.text("noteLabel")
    assert shown(settings, "note") == ["MessageIcon", "MessageHelpButton", "MessageCopyButton"]
    settings.host.click("noteMessageCopyButton")
    assert settings.host.qt.QApplication.clipboard().text() == settings.text("noteLabel")
    settings.host.click("noteMessageHelpButton")
    assert settings.host.find("plainHttpCheckBox").visible, "what helps was folded away"
    settings.host.type("urlEdit", "https://ward3.example/score?code=abc")
    settings.host.click("saveButton")
    assert "holds a key" in settings.text("noteLabel") and set(stored()) == {"Local demo"}
    assert shown(settings, "note") == ["MessageIcon", "MessageCopyButton"]
    settings.host.click("newButton")
    assert settings.text("noteLabel") and shown(settings, "note") == [], "that is no error"


def test_a_typed_key_is_masked_stays_in_memory_and_is_never_shown_again(settings):
    from MedImageParseLib.signin.auth import session_keys

    host = settings.host
    fillIn(settings)
    assert host.find("keyBox").isHidden()
    host.choose("signInComboBox", "Key")
    assert host.find("keyEdit").echoMode == host.qt.QLineEdit.Password
    host.type("keyEdit", KEY)
    host.click("saveButton")
    assert host.find("keyEdit").text == "" and host.find("keyEdit").placeholderText == "entered; kept until Slicer is closed"
    assert session_keys.recall("Ward 3", "https://ward3.example/score") == KEY
    host.choose("profileComboBox", "Local demo")
    host.choose("profileComboBox", "Ward 3")
    assert host.find("keyEdit").text == ""
    host.click("removeButton")
    assert session_keys.recall("Ward 3", "https://ward3.example/score") == ""


def test_no_key_reaches_scene_settings_log_or_profile_file(settings, endpoint, tmp_path, caplog):
    import slicer

    url, double = endpoint
    host = settings.host
    fillIn(settings, url=url)
    host.choose("signInComboBox", "Key")
    host.type("keyEdit", KEY)
    with caplog.at_level("DEBUG"):
        host.click("saveButton")
        settings.addVolume()
        host.choose("volumeSelector", "CT")
        host.type("promptsEdit", "cube")
        assert settings.run().state == "done"
        assert double.seen[0].headers["authorization"] == f"Bearer {KEY}"  # it does reach the endpoint
        double.tamper = lambda reply: (401, "application/json", json.dumps({"message": f"bad {KEY}"}).encode())
        host.type("promptsEdit", "bar")
        assert settings.run().state == "failed"
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Commit()
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    import zipfile

    zipfile.ZipFile(tmp_path / "scene.mrb").extractall(tmp_path / "unpacked")
    host.qt.QSettings().sync()
    files = [path for folder in (tmp_path, host.folder) for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".mrml" for path in files) and any(path.name == "profiles.json" for path in files)
    assert [path.name for path in files if KEY.encode() in path.read_bytes()] == []
    assert any(b"RecentPrompts" in path.read_bytes() for path in files)  # the settings were among them
    assert KEY not in caplog.text and KEY not in settings.text("messageLabel")


def test_image_data_is_not_sent_before_the_person_agrees_once_for_each_host(opened):
    from MedImageParseLib.profiles.consent import WHAT_LEAVES, ConsentStore

    host = opened.host
    opened.makeReady("https://192.0.2.1/score", "cube")  # an address that is nobody's
    host.click("runButton")  # the question is declined
    (question,) = host.messages.texts()
    assert WHAT_LEAVES in question and "192.0.2.1" in question
    assert opened.jobs == [] and opened.text("messageLabel") == "Nothing was sent." and ConsentStore().hosts() == []
    host.messages.answers.append(True)
    host.click("runButton")
    assert len(opened.jobs) == 1 and ConsentStore().hosts() == ["192.0.2.1"]
    host.click("cancelButton")
    host.click("runButton")
    assert len(host.messages.shown) == 2 and len(opened.jobs) == 1  # not asked again
    host.click("cancelButton")
    host.click("settingsButton")
    host.click("privacySection")
    host.find("hostsList").setCurrentRow(0)
    host.click("withdrawButton")
    assert ConsentStore().hosts() == [] and "asked again" in opened.text("noteLabel")


def test_testing_an_endpoint_with_a_key_asks_too(settings):
    fillIn(settings, url="https://192.0.2.1/score")
    settings.host.choose("signInComboBox", "Key")
    settings.host.type("keyEdit", KEY)
    settings.host.click("saveButton")
    settings.host.click("checkButton")
    assert "Your key" in settings.host.messages.texts()[0]
    assert settings.text("statusLabel") == "Not tested: nothing was sent." and settings.jobs == []


def test_a_connection_is_tested_and_the_test_can_be_stopped(opened, endpoint):
    from panel_support import Gate

    url, double = endpoint
    opened.addProfile("Ward 3", url)
    opened.host.click("checkButton")
    opened.host.wait_until(lambda: opened.text("checkButton") == "Test connection", 60)
    assert "answers in" in opened.text("statusLabel") and "only a tiny made-up probe was sent" in opened.text("statusLabel")
    double.pause = gate = Gate()
    opened.host.click("checkButton")
    opened.host.wait_until(gate.reached.is_set, 60)
    assert opened.text("statusLabel") == "Testing…"
    opened.host.click("checkButton")
    assert opened.text("checkButton") == "Test connection" and opened.text("statusLabel") == "Not tested."
    gate.open()


def test_the_record_of_requests_can_be_switched_off(settings):
    from MedImageParseLib.transport.audit import AuditLog

    settings.host.click("privacySection")
    assert settings.host.find("auditCheckBox").checked
    settings.host.click("auditCheckBox")
    assert not AuditLog().is_on
    settings.host.click("auditCheckBox")
    assert AuditLog().is_on


def test_endpoints_are_exported_without_keys_and_imported(settings, tmp_path):
    host = settings.host
    fillIn(settings)
    host.click("saveButton")
    path = str(tmp_path / "ours.json")
    host.messages.answers.append(path)
    host.click("exportButton")
    assert settings.text("noteLabel") == "Exported Ward 3 to ours.json. The file does not contain a key."
    host.click("removeButton")
    host.messages.answers.append(path)
    host.click("importButton")
    assert "Ward 3" in stored() and "ward3.example" in settings.text("noteLabel")


def test_an_import_in_the_panel_leaves_out_whom_to_trust_and_names_it(settings, tmp_path):
    path = tmp_path / "theirs.json"
    entry = {
        "name": "Ward 3",
        "url": "https://ward3.example/score",
        "proxy": "http://192.0.2.9:3128",
        "ca_bundle": "theirs.pem",
        "consent": True,
    }
    path.write_text(json.dumps({"schema": 1, "profiles": [entry, entry | {"name": "Local demo"}]}))
    settings.host.messages.answers.append(str(path))
    settings.host.click("importButton")
    kept = stored()
    assert (kept["Ward 3"].proxy, kept["Ward 3"].ca_bundle, kept["Ward 3"].consent) == ("", "", False)
    assert kept["Local demo"].url.startswith("http://127.0.0.1:") and "Local demo (2)" in kept
    note = settings.text("noteLabel")
    assert "192.0.2.9:3128" in note and "theirs.pem" in note and "built in" in note and "--" not in note


def test_a_code_to_sign_in_with_is_shown_with_a_link(opened):
    import datetime
    import threading

    moment = datetime.datetime(2030, 1, 1, 12, 0, tzinfo=datetime.timezone.utc)
    show = opened.panel.endpoint.showDeviceCode
    worker = threading.Thread(target=show, args=("https://microsoft.com/devicelogin", "ABCD-1234", moment))
    worker.start()
    worker.join()
    opened.panel._poll()
    assert "ABCD-1234" in opened.text("statusLabel") and 'href="https://microsoft.com/devicelogin"' in opened.text("statusLabel")


def test_finding_endpoints_without_the_azure_package_says_what_to_do(settings, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "azure.identity", None)
    settings.host.click("findSection")
    settings.host.click("findButton")
    settings.host.wait_until(lambda: settings.text("findButton") == "Find my endpoints", 60)
    assert "azure-identity" in settings.text("findNoteLabel")
    assert shown(settings, "findNote") == ["MessageIcon", "MessageCopyButton"]


def test_a_damaged_file_of_endpoints_is_told_and_the_demo_remains(tmp_path, monkeypatch):
    from panel_support import openedPanel

    folder = tmp_path / "configuration"
    folder.mkdir()
    (folder / "profiles.json").write_text("{ this is no JSON")
    with openedPanel() as opened:
        assert opened.host.find("profileComboBox").currentText == "Local demo"
        assert "profiles.json" in opened.text("statusLabel") or "damaged" in opened.text("statusLabel")


def test_an_endpoint_that_costs_money_is_reminded_of_until_it_is_deleted(opened, endpoint):
    from MedImageParseLib.api import deploy
    from MedImageParseLib.azure.deploy import Deployed

    names = {"Mine": "seg-3d", "Another": "seg-2d"}
    made = {
        profile: Deployed(
            name, "radiology", f"/subscriptions/s/onlineEndpoints/{name}", "medimageparse3d", "", "NC24", 1, "2026-05-01T10:00", ""
        )
        for profile, name in names.items()
    }
    for profile, deployed in made.items():
        deploy.remember(profile, deployed)
        opened.addProfile(profile, endpoint[0])
    host = opened.host
    assert '"seg-2d"' in opened.text("costLabel") and "has cost money since 2026-05-01" in opened.text("costLabel")
    host.choose("profileComboBox", "Mine")
    assert '"seg-3d"' in opened.text("costLabel") and "seg-2d" not in opened.text("costLabel")
    assert "delete it" in opened.text("costLabel") and host.find("costLabel").textFormat == host.qt.Qt.PlainText
    host.choose("profileComboBox", "Local demo")
    assert host.find("costLabel").isHidden()
    host.click("settingsButton")
    assert all(name in opened.text("costsLabel") for name in names.values())
    for deployed in made.values():
        deploy.forget(deployed.resource_id)
    host.choose("profileComboBox", "Mine")
    opened.panel.enter()
    host.click("settingsButton")
    assert host.find("costLabel").isHidden() and host.find("costsLabel").isHidden()


def test_an_export_never_replaces_an_image_that_is_there(settings, tmp_path):
    image = tmp_path / "ct.nrrd"
    image.write_bytes(b"NRRD0004")
    fillIn(settings)
    settings.host.click("saveButton")
    settings.host.messages.answers.append(str(image))
    settings.host.click("exportButton")
    assert "choose another name" in settings.text("noteLabel") and image.read_bytes() == b"NRRD0004"
