"""Every fault of the table as a scenario: which server, which client, and the kind of error that a person must be told.

Used by the tests and by the script that prints the table, so that both show the same.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from doubles import fault_server as f
from doubles.certificates import self_signed_context, shared_authority
from MedImageParseLib.transport.client import EndpointClient, RetryPolicy, StaticKey, Timeouts

KEY = "k3y-5ecret-0f-the-endpoint"
TIMEOUTS = Timeouts(connect=1.2, reply=0.6, stall=0.6)
ROOMY = Timeouts(connect=20, reply=20, stall=20)  # where all must go well, on a computer with other work too
RETRY = RetryPolicy(tries=3, wait_budget=2.0, base=0.02)
BODY = b'{"input_data": "' + b"x" * 200_000 + b'"}'
BIG_BODY = b'{"input_data": "' + b"x" * 8_000_000 + b'"}'


@dataclass
class Scenario:
    """One fault.

    Attributes:
        name: for the table.
        kind: the error's kind; "" where the request must succeed in the end.
        tries: how often the request must have been sent.
        words: what the sentence must contain.
        script: the server's behaviors.
        tls: makes the server's context.
        options: of the client.
        trusts_authority: whether the client's CA bundle holds the tests' authority.
        body: what is sent.
        url: instead of the server's; host, scheme: parts of the server's URL that differ.
        setting: a further context around all of it.
        proxy_script: behaviors of a proxy in between, which is given a user name and password.
    """

    name: str
    kind: str
    tries: int
    words: tuple[str, ...] = ()
    script: list[f.Behavior] = field(default_factory=list)
    tls: Callable[[], Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    trusts_authority: bool = False
    body: bytes = BODY
    url: str = ""
    host: str = "localhost"
    scheme: str = ""
    setting: Callable[[], Any] | None = None
    proxy_script: list[f.Behavior] = field(default_factory=list)


@contextmanager
def staged(scenario: Scenario, folder: Path, **more: Any) -> Iterator[tuple[EndpointClient, f.FaultServer | None]]:
    """The scenario's server(s) running, and a client for it with a key."""
    with ExitStack() as stack:
        server = None
        url = scenario.url
        options: dict[str, Any] = {
            "auth": StaticKey(KEY),
            "timeouts": TIMEOUTS if scenario.kind else ROOMY,
            "retry": RETRY,
            **scenario.options,
            **more,
        }
        if scenario.script:
            server = stack.enter_context(f.FaultServer(scenario.script, tls=scenario.tls() if scenario.tls else None, host=scenario.host))
            url = server.url if not scenario.scheme else f"{scenario.scheme}{server.url[server.url.index(':') :]}"
        if scenario.proxy_script:
            proxy = stack.enter_context(f.FaultServer(scenario.proxy_script))
            options["proxy"] = f"http://reader:pr0xy-pass@127.0.0.1:{proxy.port}"
        if scenario.trusts_authority:
            options["ca_bundle"] = shared_authority().bundle(folder)
        if scenario.setting is not None:
            stack.enter_context(scenario.setting())
        client = stack.enter_context(EndpointClient(url, **options))
        yield client, server


