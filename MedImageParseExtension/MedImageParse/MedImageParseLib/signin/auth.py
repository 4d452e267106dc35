"""What the client needs of a sign-in, and the two simplest ones. The others live beside the profiles.

Where an endpoint's key or token comes from: memory, a file, the environment, or the operating system's keyring if the person chose so.

A key belongs to the host that it was given for, and to the way to it. What is kept under a profile's name is therefore kept together
with that host and with the proxy and the certificates that the profile adds, so that a profile that is edited, or replaced by an import,
does not carry somebody's key elsewhere.

Tokens that run out: kept in memory, renewed before they expire, renewed once when the endpoint refuses one, by one thread for all.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from ..configuration import read_at_most
from ..errors import EndpointError, InputError, MedImageParseError, UsageError
from ..remedies import Sentence


@dataclass(slots=True, frozen=True)
class SignIn:
    """A way to sign in.

    Attributes:
        name: what a person types, and what a profile keeps.
        title: what the panel calls it.
        asks_for: which fields of the settings belong to it: "key" (a key or a token), "entra", or "" for none.
    """

    name: str
    title: str
    asks_for: str = ""


# A new one is a row here, a class with the methods of AuthProvider, and its line in `methods.make_auth`.
SIGN_INS = {
    each.name: each
    for each in (
        SignIn("none", "None"),
        SignIn("key", "Key", "key"),
        SignIn("aml-token", "Azure ML token", "key"),
        SignIn("entra", "Microsoft account (Entra)", "entra"),
    )
}


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
        self._key = clean_key(key, "The key")

    def header(self) -> str:
        return f"Bearer {self._key}"

    def refresh(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "StaticKey(hidden)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key is not written to files")


KEY_VARIABLE = "MEDIMAGEPARSE_KEY"
_KEYRING_SERVICE = "MedImageParse for 3D Slicer"
_LARGEST_KEY_FILE = 64 * 1024  # bytes; an Entra token with many group claims takes a few KB, an image never fits


class SignInError(EndpointError):
    """Nobody is signed in, or the sign-in failed; the sentence says what to do."""

    code = "sign-in"


def clean_key(text: str, source: str) -> str:
    """A key or token as it goes into the header: without the white space around it and a pasted "Bearer ".

    Args:
        text: what was read.
        source: how to call its origin in a sentence, e.g. "The key file".

    Raises:
        UsageError: nothing there, more than one line, or characters that no key has. The sentence never quotes the content.
    """
    key = text.strip().lstrip("\ufeff").strip()
    word, _, rest = key.partition(" ")
    if word.lower() == "bearer":
        key = rest.strip()
    if not key:
        raise UsageError("{source} is empty: put the endpoint's key or token into it.", source=source)
    if "\n" in key or "\r" in key:
        raise UsageError("{source} holds more than one line: leave only the key or token in it.", source=source)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise UsageError("{source} holds characters that no key has (spaces or letters with accents): copy the key again.", source=source)
    return key


def read_key_file(path: str | os.PathLike[str]) -> str:
    """The key in a file, as `clean_key` returns it. Text as Windows PowerShell writes it (UTF-16) is understood.

    Raises:
        InputError: missing, a folder, unreadable, or far too large for a key.
        UsageError: empty, more than one line, or not a key.
    """
    shown = _shown_path(path)
    try:
        data = read_at_most(path, _LARGEST_KEY_FILE)
    except FileNotFoundError:
        # Not chained: the cause quotes the path, which may be a key given by mistake.
        raise InputError(
            "The key file{shown} does not exist: --key-file takes the name of a file, not the key itself.", shown=shown
        ) from None
    except (OSError, ValueError):
        raise InputError("The key file{shown} cannot be read: check that it is a file that you may open.", shown=shown) from None
    if len(data) > _LARGEST_KEY_FILE:
        raise InputError("The key file{shown} is too large to be a key: name the file that holds only the key.", shown=shown)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise UsageError("The key file{shown} is not text: leave only the key or token in it.", shown=shown) from None
    return clean_key(text, Sentence("The key file{shown}", shown=shown))


def key_file_warning(path: str | os.PathLike[str]) -> str:
    """A sentence where a key file can be read by other users of this computer; "" where not, and on Windows, whose rights are others."""
    try:
        is_open = os.name == "posix" and bool(os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except (OSError, ValueError):
        return ""
    return (
        Sentence("The key file{path} can be read by other users of this computer: run `chmod 600` on it.", path=_shown_path(path))
        if is_open
        else ""
    )


def environment_key() -> str:
    """The key in MEDIMAGEPARSE_KEY, "" where it is not set. Raises UsageError where it is set to something that is no key."""
    value = os.environ.get(KEY_VARIABLE)
    return (
        ""
        if value is None or not value.strip()
        else clean_key(value, Sentence("The environment variable {key_variable}", key_variable=KEY_VARIABLE))
    )


class SessionKeys:
    """Keys that a person typed, kept in memory until the program ends. Safe from any thread; never shows one."""

    __slots__ = ("_keys", "_lock")

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str], str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SessionKeys({len(self._keys)} kept)"

    def remember(self, profile_name: str, url: str, key: str, route: str = "") -> None:
        """Keep a key for a profile, the host of its URL and its `route`. Raises UsageError where it is no key."""
        cleaned = clean_key(key, "The key")
        with self._lock:
            self._keys[profile_name, origin(url), route] = cleaned

    def recall(self, profile_name: str, url: str, route: str = "") -> str:
        """The key that was kept for that profile, host and route, or ""."""
        with self._lock:
            return self._keys.get((profile_name, origin(url), route), "")

    def forget(self, profile_name: str | None = None) -> None:
        """Forget the keys of a profile, or all of them."""
        with self._lock:
            self._keys = {} if profile_name is None else {kept: key for kept, key in self._keys.items() if kept[0] != profile_name}


session_keys = SessionKeys()


def keyring_is_there() -> bool:
    """Whether this computer can keep keys for the person: the `keyring` package is installed and found a real keyring."""
    try:
        import keyring
        from keyring.backends.fail import Keyring as NoKeyring
    except ImportError:
        return False
    return not isinstance(keyring.get_keyring(), NoKeyring)


def save_in_keyring(profile_name: str, url: str, key: str, route: str = "") -> None:
    """Keep a profile's key in the operating system's keyring, because the person chose to.

    Raises:
        UsageError: not a key.
        InputError: there is no keyring on this computer, or it refuses.
    """
    cleaned = clean_key(key, "The key")
    _keyring_call("set_password", profile_name, url, route, cleaned)


def load_from_keyring(profile_name: str, url: str, route: str = "") -> str:
    """The key kept for that profile, host and route, "" where there is none. Raises InputError where the keyring refuses."""
    return (_keyring_call("get_password", profile_name, url, route) or "") if keyring_is_there() else ""


def delete_from_keyring(profile_name: str, url: str, route: str = "") -> None:
    """Take a profile's key out of the keyring; nothing happens where there is none."""
    if load_from_keyring(profile_name, url, route):
        _keyring_call("delete_password", profile_name, url, route)


