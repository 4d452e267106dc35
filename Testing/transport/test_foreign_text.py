"""Foreign text: a key is hidden in whatever dress it comes back, and nothing takes more than linear time in what somebody else wrote."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import time
import urllib.parse

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from MedImageParseLib.redaction import HIDDEN, Redactor, is_plain, plain
from MedImageParseLib.transport import headers

KEY = "Zq7RkT2mWv9xLp4nYb6sHd3gJc8fQe5u/+AB"
LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.~+/"

DRESSES = {
    "plain": lambda text: text,
    "upper": str.upper,
    "swapped case": str.swapcase,
    "url": lambda text: urllib.parse.quote(text, safe=""),
    "url, every letter": lambda text: "".join(f"%{ord(letter):02x}" for letter in text),
    "url twice": lambda text: urllib.parse.quote("".join(f"%{ord(letter):02x}" for letter in text), safe=""),
    "html": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "html, hexadecimal": lambda text: "".join(f"&#x{ord(letter):X};" for letter in text),
    "html names": lambda text: html.escape(text).replace("+", "&plus;").replace("/", "&sol;"),
    "json": lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
    "json in json": lambda text: json.dumps("".join(f"\\u{ord(letter):04x}" for letter in text)),
    "python": lambda text: "".join(f"\\x{ord(letter):02x}" for letter in text),
    "octal": lambda text: "".join(f"\\{ord(letter):03o}" for letter in text),
    "slashes escaped": lambda text: text.replace("/", "\\/"),
    "control characters": lambda text: "\x00".join(text),
    "line breaks": lambda text: "\r\n".join(text[at : at + 5] for at in range(0, len(text), 5)),
    "zero-width": lambda text: "\u200b".join(text),
    "blank letters": lambda text: "\u3164".join(text),
    "joiners": lambda text: "\u034f".join(text),
    "accents": lambda text: "\u0301".join(text),
    "spaces": lambda text: " ".join(text),
    "dashes": lambda text: "-".join(text),
    "pieces": lambda text: "' + '".join(text[at : at + 3] for at in range(0, len(text), 3)),
    "quoted printable": lambda text: "".join(f"={byte:02X}" for byte in text.encode()),
    "url in 16 bits": lambda text: "".join(f"%u{ord(letter):04x}" for letter in text),
    "braces": lambda text: "".join(f"\\u{{{ord(letter):x}}}" for letter in text),
    "html without its end": lambda text: "".join(f"&#{ord(letter)}" for letter in text),
    "full width": lambda text: "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "basic, name before": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "basic, one letter before": lambda text: base64.b64encode(f":{text}".encode()).decode(),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(f"ab{text}".encode()).decode().rstrip("="),
    "hexadecimal": lambda text: text.encode().hex(),
    "starred at the end": lambda text: text[:-4] + "****",
    "starred at the beginning": lambda text: "****" + text[4:],
    "cut": lambda text: text[: len(text) * 2 // 3],
    "the end of it": lambda text: text[len(text) // 3 :],
}  # fmt: skip


# In these a person reads the key letter by letter, which `readings` does not.
STREWN = (
    "control characters", "zero-width", "line breaks", "full width", "blank letters", "joiners", "accents", "spaces", "dashes", "pieces",
    "quoted printable", "url in 16 bits", "braces",
)  # fmt: skip


def readings(text: str) -> list[str]:
    """What a person could make of a shown text with usual tools: itself, decoded up to three times, and every word as base64 or hexadecimal."""
    found = [text]
    for _ in range(3):
        last = found[-1].replace("\\\\", "\\")
        decoded = html.unescape(urllib.parse.unquote(last))
        decoded = re.sub(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1] or match[2], 16)), decoded)
        decoded = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), decoded).replace("\\/", "/")
        found.append("".join(letter for letter in decoded if is_plain(letter)))
    for word in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
        for start in range(4):
            part = word[start:].translate(str.maketrans("-_", "+/"))
            try:
                found.append(base64.b64decode(part[: len(part) // 4 * 4]).decode("latin-1"))
            except (binascii.Error, ValueError):
                pass
        for start in range(2):
            part = re.match(r"[0-9a-fA-F]*", word[start:])[0]
            found.append(bytes.fromhex(part[: len(part) // 2 * 2]).decode("latin-1"))
    return [reading.lower() for reading in found]


def shows(text: str, key: str) -> bool:
    """Whether eight letters of the key in a row can be read in a text."""
    runs = {key[at : at + 8].lower() for at in range(len(key) - 7)}
    return any(run in reading for reading in readings(text) for run in runs)


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize(
    "place", ["{}", "Your key is {}.", '{{"error": {{"message": "{} is wrong"}}}}', "<p>{}</p>", "key={}&x=1", "Bearer {}", "x{}y"]
)
def test_a_key_is_hidden_in_whatever_dress_it_is_repeated(dress, place):
    redactor = Redactor()
    redactor.learn(f"Bearer {KEY}")
    said = place.format(DRESSES[dress](KEY))
    assert shows(said, KEY) or dress in STREWN
    for shown in (redactor.clean(said), redactor.quote(said), redactor.quote(said.encode())):
        assert HIDDEN in shown and not shows(shown, KEY)


def test_the_test_itself_sees_a_key_in_these_dresses():
    assert all(
        shows(DRESSES[dress](KEY), KEY) for dress in ("plain", "url twice", "html", "json", "octal", "basic, name before", "hexadecimal")
    )
    assert not shows("nothing of that kind", KEY)


@settings(max_examples=300, deadline=None)
@given(
    st.text(LETTERS, min_size=8, max_size=60),
    st.text(max_size=20),
    st.text(max_size=20),
    st.sampled_from(sorted(DRESSES)),
    st.integers(0, 50),
    st.integers(8, 60),
)
@example("0" * 8, "", "", "base64", 0, 8)
def test_any_eight_letters_of_any_key_in_any_text_are_hidden(key, before, after, dress, start, length):
    redactor = Redactor()
    redactor.learn(key)
    shown = redactor.quote(before + DRESSES[dress](key[start : start + length]) + after, 2000)
    known = shows(before + "|" + after, key) or shows(before, key) or shows(after, key)
    assert known or not shows(shown, key)
    assert is_plain(shown)


def test_what_is_no_secret_stays_readable():
    redactor = Redactor()
    redactor.learn(KEY)
    said = 'The model "spleen" needs 12 GB (503), see https://learn.microsoft.com/azure?view=1&x=%20; 50 % of kidneys \\ lungs & liver'
    assert redactor.clean(said) == said


@settings(max_examples=200)
@given(st.text())
def test_plain_text_is_one_line_without_control_or_direction_characters(text):
    assert is_plain(plain(text)) and "\n" not in plain(text)
    assert plain(plain(text)) == plain(text)


# ---------------------------------------------------------------- linear
PATTERNS = ["<title", "<title>", "<title></title", "eyJ", "eyJabc.", "Bearer ", "Bearer a", "a.", "%25", "%", "&#", "&amp;", "&#38;", "\\", "\\u0041", " ", "<", ">",
            "\u200b", "\x00", "=", "-", "Zq7RkT2", "ﬃ"]  # fmt: skip
_KNOWING = Redactor()
_KNOWING.learn(KEY)
READERS = {
    "clean": _KNOWING.clean,
    "quote": _KNOWING.quote,
    "plain": plain,
    "page_title": headers.page_title,
    "error_message": lambda text: headers.error_message(text.encode("utf-8", "replace")),
    "redirect_target": lambda text: headers.redirect_target(text, "h"),
    "parse_retry_after": lambda text: headers.parse_retry_after(text, 0.0),
    "parse_count": headers.parse_count,
}


def cost(reader, text: str) -> float:
    """The least of some runs, in seconds of this process's own work: what others do on the computer does not count."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        reader(text)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("name", READERS)
def test_four_times_the_text_takes_far_less_than_sixteen_times_the_work(name):
    """Quadratic work would be sixteen times as much; the few milliseconds that are added let short runs pass."""
    for pattern in PATTERNS:
        short = (pattern * 6_000)[:6_000]
        assert cost(READERS[name], short * 4) < 9 * cost(READERS[name], short) + 0.004, pattern
