"""Endpoint profiles: one file, never a secret in it, nothing lost."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import stat
import sys
import threading

import pytest

from MedImageParseLib.errors import InputError, UsageError
from MedImageParseLib.profiles.profiles import LOCAL_DEMO, MODELS, Profile, ProfileStore, local_demo


@pytest.fixture
def store(tmp_path) -> ProfileStore:
    return ProfileStore(tmp_path / "settings")


def ward(name: str = "Ward 3", **fields) -> Profile:
    return Profile(name, "https://ward3.westeurope.inference.ml.azure.com/score", **fields)


def test_a_new_store_offers_the_local_demo_for_every_model(store):
    (profile,) = store.profiles()
    assert (profile.name, profile.url, profile.sign_in) == (LOCAL_DEMO, "http://127.0.0.1:5001/score", "none")
    assert profile.model == ""
    assert not store.path.exists()
    with pytest.raises(UsageError, match="built in"):
        store.remove(LOCAL_DEMO)


def test_every_field_survives_the_file(store):
    profile = ward(
        model="medimageparse3d", dialect="mlflow", deployment="blue", sign_in="entra", entra_method="device-code",
        scope="https://ml.azure.us/.default", authority="login.microsoftonline.us", allow_other_authority=True, allow_other_scope=True, tenant_id="t",
        client_id="c", key_in_keyring=True, resource_id="/subscriptions/s", arm_url="https://management.usgovcloudapi.net",
        ca_bundle="ca.pem",
        proxy="http://proxy:8080", connect_timeout_s=3.5, reply_timeout_s=60.0, tries=2, body_limit=4096, allow_plain_http=True,
        consent=True, max_in_flight=7,
    )  # fmt: skip
    unlike_default = [f.name for f in dataclasses.fields(Profile) if f.name != "unknown" and getattr(profile, f.name) == f.default]
    assert unlike_default == []
    store.add(profile)
    assert ProfileStore(store.path.parent).get("Ward 3") == profile


def test_the_configuration_folder_is_the_default_place(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIMAGEPARSE_CONFIG_DIR", str(tmp_path / "mine"))
    ProfileStore().add(ward())
    assert (tmp_path / "mine" / "profiles.json").is_file()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no owner-only permission bits")
def test_the_file_can_be_read_by_its_owner_only(store):
    store.add(ward())
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "unknown",
    [
        {"key": "abc"}, {"primaryKey": "abc"}, {"api_key": "abc"}, {"accessToken": "abc"}, {"client_secret": "abc"}, {"PASSWORD": "abc"},
        {"notes": "Bearer abcdefghijkl"}, {"notes": "see eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2ln"},
        {"more": [{"subscriptionKey": "abc"}]},
    ],
)  # fmt: skip
def test_a_field_that_looks_like_a_secret_is_refused_and_not_quoted(store, unknown):
    with pytest.raises(UsageError, match="looks like a secret") as caught:
        store.add(ward(unknown=unknown))
    assert "abc" not in str(caught.value)
    assert not store.path.exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host.example/score",
        "https://host.example/score?code=hunter2",
        "https://host.example/score?x=1&api=2&key=hunter2",
    ],
)
def test_a_url_that_carries_a_secret_is_refused_and_not_quoted(store, url):
    with pytest.raises(UsageError, match="keeps no secrets") as caught:
        store.add(Profile("x", url))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError, match="keeps no secrets"):
        store.add(ward(proxy="http://user:hunter2@proxy:8080"))


def test_a_secret_that_somebody_typed_into_the_file_is_named_and_the_file_left_alone(store):
    store.path.parent.mkdir()
    text = json.dumps({"schema": 1, "profiles": [{"name": "Ward 3", "url": "https://host.example/score", "primary_key": "hunter2"}]})
    store.path.write_text(text)
    with pytest.raises(UsageError, match='"Ward 3".*"primary_key" looks like a secret') as caught:
        store.profiles()
    assert "hunter2" not in str(caught.value)
    assert store.path.read_text() == text
    store.remove("Ward 3")
    assert store.profiles() == [local_demo()]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "sam"}, "model"), ({"dialect": "grpc"}, "dialect"), ({"sign_in": "password"}, "sign_in"),
        ({"entra_method": "magic"}, "entra_method"),
        ({"tries": 0}, "tries"), ({"reply_timeout_s": float("nan")}, "reply_timeout_s"), ({"max_in_flight": 0}, "max_in_flight"),
        ({"url": "ward3.example/score"}, "url"), ({"url": "ftp://ward3.example"}, "url"), ({"url": "https://h:99999/score"}, "url"),
        ({"proxy": "proxy:8080"}, "proxy"), ({"arm_url": "http://management.example"}, "arm_url"), ({"name": "  "}, "name"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name(store, fields, sentence):
    with pytest.raises(UsageError, match=sentence):
        store.add(dataclasses.replace(ward(), **fields))
    assert not store.path.exists()


def test_fields_and_settings_of_a_newer_version_survive_a_rewrite(store):
    store.path.parent.mkdir()
    entry = {"name": "Ward 3", "url": "https://ward3.example/score", "warm_up": {"minutes": 3}}
    store.path.write_text(json.dumps({"schema": 1, "last_used": "Ward 3", "profiles": [entry]}))
    store.add(ward("Ward 4"))
    store.add(dataclasses.replace(store.get("Ward 3"), tries=2), replace=True)
    document = json.loads(store.path.read_text())
    assert document["last_used"] == "Ward 3"
    first, second = document["profiles"]
    assert (first["name"], first["warm_up"], first["tries"], second["name"]) == ("Ward 3", {"minutes": 3}, 2, "Ward 4")


def test_a_file_of_a_newer_schema_is_not_touched(store):
    store.path.parent.mkdir()
    store.path.write_text('{"schema": 2, "profiles": {"other": "shape"}}')
    for action in (store.profiles, lambda: store.add(ward()), lambda: store.import_file(store.path)):
        with pytest.raises(InputError, match="newer version.*update"):
            action()
    assert store.path.read_text() == '{"schema": 2, "profiles": {"other": "shape"}}'


@pytest.mark.parametrize(
    "content",
    [b"", b'{"schema": 1, "profiles": [', b"[]", b'{"schema": 1}', b'{"schema": 1, "profiles": [1]}', b"\xff\xfe\x00\x01", b"[" * 100_000],
)
def test_a_damaged_file_is_put_aside_with_one_sentence_and_then_work_goes_on(store, content):
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    with pytest.raises(InputError, match="damaged and has been put aside as"):
        store.profiles()
    (aside,) = store.path.parent.glob("profiles.json.damaged-*")
    assert aside.read_bytes() == content
    store.add(ward())
    assert store.get("Ward 3") == ward()


def test_a_profile_of_a_wrong_type_is_named_and_the_others_are_not_lost(store):
    store.add(ward())
    document = json.loads(store.path.read_text())
    document["profiles"].append(document["profiles"][0] | {"name": "Ward 4", "tries": "five"})
    store.path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match='"Ward 4": tries has to be a whole number'):
        store.profiles()
    store.remove("Ward 4")
    assert store.get("Ward 3") == ward()


def test_a_taken_name_needs_a_decision(store):
    store.add(ward())
    with pytest.raises(UsageError, match="already a profile"):
        store.add(ward(tries=1))
    assert store.get("Ward 3").tries == 5
    store.add(ward(tries=1), replace=True)
    assert store.get("Ward 3").tries == 1
    with pytest.raises(UsageError, match="known ones are: Local demo, Ward 3"):
        store.get("Ward 5")


def test_a_write_that_fails_leaves_the_old_file(store, monkeypatch):
    store.add(ward())
    before = store.path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(InputError, match="cannot be written"):
        store.add(ward("Ward 4"))
    assert store.path.read_bytes() == before
    assert [path.name for path in store.path.parent.iterdir() if not path.name.endswith(".lock")] == ["profiles.json"]


def test_what_is_handed_around_holds_no_consent_and_arrives_without(store, tmp_path):
    store.add(ward(sign_in="key", consent=True, key_in_keyring=True, unknown={"color": "red"}))
    exported = tmp_path / "lab.json"
    assert store.export(exported) == ["Ward 3"]
    (entry,) = json.loads(exported.read_text())["profiles"]
    assert "consent" not in entry and "key_in_keyring" not in entry
    exported.write_text(json.dumps({"schema": 1, "profiles": [entry | {"consent": True, "allow_other_authority": True}]}))
    other = ProfileStore(tmp_path / "other")
    imported = other.import_file(exported)
    assert imported.names == ["Ward 3"]
    assert "ward3.westeurope.inference.ml.azure.com" in imported.notes[0]
    assert other.get("Ward 3") == ward(sign_in="key", unknown={"color": "red"})


@pytest.mark.parametrize("how", ["file", "link", "hard link", "folder"])
@pytest.mark.parametrize("content", [b"\x00\x01CT", b"s3cret-key", b'{"meaning": 42}', b'{"schema": 99, "profiles": []}'])
def test_an_export_replaces_nothing_but_an_export(store, tmp_path, how, content):
    store.add(ward())
    there, asked = tmp_path / "ct.nii", tmp_path / "lab.json"
    there.write_bytes(content)
    {"file": lambda: there.rename(asked), "link": lambda: asked.symlink_to(there), "hard link": lambda: asked.hardlink_to(there),
     "folder": asked.mkdir}[how]()  # fmt: skip
    with pytest.raises(UsageError, match="choose another name"):
        store.export(asked)
    assert how == "folder" or asked.read_bytes() == content


def test_an_export_replaces_an_earlier_one_but_never_the_store_itself(store, tmp_path):
    store.add(ward(consent=True))
    store.export(tmp_path / "lab.json")
    store.add(ward("Ward 4"))
    assert store.export(tmp_path / "lab.json") == ["Ward 3", "Ward 4"]
    before = store.path.read_bytes()
    with pytest.raises(UsageError, match="your own profiles"):
        store.export(store.path)
    assert store.path.read_bytes() == before


def test_names_that_clash_on_import_are_asked_about_renamed_or_replaced(store, tmp_path):
    lab = ProfileStore(tmp_path / "lab")
    for profile in (ward(tries=1), ward("Ward 4"), dataclasses.replace(local_demo(), tries=1)):
        lab.add(profile)
    lab.export(tmp_path / "lab.json")
    store.add(ward())
    with pytest.raises(UsageError, match='"Ward 3", "Local demo"; import again with --clash rename or --clash replace'):
        store.import_file(tmp_path / "lab.json")
    assert [profile.name for profile in store.profiles()] == [LOCAL_DEMO, "Ward 3"]
    assert store.import_file(tmp_path / "lab.json", clash="rename").names == ["Ward 3 (2)", "Ward 4", "Local demo (2)"]
    assert (store.get("Ward 3").tries, store.get("Ward 3 (2)").tries) == (5, 1)
    assert store.import_file(tmp_path / "lab.json", clash="replace").names == ["Ward 3", "Ward 4", "Local demo (3)"]
    assert (store.get("Ward 3").tries, store.get(LOCAL_DEMO).tries) == (1, 5)


def test_an_import_with_one_bad_profile_brings_none(store, tmp_path):
    exported = tmp_path / "lab.json"
    exported.write_text(json.dumps({"schema": 1, "profiles": [ward().to_json(), ward("Ward 4").to_json() | {"token": "x"}]}))
    with pytest.raises(UsageError, match="looks like a secret"):
        store.import_file(exported)
    assert store.profiles() == [local_demo()]
    with pytest.raises(InputError, match="cannot be read"):
        store.import_file(tmp_path / "missing.json")
    (tmp_path / "notes.json").write_text("hello")
    with pytest.raises(InputError, match="not a profile file"):
        store.import_file(tmp_path / "notes.json")
    assert (tmp_path / "notes.json").read_text() == "hello"


def test_threads_that_write_at_once_lose_no_profile(store):
    def write(start: int) -> None:
        for number in range(start, start + 5):
            ProfileStore(store.path.parent).add(ward(f"Ward {number}"))

    threads = [threading.Thread(target=write, args=(start,)) for start in range(0, 40, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {profile.name for profile in store.profiles()} == {LOCAL_DEMO} | {f"Ward {number}" for number in range(40)}


def _write_from_a_process(folder: str, start: int, paths: list[str]) -> None:
    sys.path[:] = paths
    from MedImageParseLib.profiles.profiles import Profile, ProfileStore

    for number in range(start, start + 10):
        ProfileStore(folder).add(Profile(f"Ward {number}", "https://ward.example/score"))


def test_programs_that_write_at_once_lose_no_profile(store):
    context = multiprocessing.get_context("spawn")
    folder = str(store.path.parent)
    writers = [context.Process(target=_write_from_a_process, args=(folder, start, sys.path)) for start in (0, 10)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(store.profiles()) == 21


@pytest.mark.parametrize("model", MODELS)
def test_each_model_is_accepted(store, model):
    store.add(ward(model=model))
    assert store.get("Ward 3").model == model
