"""What a reply's headers and its error page say. All of it is foreign text: bounded before it is read, and read in linear time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

LONGEST_WAIT = 366 * 86400.0  # seconds; a Retry-After beyond it says no more than that one
_MOST_DIGITS = 18
_LONGEST_VALUE = 8192  # characters of a header's value
_LONGEST_TITLE = 1000
_TITLE_WITHIN = 64 * 1024
_MOST_VALUES = 2000  # commas and brackets of an error's JSON
_DECIMAL = re.compile(r"[0-9]{1,400}(?:\.[0-9]{0,400})?")


def lower_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A reply's headers with names in lower case and values of a length that can be worked with."""
    return {str(name).lower(): str(value)[:_LONGEST_VALUE] for name, value in headers.items()}


def parse_count(text: str, most: int = 10**_MOST_DIGITS - 1) -> int | None:
    """A whole number, zero or more, as HTTP writes one.

    Args:
        text: a header's value.
        most: the largest number that means anything; a larger one counts as this one.

    Returns:
        the number; None where the text is none: signs, other scripts' digits, white space inside, or nothing at all.
    """
    digits = text.strip(" \t")
    if not digits or not digits.isascii() or not digits.isdigit():
        return None
    digits = digits.lstrip("0") or "0"
    return most if len(digits) > _MOST_DIGITS else min(int(digits), most)


def parse_retry_after(value: str, now: float) -> float | None:
    """Seconds to wait from a Retry-After header: a number of seconds, or an HTTP date (RFC 9110, section 10.2.3).

    Args:
        value: the header, "" if absent.
        now: the time that the date is counted from, in seconds since 1970: the reply's own Date where it has one, so that a wrong
            clock here does not matter.

    Returns:
        seconds, never negative, LONGEST_WAIT at most; None if absent or unreadable.
    """
    text = value.strip()
    if _DECIMAL.fullmatch(text):
        whole, _, part = text.partition(".")
        return min(LONGEST_WAIT, (parse_count(whole) or 0) + float(f"0.{part[:9] or 0}"))
    seconds = parse_http_date(text)
    return None if seconds is None else min(LONGEST_WAIT, max(0.0, seconds - now))


def parse_http_date(value: str) -> float | None:
    """An HTTP date as seconds since 1970, None if it is none."""
    if not 0 < len(value) <= 64 or not value.isascii():
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError, OSError):
        return None


def page_title(text: str) -> str | None:
    """The title of a web page, None where the text has none. Linear in the length of the text."""
    lower = text[:_TITLE_WITHIN].lower()
    if len(lower) > len(text):
        return None  # letters that become two in lower case: no title that is worth the trouble
    tag = lower.find("<title")
    begin = lower.find(">", tag, tag + _LONGEST_TITLE) + 1 if tag >= 0 else 0
    end = lower.find("</title", begin, begin + _LONGEST_TITLE) if begin else -1
    return text[begin:end].strip() if end >= 0 else None


def error_message(body: bytes) -> str:
    """What an error's body says: its "message", its page title, or its text.

    Args:
        body: the beginning of it, as far as it was read.
    """
    text = body.decode("utf-8", "replace").strip()
    content: object = None
    if text[:1] in ("{", "[", '"') and sum(map(text.count, ",[{:")) <= _MOST_VALUES:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
    if content is None:
        title = page_title(text)
        if title is not None:
            return title
        return "" if text.startswith("<") else text
    for _ in range(3):
        if not isinstance(content, dict):
            break
        content = content.get("error", content.get("message", content.get("detail", "")))
    return content if isinstance(content, str) else json.dumps(content)


def redirect_target(location: str, own: str) -> str:
    """Where a redirect points: the host, or the path where it stays on the same host; never a query.

    Args:
        location: the header, "" where it is absent.
        own: the endpoint's host and port.
    """
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an unreadable address"
    host = parts.netloc.rpartition("@")[2]
    return host if host and host != own else (f"{parts.scheme}://{own}{parts.path}" if host else parts.path)
