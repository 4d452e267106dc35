"""Sign-in through the real azure-identity against an Entra look-alike, over TLS on loopback."""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
import stat
import sys
import threading
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from doubles.entra import AZURE_VARIABLES, CLIENT_ID, TENANT, EntraDouble
from MedImageParseLib.errors import Cancelled, EndpointError, MedImageParseError, UsageError
from MedImageParseLib.profiles.profiles import Profile
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.signin import methods
from MedImageParseLib.signin.auth import RefreshingToken, Token
from MedImageParseLib.signin.methods import SignInError, make_auth, sign_out
from MedImageParseLib.transport.client import EndpointClient

SCORING = "https://ml.azure.com"


@pytest.fixture
def entra(tmp_path, monkeypatch):
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    sign_out()
    with EntraDouble(tmp_path) as double:
        yield double
    sign_out()
    assert double.errors == []


def profile_for(entra: EntraDouble, method: str, **fields) -> Profile:
    values = {
        "tenant_id": TENANT,
        "client_id": CLIENT_ID,
        "authority": entra.url,
        "allow_other_authority": True,
        "ca_bundle": str(entra.ca_file),
    }
    return Profile("look-alike", f"{entra.url}/score", sign_in="entra", entra_method=method, **(values | fields))


def client_for(entra: EntraDouble, auth) -> EndpointClient:
    return EndpointClient(f"{entra.url}/score", auth=auth, ca_bundle=str(entra.ca_file))


@pytest.fixture
def principal(entra, monkeypatch) -> Profile:
    """A service principal that works: ids in the profile, the secret in the environment."""
    monkeypatch.setenv("AZURE_CLIENT_SECRET", entra.client_secret)
    return profile_for(entra, "environment")


def test_a_service_principal_signs_in_and_its_token_opens_the_endpoint(entra, principal):
    with client_for(entra, make_auth(principal)) as client:
        assert json.loads(client.send(b"{}").body) == [{"image_features": [[0.0]]}]
    assert [(token.how, token.audience) for token in entra.issued] == [("client_credentials", SCORING)]


def test_a_service_principal_that_is_wholly_in_the_environment_signs_in(entra, monkeypatch):
    for name, value in (
        ("TENANT_ID", TENANT),
        ("CLIENT_ID", CLIENT_ID),
        ("CLIENT_SECRET", entra.client_secret),
        ("AUTHORITY_HOST", entra.url),
    ):
        monkeypatch.setenv(f"AZURE_{name}", value)
    for method in ("environment", "default"):
        auth = make_auth(profile_for(entra, method, tenant_id="", client_id="", authority="", allow_other_authority=False))
        assert entra.accepts(auth.header(), SCORING)


def test_the_scope_of_another_cloud_is_asked_for(entra, principal):
    principal.scope = "https://ml.azure.us/.default"
    assert entra.accepts(make_auth(principal).header(), "https://ml.azure.us")


def test_a_managed_identity_of_an_app_service_signs_in_over_tls(entra, monkeypatch):
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{entra.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", entra.identity_header)
    auth = make_auth(profile_for(entra, "managed-identity", client_id=""))
    assert entra.accepts(auth.header(), SCORING)
    assert entra.requests == ["GET /msi/token"]


def test_a_managed_identity_of_a_virtual_machine_signs_in(entra, monkeypatch):
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url)
    auth = make_auth(profile_for(entra, "managed-identity", client_id=""))
    assert entra.accepts(auth.header(), SCORING)
    assert [token.how for token in entra.issued] == ["managed-identity"]


def test_a_device_code_is_shown_to_the_person_and_waited_for(entra, capfd):
    shown = []
    auth = make_auth(profile_for(entra, "device-code"), prompt=lambda *what: shown.append(what))
    assert entra.accepts(auth.header(), SCORING)
    assert [what[:2] for what in shown] == [("https://login.example/device", "F9K2PWXYZ")]
    assert shown[0][2].timestamp() > time.time()
    assert capfd.readouterr() == ("", "")