def origin(url: str) -> str:
    """Scheme, host and port of a URL, in one spelling: what a key is bound to."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def _keyring_call(action: str, profile_name: str, url: str, route: str, *secret: str) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as error:
        raise InputError(
            "Keys cannot be kept on this computer, because the package keyring is missing: install it, or keep the key in {key_variable} or a file.",
            key_variable=KEY_VARIABLE,
        ) from error
    try:
        account = f"{profile_name} at {origin(url)}{f', {route}' if route else ''}"
        return getattr(keyring, action)(_KEYRING_SERVICE, account, *secret)
    except (KeyringError, RuntimeError, OSError) as error:
        # The cause is not chained: a backend may quote what it was given.
        raise InputError(
            "The system's keyring refused ({name}): unlock it and try again, or keep the key in {key_variable} or a file.",
            name=type(error).__name__,
            key_variable=KEY_VARIABLE,
        ) from None


def _shown_path(path: str | os.PathLike[str]) -> str:
    """The path for a sentence, unless it looks like a key that was given in the file's place."""
    text = os.fspath(path)
    return "" if is_like_key(text) else f" {text}"


def is_like_key(text: str) -> bool:
    """Whether what was given as the name of a file looks like a key: a long word of the letters that keys are made of, and no such file."""
    if text.startswith("eyJ"):
        return True
    is_word = len(text) >= 24 and re.fullmatch(r"[A-Za-z0-9+_-][A-Za-z0-9+/=_-]+", text) is not None
    return is_word and not os.path.exists(os.path.dirname(text) or text)


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
