"""Text that others wrote (endpoints, profiles, proxies), made fit to show: without keys, without control characters, and bounded.

Whatever is quoted from a reply, a header or another person's file goes through `Redactor.quote` or `Redactor.clean` first. A secret is
found in every usual dress: cut short, in another case, starred at one end, percent-encoded, as HTML entities, as JSON or Python escapes
(also one inside the other), in full-width letters, as base64 or hexadecimal, and with control characters strewn in. To do so the text is
decoded letter by letter, each letter remembering where it came from, and every run of eight letters that a known secret holds is hidden
together with the place that it came from.

All of it is linear in the length of the text, so that a long reply cannot keep Python's lock.
"""

from __future__ import annotations

import base64
import html
import logging
import re
import reprlib
import threading
import unicodedata
from collections import OrderedDict

HIDDEN = "(hidden)"
QUOTED = 200  # characters of foreign text that a sentence repeats
_RUN = 8  # letters of a secret in a row that are never shown
_SHORTEST = 4  # a secret of fewer letters would hide half of every text
_MOST_SECRETS = 64  # tokens are renewed every hour; older ones have expired
_LOOKED_AT = 16 * 1024  # characters of a text that is quoted which are worth decoding
_ROUNDS = 3  # escapes inside escapes
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=\-]+")
_ESCAPE = re.compile(
    r"%u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}|&(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z]{2,8};)|\\(?:u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[0-7]{1,3}|.)",
    re.DOTALL,
)
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "a": "\a"}
_UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")  # control and direction characters, line separators, what is no letter at all
# Letters and marks that show nothing although their category is another one: Unicode's Default_Ignorable_Code_Point, and the empty Braille cell.
_BLANK = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, *range(0xFE00, 0xFE10), 0xFFA0))
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSEEN or letter in _BLANK


def is_plain(text: str) -> bool:
    """Whether a text holds no control, direction or invisible characters."""
    return (text.isascii() and text.isprintable()) or not any(map(_is_unseen, text))


def visible(text: str, keep: str = "") -> str:
    """The text with a space in place of each control, direction or invisible character.

    Args:
        text: from outside: an endpoint, a file, somebody else's profile.
        keep: characters that stay as they are, such as line ends.
    """
    if is_plain(text):
        return text
    return "".join(" " if letter not in keep and _is_unseen(letter) else letter for letter in text)


def plain(text: str) -> str:
    """The text on one line, with a space in place of each run of control, direction and invisible characters."""
    return " ".join(visible(text).split())


def brief(value: object, limit: int = QUOTED) -> str:
    """A parsed value as text for a quotation, made without writing out what is too long for it."""
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = limit
    shortened.maxlist = shortened.maxdict = shortened.maxtuple = 8
    shortened.maxlong = 40
    return value[: 4 * limit] if isinstance(value, str) else shortened.repr(value)


