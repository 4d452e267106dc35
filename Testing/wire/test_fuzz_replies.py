"""A short run of the fuzzer that scripts/fuzz_replies.py runs for minutes."""

from __future__ import annotations

import fuzz_replies

from MedImageParseLib.errors import ReplyError


def test_damaged_replies_are_read_or_refused_with_a_sentence_and_never_crash_hang_or_fill_the_memory():
    tried, findings = fuzz_replies.fuzz(seconds=300, seed=20, most=120)
    assert tried == 120
    assert findings == []


def test_the_fuzzer_notices_a_decoder_that_crashes(monkeypatch):
    def fragile(reply: bytes) -> None:
        if reply != b"[good]":
            raise IndexError("fell over")

    monkeypatch.setattr(fuzz_replies, "seeds", lambda: [(b"[good]", fragile)])
    _tried, findings = fuzz_replies.fuzz(seconds=2, seed=1)
    assert findings and "IndexError" in findings[0]


def test_the_fuzzer_counts_a_refusal_as_well(monkeypatch):
    def strict(reply: bytes) -> None:
        if reply != b"[good]":
            raise ReplyError("not the reply that was expected")

    monkeypatch.setattr(fuzz_replies, "seeds", lambda: [(b"[good]", strict)])
    assert fuzz_replies.fuzz(seconds=0.2, seed=1)[1] == []
