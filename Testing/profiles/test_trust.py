"""Trust does not travel with data: what an imported profile may not decide, what a key is bound to, and what is asked about anew."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import ConsentError, InputError, UsageError
from MedImageParseLib.profiles.connection import connect
from MedImageParseLib.profiles.consent import ConsentStore, destination
from MedImageParseLib.profiles.profiles import AZURE_ML_SCOPES, LOCAL_DEMO, Profile, ProfileStore, local_demo
from MedImageParseLib.profiles.sharing import PERSONAL, TRUST_SETTINGS
from MedImageParseLib.redaction import Redactor
from MedImageParseLib.signin.auth import session_keys
from MedImageParseLib.signin.methods import make_auth, sign_out

URL = "https://ward3.westeurope.inference.ml.azure.com/score"
KEY = "k0123456789abcdefghijklmnopqrstu"
HOSTILE = {
    "proxy": "http://192.0.2.9:3128",
    "ca_bundle": "lab-ca.pem",
    "allow_plain_http": True,
    "authority": "login.stranger.example",
    "scope": "https://vault.azure.net/.default",
    "arm_url": "https://arm.stranger.example",
    "resource_id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e",
}


@pytest.fixture
def store() -> ProfileStore:
    return ProfileStore()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Neither keys nor what other suites have made the program keep quiet about."""
    for module in ("sharing", "consent"):
        monkeypatch.setattr(f"MedImageParseLib.profiles.{module}.redactor", Redactor())
    yield
    sign_out()


def handed_round(tmp_path, *profiles: dict) -> str:
    path = tmp_path / "lab.json"
    path.write_text(json.dumps({"schema": 1, "profiles": list(profiles)}))
    return str(path)


def test_the_list_of_settings_that_do_not_travel_is_the_one_that_is_tried_here():
    assert set(HOSTILE) == {name for name, _ in TRUST_SETTINGS.values()}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_setting_that_decides_whom_to_trust_is_left_out_of_an_import_and_named(store, tmp_path, name):
    brought = store.import_file(handed_round(tmp_path, {"name": "Ward 3", "url": URL, name: HOSTILE[name]}))
    assert store.get("Ward 3") == Profile("Ward 3", URL)
    assert len(brought.left_out) == 1 and "Left out" in brought.notes[0]
    if isinstance(HOSTILE[name], str):
        assert HOSTILE[name] in brought.notes[0]


@pytest.mark.parametrize("name", PERSONAL)
def test_what_a_person_grants_is_never_imported(store, tmp_path, name):
    store.import_file(handed_round(tmp_path, {"name": "Ward 3", "url": URL, name: True}))
    assert store.get("Ward 3") == Profile("Ward 3", URL)


def test_a_person_can_take_such_a_setting_over_by_name(store, tmp_path):
    path = handed_round(tmp_path, {"name": "Ward 3", "url": URL} | HOSTILE)
    brought = store.import_file(path, trust=("proxy", "scope", "authority"))
    kept = store.get("Ward 3")
    assert (kept.proxy, kept.scope, kept.authority) == (HOSTILE["proxy"], HOSTILE["scope"], HOSTILE["authority"])
    assert kept.allow_other_scope and kept.allow_other_authority and not kept.allow_plain_http and kept.ca_bundle == ""
    assert any("because you trust it" in note and HOSTILE["proxy"] in note for note in brought.notes)
    with pytest.raises(UsageError, match='"everything" is no setting'):
        store.import_file(path, clash="rename", trust=("everything",))


def test_an_import_that_replaces_a_profile_of_the_same_address_keeps_the_persons_own_settings(store, tmp_path):
    own = Profile("Ward 3", URL, sign_in="key", proxy="http://proxy.hospital.example:8080", ca_bundle="ours.pem", consent=True)
    store.add(own)
    store.import_file(handed_round(tmp_path, {"name": "Ward 3", "url": URL, "sign_in": "key", "tries": 2} | HOSTILE), clash="replace")
    assert store.get("Ward 3") == dataclasses.replace(own, tries=2)


def test_an_import_that_replaces_a_profile_by_another_address_starts_without_the_persons_settings(store, tmp_path):
    store.add(Profile("Ward 3", URL, sign_in="key", proxy="http://proxy.hospital.example:8080", consent=True, key_in_keyring=True))
    store.import_file(handed_round(tmp_path, {"name": "Ward 3", "url": "https://stranger.example/score"}), clash="replace")
    assert store.get("Ward 3") == Profile("Ward 3", "https://stranger.example/score")


