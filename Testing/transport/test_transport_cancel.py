"""A person can stop a request in any of its phases, and nothing of it stays behind: no thread, no connection."""

from __future__ import annotations

import socket
import sys
import threading

import psutil
import pytest

from doubles import fault_server as f
from doubles.certificates import shared_authority
from doubles.fault_scenarios import hangs_in_name_lookup
from MedImageParseLib.errors import Cancelled
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.transport.client import EndpointClient, RetryPolicy, Timeouts

LONG = Timeouts(connect=20, reply=20, stall=20)
BIG = b"[" + b" " * 20_000_000 + b"]"


def _connections_to(port: int) -> list:
    found = psutil.Process().net_connections("tcp")
    return [item for item in found if item.raddr and item.raddr.port == port and item.status in ("ESTABLISHED", "SYN_SENT", "CLOSE_WAIT")]


def _cancel_when(stage: str, cancellation: Cancellation, seen: list[str]):
    """A progress function that presses cancel as soon as a stage is reported."""

    def progress(name: str, done: float, total: float) -> None:
        seen.append(name)
        if name == stage:
            cancellation.cancel()

    return progress


def _assert_cancelled(client: EndpointClient, body: bytes, cancellation: Cancellation, progress) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(Cancelled):
        client.send(body, progress=progress, cancellation=cancellation)
    own = {thread for thread in set(threading.enumerate()) - threads if thread.name != "fault server"}
    assert not own


@pytest.mark.parametrize(
    ("stage", "behavior"),
    [
        ("uploading", f.hang_in_upload),
        ("model working", f.hang_before_headers),
        ("downloading", f.hang_in_body),
        ("downloading", f.trickle),
        ("waiting to try again", f.status(503, headers={"Retry-After": "100"})),
    ],
)
def test_cancel_reported_by_progress_ends_the_request_and_its_connection(stage, behavior):
    seen: list[str] = []
    cancellation = Cancellation()
    with f.FaultServer([behavior]) as server, EndpointClient(server.url, timeouts=LONG) as client:
        _assert_cancelled(client, BIG, cancellation, _cancel_when(stage, cancellation, seen))
        if stage != "waiting to try again":
            assert _connections_to(server.port) == []
    assert seen[-1] == stage
    assert _connections_to(server.port) == []


@pytest.mark.parametrize("behavior", [f.hang_before_headers, f.hang_in_upload, f.trickle])
def test_cancel_from_another_thread_ends_a_request_over_tls(behavior, tmp_path):
    cancellation = Cancellation()
    authority = shared_authority()
    with f.FaultServer([behavior], tls=authority.context()) as server:
        with EndpointClient(server.url, timeouts=LONG, ca_bundle=authority.bundle(tmp_path)) as client:
            timer = threading.Timer(0.3, cancellation.cancel)
            timer.start()
            with pytest.raises(Cancelled):
                client.send(BIG, cancellation=cancellation)
            timer.join()
            assert _connections_to(server.port) == []


def test_cancel_before_anything_is_sent_sends_nothing():
    cancellation = Cancellation()
    cancellation.cancel()
    with f.FaultServer([f.ok()]) as server, EndpointClient(server.url) as client:
        with pytest.raises(Cancelled):
            client.send(b"{}", cancellation=cancellation)
        assert server.connections == 0


def test_cancel_in_the_name_lookup_does_not_wait_for_the_resolver():
    release = threading.Event()
    cancellation = Cancellation()
    timer = threading.Timer(0.1, cancellation.cancel)
    with hangs_in_name_lookup(release), EndpointClient("https://slow.example/score", timeouts=LONG) as client:
        timer.start()
        with pytest.raises(Cancelled):
            client.send(b"{}", cancellation=cancellation)
        assert not release.is_set()
        # The system offers no way to stop a look-up; its thread is a daemon and ends with it.
        left = [thread for thread in threading.enumerate() if thread.name == "name look-up"]
        assert all(thread.daemon for thread in left)
        release.set()
        for thread in left:
            thread.join(60)
            assert not thread.is_alive()
    timer.join()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux drops connections beyond a full backlog, which keeps a connect pending"
)
def test_cancel_while_connecting():
    cancellation = Cancellation()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        timer = threading.Timer(0.2, cancellation.cancel)
        timer.start()
        with EndpointClient(f"http://127.0.0.1:{port}/score", timeouts=LONG) as client, pytest.raises(Cancelled):
            client.send(b"{}", cancellation=cancellation)
        timer.join()
        for filler in fillers:
            filler.close()


def test_cancel_in_a_tls_handshake_that_never_ends():
    cancellation = Cancellation()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        timer = threading.Timer(0.2, cancellation.cancel)
        timer.start()
        with EndpointClient(f"https://localhost:{port}/score", timeouts=LONG) as client, pytest.raises(Cancelled):
            client.send(b"{}", cancellation=cancellation)
        timer.join()
        assert _connections_to(port) == []


def test_cancel_while_waiting_for_a_turn():
    first, second = Cancellation(), Cancellation()
    with f.FaultServer([f.hang_before_headers]) as server, EndpointClient(server.url, timeouts=LONG, max_in_flight=1) as client:
        is_waiting = threading.Event()
        outcome: list[type] = []

        def occupy() -> None:
            try:
                client.send(b"{}", cancellation=first, progress=lambda stage, *_: is_waiting.set() if stage == "model working" else None)
            except Cancelled as error:
                outcome.append(type(error))

        thread = threading.Thread(target=occupy)
        thread.start()
        assert is_waiting.wait(60)
        timer = threading.Timer(0.1, second.cancel)
        timer.start()
        with pytest.raises(Cancelled):
            client.send(b"{}", cancellation=second)
        assert len(server.requests) == 1
        first.cancel()
        thread.join(60)
        timer.join()
        assert outcome == [Cancelled] and not thread.is_alive()


def test_cancelled_request_gives_its_turn_back():
    cancellation = Cancellation()
    with (
        f.FaultServer([f.hang_before_headers, f.ok()]) as server,
        EndpointClient(server.url, timeouts=LONG, max_in_flight=1, retry=RetryPolicy(tries=1)) as client,
    ):

        def cancel_once_it_is_there(stage: str, _done: float, _total: float) -> None:
            # A request that is cancelled before the server has read it would leave its behavior to the next one.
            if stage == "model working" and server.requests:
                cancellation.cancel()

        with pytest.raises(Cancelled):
            client.send(b"{}", cancellation=cancellation, progress=cancel_once_it_is_there)
        assert client.send(b"{}").status == 200
