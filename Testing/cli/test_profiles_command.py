"""`mip.py profiles`: what a person types and reads. No key goes in by the command line or comes out."""

from __future__ import annotations

import json
import sys
import types

import pytest

from MedImageParseLib.cli.main import main
from MedImageParseLib.profiles.profiles import ProfileStore

KEY = "k0123456789abcdefghijklmnopqrstu"
URL = "https://ward3.westeurope.inference.ml.azure.com/score"


def run(capsys, *argv: str) -> tuple[int, str, str]:
    status = main(["profiles", *argv])
    told = capsys.readouterr()
    assert KEY not in told.out + told.err
    return status, told.out, told.err


def test_a_profile_is_added_listed_shown_and_removed(capsys):
    added = run(
        capsys, "add", "Ward 3", "--endpoint", URL, "--model", "medimageparse3d", "--auth", "key", "--deployment", "blue",
        "--timeout", "60", "--retries", "2", "--ca-bundle", "ca.pem", "--max-in-flight", "4", "--consent",
    )  # fmt: skip
    assert added == (0, "Ward 3\n", "")
    assert run(capsys, "list")[1].splitlines() == [
        "Local demo\tany model\tnone\thttp://127.0.0.1:5001/score",
        f"Ward 3\tmedimageparse3d\tkey\t{URL}",
    ]
    shown = json.loads(run(capsys, "show", "Ward 3")[1])
    given = {
        "deployment": "blue",
        "reply_timeout_s": 60.0,
        "tries": 2,
        "ca_bundle": "ca.pem",
        "max_in_flight": 4,
        "consent": True,
        "dialect": "auto",
    }
    assert given.items() <= shown.items()
    assert run(capsys, "remove", "Ward 3") == (0, "", "")
    status, _, told = run(capsys, "show", "Ward 3")
    assert (status, told) == (2, 'error: There is no profile "Ward 3"; the known ones are: Local demo.\n')


@pytest.mark.parametrize("option", [["--key", KEY], [f"--key={KEY}"], ["--key"]])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(capsys, option):
    status, out, told = run(capsys, "add", "Ward 3", "--endpoint", URL, *option)
    assert (status, out) == (2, "")
    assert "never given on the command line" in told and told.count("\n") == 1
    assert not ProfileStore().path.exists()


def test_plain_http_to_another_computer_has_to_be_said_in_so_many_words(capsys):
    status, _, told = run(capsys, "add", "Box", "--endpoint", "http://10.0.0.7:5001/score")
    assert status == 2 and "plain http" in told
    assert run(capsys, "add", "Box", "--endpoint", "http://10.0.0.7:5001/score", "--allow-plain-http")[0] == 0
    assert run(capsys, "add", "Here", "--endpoint", "http://localhost:5001/score")[0] == 0
    assert (ProfileStore().get("Box").allow_plain_http, ProfileStore().get("Here").allow_plain_http) == (True, False)


def test_a_typed_sign_in_host_is_vouched_for_and_an_imported_one_is_not(capsys, tmp_path):
    assert run(capsys, "add", "Ward 3", "--endpoint", URL, "--auth", "entra", "--authority", "login.hospital.example")[0] == 0
    assert ProfileStore().get("Ward 3").allow_other_authority is True
    assert run(capsys, "export", str(tmp_path / "lab.json"))[1] == "Ward 3\n"
    run(capsys, "remove", "Ward 3")
    assert run(capsys, "import", str(tmp_path / "lab.json"))[1] == "Ward 3\n"
    assert ProfileStore().get("Ward 3").allow_other_authority is False


def test_an_import_says_where_each_profile_sends_and_asks_about_taken_names(capsys, tmp_path):
    run(capsys, "add", "Ward 3", "--endpoint", URL)
    run(capsys, "export", str(tmp_path / "lab.json"), "Ward 3")
    status, _, told = run(capsys, "import", str(tmp_path / "lab.json"))
    assert status == 2 and '"Ward 3"; import again with --clash rename or --clash replace.' in told
    status, out, told = run(capsys, "import", str(tmp_path / "lab.json"), "--clash", "rename")
    assert (status, out) == (0, "Ward 3 (2)\n")
    assert "sends to ward3.westeurope.inference.ml.azure.com" in told
    assert run(capsys, "import", str(tmp_path / "lab.json"), "--clash", "replace")[1] == "Ward 3\n"


def test_nothing_to_export_is_said(capsys, tmp_path):
    status, _, told = run(capsys, "export", str(tmp_path / "lab.json"))
    assert status == 2 and "no profile to export" in told
    assert not (tmp_path / "lab.json").exists()


def test_a_key_is_kept_in_the_keyring_only_on_request_and_leaves_with_its_profile(capsys, monkeypatch, tmp_path):
    kept: dict[tuple[str, str], str] = {}
    package, backends, fail, errors = (
        types.ModuleType(name) for name in ("keyring", "keyring.backends", "keyring.backends.fail", "keyring.errors")
    )
    errors.KeyringError, fail.Keyring = type("KeyringError", (Exception,), {}), type("Keyring", (), {})
    package.get_keyring = lambda: object()
    package.set_password = lambda service, user, secret: kept.__setitem__((service, user), secret)
    package.get_password = lambda service, user: kept.get((service, user))
    package.delete_password = lambda service, user: kept.pop((service, user))
    for module in (package, backends, fail, errors):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "key.txt").write_text(f"{KEY}\n")
    assert run(capsys, "add", "A", "--endpoint", URL, "--auth", "key")[0] == 0
    assert kept == {}
    assert run(capsys, "add", "B", "--endpoint", URL, "--auth", "key", "--keep-key")[0] == 2
    assert run(capsys, "add", "B", "--endpoint", URL, "--auth", "key", "--keep-key", "--key-file", str(tmp_path / "key.txt"))[0] == 0
    assert list(kept.values()) == [KEY]
    assert KEY not in ProfileStore().path.read_text()
    run(capsys, "remove", "B")
    assert kept == {}


@pytest.mark.parametrize(
    "argv", [["add", "X"], ["add", "X", "--endpoint", "nonsense"], ["add", "X", "--endpoint", URL, "--retries", "0"], ["fly"], []]
)
def test_bad_usage_is_one_sentence(capsys, argv):
    status, out, told = run(capsys, *argv)
    assert (status, out) == (2, "")
    assert told.startswith("error: ") and told.count("\n") == 1
