"""Which faults are tried again, how long the client waits before that, and when it stops."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedImageParseLib.errors import Cancelled
from MedImageParseLib.progress import Cancellation, no_progress
from MedImageParseLib.transport.faults import Fault
from MedImageParseLib.transport.headers import parse_retry_after
from MedImageParseLib.transport.retry import Persistence, RetryPolicy


def _waits(fault: Fault, policy: RetryPolicy = RetryPolicy()) -> list[float]:
    persistence = Persistence(policy)
    waits = []
    while True:
        persistence.tries += 1
        wait = persistence.next_wait(fault)
        if wait is None:
            return waits
        persistence.waited += wait
        waits.append(wait)


@pytest.mark.parametrize("kind", ["refused", "unreachable", "lost", "429", "502", "503"])
def test_fault_that_may_pass_is_tried_five_times_in_all(kind):
    assert len(_waits(Fault(kind, "…"))) == 4


@pytest.mark.parametrize(
    "kind",
    [
        "timeout",
        "stalled",
        "connect-timeout",
        "400",
        "401",
        "403",
        "404",
        "405",
        "408",
        "413",
        "415",
        "422",
        "431",
        "501",
        "redirect",
        "clock",
    ],
)
def test_fault_that_would_be_the_same_again_is_not_tried_again(kind):
    assert _waits(Fault(kind, "…")) == []


@pytest.mark.parametrize(
    "kind",
    [
        "certificate-untrusted",
        "certificate-expired",
        "tls",
        "proxy",
        "proxy-sign-in",
        "not-json",
        "truncated",
        "too-large",
        "reply-too-large",
    ],
)
def test_fault_that_somebody_has_to_set_right_is_not_tried_again(kind):
    assert _waits(Fault(kind, "…")) == []


def test_model_that_was_too_slow_for_its_gateway_is_asked_once_more_after_a_pause():
    waits = _waits(Fault("504", "…"), RetryPolicy(tries=50))
    assert len(waits) == 1 and waits[0] >= 10


def test_500_is_tried_once_more_however_many_tries_there_are():
    assert len(_waits(Fault("500", "…"), RetryPolicy(tries=50))) == 1


@pytest.mark.parametrize(("model_status", "again"), [(502, 1), (503, 1), (500, 0), (504, 0), (400, 0), (413, 0), (429, 0), (0, 0)])
def test_424_goes_by_the_models_own_status(model_status, again):
    assert len(_waits(Fault("424", "…", model_status=model_status))) == again


def test_name_is_looked_up_again_only_if_the_system_says_not_for_now():
    assert _waits(Fault("name", "…")) == []
    assert len(_waits(Fault("name", "…", is_temporary=True))) == 1


@given(st.integers(1, 12), st.floats(0, 1000))
def test_waiting_never_exceeds_its_budget(tries, budget):
    waits = _waits(Fault("503", "…"), RetryPolicy(tries=tries, wait_budget=budget))
    assert len(waits) <= tries - 1 and sum(waits) <= budget + 1e-6


def test_waits_are_spread_over_the_whole_of_a_doubling_range():
    samples = [_waits(Fault("503", "…")) for _ in range(300)]
    for number in range(4):
        column = [waits[number] for waits in samples]
        top = 2.0**number
        assert max(column) <= top and min(column) < 0.2 * top and max(column) > 0.8 * top


def test_retry_after_is_kept_to_and_beyond_the_budget_ends_the_run():
    waits = _waits(Fault("429", "…", retry_after=10.0))
    assert len(waits) == 4 and all(10 <= wait <= 11 for wait in waits)
    persistence = Persistence(RetryPolicy())
    persistence.tries = 1
    assert persistence.next_wait(Fault("429", "…", retry_after=301.0)) is None
    assert persistence.stopped_by == "it asks to wait 5 min 1 s, more than the 5 min left for waiting"


def test_budget_is_counted_over_all_waits():
    assert len(_waits(Fault("503", "…", retry_after=100.0), RetryPolicy(tries=9))) == 2


def test_retry_after_is_read_as_seconds_and_as_a_date():
    now = 1_800_000_000.0
    assert parse_retry_after("120", now) == 120
    assert parse_retry_after(" 0 ", now) == 0
    assert parse_retry_after("1.5", now) == 1.5
    assert parse_retry_after(formatdate(now + 90, usegmt=True), now) == 90
    assert parse_retry_after(formatdate(now - 90, usegmt=True), now) == 0
    for nonsense in ("", "soon", "-5", "Mon, 99 Foo 2026", "٣"):
        assert parse_retry_after(nonsense, now) is None


def test_cancel_ends_the_wait_at_once():
    cancellation = Cancellation()
    persistence = Persistence(RetryPolicy())
    with pytest.raises(Cancelled):
        persistence.wait(60, lambda *_: cancellation.cancel(), cancellation)


def test_no_wait_at_all_is_no_countdown():
    told: list[tuple] = []
    Persistence(RetryPolicy()).wait(0, lambda *news: told.append(news), Cancellation())
    assert told == [] and no_progress("…", 0, 0) is None
