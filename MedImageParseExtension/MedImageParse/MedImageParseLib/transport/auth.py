"""What the client needs of a sign-in, and the two simplest ones. The others live beside the profiles."""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

from ..errors import UsageError


@runtime_checkable
class AuthProvider(Protocol):
    """Gives the value of the Authorization header, and a new one when the endpoint has refused it."""

    def header(self) -> str:
        """The value of the Authorization header, e.g. "Bearer …"; "" to send none."""
        ...

    def refresh(self) -> bool:
        """After a 401: get a new token. False when there is nothing newer, as with a static key."""
        ...


class NoAuth:
    """No sign-in: no Authorization header, not even one from ~/.netrc."""

    __slots__ = ()

    def header(self) -> str:
        return ""

    def refresh(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NoAuth()"


class StaticKey:
    """An endpoint's key or a token that somebody else keeps fresh. Never shown: not by repr, not by pickle.

    Args:
        key: the key alone; white space around it and a pasted "Bearer " are taken off.

    Raises:
        UsageError: empty, or with characters that a header cannot carry. The sentence does not repeat the key.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        word, _, rest = key.strip().partition(" ")
        text = rest.strip() if word.lower() == "bearer" else key.strip()
        if not text:
            raise UsageError("The key is empty: copy the endpoint's primary key from its Consume page.")
        if not re.fullmatch(r"[\x21-\x7e]+", text):
            raise UsageError(
                "The key holds a space, a line break or an accented letter, so it was not copied right: copy the endpoint's key again."
            )
        self._key = text

    def header(self) -> str:
        return f"Bearer {self._key}"

    def refresh(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "StaticKey(hidden)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key is not written to files")