def test_a_refused_device_token_is_renewed_without_asking_the_person_again(entra):
    shown = []
    entra.pending_polls = 0
    with client_for(entra, make_auth(profile_for(entra, "device-code"), prompt=lambda *what: shown.append(what))) as client:
        client.send(b"{}")
        entra.revoked.add(entra.issued[-1].value)
        assert client.send(b"{}").tries == 2
    assert len(shown) == 1
    assert [token.how for token in entra.issued] == ["device_code", "refresh_token"]


def test_one_sign_in_serves_every_scope_and_every_later_request(entra):
    shown = []
    entra.pending_polls = 0
    profile = profile_for(entra, "device-code", allow_other_scope=True)
    for scope in ("https://ml.azure.com/.default", "https://management.azure.com/.default", "https://ml.azure.com/.default"):
        profile.scope = scope
        assert entra.accepts(make_auth(profile, prompt=lambda *what: shown.append(what)).header(), scope.removesuffix("/.default"))
    assert (len(shown), len(entra.issued)) == (1, 2)
    sign_out()
    make_auth(profile, prompt=lambda *what: shown.append(what)).header()
    assert len(shown) == 2


@pytest.fixture
def browser(entra, monkeypatch) -> None:
    """A browser whose person agrees at once."""

    def follow(url: str) -> None:
        context = ssl.create_default_context(cafile=str(entra.ca_file))
        page = urllib.request.urlopen(url, context=context, timeout=10).read().decode()
        target = re.search(r'action="([^"]+)"', page)
        if target:
            form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
            urllib.request.urlopen(target[1], urllib.parse.urlencode(form).encode(), timeout=10).read()

    def open_page(url: str, *_, **__) -> bool:
        threading.Thread(target=follow, args=(url,), daemon=True).start()
        return True

    monkeypatch.setattr("webbrowser.open", open_page)


def test_the_browser_signs_in(entra, browser):
    assert entra.accepts(make_auth(profile_for(entra, "browser")).header(), SCORING)
    assert [token.how for token in entra.issued] == ["authorization_code"]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the Azure CLI is a POSIX shell script")
def test_the_azure_cli_lends_its_sign_in_and_sees_no_secret(entra, monkeypatch, tmp_path):
    token = entra.issue(SCORING, "azure-cli")
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "az"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path / "argv"}\n'
        f"echo '{json.dumps({'accessToken': token.value, 'expires_on': int(token.expires_at)})}'\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin{os.pathsep}/usr/bin")
    auth = make_auth(profile_for(entra, "azure-cli"))
    assert auth.header() == f"Bearer {token.value}"
    assert auth.refresh() is False, "the CLI gives the same token again, so there is nothing newer"
    argv = (tmp_path / "argv").read_text()
    assert f"--resource {SCORING} --tenant {TENANT}" in argv
    assert not any(secret in argv for secret in entra.all_secrets)


def test_a_token_that_runs_out_in_the_middle_of_a_batch_is_renewed_before_anybody_notices(entra, principal):
    entra.lifetime_s = 2
    with client_for(entra, make_auth(principal)) as client, ThreadPoolExecutor(4) as pool:

        def one(_: int) -> int:
            time.sleep(0.2)
            return client.send(b"{}").tries

        tries = list(pool.map(one, range(56)))
    assert tries == [1] * 56
    assert entra.scored == [200] * 56
    assert 2 <= len(entra.issued) < 10, "renewed in time, but not for each request"


def test_a_token_that_is_revoked_in_the_middle_of_a_batch_is_renewed_once_for_all(entra, principal):
    with client_for(entra, make_auth(principal)) as client, ThreadPoolExecutor(4) as pool:
        client.send(b"{}")
        entra.revoked.add(entra.issued[0].value)
        tries = list(pool.map(lambda _: client.send(b"{}").tries, range(20)))
    assert set(tries) <= {1, 2} and 2 in tries
    assert len(entra.issued) == 2


