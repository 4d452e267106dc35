"""Keys: where they come from, what is no key, where they are kept, and that none of it shows one."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
import types

import pytest

from doubles.entra import AZURE_VARIABLES, CLIENT_ID, TENANT, EntraDouble
from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import InputError, MedImageParseError, UsageError
from MedImageParseLib.profiles.profiles import Profile, local_demo
from MedImageParseLib.signin.auth import (
    NoAuth,
    SessionKeys,
    delete_from_keyring,
    keyring_is_there,
    load_from_keyring,
    save_in_keyring,
    session_keys,
)
from MedImageParseLib.signin.methods import choose_sign_in, make_auth, sign_out

KEY = "k0123456789abcdefghijklmnopqrstu"
URL = "https://ward3.westeurope.inference.ml.azure.com/score"


@pytest.fixture(autouse=True)
def no_keys_left_over():
    sign_out()
    yield
    sign_out()


@pytest.fixture
def keyring(monkeypatch):
    """A keyring package in memory, of the published shape: get_keyring, set_password, get_password, delete_password, errors."""
    kept: dict[tuple[str, str], str] = {}
    package, backends, fail, errors = (
        types.ModuleType(name) for name in ("keyring", "keyring.backends", "keyring.backends.fail", "keyring.errors")
    )
    errors.KeyringError = type("KeyringError", (Exception,), {})
    fail.Keyring = type("Keyring", (), {})
    package.kept = kept
    package.get_keyring = lambda: object()
    package.set_password = lambda service, user, secret: kept.__setitem__((service, user), secret)
    package.get_password = lambda service, user: kept.get((service, user))
    package.delete_password = lambda service, user: kept.pop((service, user))
    for module in (package, backends, fail, errors):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return package


def ward(**fields) -> Profile:
    return Profile("Ward 3", URL, sign_in="key", **fields)


@pytest.mark.parametrize(
    "content",
    [
        KEY.encode(),
        f"  {KEY}\r\n".encode(),
        f"\n\n{KEY}\n".encode(),
        f"\ufeff{KEY}".encode(),
        f"{KEY}\r\n".encode("utf-16"),
        f"Bearer {KEY}\n".encode(),
    ],
)
def test_a_key_file_gives_its_key_without_what_editors_add(tmp_path, content):
    (tmp_path / "key.txt").write_bytes(content)
    assert make_auth(key_file=tmp_path / "key.txt").header() == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"), (b"", "is empty"), (b" \n\t\n", "is empty"), (b"Bearer \n", "is empty"), (b"hunter2\nhunter3\n", "more than one line"),
        (b"hunter2 hunter3", "characters that no key has"), ("hunter2é".encode(), "characters that no key has"),
        (b"hunter2\x00", "characters that no key has"), (b"\xff\xfe\x00", "not text"), (b"hunter2" * 10000, "too large"),
    ],
)  # fmt: skip
def test_a_key_file_that_holds_no_key_is_a_sentence_that_does_not_quote_it(tmp_path, content, sentence):
    file = tmp_path / "key.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(MedImageParseError, match=sentence) as caught:
        make_auth(key_file=file)
    assert caught.value.exit_status == 2
    assert "hunter" not in str(caught.value) and str(file) in str(caught.value)


def test_a_folder_is_no_key_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        make_auth(key_file=tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="such devices are of POSIX systems")
def test_a_device_that_never_ends_is_no_key_file():
    with pytest.raises(InputError, match="too large"):
        make_auth(key_file="/dev/zero")


@pytest.mark.parametrize("given", [KEY, "eyJhbGciOi.eyJhdWQi.c2ln", "A1b2C3/d4E5f6G7h8J9k0Lm+No=="])
def test_a_key_given_in_place_of_the_key_file_is_not_repeated(given, tmp_path):
    import traceback

    report = tmp_path / "report.json"
    words = ["check", "--endpoint", "https://127.0.0.1:9/score", "--report", str(report)]
    for option in (["--key-file", given], [f"--key-file={given}"]):
        assert main([*words, *option]) == 2
        assert "https://127.0.0.1:9/score" in report.read_text() and given not in report.read_text()

    with pytest.raises(InputError, match="takes the name of a file, not the key itself") as caught:
        make_auth(key_file=given)
    assert given not in "".join(traceback.format_exception(caught.value))


def test_the_environment_gives_the_key_and_an_explicit_file_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIMAGEPARSE_KEY", f" {KEY}\n")
    (tmp_path / "key.txt").write_text("another")
    assert make_auth().header() == f"Bearer {KEY}"
    assert make_auth(key_file=tmp_path / "key.txt").header() == "Bearer another"
    assert make_auth(key="typed", key_file=tmp_path / "key.txt").header() == "Bearer typed"


def test_left_out_sign_in_is_key_where_one_is_given_else_none(monkeypatch):
    assert isinstance(make_auth(), NoAuth) and make_auth().header() == ""
    assert choose_sign_in(None, given=True) == "key"
    monkeypatch.setenv("MEDIMAGEPARSE_KEY", KEY)
    assert choose_sign_in(None) == "key"
    assert choose_sign_in(None, "none") == "none"
    assert choose_sign_in(local_demo()) == "none", "a profile says itself whether it wants a key"
    assert choose_sign_in(local_demo(), given=True) == "key"
    assert choose_sign_in(dataclasses.replace(local_demo(), sign_in="aml-token"), given=True) == "aml-token"
    with pytest.raises(UsageError, match="choose one of none, key"):
        make_auth(auth="password")


def test_a_key_that_is_needed_and_missing_is_asked_for():
    with pytest.raises(UsageError, match="asks for a key and none was given: set MEDIMAGEPARSE_KEY or use --key-file"):
        make_auth(ward())
    with pytest.raises(UsageError, match="asks for a token"):
        make_auth(auth="aml-token")


def test_a_typed_key_lasts_for_the_session_and_goes_to_its_own_host_only():
    session_keys.remember("Ward 3", URL, f"{KEY}\n")
    assert make_auth(ward()).header() == f"Bearer {KEY}"
    moved = dataclasses.replace(ward(), url="https://elsewhere.example/score")
    with pytest.raises(UsageError, match="asks for a key"):
        make_auth(moved)
    sign_out()
    with pytest.raises(UsageError, match="asks for a key"):
        make_auth(ward())


def test_keys_in_memory_never_show():
    keys = SessionKeys()
    keys.remember("Ward 3", URL, KEY)
    auth = make_auth(key=KEY)
    token = make_auth(auth="aml-token", key=KEY)
    assert KEY not in f"{keys!r} {auth!r} {token!r} {token._token!r} {vars(token)!r}"
    assert keys.recall("Ward 3", URL) == KEY
    keys.forget("Ward 3")
    assert keys.recall("Ward 3", URL) == ""


def test_a_static_key_has_nothing_newer_after_a_401():
    assert make_auth(key=KEY).refresh() is False


def test_the_keyring_is_used_only_by_a_profile_whose_owner_chose_it(keyring):
    assert keyring_is_there()
    save_in_keyring("Ward 3", URL, f"{KEY}\n")
    assert list(keyring.kept.values()) == [KEY]
    with pytest.raises(UsageError, match="asks for a key"):
        make_auth(ward())
    assert make_auth(ward(key_in_keyring=True)).header() == f"Bearer {KEY}"
    moved = dataclasses.replace(ward(key_in_keyring=True), url="https://elsewhere.example/score")
    with pytest.raises(UsageError, match="asks for a key"):
        make_auth(moved)
    delete_from_keyring("Ward 3", URL)
    delete_from_keyring("Ward 3", URL)
    assert keyring.kept == {} and load_from_keyring("Ward 3", URL) == ""


def test_a_keyring_that_is_locked_or_missing_is_a_sentence(keyring, monkeypatch):
    def locked(*_):
        raise sys.modules["keyring.errors"].KeyringError(f"cannot store {KEY}")

    keyring.set_password = locked
    with pytest.raises(InputError, match="unlock it and try again") as caught:
        save_in_keyring("Ward 3", URL, KEY)
    assert KEY not in str(caught.value) and caught.value.__cause__ is None
    keyring.get_keyring = sys.modules["keyring.backends.fail"].Keyring
    assert not keyring_is_there()
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert not keyring_is_there() and load_from_keyring("Ward 3", URL) == ""
    with pytest.raises(InputError, match="package keyring is missing"):
        save_in_keyring("Ward 3", URL, KEY)


# -- Azure ML tokens, and keys that the control plane hands out ---------------------------------------------------------------------

ENDPOINT_ID = "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/w1/onlineEndpoints/parse"


@pytest.fixture
def azure(tmp_path, monkeypatch):
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with EntraDouble(tmp_path) as double:
        monkeypatch.setenv("AZURE_CLIENT_SECRET", double.client_secret)
        double.tree = {"s1": {"name": "One", "workspaces": {"w1": {"onlineEndpoints": {"parse": {}}}}}}
        yield double
    assert double.errors == []


def found_profile(azure: EntraDouble, sign_in: str) -> Profile:
    return Profile(
        "parse", f"{azure.url}/score", sign_in=sign_in, entra_method="environment", tenant_id=TENANT, client_id=CLIENT_ID,
        authority=azure.url, allow_other_authority=True, ca_bundle=str(azure.ca_file), arm_url=azure.url, resource_id=ENDPOINT_ID,
    )  # fmt: skip


def test_an_aml_token_is_fetched_and_renewed_through_the_control_plane(azure):
    azure.lifetime_s = 3600
    auth = make_auth(found_profile(azure, "aml-token"))
    first = auth.header()
    assert azure.accepts(first, "https://ml.azure.com")
    assert auth.header() == first
    assert auth.refresh() is True
    assert azure.accepts(auth.header(), "https://ml.azure.com") and auth.header() != first
    assert [token.how for token in azure.issued] == ["client_credentials", "aml-token", "aml-token"]
    assert make_auth(found_profile(azure, "aml-token")).header() == auth.header(), "the next job does not ask Azure again"


def test_a_given_aml_token_is_used_until_the_endpoint_refuses_it(azure):
    given = azure.issue("https://ml.azure.com", "pasted").value
    auth = make_auth(found_profile(azure, "aml-token"), key=given)
    assert auth.header() == f"Bearer {given}"
    assert auth.refresh() is True and auth.header() != f"Bearer {given}"


def test_a_key_is_read_through_the_control_plane_and_read_again_when_it_was_changed(azure):
    auth = make_auth(found_profile(azure, "key"))
    assert auth.header() == f"Bearer {azure.endpoint_key}"
    azure.endpoint_key = "rotated0123456789"
    assert auth.refresh() is True and auth.header() == "Bearer rotated0123456789"


def test_a_key_that_may_not_be_read_names_the_missing_permission(azure):
    azure.tree["s1"]["workspaces"]["w1"]["onlineEndpoints"]["parse"]["keys_forbidden"] = True
    with pytest.raises(MedImageParseError, match="key of endpoint parse .*onlineEndpoints/listkeys/action"):
        make_auth(found_profile(azure, "key")).header()


def test_an_expired_aml_token_is_told_and_a_renewed_file_is_noticed(azure, tmp_path):
    file = tmp_path / "token.txt"
    azure.lifetime_s = -60
    file.write_text(azure.issue("https://ml.azure.com", "written").value)
    auth = make_auth(auth="aml-token", key_file=file)
    with pytest.raises(MedImageParseError, match="token has expired, by this computer's clock"):
        auth.header()
    azure.lifetime_s = 3600
    newer = azure.issue("https://ml.azure.com", "written").value
    file.write_text(newer)
    assert auth.header() == f"Bearer {newer}"
    assert auth.refresh() is False, "the file still holds the refused token"


def test_a_pasted_token_tells_when_it_expires():
    from MedImageParseLib.signin.auth import token_from_text

    # {"alg":"none"} . {"exp":1700000000} . x
    assert token_from_text("eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDAwMDB9.x").expires_at == 1_700_000_000
    for text in ("plain", "a.b.c", "eyJhbGciOiJub25lIn0.eyJleHAiOiJzb29uIn0.x", "eyJhbGciOiJub25lIn0.W10.x"):
        assert token_from_text(text).expires_at > time.time() + 1e9
