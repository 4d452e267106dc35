"""Several requests at once: as many as the endpoint takes, hardly ever one too many, and all of them succeed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from doubles import fault_server as f
from doubles.small_models import Capacity
from MedImageParseLib.errors import Cancelled, EndpointError
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.transport.client import EndpointClient, RetryPolicy
from MedImageParseLib.transport.retry import LONGEST_PAUSE, Limiter, limiter_for

QUICK = RetryPolicy(tries=8, wait_budget=30, base=0.05)


def _send_all(client: EndpointClient, count: int, threads: int) -> tuple[list, float]:
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        replies = list(pool.map(lambda _: client.send(b"{}"), range(count)))
    return replies, time.perf_counter() - began


@pytest.mark.parametrize(("seconds", "at_once", "count"), [(0.2, 2, 20), (0.2, 4, 40)])
def test_all_requests_succeed_on_an_endpoint_that_takes_some_at_once(seconds, at_once, count):
    model = Capacity(seconds, at_once)
    with f.FaultServer([model]) as server, EndpointClient(server.url, max_in_flight=at_once, retry=QUICK) as client:
        replies, took = _send_all(client, count, threads=16)
    ideal = count * seconds / at_once
    print(f"\n{count} requests of {seconds} s, {at_once} at once: {took:.2f} s, {took / ideal:.3f} of the ideal {ideal:.2f} s")
    assert len(replies) == count and {reply.status for reply in replies} == {200}
    assert model.most <= at_once and model.refused == 0


@pytest.mark.parametrize("at_once", [1, 3, 6])
def test_endpoint_that_answers_429_never_sees_more_than_two_too_many(at_once):
    model = Capacity(0.05, at_once)
    with f.FaultServer([model]) as server, EndpointClient(server.url, max_in_flight=32, retry=QUICK) as client:
        replies, took = _send_all(client, 40, threads=32)
    print(
        f"\ncapacity {at_once}: most {model.most} at once, {model.refused} refused, {took:.2f} s against {40 * 0.05 / at_once:.2f} s ideal"
    )
    assert [reply.status for reply in replies] == [200] * 40
    assert model.most <= at_once + 2


def test_two_clients_of_one_endpoint_share_its_ceiling():
    model = Capacity(0.05, 2)
    with (
        f.FaultServer([model]) as server,
        EndpointClient(server.url, max_in_flight=2) as one,
        EndpointClient(server.url, max_in_flight=2) as two,
        ThreadPoolExecutor(8) as pool,
    ):
        replies = list(pool.map(lambda number: (one, two)[number % 2].send(b"{}"), range(16)))
    assert len(replies) == 16 and model.most <= 2


def test_request_that_waits_to_try_again_does_not_hold_a_turn():
    # So long a pause is asked of the one request alone; a shorter one counts for all.
    script = [f.status(503, headers={"Retry-After": str(LONGEST_PAUSE + 30)}), f.ok()]
    patient = RetryPolicy(tries=2, wait_budget=2 * LONGEST_PAUSE)
    with f.FaultServer(script) as server, EndpointClient(server.url, max_in_flight=1, retry=patient) as client:
        is_waiting, stop = threading.Event(), Cancellation()
        order: list[str] = []

        def slow() -> None:
            with pytest.raises(Cancelled):
                client.send(b"{}", progress=lambda stage, *_: stage == "waiting to try again" and is_waiting.set(), cancellation=stop)
            order.append("the one that waited")

        thread = threading.Thread(target=slow)
        thread.start()
        assert is_waiting.wait(60)
        client.send(b"{}")
        order.append("the other")
        stop.cancel()
        thread.join(60)
    assert order == ["the other", "the one that waited"]


def test_gate_goes_down_by_a_quarter_once_a_burst_and_up_again_by_ones():
    limiter, stop = Limiter(), Cancellation()
    for _ in range(40):
        slots = [limiter.enter(100, stop) for _ in range(limiter.window)]
        for slot in slots:
            limiter.leave(slot, 200)
    high = limiter.window
    assert high > 20
    burst = [limiter.enter(100, stop) for _ in range(high)]
    for slot in burst:
        limiter.leave(slot, 429)
    assert limiter.window == high * 3 // 4
    before = limiter.window
    for _ in range(3):
        for slot in [limiter.enter(100, stop) for _ in range(limiter.window)]:
            limiter.leave(slot, 200)
    assert limiter.window == before + 3 and limiter.in_flight == 0


def test_gate_never_closes_altogether():
    limiter, stop = Limiter(), Cancellation()
    for _ in range(20):
        limiter.leave(limiter.enter(100, stop), 429)
    assert limiter.window == 1
    assert limiter.enter(100, stop).rank == 1


def test_gate_does_not_grow_past_what_was_ever_tried():
    limiter, stop = Limiter(), Cancellation()
    for _ in range(200):
        limiter.leave(limiter.enter(100, stop), 200)
    assert limiter.window == 3


def test_endpoints_have_gates_of_their_own():
    one, same, other = limiter_for("https://a/score", ""), limiter_for("https://a/score", ""), limiter_for("https://a/score", "blue")
    assert one is same and one is not other


def test_storm_of_401_asks_for_one_new_token_only():
    class Token:
        def __init__(self) -> None:
            self.value, self.refreshes = "old-token-old", 0

        def header(self) -> str:
            return f"Bearer {self.value}"

        def refresh(self) -> bool:
            self.refreshes += 1
            self.value = "new-token-new"
            return True

    def judge(connection: f.Connection) -> None:
        behavior = f.ok() if "new-token" in connection.seen.headers["authorization"] else f.status(401)
        behavior(connection)

    token = Token()
    with f.FaultServer([judge]) as server, EndpointClient(server.url, auth=token, max_in_flight=3) as client:
        replies, _ = _send_all(client, 12, threads=6)
    assert len(replies) == 12 and token.refreshes == 1


def test_storm_of_401_that_no_refresh_helps_ends_in_one_sentence_a_request():
    class Stubborn:
        refreshes = 0

        def header(self) -> str:
            return f"Bearer token-number-{self.refreshes}"

        def refresh(self) -> bool:
            self.refreshes += 1
            return True

    with f.FaultServer([f.status(401)]) as server, EndpointClient(server.url, auth=Stubborn()) as client:
        with pytest.raises(EndpointError, match="refused the key or token") as caught:
            client.send(b"{}")
        assert caught.value.tries == 2 and len(server.requests) == 2
