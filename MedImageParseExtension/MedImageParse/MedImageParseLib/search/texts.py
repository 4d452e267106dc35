"""The texts of an index: each path, name and label stands there once, under a number."""

from __future__ import annotations

import sqlite3

# A query for the numbers of the texts that something refers to.
USED = " UNION ".join(
    [f"SELECT {column} FROM records" for column in ("source", "series", "plane", "position", "added")]
    + [f"SELECT {column} FROM labels" for column in ("name", "label", "series", "plane")]
)


def number_text(connection: sqlite3.Connection, numbers: dict[str, int], text: str) -> int:
    """The number of a text, stored if it is new. `numbers` remembers those of this transaction."""
    text = storable(text)
    if text not in numbers:
        found = text_number(connection, text)
        if found is None:
            # Not max + 1 of its own accord where only negative numbers are there yet.
            highest = connection.execute("SELECT max(id) FROM texts").fetchone()[0]
            found = max(int(highest or 0), 0) + 1
            connection.execute("INSERT INTO texts (id, text) VALUES (?, ?)", (found, text))
        numbers[text] = found
    return numbers[text]


def text_number(connection: sqlite3.Connection, text: str) -> int | None:
    """The number of a text, None where no record has it."""
    found = connection.execute("SELECT id FROM texts WHERE text = ? AND id > 0", (storable(text),)).fetchone()
    return found[0] if found else None


def storable(text: str) -> str:
    """The text as it can be kept: a file name that is not valid Unicode, as Python reads it, cannot be stored as it is; its odd bytes are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