def test_trusting_a_new_proxy_does_not_keep_the_consent_for_the_old_way(store, tmp_path):
    store.add(Profile("Ward 3", URL, consent=True))
    path = handed_round(tmp_path, {"name": "Ward 3", "url": URL, "proxy": HOSTILE["proxy"]})
    store.import_file(path, clash="replace", trust=("proxy",))
    assert not store.get("Ward 3").consent


values = st.one_of(
    st.booleans(), st.text(max_size=12), st.sampled_from([str(value) for value in HOSTILE.values()]), st.integers(0, 9), st.none()
)


@settings(max_examples=150, deadline=None)
@given(entry=st.dictionaries(st.sampled_from([*HOSTILE, *PERSONAL, "verify", "url2"]), values), is_known=st.booleans())
def test_whatever_an_import_holds_the_persons_trust_is_as_it_was(tmp_path_factory, entry, is_known):
    folder = tmp_path_factory.mktemp("trust")
    store, own = ProfileStore(folder / "own"), Profile("Ward 3", URL, proxy="http://proxy.hospital.example:8080", consent=True)
    if is_known:
        store.add(own)
    try:
        store.import_file(handed_round(folder, {"name": "Ward 3", "url": URL} | entry), clash="replace")
    except UsageError:
        assert store.profiles() == [local_demo()] + [own] * is_known
        return
    kept, before = store.get("Ward 3"), own if is_known else Profile("Ward 3", URL)
    for name in (*HOSTILE, *PERSONAL):
        assert getattr(kept, name) == getattr(before, name)


# ---------------------------------------------------------------- the built-in profile
@pytest.mark.parametrize("clash", ["rename", "replace"])
@pytest.mark.parametrize(
    "name", [LOCAL_DEMO, "local demo", "Local  demo ", "Ｌocal demo", "L\u043ec\u0430l demo", "Loca\u0399 demo", "Local dem0", "Local dérno", "L\u1d0fcal demo"]
)  # fmt: skip
def test_the_local_demo_is_never_replaced_nor_imitated_by_an_import(store, tmp_path, clash, name):
    brought = store.import_file(handed_round(tmp_path, {"name": name, "url": "https://stranger.example/score"}), clash=clash)
    assert store.get(LOCAL_DEMO) == local_demo()
    assert brought.names == [f"{name} (2)"] and "built in and stays as it is" in brought.notes[0]


def test_a_local_demo_elsewhere_is_refused_and_one_that_an_older_version_stored_is_passed_over(store):
    with pytest.raises(UsageError, match="always stays on this computer"):
        store.add(Profile(LOCAL_DEMO, URL))
    with pytest.raises(UsageError, match="looks like the built-in"):
        store.add(Profile("LOCAL DEMO", URL))
    store.path.parent.mkdir(parents=True, exist_ok=True)
    store.path.write_text(json.dumps({"schema": 1, "profiles": [{"name": LOCAL_DEMO, "url": URL}, {"name": "Ward 3", "url": URL}]}))
    assert store.profiles() == [local_demo(), Profile("Ward 3", URL)]
    store.add(Profile(LOCAL_DEMO, "http://localhost:5010/score"), replace=True)
    assert store.get(LOCAL_DEMO).url == "http://localhost:5010/score"


# ---------------------------------------------------------------- tokens
@pytest.mark.parametrize(
    "scope",
    ["https://vault.azure.net/.default", "https://ml.azure.com.stranger.example/.default", "https://ml.azure.com/user_impersonation", "",
     "https://management.azure.com/.default", "https://graph.microsoft.com/.default openid"],
)  # fmt: skip
def test_a_token_for_another_audience_is_not_asked_for_unless_the_person_vouches(scope):
    profile = Profile("Ward 3", URL, sign_in="entra", scope=scope)
    with pytest.raises(UsageError, match="not Azure ML's"):
        make_auth(profile)
    make_auth(dataclasses.replace(profile, allow_other_scope=True))


@pytest.mark.parametrize("scope", sorted(AZURE_ML_SCOPES))
def test_the_scopes_of_azure_mls_three_clouds_need_no_word(scope):
    assert make_auth(Profile("Ward 3", URL, sign_in="entra", scope=scope)) is not None