def test_a_401_storm_ends_in_one_sentence_after_exactly_one_refresh(entra, principal):
    entra.scoring_is_closed = True
    sentences = []

    def one(_: int) -> None:
        with pytest.raises(EndpointError) as caught:
            client.send(b"{}")
        sentences.append(caught.value)

    with client_for(entra, make_auth(principal)) as client, ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(12)))
    assert len(entra.issued) == 2, "the first token and one refresh, for all twelve requests together"
    assert {error.status for error in sentences} == {401}
    assert {error.tries for error in sentences} <= {1, 2}
    for error in sentences:
        assert "\n" not in str(error) and str(error).count("401") <= 2
        assert not any(secret in str(error) for secret in entra.all_secrets)


def test_threads_that_ask_at_once_share_one_sign_in_and_also_its_failure(entra, principal, monkeypatch):
    auth = make_auth(principal)
    with ThreadPoolExecutor(8) as pool:
        headers = set(pool.map(lambda _: auth.header(), range(8)))
    assert len(headers) == len(entra.issued) == 1
    sign_out()
    entra.pending_polls, entra.device_error = 1, "authorization_declined"
    shown = []
    auth = make_auth(profile_for(entra, "device-code"), prompt=lambda *what: shown.append(what))

    def fails(_: int) -> str:
        with pytest.raises(SignInError) as caught:
            auth.header()
        return str(caught.value)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(fails, range(4))) == {"The sign-in was declined: start again and approve it."}
    assert len(shown) == 1


def test_an_early_renewal_that_fails_keeps_the_old_token_while_it_lasts():
    def fails(_: bool) -> Token:
        asked.append(time.time())
        raise SignInError("The sign-in server cannot be reached.")

    asked: list[float] = []
    now = time.time()
    in_its_last_tenth = Token("old", expires_at=now + 100, fetched_at=now - 1000)
    assert RefreshingToken(fails, in_its_last_tenth).header() == "Bearer old"
    assert len(asked) == 1
    fresh = Token("new", expires_at=now + 1000, fetched_at=now)
    assert RefreshingToken(fails, fresh).header() == "Bearer new"
    assert len(asked) == 1
    with pytest.raises(SignInError, match="cannot be reached"):
        RefreshingToken(fails, Token("old", expires_at=now - 1, fetched_at=now - 1000)).header()


def test_waiting_for_a_person_can_be_cancelled(entra):
    entra.pending_polls = 100
    cancellation = Cancellation()
    shown = threading.Event()
    auth = make_auth(profile_for(entra, "device-code"), prompt=lambda *_: shown.set(), cancellation=cancellation)
    threading.Thread(target=lambda: shown.wait(10) and cancellation.cancel(), daemon=True).start()
    with pytest.raises(Cancelled):
        auth.header()
    entra.pending_polls, entra.device_codes = 0, dict.fromkeys(entra.device_codes, 0)
    assert entra.accepts(make_auth(profile_for(entra, "device-code"), prompt=lambda *_: None).header(), SCORING)


@pytest.mark.parametrize(
    ("method", "fields", "sentence"),
    [
        ("environment", {"client_id": ""}, "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"),
        ("environment", {"tenant_id": "no-such-tenant"}, "check the tenant id"),
        ("environment", {"tenant_id": "not a tenant!"}, "tenant id or the sign-in host has a form that none has"),
        ("azure-cli", {}, "run `az login`"),
        ("device-code", {}, "nobody is there to see it"),
        ("magic", {}, "choose one of browser"),
    ],
)
def test_each_way_that_does_not_work_says_what_to_do(entra, monkeypatch, tmp_path, method, fields, sentence):
    monkeypatch.setenv("AZURE_CLIENT_SECRET", entra.client_secret)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MedImageParseError, match=sentence) as caught:
        make_auth(profile_for(entra, method, **fields)).header()
    assert "\n" not in str(caught.value)
    assert not any(word in str(caught.value) for word in ("Trace ID", "Correlation", entra.client_secret))


