"""Where an endpoint's key or token comes from: memory, a file, the environment, or the operating system's keyring if the person chose so.

A key belongs to the host that it was given for. What is kept under a profile's name is therefore kept together with that host, so that
a profile that is edited, or replaced by an import, does not carry somebody's key to another host.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import EndpointError, InputError, UsageError

KEY_VARIABLE = "MEDIMAGEPARSE_KEY"
_KEYRING_SERVICE = "MedImageParse for 3D Slicer"
_LARGEST_KEY_FILE = 64 * 1024  # bytes; an Entra token with many group claims takes a few KB, an image never fits


class SignInError(EndpointError):
    """Nobody is signed in, or the sign-in failed; the sentence says what to do."""

    def __init__(self, sentence: str, *, kind: str = "sign-in"):
        super().__init__(sentence, kind=kind)


def clean_key(text: str, source: str) -> str:
    """A key or token as it goes into the header: without the white space around it and a pasted "Bearer ".

    Args:
        text: what was read.
        source: how to call its origin in a sentence, e.g. "The key file".

    Raises:
        UsageError: nothing there, more than one line, or characters that no key has. The sentence never quotes the content.
    """
    key = text.strip().lstrip("\ufeff").strip()
    if key[:7].lower() == "bearer ":
        key = key[7:].strip()
    if not key:
        raise UsageError(f"{source} is empty: put the endpoint's key or token into it.")
    if "\n" in key or "\r" in key:
        raise UsageError(f"{source} holds more than one line: leave only the key or token in it.")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise UsageError(f"{source} holds characters that no key has (spaces or letters with accents): copy the key again.")
    return key


def read_key_file(path: str | os.PathLike[str]) -> str:
    """The key in a file, as `clean_key` returns it. Text as Windows PowerShell writes it (UTF-16) is understood.

    Raises:
        InputError: missing, a folder, unreadable, or far too large for a key.
        UsageError: empty, more than one line, or not a key.
    """
    shown = _shown_path(path)
    try:
        size = os.stat(path).st_size
        data = b"" if size > _LARGEST_KEY_FILE else Path(path).read_bytes()
    except FileNotFoundError:
        # Not chained: the cause quotes the path, which may be a key given by mistake.
        raise InputError(f"The key file{shown} does not exist: --key-file takes the name of a file, not the key itself.") from None
    except (OSError, ValueError):
        raise InputError(f"The key file{shown} cannot be read: check that it is a file that you may open.") from None
    if size > _LARGEST_KEY_FILE:
        raise InputError(f"The key file{shown} is too large to be a key: name the file that holds only the key.")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise UsageError(f"The key file{shown} is not text: leave only the key or token in it.") from None
    return clean_key(text, f"The key file{shown}")


def environment_key() -> str:
    """The key in MEDIMAGEPARSE_KEY, "" where it is not set. Raises UsageError where it is set to something that is no key."""
    value = os.environ.get(KEY_VARIABLE)
    return "" if value is None or not value.strip() else clean_key(value, f"The environment variable {KEY_VARIABLE}")


class SessionKeys:
    """Keys that a person typed, kept in memory until the program ends. Safe from any thread; never shows one."""

    __slots__ = ("_keys", "_lock")

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SessionKeys({len(self._keys)} kept)"

    def remember(self, profile_name: str, url: str, key: str) -> None:
        """Keep a key for a profile and the host of its URL. Raises UsageError where it is no key."""
        cleaned = clean_key(key, "The key")
        with self._lock:
            self._keys[profile_name, origin(url)] = cleaned

    def recall(self, profile_name: str, url: str) -> str:
        """The key that was kept for that profile and host, or ""."""
        with self._lock:
            return self._keys.get((profile_name, origin(url)), "")

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


def save_in_keyring(profile_name: str, url: str, key: str) -> None:
    """Keep a profile's key in the operating system's keyring, because the person chose to.

    Raises:
        UsageError: not a key.
        InputError: there is no keyring on this computer, or it refuses.
    """
    cleaned = clean_key(key, "The key")
    _keyring_call("set_password", profile_name, url, cleaned)


def load_from_keyring(profile_name: str, url: str) -> str:
    """The key kept for that profile and host, "" where there is none. Raises InputError where the keyring refuses."""
    return (_keyring_call("get_password", profile_name, url) or "") if keyring_is_there() else ""


def delete_from_keyring(profile_name: str, url: str) -> None:
    """Take a profile's key out of the keyring; nothing happens where there is none."""
    if load_from_keyring(profile_name, url):
        _keyring_call("delete_password", profile_name, url)


def origin(url: str) -> str:
    """Scheme, host and port of a URL, in one spelling: what a key is bound to."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def _keyring_call(action: str, profile_name: str, url: str, *secret: str) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as error:
        raise InputError(
            "Keys cannot be kept on this computer, because the package keyring is missing: install it, "
            f"or keep the key in {KEY_VARIABLE} or a file."
        ) from error
    try:
        return getattr(keyring, action)(_KEYRING_SERVICE, f"{profile_name} at {origin(url)}", *secret)
    except (KeyringError, RuntimeError, OSError) as error:
        # The cause is not chained: a backend may quote what it was given.
        raise InputError(
            f"The system's keyring refused ({type(error).__name__}): unlock it and try again, or keep the key in {KEY_VARIABLE} or a file."
        ) from None


def _shown_path(path: str | os.PathLike[str]) -> str:
    """The path for a sentence, unless it looks like a key that was given in the file's place."""
    text = os.fspath(path)
    looks_like_key = len(text) >= 24 and not re.search(r"[./\\ ]", text[1:])
    return "" if looks_like_key or text.startswith("eyJ") else f" {text}"
