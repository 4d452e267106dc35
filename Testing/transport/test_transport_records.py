"""Consent, the audit file and the folder that they live in."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import threading
from datetime import datetime, timezone

import pytest

from doubles import fault_server as f
from doubles.fault_scenarios import KEY, TIMEOUTS
from MedImageParseLib import configuration
from MedImageParseLib.errors import Cancelled, ConsentError, EndpointError, UsageError
from MedImageParseLib.profiles.consent import ConsentStore, missing_consents, require_consent
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.transport.audit import AuditLog
from MedImageParseLib.transport.client import EndpointClient, RetryPolicy, StaticKey

AZURE = "https://site.westeurope.inference.ml.azure.com/score"


def test_first_image_to_a_host_needs_consent_and_the_refusal_names_host_and_option():
    store = ConsentStore()
    with pytest.raises(ConsentError) as caught:
        require_consent(AZURE, False, store)
    assert caught.value.exit_status == 2
    assert "site.westeurope.inference.ml.azure.com" in str(caught.value) and "--consent" in str(caught.value)
    assert not store.path.exists()


def test_consent_is_asked_once_a_host_and_not_for_this_computer():
    store = ConsentStore()
    require_consent(AZURE, True, store)
    require_consent(AZURE.replace("/score", "/other?x=1").replace("site.", "SITE."), False, ConsentStore())
    with pytest.raises(ConsentError):
        require_consent("https://other.example/score", False, store)
    require_consent("http://localhost:5001/score", False, store)
    require_consent("http://127.0.0.1:5001/score", False, store)
    assert store.hosts() == ["site.westeurope.inference.ml.azure.com"]


def test_withdrawn_consent_is_asked_for_again():
    store = ConsentStore()
    store.grant("a.example")
    store.grant("b.example")
    store.withdraw("A.example")
    assert store.hosts() == ["b.example"] and missing_consents("https://a.example/score", store)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"[1, null]", b"\xff\xfe", b"[" * 100_000])
def test_damaged_consent_file_counts_as_no_consent(content):
    store = ConsentStore()
    store.path.parent.mkdir(parents=True)
    store.path.write_bytes(content)
    with pytest.raises(ConsentError):
        require_consent(AZURE, False, store)
    require_consent(AZURE, True, store)
    assert json.loads(store.path.read_text()) == ["site.westeurope.inference.ml.azure.com"]


def test_consent_that_cannot_be_remembered_counts_for_this_time(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = ConsentStore(tmp_path / "file" / "consent.json")
    require_consent(AZURE, True, store)
    with pytest.raises(ConsentError):
        require_consent(AZURE, False, store)
    assert (tmp_path / "file").read_text() == "in the way"


def test_consent_for_no_url_is_a_sentence():
    with pytest.raises(UsageError):
        require_consent("not a url", True, ConsentStore())


def test_audit_has_a_line_for_every_try_with_nothing_of_the_content_in_it():
    audit = AuditLog()
    body = b'{"input_data": "PATIENT^NAME spleen"}'
    with f.FaultServer([f.status(503), f.ok()]) as server:
        with EndpointClient(server.url, auth=StaticKey(KEY), audit=audit, retry=RetryPolicy(base=0.01)) as client:
            reply = client.send(body, model="medimageparse3d")
        place = f"localhost:{server.port}"
    lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["503", "200"]
    assert [line["request_id"] for line in lines] == reply.request_ids
    for line in lines:
        assert set(line) == {"time", "host", "model", "bytes", "sha256", "request_id", "outcome"}
        assert (line["host"], line["model"], line["bytes"]) == (place, "medimageparse3d", len(body))
        assert line["sha256"] == hashlib.sha256(body).hexdigest()
        assert abs((datetime.now(timezone.utc) - datetime.fromisoformat(line["time"])).total_seconds()) < 3600
    text = audit.path.read_text()
    assert KEY not in text and "PATIENT" not in text and "spleen" not in text


def test_audit_tells_of_faults_and_cancelling_and_of_what_really_left():
    audit = AuditLog()
    cancellation = Cancellation()
    big = b"[" + b" " * 20_000_000 + b"]"
    with f.FaultServer([f.hang_in_upload]) as server, EndpointClient(server.url, audit=audit, timeouts=TIMEOUTS) as client:
        with pytest.raises(EndpointError):
            client.send(big)
        with pytest.raises(Cancelled):
            client.send(big, cancellation=cancellation, progress=lambda stage, *_: cancellation.cancel() if stage == "uploading" else None)
    lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["stalled", "cancelled"]
    assert all(line["bytes"] < len(big) for line in lines)


def test_audit_can_be_switched_off_and_stays_off():
    audit = AuditLog()
    audit.switch(False)
    with f.FaultServer([f.ok()]) as server, EndpointClient(server.url, audit=AuditLog()) as client:
        client.send(b"{}")
        assert not audit.path.exists()
        audit.switch(True)
        client.send(b"{}")
    assert len(audit.path.read_text().splitlines()) == 1


def test_audit_file_that_cannot_be_written_fails_no_run(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with f.FaultServer([f.ok()]) as server, EndpointClient(server.url, audit=AuditLog(tmp_path / "file" / "audit.jsonl")) as client:
        assert client.send(b"{}").status == 200


def test_audit_lines_of_many_threads_stay_whole():
    audit = AuditLog()

    def write(number: int) -> None:
        for _ in range(50):
            audit.record(host=f"host{number}", model="m" * 300, bytes_sent=1, sha256="0" * 64, request_id="id", outcome="200")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert len(lines) == 400 and {line["host"] for line in lines} == {f"host{number}" for number in range(8)}


@pytest.mark.skipif(sys.platform == "win32", reason="file modes mean nothing on Windows")
def test_what_is_written_is_readable_by_its_owner_only():
    audit, store = AuditLog(), ConsentStore()
    audit.record(host="h", model="", bytes_sent=0, sha256="", request_id="", outcome="200")
    store.grant("h")
    for path in (audit.path, store.path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_configuration_folder_follows_environment_then_the_applications_choice_then_the_platform(tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "_chosen", [])
    assert configuration.configuration_folder() == tmp_path / "configuration"
    monkeypatch.delenv("MEDIMAGEPARSE_CONFIG_DIR")
    for variable in ("APPDATA", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "platform"))
    assert configuration.configuration_folder().name.lower() == "medimageparse"
    configuration.use_configuration_folder(tmp_path / "slicer")
    assert configuration.configuration_folder() == tmp_path / "slicer"


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "settings.json"
    configuration.write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        configuration.write_atomically(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["settings.json"]


# ---------------------------------------------------------------- what could not be recorded
def record(audit: AuditLog, request_id: str = "id") -> None:
    audit.record(host="h", model="m", bytes_sent=1, sha256="0" * 64, request_id=request_id, outcome="200")


def test_a_torn_line_does_not_swallow_the_next():
    audit = AuditLog()
    record(audit, "first")
    with open(audit.path, "ab") as stream:
        stream.write(b'{"time": "2026-01-01T00:00')  # the computer lost its power here
    record(audit, "second")
    whole = []
    for line in audit.path.read_text().splitlines():
        try:
            whole.append(json.loads(line)["request_id"])
        except ValueError:
            pass
    assert whole == ["first", "second"]


def test_a_full_disk_leaves_whole_lines_and_is_said_in_the_reply_in_the_error_and_later_in_the_file(monkeypatch):
    audit = AuditLog()
    record(audit, "before")
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) <= 5:
            raise OSError(28, "No space left on device")
        return real(handle, data[:5])

    with f.FaultServer([f.ok(), f.status(404), f.ok()]) as server, EndpointClient(server.url, audit=audit) as client:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            assert "could not be recorded in" in client.send(b"{}").warnings[0]
            assert len(audit.path.read_text().splitlines()) == 1
            with pytest.raises(EndpointError, match="the audit file could not be written"):
                client.send(b"{}")
        assert client.send(b"{}").warnings == []
    lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert [line.get("not_recorded") for line in lines] == [None, 2, None]


def test_a_full_audit_file_is_put_aside_and_only_so_many_are_kept(monkeypatch):
    from MedImageParseLib.transport import audit as module

    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    monkeypatch.setattr(module, "KEPT", 2)
    audit = AuditLog()
    for number in range(40):
        record(audit, f"id{number}")
    files = sorted(path.name for path in audit.path.parent.glob("audit.jsonl*") if not path.name.endswith(".lock"))
    assert files == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    kept = [json.loads(line)["request_id"] for name in reversed(files) for line in (audit.path.parent / name).read_text().splitlines()]
    assert kept == [f"id{number}" for number in range(40 - len(kept), 40)]
    assert all((audit.path.parent / name).stat().st_size < 1400 for name in files)


@pytest.mark.skipif(sys.platform == "win32", reason="file modes mean nothing on Windows")
def test_a_key_file_that_others_can_read_is_warned_about_in_every_reply(tmp_path):
    from MedImageParseLib.profiles.connection import connect

    path = tmp_path / "key.txt"
    path.write_text(KEY)
    for mode, is_warned in ((0o644, True), (0o640, True), (0o600, False), (0o400, False)):
        path.chmod(mode)
        with f.FaultServer([f.ok()]) as server, connect(server.url, key_file=path) as client:
            warnings = client.send(b"{}").warnings
        assert bool(warnings) is is_warned and not any(KEY in sentence for sentence in warnings)
        assert not is_warned or "can be read by other users" in warnings[0]


def test_an_old_urllib3_is_named_before_the_first_request_to_another_computer(monkeypatch):
    import urllib3

    monkeypatch.setattr(urllib3, "__version__", "2.2.3")
    (sentence,) = EndpointClient(AZURE).warnings
    assert "urllib3 2.2.3" in sentence and "pip_install" in sentence
    assert EndpointClient("http://localhost:5001/score").warnings == []
    for version in ("2.7.0", "2.10.0", "3.0", "unknown"):
        monkeypatch.setattr(urllib3, "__version__", version)
        assert EndpointClient(AZURE).warnings == []
