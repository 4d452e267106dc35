"""What the client sends and to whom: headers, key, proxies, trust; and what it refuses to send at all."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles import fault_server as f
from doubles.certificates import Authority, shared_authority
from doubles.fault_scenarios import KEY, resolves_to_loopback
from MedImageParseLib.errors import EndpointError, UsageError
from MedImageParseLib.redaction import Redactor
from MedImageParseLib.transport.address import is_loopback_host, parse_address
from MedImageParseLib.transport.client import EndpointClient, NoAuth, RetryPolicy, StaticKey, Timeouts


def _sent(body: bytes = b"{}", send: dict | None = None, **options) -> f.Seen:
    with f.FaultServer([f.ok()]) as server, EndpointClient(server.url, **options) as client:
        client.send(body, **(send or {}))
        return server.requests[0]


def test_request_carries_key_ids_deployment_and_the_exact_body():
    body = b'{"input_data": "' + bytes(range(48, 58)) * 300_000 + b'"}'
    seen = _sent(body, auth=StaticKey(KEY), deployment="blue")
    assert seen.line == "POST /score HTTP/1.1" and seen.body == body
    assert seen.headers["content-length"] == str(len(body)) and "transfer-encoding" not in seen.headers
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["azureml-model-deployment"] == "blue"
    assert len(seen.headers["x-ms-client-request-id"]) == 36 and seen.headers["x-request-id"] == seen.headers["x-ms-client-request-id"]


def test_no_sign_in_sends_no_authorization_even_where_netrc_has_one(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password netrc-pass\nmachine 127.0.0.1 login somebody password netrc-pass\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "authorization" not in _sent().headers
    assert _sent(auth=StaticKey(KEY)).headers["authorization"] == f"Bearer {KEY}"


def test_progress_goes_from_upload_to_model_to_download():
    told: list[tuple] = []
    body = b"[" + b" " * 5_000_000 + b"]"
    _sent(body, {"progress": lambda *news: told.append(news)})
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["uploading", "model working", "downloading"]
    uploads = [(done, total) for stage, done, total in told if stage == "uploading"]
    assert uploads[0][0] == 0 and uploads[-1] == (len(body), len(body)) and uploads == sorted(uploads)
    size = len(json.dumps(f.REPLY))
    assert told[-1] == ("downloading", size, size)


def test_countdown_is_told_while_waiting_to_try_again():
    told: list[tuple] = []
    with f.FaultServer([f.status(503, headers={"Retry-After": "1"}), f.ok()]) as server, EndpointClient(server.url) as client:
        reply = client.send(b"{}", progress=lambda *news: told.append(news))
    left = [done for stage, done, _ in told if stage == "waiting to try again"]
    assert left == sorted(left, reverse=True) and 1 <= left[0] <= 1.2 and left[-1] < 0.5
    assert reply.tries == 2 and len(reply.request_ids) == 2 and reply.request_id == reply.request_ids[-1] != reply.request_ids[0]
    assert reply.paused_s >= 1 and reply.wait_s >= reply.paused_s


def test_each_try_has_a_request_id_of_its_own():
    script = [f.status(503), f.close_without_reply, f.ok()]
    with f.FaultServer(script) as server, EndpointClient(server.url, retry=RetryPolicy(base=0.01)) as client:
        reply = client.send(b"{}")
        assert [seen.headers["x-ms-client-request-id"] for seen in server.requests] == reply.request_ids


def test_connection_is_kept_for_the_next_request():
    with f.FaultServer([f.ok()]) as server, EndpointClient(server.url) as client:
        for _ in range(5):
            client.send(b"{}")
        assert server.connections == 1


def test_cookies_are_not_kept():
    with f.FaultServer([f.ok(Set_Cookie="track=me")]) as server, EndpointClient(server.url) as client:
        client.send(b"{}")
        client.send(b"{}")
        assert "cookie" not in server.requests[1].headers


def test_key_goes_to_another_host_over_https_only():
    with resolves_to_loopback(), f.FaultServer([f.ok()], host="scanner.example") as server:
        with (
            EndpointClient(server.url, auth=StaticKey(KEY), allow_plain_http=True) as client,
            pytest.raises(UsageError, match="plain http"),
        ):
            client.send(b"{}")
        assert server.connections == 0
        with EndpointClient(server.url, allow_plain_http=True) as client:
            assert client.send(b"{}").status == 200


def test_proxy_of_the_environment_is_used_and_its_password_not_shown(monkeypatch, tmp_path):
    authority = shared_authority()
    with resolves_to_loopback(), f.FaultServer([f.ok()], tls=authority.context("endpoint.example"), host="endpoint.example") as server:
        with f.FaultServer([f.proxy_tunnel]) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://reader:pr0xy-pass@127.0.0.1:{proxy.port}")
            with EndpointClient(server.url, auth=StaticKey(KEY), ca_bundle=authority.bundle(tmp_path)) as client:
                assert client.send(b"{}").status == 200
            tunnel = proxy.requests[0]
        assert tunnel.line.startswith("CONNECT endpoint.example:") and tunnel.headers["proxy-authorization"].startswith("Basic ")
        assert "authorization" not in tunnel.headers
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}" and "proxy-authorization" not in server.requests[0].headers


def test_proxy_of_the_environment_is_not_used_for_this_computer_or_where_no_proxy_says_so(monkeypatch):
    with f.FaultServer([f.proxy_refusing(407)]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert _sent().line.startswith("POST /score")
        monkeypatch.setenv("NO_PROXY", "scanner.example")
        with resolves_to_loopback(), f.FaultServer([f.ok()], host="scanner.example") as server:
            with EndpointClient(server.url, allow_plain_http=True) as client:
                assert client.send(b"{}").status == 200
        assert proxy.connections == 0


def test_proxy_of_another_kind_is_refused_with_a_sentence():
    with EndpointClient("https://endpoint.example/score", proxy="socks5://reader:pr0xy-pass@127.0.0.1:1080") as client:
        with pytest.raises(UsageError, match="socks5 proxy") as caught:
            client.send(b"{}")
        assert "pr0xy-pass" not in str(caught.value)


def test_ca_bundle_adds_to_the_trust_and_a_missing_or_strange_one_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        EndpointClient("https://endpoint.example/score", ca_bundle=str(tmp_path / "absent.pem"))
    strange = tmp_path / "strange.pem"
    strange.write_text("hello")
    with EndpointClient("https://endpoint.example/score", ca_bundle=str(strange)) as client, pytest.raises(UsageError, match="PEM"):
        client.send(b"{}")


def test_bundle_of_the_environment_is_trusted_too(tmp_path, monkeypatch):
    authority = Authority("Another Authority")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle(tmp_path))
    with f.FaultServer([f.ok()], tls=authority.context()) as server, EndpointClient(server.url) as client:
        assert client.send(b"{}").status == 200


def test_expired_token_is_refreshed_once_and_a_static_key_is_not_tried_again():
    class Token:
        tokens = ["first-token", "second-token"]

        def header(self) -> str:
            return f"Bearer {self.tokens[0]}"

        def refresh(self) -> bool:
            self.tokens = self.tokens[1:]
            return True

    with f.FaultServer([f.status(401), f.ok()]) as server, EndpointClient(server.url, auth=Token()) as client:
        assert client.send(b"{}").tries == 2
        assert [seen.headers["authorization"] for seen in server.requests] == ["Bearer first-token", "Bearer second-token"]
    with f.FaultServer([f.status(401), f.ok()]) as server, EndpointClient(server.url, auth=StaticKey(KEY)) as client:
        with pytest.raises(EndpointError) as caught:
            client.send(b"{}")
        assert caught.value.tries == 1 and len(server.requests) == 1


def test_one_try_means_one_try_even_after_a_401():
    class Token:
        def header(self) -> str:
            return "Bearer some-token"

        def refresh(self) -> bool:
            raise AssertionError("no try is left that could use it")

    with f.FaultServer([f.status(401)]) as server, EndpointClient(server.url, auth=Token(), retry=RetryPolicy(tries=1)) as client:
        with pytest.raises(EndpointError):
            client.send(b"{}")
        assert len(server.requests) == 1


def test_body_over_the_limit_is_refused_before_anything_is_sent():
    with f.FaultServer([f.ok()]) as server, EndpointClient(server.url, body_limit=1000) as client:
        with pytest.raises(EndpointError, match="8 bit") as caught:
            client.send(b"x" * 1001)
        assert (caught.value.code, caught.value.tries, server.connections) == ("too-large", 0, 0)
        assert client.send(b"x" * 1000).bytes_sent == 1000


def test_key_is_never_shown_or_pickled():
    key = StaticKey(f"  Bearer {KEY}\n")
    assert key.header() == f"Bearer {KEY}" and not key.refresh()
    assert KEY not in repr(key) + str(key) + repr(EndpointClient("https://a.example/score?code=5", auth=key))
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            write(key)
    assert NoAuth().header() == "" and not NoAuth().refresh()


@pytest.mark.parametrize("key", ["", "   ", "Bearer ", "two words", "line\nbreak", "schlüssel"])
def test_key_that_no_header_can_carry_is_a_sentence_without_the_key(key):
    with pytest.raises(UsageError) as caught:
        StaticKey(key)
    assert not key.strip() or key == "Bearer " or key not in str(caught.value)


def test_header_of_a_provider_with_a_line_break_never_reaches_requests():
    class Broken(NoAuth):
        def header(self) -> str:
            return f"Bearer {KEY}\r\nX-Evil: 1"

    with f.FaultServer([f.ok()]) as server, EndpointClient(server.url, auth=Broken()) as client:
        with pytest.raises(UsageError) as caught:
            client.send(b"{}")
        assert KEY not in str(caught.value) and server.connections == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("endpoint.example/score", "must begin with https://"),
        ("localhost:5001/score", "must begin with https://"),
        ("", "must begin with https://"),
        ("ftp://endpoint.example/score", "ftp://"),
        ("https:///score", "names no host"),
        ("https://end point.example/score", "space"),
        ("https://endpoint.example:port/score", "cannot be read"),
        ("https://endpoint.example:99999/score", "cannot be read"),
        ("https://me:hunter22@endpoint.example/score", "user name or password"),
        ("http://endpoint.example/score", "plain http"),
        ("http://127.0.0.1.example/score", "plain http"),
        ("http://[::1/score", "cannot be read"),
    ],
)
def test_url_that_makes_no_sense_is_a_sentence(url, words):
    with pytest.raises(UsageError) as caught:
        EndpointClient(url)
    assert words in str(caught.value) and "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name", "dialect"),
    [
        ("https://A.Example/score?code=secret#part", "https://a.example/score", "azureml"),
        ("http://localhost:5000/invocations", "http://localhost:5000/invocations", "mlflow"),
        ("http://[::1]:5000/invocations/", "http://[::1]:5000/invocations/", "mlflow"),
        ("http://127.0.0.2/v1/score", "http://127.0.0.2/v1/score", "azureml"),
    ],
)
def test_report_repeats_scheme_host_and_path_only(url, name, dialect):
    client = EndpointClient(url)
    assert (client.name, client.dialect) == (name, dialect)
    assert "secret" not in repr(client)
    assert EndpointClient(url, dialect="mlflow").dialect == "mlflow"


def test_unknown_dialect_and_deployment_with_a_line_break_are_sentences():
    with pytest.raises(UsageError, match="dialect 'grpc'"):
        EndpointClient("https://a.example/score", dialect="grpc")
    with pytest.raises(UsageError, match="deployment"):
        EndpointClient("https://a.example/score", deployment="blue\r\nX-Evil: 1")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost."])
def test_this_computer_is_recognized(host):
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host", ["localhost.example", "10.0.0.1", "0.0.0.0", "::", "169.254.1.1", "127.0.0.1.example", "my-localhost", "", "2130706433"]
)
def test_other_computers_are_not_taken_for_this_one(host):
    assert not is_loopback_host(host)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_as_url_is_an_address_or_a_sentence(text):
    for url in (text, "https://" + text):
        try:
            address = parse_address(url)
        except UsageError as error:
            assert str(error).endswith(".")
        else:
            assert address.host and "@" not in address.place and "?" not in address.name


@settings(max_examples=100, deadline=None)
@given(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    st.text(max_size=50),
    st.text(max_size=50),
)
def test_scrubbed_text_never_holds_the_key(key, before, after):
    scrubber = Redactor()
    scrubber.learn(f"Bearer {key}")
    hidden = "(hidden)"
    assert key in hidden or key not in scrubber.clean(f"{before}{key}{after}").replace(hidden, "\0")
    assert key not in scrubber.quote((before + key + after).encode(), 30).replace(hidden, "\0")


def test_tokens_are_hidden_even_when_nobody_told_the_scrubber():
    text = Redactor().clean("got Bearer abcdefgh123 and eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl")
    assert "abcdefgh123" not in text and "eyJ" not in text


def test_timeouts_are_per_try_and_never_tried_again():
    with f.FaultServer([f.hang_before_headers, f.ok()]) as server, EndpointClient(server.url, timeouts=Timeouts(reply=0.3)) as client:
        with pytest.raises(EndpointError) as caught:
            client.send(b"{}")
        assert (caught.value.code, caught.value.tries, len(server.requests)) == ("timeout", 1, 1)


def test_importing_the_client_imports_no_third_party_package():
    import subprocess
    import sys
    from pathlib import Path

    import MedImageParseLib

    code = "import sys, MedImageParseLib.transport.client; print(sorted({'requests', 'urllib3', 'certifi'} & set(sys.modules)))"
    folder = str(Path(MedImageParseLib.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    assert done.stdout.strip() == "[]"


def test_waiting_for_a_turn_longer_than_a_connection_may_take_is_no_failure():
    """A queue of requests at a slow model: the connection's clock starts with the turn."""
    import threading
    import time

    from doubles.endpoint import EndpointDouble
    from doubles.truth import GrayRanges

    double = EndpointDouble(GrayRanges({}))
    double.pause = lambda: time.sleep(0.5)
    statuses: list[object] = []
    with double.serve() as url, EndpointClient(url, timeouts=Timeouts(connect=0.2), max_in_flight=1, retry=RetryPolicy(tries=1)) as client:

        def send() -> None:
            try:
                client.send(b"{}")
            except EndpointError as error:
                statuses.append(error.code)

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == ["400"] * 3  # the double refuses such a body, but it heard all three