def test_a_wrong_client_secret_is_a_sentence_without_the_secret_even_in_the_traceback(entra, principal, monkeypatch):
    import traceback

    monkeypatch.setenv("AZURE_CLIENT_SECRET", "hunter2-hunter2")
    with pytest.raises(SignInError, match=r"the client secret is wrong: check AZURE_CLIENT_SECRET \(AADSTS7000215\)") as caught:
        make_auth(principal).header()
    told = "".join(traceback.format_exception(caught.value))
    assert "hun" not in told and "Trace ID" not in told


def test_a_computer_without_managed_identity_says_so(entra, monkeypatch):
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.sleep", lambda *_: None)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    with pytest.raises(SignInError, match="no managed identity"):
        make_auth(profile_for(entra, "managed-identity", client_id="")).header()


def test_a_default_chain_in_which_nothing_works_names_the_ways_that_would(entra, monkeypatch, tmp_path):
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.sleep", lambda *_: None)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SignInError, match="None of the default ways.*`az login`.*device code") as caught:
        make_auth(profile_for(entra, "default")).header()
    assert "\n" not in str(caught.value)


def test_a_sign_in_server_that_is_down_or_not_trusted_is_told_apart(entra, principal, monkeypatch):
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.sleep", lambda *_: None)
    principal.ca_bundle = ""
    with pytest.raises(SignInError, match="certificate of the sign-in server 127.0.0.1 is not trusted.*--ca-bundle"):
        make_auth(principal).header()
    principal.authority = "https://127.0.0.1:9"
    with pytest.raises(SignInError, match="sign-in server 127.0.0.1 cannot be reached"):
        make_auth(principal).header()
    principal.ca_bundle = "missing.pem"
    with pytest.raises(MedImageParseError, match="The CA bundle is missing.pem, and there is no such file"):
        make_auth(principal).header()


def test_an_imported_profile_cannot_send_the_secret_to_a_sign_in_host_of_its_own(entra, principal):
    principal.allow_other_authority = False
    with pytest.raises(UsageError, match="127.0.0.1, which is not one of Microsoft's"):
        make_auth(principal).header()
    assert entra.requests == []


def test_a_missing_azure_identity_names_how_to_install_it(entra, principal, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(UsageError, match=r"azure-identity.*pip install azure-identity.*\[entra\].*or use a key") as caught:
        make_auth(principal).header()
    assert caught.value.exit_status == 2


def test_nothing_secret_is_logged_or_shown_at_any_level(entra, principal, browser, monkeypatch, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        for name in ("azure", "msal", "urllib3", "MedImageParseLib"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{entra.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", entra.identity_header)
        entra.pending_polls = 0
        providers = [
            make_auth(principal),
            make_auth(profile_for(entra, "device-code"), prompt=lambda *_: None),
            make_auth(profile_for(entra, "browser")),
            make_auth(profile_for(entra, "managed-identity", client_id="")),
            make_auth(key=entra.endpoint_key),
        ]
        for auth in providers:
            with client_for(entra, auth) as client:
                client.send(b"{}")
        for auth in providers[:3]:
            entra.revoked.update(token.value for token in entra.issued)
            with client_for(entra, auth) as client:
                client.send(b"{}")
        entra.scoring_is_closed = True
        for auth in providers:
            with client_for(entra, auth) as client, pytest.raises(EndpointError) as caught:
                client.send(b"{}")
    shown = " ".join(map(repr, (providers, methods._sessions, principal, caught.value))) + "".join(capfd.readouterr())
    assert {"azure", "msal", "urllib3"} <= {record.name.partition(".")[0] for record in caplog.records}
    leaked = [secret[:6] for secret in entra.all_secrets if secret in caplog.text or secret in shown]
    assert leaked == []