class Redactor:
    """Knows the secrets that were used so far and hides them, and anything shaped like a token, in text. Safe from any thread."""

    def __init__(self) -> None:
        self._secrets: OrderedDict[str, tuple[frozenset[str], tuple[bytes, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "Redactor()"

    def learn(self, *secrets: str) -> None:
        """Remember secrets; of an Authorization value such as "Bearer abc", the part after the word."""
        for secret in secrets:
            word, _, rest = secret.partition(" ")
            bare = rest.strip() if word.lower() in ("bearer", "basic") else secret.strip()
            if len(bare) < _SHORTEST:
                continue
            with self._lock:
                known = bare in self._secrets
                if known:
                    self._secrets.move_to_end(bare)
            if not known:
                dresses = _runs(bare), _whole(bare)
                with self._lock:
                    self._secrets[bare] = dresses
                    while len(self._secrets) > _MOST_SECRETS:
                        self._secrets.popitem(last=False)

    def clean(self, text: str) -> str:
        """The text with every run of eight letters of a known secret hidden, however it is written, and every word shaped like a token."""
        with self._lock:
            runs = frozenset().union(*(found for found, _ in self._secrets.values())) if self._secrets else frozenset()
        spans = _token_spans(text)
        if runs:
            spans += _secret_spans(text, runs)
        return _hide(text, spans) if spans else text

    def clean_bytes(self, content: bytes) -> bytes:
        """A reply with every known secret starred out, whole and in its usual encodings, so that little that is made of it can repeat one.

        Only secrets of eight letters and more, which data does not hold by chance; the length stays, so that JSON stays JSON. What is
        quoted of a reply is cleaned letter by letter besides.
        """
        with self._lock:
            wholes = [whole for _, found in self._secrets.values() for whole in found]
        for whole in wholes:
            if whole in content:
                content = content.replace(whole, b"*" * len(whole))
        return content

    def quote(self, content: bytes | str, limit: int = QUOTED) -> str:
        """The beginning of a foreign text as one line that is safe to show: cleaned first, then cut.

        Args:
            content: bytes are read as UTF-8.
            limit: characters at most, the sign for the cut not counted.

        Returns:
            plain text, "" where there is none.
        """
        if isinstance(content, (bytes, bytearray, memoryview)):
            text = bytes(content[: 4 * _LOOKED_AT]).decode("utf-8", "replace")
        else:
            text = content
        text = plain(self.clean(text[:_LOOKED_AT]))
        return text if len(text) <= limit else text[:limit].rstrip() + "…"


class RedactingFilter(logging.Filter):
    """For the loggers of libraries that write down URLs and headers: their lines are cleaned as ours are."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record's message in place; it is always let through."""
        try:
            record.msg, record.args = self._redactor.clean(record.getMessage()), None
        except (TypeError, ValueError):
            record.msg, record.args = "(a message that cannot be put together)", None
        return True


def _whole(secret: str) -> tuple[bytes, ...]:
    """A secret of eight letters and more as bytes: itself and the encodings that stay whole in a body."""
    from urllib.parse import quote

    if len(secret) < _RUN:
        return ()
    raw = secret.encode()
    return tuple(
        dict.fromkeys((raw, quote(secret, safe="").encode(), quote(secret).encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw)))
    )


def _runs(secret: str) -> frozenset[str]:
    """Every run of eight letters (the whole of a shorter secret) in the forms that are not undone letter by letter: plain, base64, hex."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = [secret, raw.hex()]
    for lead in range(3):  # the letters of base64 depend on how many bytes came before, as in Basic's "name:key"
        encoded = base64.b64encode(bytes(lead) + raw).decode().rstrip("=")
        cut = (0, 2, 3)[lead], -1 if (lead + len(raw)) % 3 else None  # the first and last letters hold bits of the neighbors
        forms += [encoded[cut[0] : cut[1]], encoded[cut[0] : cut[1]].translate(str.maketrans("+/", "-_"))]
    found: set[str] = set()
    for form in forms:
        folded = _folded(form)
        found.update(folded[at : at + _RUN] for at in range(max(1, len(folded) - _RUN + 1)))
    bare = "".join(filter(str.isalnum, _folded(secret)))
    found.update(bare[at : at + _RUN] for at in range(len(bare) - _RUN + 1))
    return frozenset(run for run in found if len(run) >= _SHORTEST)


def _folded(text: str) -> str:
    """Lower case, one letter for one letter."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(letter.lower()[:1] for letter in text)


def _decoded(text: str) -> tuple[str, list[int], list[int]]:
    """The text with its escapes undone and its invisible characters left out, and where each letter began and ended."""
    letters, starts, ends = list(text), list(range(len(text))), list(range(1, len(text) + 1))
    for turn in range(_ROUNDS):
        joined = "".join(letters)
        if turn and not _ESCAPE.search(joined):
            break
        following: tuple[list[str], list[int], list[int]] = ([], [], [])
        at = 0
        for match in _ESCAPE.finditer(joined):
            _copy(letters, starts, ends, at, match.start(), following)
            for letter in _unescape(match.group()):
                following[0].append(letter)
                following[1].append(starts[match.start()])
                following[2].append(ends[match.end() - 1])
            at = match.end()
        _copy(letters, starts, ends, at, len(letters), following)
        letters, starts, ends = following
    return "".join(letters), starts, ends


def _copy(letters: list[str], starts: list[int], ends: list[int], first: int, last: int, into: tuple[list, list, list]) -> None:
    part = letters[first:last]
    if "".join(part).isascii() and "".join(part).isprintable():
        into[0].extend(part)
        into[1].extend(starts[first:last])
        into[2].extend(ends[first:last])
        return
    for place in range(first, last):
        letter = letters[place]
        if not letter.isascii():
            letter = unicodedata.normalize("NFKC", letter)[:1] or letter
        if not _is_unseen(letter):
            into[0].append(letter)
            into[1].append(starts[place])
            into[2].append(ends[place])


def _unescape(escape: str) -> str:
    """One escape as the letter that it stands for; nothing for control characters and what stands for none."""
    try:
        if escape[0] == "%":
            letter = chr(int(escape[1:].lstrip("u"), 16))
        elif escape[0] == "&":
            letter = html.unescape(escape)
            if len(letter) > 1:
                return escape
        elif escape[1] in "uUx":
            letter = chr(int(escape[2:].strip("{}"), 16))
        elif escape[1] in "01234567":
            letter = chr(int(escape[1:], 8))
        else:
            letter = _SIMPLE.get(escape[1], escape[1])
    except (ValueError, OverflowError):
        return ""
    return "" if not letter or _is_unseen(letter) else letter


def _secret_spans(text: str, runs: frozenset[str]) -> list[tuple[int, int]]:
    decoded, starts, ends = _decoded(text)
    folded = _folded(decoded)
    spans = [(starts[at], ends[at + _RUN - 1]) for at in range(len(folded) - _RUN + 1) if folded[at : at + _RUN] in runs]
    kept = [at for at, letter in enumerate(folded) if letter.isalnum()]  # a secret with spaces, dashes or marks strewn in
    bare = "".join(folded[at] for at in kept)
    spans += [(starts[kept[at]], ends[kept[at + _RUN - 1]]) for at in range(len(bare) - _RUN + 1) if bare[at : at + _RUN] in runs]
    for short in (run for run in runs if len(run) < _RUN):
        at = folded.find(short)
        while at >= 0:
            spans.append((starts[at], ends[at + len(short) - 1]))
            at = folded.find(short, at + len(short))
    return spans


def _token_spans(text: str) -> list[tuple[int, int]]:
    """Words shaped like a secret: a JSON web token, and whatever follows "Bearer" or "Basic"."""
    spans, announced = [], False
    for match in _TOKEN.finditer(text):
        word = match.group()
        if announced and len(word) >= 6:
            spans.append(match.span())
        at = _web_token_at(word)
        if at >= 0:
            spans.append((match.start() + at, match.end()))
        announced = word.lower() in ("bearer", "basic")
    return spans


def _web_token_at(word: str) -> int:
    """Where a JSON web token begins in a word, -1 where there is none."""
    at = word.find("eyJ")
    return at if at >= 0 and len(word) - at > 16 and "." in word[at + 8 :] else -1


def holds_web_token(text: str) -> bool:
    """Whether a text holds a JSON web token. Linear in its length."""
    return any(_web_token_at(match.group()) >= 0 for match in _TOKEN.finditer(text))


def _hide(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if start > at or not pieces:
            pieces += [text[at:start], HIDDEN]
        at = max(at, end)
    return "".join([*pieces, text[at:]])


# One for the whole program: a reply of one endpoint must not repeat the key of another either.
redactor = Redactor()