def refused_url() -> str:
    """A loopback port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/score"


def unresolvable() -> Any:
    """A resolver that knows no such name (the test machine's own may have no network, or a helpful provider)."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    return mock.patch.object(socket, "getaddrinfo", unknown)


def resolves_to_loopback() -> Any:
    """A resolver for which every name is this computer."""
    real = socket.getaddrinfo
    return mock.patch.object(socket, "getaddrinfo", lambda host, port, *a, **k: real("127.0.0.1", port, *a, **k))


def hangs_in_name_lookup(release: threading.Event) -> Any:
    """A resolver that does not answer until released."""

    def hang(*_: object, **__: object) -> None:
        release.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    return mock.patch.object(socket, "getaddrinfo", hang)


def _status(code: int, tries: int, *words: str) -> Scenario:
    return Scenario(f"status {code}", str(code), tries, words, [f.status(code)])


def _model_status(code: int, tries: int, *words: str) -> Scenario:
    """What the model's own server answered; 408, 413 and 429 count as if the endpoint had answered them itself."""
    headers = {"ms-azureml-model-error-statuscode": str(code), "ms-azureml-model-error-reason": "model container said no"}
    return Scenario(
        f"status 424, model's status {code}",
        str(code) if code in (408, 413, 429) else "424",
        tries,
        (f"status {code}", "model container said no", *words),
        [f.status(424, headers=headers)],
    )


def _good() -> Any:
    return shared_authority().context("localhost")


def all_scenarios() -> list[Scenario]:
    """The rows of the fault table."""
    return [*_network(), *_strange_replies(), *_statuses(), *_certificates(), *_ports_and_proxies()]


def _network() -> list[Scenario]:
    return [
        Scenario("refused", "refused", 3, ("Nothing listens", "127.0.0.1"), url=refused_url()),
        Scenario(
            "name does not resolve",
            "name",
            1,
            ("endpoint.invalid", "cannot be found"),
            url="https://endpoint.invalid/score",
            setting=unresolvable,
        ),
        Scenario("hang before the headers", "timeout", 1, ("no reply within 0.6 s", "raise the timeout"), [f.hang_before_headers]),
        Scenario("hang in the body", "timeout", 1, ("began to reply",), [f.hang_in_body]),
        Scenario("slow trickle of the body", "timeout", 1, ("began to reply",), [f.trickle]),
        Scenario("slow trickle of the headers", "timeout", 1, ("no reply within",), [f.trickled_headers]),
        Scenario("upload not taken", "stalled", 1, ("no more of the upload",), [f.hang_in_upload], body=BIG_BODY),
        Scenario("reset in the upload", "lost", 3, ("during the upload",), [f.reset_in_upload], body=BIG_BODY),
        Scenario("reset in the reply", "lost", 3, ("in the middle of the reply",), [f.reset_in_reply]),
        Scenario("closed without a reply", "lost", 3, ("closed the connection without a reply",), [f.close_without_reply]),
        Scenario("reset once, then well", "", 2, (), [f.reset_in_upload, f.well], body=BIG_BODY),
    ]


def _strange_replies() -> list[Scenario]:
    return [
        Scenario("truncated JSON", "truncated", 1, ("cut off",), [f.raw(b'[{"image_features": "abc')]),
        Scenario("content length too long", "lost", 3, ("in the middle of the reply after 4 of 400 bytes",), [f.raw(b"[{}]", length=400)]),
        Scenario("content length too short", "truncated", 1, ("cut off after 3 bytes",), [f.raw(b"[{}]", length=3)]),
        Scenario(
            "HTML",
            "not-json",
            1,
            ("web page titled “Please sign in”",),
            [f.raw(b"<html><title>Please sign in</title></html>", headers={"Content-Type": "text/html"})],
        ),
        Scenario("empty reply", "not-json", 1, ("nothing at all",), [f.raw(b"")]),
    ]


def _statuses() -> list[Scenario]:
    return [
        _status(400, 1, "scripted", "model and the dialect"),
        _status(401, 1, "refused the key or token"),
        Scenario("status 401 without a key", "401", 1, ("none was given", "MEDIMAGEPARSE_KEY"), [f.status(401)], options={"auth": None}),
        Scenario("status 401, clock 2 h behind", "clock", 1, ("clock is 2 h 0 min behind",), [f.clock_skew(7230)]),
        _status(403, 1, "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"),
        _status(404, 1, "/score"),
        _status(408, 1, "request timeout raised to 180 s"),
        _status(413, 1, "8 bit", "crop", "fewer slices"),
        Scenario("status 413 before the upload ends", "413", 1, ("8 bit",), [f.answer_early(413)], body=BIG_BODY),
        _model_status(500, 1, "deployment's log"),
        _model_status(413, 1, "fewer slices"),
        _model_status(408, 1, "request timeout raised to 180 s"),
        _model_status(429, 3, "busy"),
        _model_status(503, 2, "restarting"),
        _status(429, 3, "busy"),
        Scenario("status 429, Retry-After 600", "429", 1, ("busy", "asks to wait 10 min"), [f.status(429, headers={"Retry-After": "600"})]),
        Scenario("status 429 once, Retry-After 1", "", 2, (), [f.status(429, headers={"Retry-After": "1"}), f.well]),
        _status(500, 2, "failed (500", "scripted"),
        _status(502, 3, "failed (502"),
        _status(503, 3, "failed (503"),
        _status(504, 2, "gave up waiting for the model", "may still be computing"),
        Scenario(
            "redirect to another host",
            "redirect",
            1,
            ("redirects to elsewhere.example (302)",),
            [f.status(302, headers={"Location": "https://elsewhere.example/login?token=abc"})],
        ),
    ]


def _certificates() -> list[Scenario]:
    return [
        Scenario(
            "certificate expired",
            "certificate-expired",
            1,
            ("expired 5 days ago", "clock"),
            [f.well],
            lambda: shared_authority().context(from_days=-30, to_days=-5),
            trusts_authority=True,
        ),
        Scenario(
            "certificate not valid yet",
            "certificate-not-yet-valid",
            1,
            ("only in 5 days", "clock is probably behind"),
            [f.well],
            lambda: shared_authority().context(from_days=5),
            trusts_authority=True,
        ),
        Scenario("certificate self-signed", "certificate-untrusted", 1, ("self-signed by “Appliance 7”",), [f.well], self_signed_context),
        Scenario(
            "certificate of an intercepting proxy", "certificate-untrusted", 1, ("Hospital TLS Inspection", "CA bundle"), [f.well], _good
        ),
        Scenario(
            "certificate of another host",
            "certificate-other-host",
            1,
            ("another name",),
            [f.well],
            lambda: shared_authority().context("other.example"),
            trusts_authority=True,
        ),
        Scenario("TLS with the right authority", "", 1, (), [f.well], _good, trusts_authority=True),
    ]


def _ports_and_proxies() -> list[Scenario]:
    inspected = {"setting": resolves_to_loopback, "host": "endpoint.example"}
    return [
        Scenario("https to a plain port", "tls", 1, ("speaks https",), [f.speak_first], scheme="https"),
        Scenario("http to a TLS port", "not-http", 1, ("does not speak HTTP", "begin with https"), [f.tls_alert]),
        Scenario(
            "proxy asks for a sign-in",
            "proxy-sign-in",
            1,
            ("asks for a sign-in (407)", "HTTPS_PROXY"),
            [f.well],
            _good,
            trusts_authority=True,
            proxy_script=[f.proxy_refusing(407)],
            **inspected,
        ),
        Scenario(
            "proxy forbids",
            "proxy",
            1,
            ("did not pass the request on", "403"),
            [f.well],
            _good,
            trusts_authority=True,
            proxy_script=[f.proxy_refusing(403)],
            **inspected,
        ),
        Scenario(
            "through a proxy",
            "",
            1,
            (),
            [f.well],
            lambda: shared_authority().context("endpoint.example"),
            trusts_authority=True,
            proxy_script=[f.proxy_tunnel],
            **inspected,
        ),
        Scenario(
            "body over the limit",
            "too-large",
            0,
            ("takes 1 MB at most", "fewer slices"),
            [f.well],
            body=BIG_BODY,
            options={"body_limit": 2**20},
        ),
    ]
