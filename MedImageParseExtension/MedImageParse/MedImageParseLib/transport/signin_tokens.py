"""Tokens that run out: kept in memory, renewed before they expire, renewed once when the endpoint refuses one, by one thread for all."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..errors import MedImageParseError

logger = logging.getLogger(__name__)

# Renewed this long before it expires (s), as azure-identity does; a token that lives shorter is renewed in its last tenth.
REFRESH_MARGIN_S = 300.0
# A token that was fetched because the endpoint refused the one before it is not fetched again within this time (s): if it is refused
# too, then not for its age, and a hundred requests that are refused at once shall not become a hundred sign-ins.
FORCED_REFRESH_PAUSE_S = 10.0


@dataclass(slots=True, frozen=True)
class Token:
    """A bearer token.

    Attributes:
        value: the token itself; never shown.
        expires_at: seconds since the epoch; infinity where it is not known.
        fetched_at: seconds since the epoch.
    """

    value: str = field(repr=False)
    expires_at: float = float("inf")
    fetched_at: float = field(default_factory=time.time)

    @property
    def refresh_at(self) -> float:
        """When to fetch the next one, seconds since the epoch."""
        return self.expires_at - min(REFRESH_MARGIN_S, max(0.0, self.expires_at - self.fetched_at) / 10)


class RefreshingToken:
    """An AuthProvider whose token is fetched when it is first needed and renewed as it ages.

    Any number of threads may ask; one of them fetches, the others wait for its token, or share its failure, so that a person is
    prompted once. The class keeps to the AuthProvider protocol of `client`: `header()` and `refresh()`.

    Args:
        fetch: returns a token. Its argument is True when the endpoint refused the current one, so that one from a cache will not do.
        first: a token that is there already.
    """

    def __init__(self, fetch: Callable[[bool], Token], first: Token | None = None) -> None:
        self._fetch = fetch
        self._token = first
        self._lock = threading.Lock()
        self._flight: Future[Token] | None = None
        self._handed_out = threading.local()
        self._forced_at = float("-inf")

    def __repr__(self) -> str:
        token = self._token
        return f"RefreshingToken({'none yet' if token is None else 'held'})"

    def header(self) -> str:
        """The Authorization header's value, fetched or renewed if need be.

        Raises:
            SignInError: nobody is signed in, or the sign-in failed.
            Cancelled: the person stopped the sign-in.
        """
        token = self._token
        now = time.time()
        if token is None or now >= token.expires_at:
            token = self._fetch_once(force=False)
        elif now >= token.refresh_at and self._flight is None:
            try:
                token = self._fetch_once(force=False)
            except MedImageParseError as error:
                logger.warning("The token could not be renewed early (%s); the old one is used while it lasts.", type(error).__name__)
        self._handed_out.token = token
        return f"Bearer {token.value}"

    def refresh(self) -> bool:
        """Called after a 401. Fetches a newer token, unless another thread has done so since this one's `header()`.

        Returns:
            whether there is now another token than the one that was refused; False also where the refused one is fresh itself.

        Raises:
            SignInError: the sign-in failed.
        """
        refused = getattr(self._handed_out, "token", None) or self._token
        with self._lock:
            current = self._token
            if current is not None and refused is not None and current.value != refused.value:
                return True
            if self._flight is None and time.monotonic() - self._forced_at < FORCED_REFRESH_PAUSE_S:
                return False
        newer = self._fetch_once(force=True)
        return refused is None or newer.value != refused.value

    def _fetch_once(self, *, force: bool) -> Token:
        mine: Future[Token] = Future()
        with self._lock:
            flight = self._flight
            if flight is None:
                self._flight = mine
        if flight is not None:
            return flight.result()
        try:
            token = self._fetch(force)
        except BaseException as error:
            with self._lock:
                self._flight = None
            mine.set_exception(error)
            raise
        with self._lock:
            self._token = token
            self._flight = None
            if force:
                self._forced_at = time.monotonic()
        mine.set_result(token)
        return token


def token_from_text(value: str) -> Token:
    """A token that somebody pasted: a JSON web token tells when it expires, anything else is taken to last.

    The signature is not looked at: that is the endpoint's business. Source of the form: RFC 7519, claim `exp`.
    """
    parts = value.split(".")
    if len(parts) == 3:
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            return Token(value, float(claims["exp"]))
        except (binascii.Error, ValueError, KeyError, TypeError):
            logger.debug("A token that looks like a JSON web token tells no expiry.")
    return Token(value)