def test_whoever_types_another_scope_vouches_for_it(capsys):
    assert main(["profiles", "add", "Gate", "--endpoint", URL, "--auth", "entra", "--scope", "api://gateway/.default"]) == 0
    assert ProfileStore().get("Gate").allow_other_scope
    assert main(["profiles", "add", "US", "--endpoint", URL, "--auth", "entra", "--scope", "https://ml.azure.us/.default"]) == 0
    assert not ProfileStore().get("US").allow_other_scope


# ---------------------------------------------------------------- consent and keys
def test_a_new_proxy_or_new_certificates_for_a_host_are_asked_about_anew(store, tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("first")
    plain = Profile("Ward 3", URL)
    connect(profile=plain, consent=True)
    for changed in (dataclasses.replace(plain, proxy="http://192.0.2.9:3128"), dataclasses.replace(plain, ca_bundle=str(bundle))):
        with pytest.raises(ConsentError) as caught:
            connect(profile=changed)
        assert "192.0.2.9:3128" in str(caught.value) or str(bundle) in str(caught.value)
        connect(profile=changed, consent=True)
        connect(profile=changed)
    bundle.write_text("another authority")
    with pytest.raises(ConsentError):
        connect(profile=dataclasses.replace(plain, ca_bundle=str(bundle)))
    connect(profile=plain)
    ConsentStore().withdraw("ward3.westeurope.inference.ml.azure.com")
    assert ConsentStore().hosts() == []


def test_a_password_in_a_proxys_address_is_not_remembered_with_the_consent():
    assert destination(URL, "http://name:secret@Proxy.example:8080") == f"{URL.split('/')[2]} through proxy.example:8080"


def test_certificates_named_for_one_run_are_not_covered_by_the_profiles_own_consent(tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("x")
    with pytest.raises(ConsentError):
        connect(profile=Profile("Ward 3", URL, consent=True), ca_bundle=str(bundle))


def test_consent_in_a_profile_ends_where_its_address_or_way_is_edited():
    profile = Profile("Ward 3", URL, consent=True)
    assert profile.edited(tries=2).consent
    for change in (
        {"url": "https://stranger.example/score"},
        {"proxy": "http://192.0.2.9:1"},
        {"ca_bundle": "x"},
        {"allow_plain_http": True},
    ):
        assert not profile.edited(**change).consent


def test_the_azure_resource_that_a_key_is_read_from_stays_behind_when_a_profile_moves_to_another_host():
    profile = Profile("Ward 3", URL, resource_id=HOSTILE["resource_id"])
    assert profile.edited(url=URL + "?x=1").resource_id == profile.resource_id
    assert profile.edited(url="https://stranger.example/score").resource_id == ""


def test_a_key_goes_only_the_way_that_it_was_given_for():
    profile = Profile("Ward 3", URL, sign_in="key")
    session_keys.remember(profile.name, profile.url, KEY, profile.route)
    assert make_auth(profile).header() == f"Bearer {KEY}"
    for changed in ({"proxy": "http://192.0.2.9:3128"}, {"ca_bundle": "lab.pem"}, {"url": "https://stranger.example/score"}):
        with pytest.raises(UsageError, match="none was given"):
            make_auth(dataclasses.replace(profile, **changed))


@pytest.mark.parametrize(("url", "is_asked"), [(URL, False), ("https://stranger.example/score", True), ("http://127.0.0.1:9/score", False)])
def test_the_key_of_the_environment_is_asked_about_before_it_first_goes_to_a_host_that_is_not_azure_mls(monkeypatch, capsys, url, is_asked):
    monkeypatch.setenv("MEDIMAGEPARSE_KEY", KEY)
    if not is_asked:
        connect(url, sends_image_data=False)
        return
    with pytest.raises(ConsentError, match="A key or token would leave this computer for stranger.example"):
        connect(url, sends_image_data=False)
    assert main(["check", "--endpoint", url]) == 2 and "--consent" in capsys.readouterr().err
    connect(url, sends_image_data=False, consent=True)
    connect(url, sends_image_data=False)
    monkeypatch.delenv("MEDIMAGEPARSE_KEY")


def test_agreeing_that_images_go_to_a_host_does_not_say_that_the_key_of_the_environment_is_meant_for_it(monkeypatch):
    url = "https://gateway.example/score"
    connect(url, consent=True)
    connect(url)
    monkeypatch.setenv("MEDIMAGEPARSE_KEY", KEY)
    with pytest.raises(ConsentError, match="Image data and a key or token would leave"):
        connect(url)
    connect(url, consent=True)
    connect(url)
    assert ConsentStore().hosts() == ["gateway.example", "gateway.example (key)"]
    ConsentStore().withdraw("gateway.example")
    assert ConsentStore().hosts() == []


def test_without_a_key_a_probe_is_asked_about_nowhere():
    with contextlib.closing(connect("https://stranger.example/score", sends_image_data=False)) as client:
        assert client.name == "https://stranger.example/score"
    assert ConsentStore().hosts() == []


# ---------------------------------------------------------------- what is shown is what is there
@pytest.mark.parametrize(
    "change",
    [{"name": "Ward\u202e3"}, {"url": "https://good.example\\@evil.example/score"}, {"url": "https://g%6fod.example/score"},
     {"url": "https://\uff47ood.example/score"}, {"tenant_id": "a\u200bb"}, {"deployment": "blue\x1b[2J"}, {"note": "a\u202eb"}, {"a\u202eb": "c"},
     {"name": "Local\u3164demo"}, {"name": "\u2800"}, {"deployment": "a\ufe0fb"}, {"url": URL + "?subscription-key=1"}, {"url": URL + "?functionKey=1"},
     {"url": URL + "?access_token=1"}, {"deployment": "eyJ" * 300_000 + ".eyJaaaaaaaa"}, {"later": "x" * 9 + "eyJaaaaaaaaa.aaaaaaaaaaaa"}, {"l" * 101: 1},
     {"later": json.loads("[" * 40 + "]" * 40)},
     {"proxy": "http://good.example\\@evil.example:80"}, {"url": "https://0x7f000001/score"}, {"url": "https://good.example%00.evil.example/"}],
)  # fmt: skip
def test_names_and_addresses_that_read_as_something_else_are_refused(store, tmp_path, change):
    with pytest.raises(UsageError):
        store.import_file(handed_round(tmp_path, {"name": "Ward 3", "url": URL} | change), trust=tuple(TRUST_SETTINGS))
    assert store.profiles() == [local_demo()]


def test_a_host_in_another_script_is_shown_as_it_is_called(store, tmp_path, capsys):
    brought = store.import_file(handed_round(tmp_path, {"name": "Ward 3", "url": "https://gооd.example/score"}))  # Cyrillic o
    assert "xn--gd-fmca.example" in brought.notes[-1] and "gооd" not in brought.notes[-1]
    store.add(Profile("Ward 4", "https://gооd.example/score"))
    assert main(["profiles", "list"]) == 0
    assert capsys.readouterr().out.count("https://xn--gd-fmca.example/score") == 2


@pytest.mark.parametrize(
    "change", [{"model": "m" * 100_000}, {"model": ["m" * 100_000]}, {"tries": int("9" * 4000)}, {"name": 5}, {"n" * 100_000: {"key": 1}}]
)
def test_what_a_sentence_repeats_of_a_profile_is_short(store, tmp_path, change):
    with pytest.raises(UsageError) as caught:
        store.import_file(handed_round(tmp_path, {"name": "Ward 3", "url": URL} | change))
    assert len(str(caught.value)) < 400


def test_an_import_never_makes_the_persons_own_profiles_too_large_to_be_read_again(store, tmp_path):
    store.add(Profile("Ward 3", URL))
    with pytest.raises(InputError, match="too large together"):
        store.import_file(handed_round(tmp_path, {"name": "Ward 4", "url": URL, "later": [0] * 500_000}))
    with pytest.raises(InputError, match="more than 1000 profiles"):
        store.import_file(handed_round(tmp_path, *({"name": f"Ward {number}", "url": URL} for number in range(4, 1100))))
    assert store.profiles() == [local_demo(), Profile("Ward 3", URL)]


def test_an_import_from_the_command_line_says_how_to_trust_what_was_left_out(tmp_path, capsys):
    assert main(["profiles", "import", handed_round(tmp_path, {"name": "Ward 3", "url": URL, "proxy": HOSTILE["proxy"]})]) == 0
    told = capsys.readouterr()
    assert told.out == "Ward 3\n" and "--trust proxy" in told.err and "192.0.2.9:3128" in told.err
    assert main(["profiles", "import", str(tmp_path / "lab.json"), "--clash", "replace", "--trust", "proxy"]) == 0
    assert ProfileStore().get("Ward 3").proxy == HOSTILE["proxy"]


def test_a_file_that_is_far_too_large_is_not_read(store, tmp_path):
    path = tmp_path / "lab.json"
    path.write_text(" " * (5 * 2**20))
    with pytest.raises(Exception, match="far too large"):
        store.import_file(path)
