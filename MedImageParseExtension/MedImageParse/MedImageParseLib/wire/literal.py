"""A small part of Python's literals, as some deployments write dictionaries and lists into a reply's cell.

What is read: dictionaries with text keys, lists and tuples of text, whole and decimal numbers, True, False and None, at most DEPTH deep and
with at most MOST_TOKENS tokens. No byte strings, no f-strings, no sums, no strings side by side: no published form has them. One
expression walks the text once, so the time is linear in its length, and nothing is ever evaluated.
"""

from __future__ import annotations

import re

DEPTH = 4
MOST_TOKENS = 4096
_LINE = 32  # letters; base64 may have a line break after 76, which are two pieces
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<mark>[{}\[\](),:])
      | '(?P<single>[^'\\\n]*)'
      | "(?P<double>[^"\\\n]*)"
      | (?P<quote>['"])
      | (?P<number>-?(?:0|[1-9][0-9]{0,31})(?:\.[0-9]{0,32})?(?:[eE][+-]?[0-9]{1,4})?)
      | (?P<name>True|False|None)\b
    )""",
    re.VERBOSE,
)
_NAMES = {"True": True, "False": False, "None": None}
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
# Letters up to the closing quote or the next escape, whichever comes first.
_PLAIN = {quote: re.compile(rf"([^{quote}\\\n]*)({quote}|\\[\\'\"nrt])") for quote in "'\""}
_CLOSING = {"{": "}", "[": "]", "(": ")"}


class NotALiteral(ValueError):
    """The text is none of what this file reads."""


def read_literal(text: str) -> object:
    """The value that a text stands for.

    Args:
        text: e.g. "{'data': '…', 'shape': [3, 16, 16], 'dtype': 'uint8'}".

    Returns:
        dict, list (tuples too), str, int, float, bool or None.

    Raises:
        NotALiteral: anything else.

    Examples:
        >>> read_literal("{'shape': (2, 3), 'dtype': 'uint8'}")
        {'shape': [2, 3], 'dtype': 'uint8'}
    """
    reader = _Reader(text)
    value = reader.value(0)
    if text[reader.at :].strip():
        raise NotALiteral("something follows the value")
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self.at = 0
        self._text = text
        self._tokens = 0

    def value(self, depth: int) -> object:
        kind, token = self._next()
        if kind == "mark" and token in _CLOSING and depth < DEPTH:
            return self._dictionary(depth) if token == "{" else self._sequence(_CLOSING[token], depth)
        if kind in ("single", "double"):
            return token
        if kind == "quote":
            return self._escaped(token)
        if kind == "number":
            return float(token) if set(token) & set(".eE") else int(token)
        if kind == "name":
            return _NAMES[token]
        raise NotALiteral("no value")

    def _dictionary(self, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while not self._closes("}"):
            key = self.value(DEPTH)
            if not isinstance(key, str) or self._next() != ("mark", ":"):
                raise NotALiteral("no key")
            found[key] = self.value(depth + 1)
            if not self._goes_on("}"):
                break
        return found

    def _sequence(self, closing: str, depth: int) -> object:
        found: list[object] = []
        while not self._closes(closing):
            found.append(self.value(depth + 1))
            if not self._goes_on(closing):
                return found[0] if closing == ")" and len(found) == 1 else found  # (1) is no tuple, (1,) is
        return found

    def _closes(self, closing: str) -> bool:
        """Whether the closing mark comes next; it is taken then."""
        before = self.at
        if self._next() == ("mark", closing):
            return True
        self.at = before
        return False

    def _goes_on(self, closing: str) -> bool:
        """After a value: True at a comma, False at the closing mark."""
        kind, token = self._next()
        if kind != "mark" or token not in (",", closing):
            raise NotALiteral("no comma")
        return token == ","

    def _next(self) -> tuple[str, str]:
        self._tokens += 1
        match = _TOKEN.match(self._text, self.at)
        if match is None or match.lastgroup is None or self._tokens > MOST_TOKENS:
            raise NotALiteral("no token, or too many")
        self.at = match.end()
        return match.lastgroup, match.group(match.lastgroup)

    def _escaped(self, quote: str) -> str:
        """A string with escapes in it, from behind its opening quote on."""
        stop = _PLAIN[quote]
        pieces: list[str] = []
        while len(pieces) <= MOST_TOKENS + len(self._text) // _LINE:
            match = stop.match(self._text, self.at)
            if match is None:
                break
            self.at = match.end()
            pieces.append(match[1])
            if match[2] == quote:
                return "".join(pieces)
            pieces.append(_ESCAPES[match[2][1]])
        raise NotALiteral("no end of the text, a line break or an escape that no reply has")
