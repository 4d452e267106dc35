"""Whatever a server answers, `send` ends in a Reply or with EndpointError, ReplyError or Cancelled, in time, in bounds and without the key."""

from __future__ import annotations

import fuzz_http
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

USUAL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HEADERS = (
    "Content-Length",
    "Transfer-Encoding",
    "Content-Encoding",
    "Retry-After",
    "Location",
    "Date",
    "ms-azureml-model-error-statuscode",
    "Set-Cookie",
)


@pytest.fixture(scope="module")
def attack():
    found = fuzz_http.Attack()
    yield found
    found.close()


PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROPERTY
@given(st.randoms(use_true_random=False))
def test_a_reply_damaged_anywhere_ends_in_one_of_the_known_ways(attack, rng):
    assert attack.try_one([piece for piece in fuzz_http.make_reply(rng) if piece]) == ""


@PROPERTY
@given(st.binary(max_size=300))
@example(b"")
@example(b"\r\n\r\n")
def test_any_bytes_in_place_of_a_reply_end_in_one_of_the_known_ways(attack, data):
    assert attack.try_one([data]) == ""


@PROPERTY
@given(st.sampled_from(HEADERS), st.binary(max_size=60), st.sampled_from([b"200 OK", b"302 X", b"401 X", b"424 X", b"429 X", b"503 X"]))
@example("Content-Length", b"9" * 5000, b"200 OK")
@example("ms-azureml-model-error-statuscode", b"\xb2", b"424 X")
@example("Retry-After", b"9" * 400, b"503 X")
@example("Location", b"http://[", b"302 X")
def test_any_value_of_any_header_that_is_read_ends_in_one_of_the_known_ways(attack, name, value, status):
    assert attack.try_one([b"HTTP/1.1 " + status + b"\r\n" + name.encode() + b": " + value + b"\r\n\r\n[]"]) == ""


@PROPERTY
@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=20)), max_size=5))
@example([(b"-5", b"")])
@example([(b"f" * 17, b"x")])
def test_any_chunks_end_in_one_of_the_known_ways(attack, chunks):
    body = b"".join(size + b"\r\n" + data + b"\r\n" for size, data in chunks)
    assert attack.try_one([USUAL + b"Transfer-Encoding: chunked\r\n\r\n" + body]) == ""


def test_a_short_run_of_the_fuzzer_finds_nothing():
    tried, findings = fuzz_http.fuzz(seconds=1, seed=7, report=lambda _: None, least=25)
    assert tried > 20 and findings == []


def test_the_fuzzer_notices_an_exception_a_leak_and_a_long_sentence(monkeypatch):
    from MedImageParseLib.errors import EndpointError
    from MedImageParseLib.transport.client import EndpointClient

    for raised, words in (
        (KeyError("fell over"), "KeyError"),
        (EndpointError(f"no {fuzz_http.KEY[3:14]}"), "repeats the key"),
        (EndpointError("x" * 4000), "4000 characters"),
        (EndpointError("a\x1b[2Jb"), "control characters"),
    ):

        def fragile(*_args: object, _raised: Exception = raised, **_options: object) -> None:
            raise _raised

        monkeypatch.setattr(EndpointClient, "send", fragile)
        findings = fuzz_http.fuzz(seconds=1, seed=1, report=lambda _: None)[1]
        assert len(findings) == 20 and words in findings[0]
