"""One function, so that the example has a file besides its own."""

from __future__ import annotations


def shout(text: str) -> str:
    return text.upper()
