"""Every fault an endpoint, a proxy or a network can produce ends in its own sentence, within its budget, without a key in it."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import traceback

import pytest

from doubles import fault_server as f
from doubles.certificates import self_signed_context
from doubles.fault_scenarios import BODY, KEY, TIMEOUTS, Scenario, all_scenarios, staged
from MedImageParseLib.errors import EndpointError, ReplyError
from MedImageParseLib.redaction import is_plain
from MedImageParseLib.transport.audit import AuditLog
from MedImageParseLib.transport.client import EndpointClient, RetryPolicy, StaticKey

SECRETS = (KEY, "pr0xy-pass")


def _run(scenario: Scenario, folder, **more):
    """The error, or None and the reply."""
    with staged(scenario, folder, **more) as (client, server):
        try:
            return None, client.send(scenario.body), server
        except EndpointError as error:
            return error, None, server


@pytest.mark.parametrize("scenario", all_scenarios(), ids=lambda scenario: scenario.name)
def test_fault_ends_in_its_own_sentence_and_leaks_no_key(scenario, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    audit = AuditLog(tmp_path / "audit.jsonl")
    error, reply, server = _run(scenario, tmp_path, audit=audit)
    if scenario.kind:
        assert error is not None, "the fault went unnoticed"
        assert (error.code, error.tries) == (scenario.kind, scenario.tries)
        for words in scenario.words:
            assert words in str(error)
        shown = "".join(traceback.format_exception(error))
        assert error.__context__ is None or not hasattr(error.__context__, "request")
        if scenario.tries:
            assert error.request_id and error.request_id in str(error)
    else:
        assert reply is not None and reply.tries == scenario.tries and json.loads(reply.body)
        shown = repr(reply)
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    for secret in SECRETS:
        assert secret not in shown + caplog.text + written
        assert secret not in " ".join(os.listdir(tmp_path))
    if server is not None and scenario.tries and error is not None and server.requests and server.requests[-1].headers.get("authorization"):
        assert server.requests[-1].headers["x-ms-client-request-id"] == error.request_id


@pytest.fixture(scope="module")
def table():
    """The rows of scripts/fault_table.py: every fault through the whole command line."""
    import fault_table

    return fault_table.run_all()


def test_no_fault_hangs_past_its_budget_loses_results_or_shows_a_key(table):
    assert len(table) == len(all_scenarios())
    assert [row.fault for row in table if not row.is_fine] == []
    assert [(row.fault, row.exit_status) for row in table if row.exit_status != (3 if row.kind else 0)] == []


def test_every_fault_reads_as_one_sentence_of_its_own(table):
    sentences = {}
    for row in table:
        if row.kind:
            assert row.reads.startswith("error: ") and row.reads.endswith(".") and "\n" not in row.reads and "Traceback" not in row.reads
            sentences.setdefault(re.sub(r":\d{4,5}\b|after [\d,]+ of [\d,]+|after \d+ bytes.*", "", row.reads.split(" (")[0]), []).append(
                row.fault
            )
    shared = [faults for faults in sentences.values() if len(faults) > 1]
    alike = [
        {"hang in the body", "slow trickle of the body"},
        {"hang before the headers", "slow trickle of the headers"},
        {"reset in the reply", "content length too long"},
        {"truncated JSON", "content length too short"},
        {"status 408", "status 424, model's status 408"},
        {"status 413", "status 413 before the upload ends", "status 424, model's status 413"},
        {"status 429", "status 429, Retry-After 600", "status 424, model's status 429"},
    ]
    for faults in shared:
        codes = {fault.split(",")[0] for fault in faults}
        assert set(faults) in alike or codes == {"status 424"} or all(fault.startswith("status 50") for fault in faults), faults


def test_table_is_written_as_markdown_with_a_line_for_every_fault(table):
    import fault_table

    lines = fault_table.markdown(table).splitlines()
    assert len(lines) == len(table) + 2 and all(line.startswith("| ") and line.endswith(" |") for line in lines[2:])


@pytest.mark.parametrize("ends", [True, False])
def test_reply_in_chunks_is_whole_or_lost(ends):
    with f.FaultServer([f.chunked([b'[{"a": ', b"1}]"], ends)]) as server, EndpointClient(server.url, retry=RetryPolicy(tries=1)) as client:
        if ends:
            assert json.loads(client.send(b"{}").body) == [{"a": 1}]
        else:
            with pytest.raises(EndpointError) as caught:
                client.send(b"{}")
            assert caught.value.code == "lost"


def test_indiscreet_server_that_repeats_the_key_does_not_get_it_into_the_error(tmp_path):
    for code in (400, 424, 500):
        scenario = Scenario("echo", str(code), 1, script=[f.echo_authorization(code)])
        error, _, _ = _run(scenario, tmp_path)
        assert KEY not in str(error) and "(hidden)" in str(error)


def test_key_on_the_edge_of_the_quoted_part_is_hidden_before_the_cut(tmp_path):
    page = b'{"message": "' + b"y" * 190 + KEY.encode() + b'"}'
    error, _, _ = _run(Scenario("edge", "400", 1, script=[f.raw(page, 400)]), tmp_path)
    assert KEY[:6] not in str(error)


def test_reply_beyond_the_callers_limit_is_not_read_to_its_end(tmp_path):
    huge = b"[" + b" " * 3_000_000 + b"]"
    for length in (len(huge), None):
        headers = {} if length else {"Content-Length": "", "Connection": "close"}
        with f.FaultServer([f.raw(huge, headers=headers)]) as server, EndpointClient(server.url, timeouts=TIMEOUTS) as client:
            with pytest.raises(ReplyError, match="the 1 MB that this request can need") as caught:
                client.send(BODY, max_reply_bytes=2**20)
    assert caught.value.code == "reply-too-large"


def test_compressed_reply_that_nobody_asked_for_is_not_unfolded(tmp_path):
    import gzip

    bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    with (
        f.FaultServer([f.raw(bomb, headers={"Content-Encoding": "gzip"})]) as server,
        EndpointClient(server.url, timeouts=TIMEOUTS) as client,
        pytest.raises(ReplyError) as caught,
    ):
        client.send(BODY, max_reply_bytes=2**20)
    assert caught.value.code == "encoding" and "gzip" in str(caught.value)


def test_redirect_is_not_followed_even_on_the_same_host():
    with (
        f.FaultServer([f.status(307, headers={"Location": "/elsewhere"}), f.ok()]) as server,
        EndpointClient(server.url, auth=StaticKey(KEY)) as client,
    ):
        with pytest.raises(EndpointError) as caught:
            client.send(BODY)
        assert caught.value.code == "redirect" and len(server.requests) == 1


def test_certificate_that_is_refused_gets_neither_body_nor_key(tmp_path):
    for scenario in all_scenarios():
        if scenario.kind.startswith("certificate-"):
            _, _, server = _run(scenario, tmp_path)
            assert server.requests == []


def test_client_is_usable_after_every_kind_of_broken_try():
    script = [f.reset_in_upload, f.reset_in_reply, f.close_without_reply, f.answer_early(503), f.hang_before_headers, f.ok()]
    with f.FaultServer(script) as server, EndpointClient(server.url, timeouts=TIMEOUTS, retry=RetryPolicy(tries=1)) as client:
        kinds = []
        for _ in range(5):
            with pytest.raises(EndpointError) as caught:
                client.send(b"[" + b" " * 3_000_000 + b"]")
            kinds.append(caught.value.code)
        assert kinds == ["lost", "lost", "lost", "503", "timeout"]
        assert client.send(b"{}").tries == 1


def test_nothing_of_a_failed_run_stays_behind():
    threads = set(threading.enumerate())
    for behavior in (f.hang_before_headers, f.trickle, f.reset_in_reply):
        with f.FaultServer([behavior]) as server, EndpointClient(server.url, timeouts=TIMEOUTS, retry=RetryPolicy(tries=1)) as client:
            with pytest.raises(EndpointError):
                client.send(BODY)
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("name", ["Gate\u202egpj.exe", "Gate\x1b[2J", "Gate\u200b7", f"key {KEY}", "x" * 60])
def test_a_name_in_a_strangers_certificate_is_quoted_as_foreign_text(name):
    with f.FaultServer([f.well], tls=self_signed_context(common_name=name)) as server:
        with EndpointClient(server.url, auth=StaticKey(KEY), retry=RetryPolicy(tries=1)) as client:
            with pytest.raises(EndpointError, match="self-signed") as caught:
                client.send(BODY)
    assert is_plain(str(caught.value)) and KEY not in str(caught.value)
