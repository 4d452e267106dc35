"""Takes keys and tokens out of any text before a person, a log or a file sees it."""

from __future__ import annotations

import re
import threading
from urllib.parse import quote

_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=\-]{6,}")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
HIDDEN = "(hidden)"


class Scrubber:
    """Knows the secrets that were used so far and blanks them, and anything shaped like a token, out of text."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "Scrubber()"

    def learn(self, *secrets: str) -> None:
        """Remember secrets; of an Authorization value such as "Bearer abc", the part after the word as well."""
        with self._lock:
            for secret in secrets:
                for form in (secret, secret.partition(" ")[2]):
                    if len(form) >= 4:
                        self._secrets.update((form, quote(form, safe="")))

    def clean(self, text: str) -> str:
        """The text with every known secret, and every word shaped like one, hidden."""
        with self._lock:
            secrets = sorted(self._secrets, key=len, reverse=True)
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        return _JWT.sub(HIDDEN, _BEARER.sub(HIDDEN, text))

    def clean_bytes(self, content: bytes) -> bytes:
        """A reply with every known secret starred out, so that nothing that is made of it later can repeat one.

        Only secrets of eight letters and more, which data does not hold by chance; the length stays, so that JSON stays JSON.
        """
        with self._lock:
            secrets = [secret.encode() for secret in self._secrets if len(secret) >= 8]
        for secret in secrets:
            if secret in content:
                content = content.replace(secret, b"*" * len(secret))
        return content

    def quote(self, content: bytes | str, limit: int = 200) -> str:
        """The beginning of a reply as one line that is safe to show: scrubbed first, then cut to `limit` characters."""
        text = content[:65536].decode("utf-8", "replace") if isinstance(content, (bytes, bytearray)) else content
        text = _CONTROL.sub(" ", self.clean(text)).strip()
        return text if len(text) <= limit else text[:limit].rstrip() + "…"
