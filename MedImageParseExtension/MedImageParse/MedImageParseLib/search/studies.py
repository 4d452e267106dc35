"""What an index holds, volume by volume, for a list that a person chooses from. Reads no vectors and no thumbnails."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .index import EmbeddingIndex

_QUERY = """SELECT series.text, position.text, count(*) FROM records
  JOIN texts AS series ON series.id = series JOIN texts AS position ON position.id = position
  GROUP BY series.id, position.id ORDER BY min(records.id)"""


@dataclass(slots=True, frozen=True)
class Study:
    """The records of one volume or picture.

    Attributes:
        series: its stable name, see search.records.series_name.
        name: the file's or node's name, "" where names are not kept.
        images: how many records there are of it.
    """

    series: str
    name: str
    images: int


def list_studies(index: EmbeddingIndex) -> list[Study]:
    """The volumes and pictures of an index, in the order in which they came.

    Raises:
        IndexFault: the index is damaged or cannot be read.
    """
    found: dict[str, Study] = {}
    with index._reading() as connection:
        for series, position, count in connection.execute(_QUERY):
            before = found.get(series, Study(series, "", 0))
            found[series] = Study(series, before.name or _name_in(position), before.images + count)
    return list(found.values())


def _name_in(position: str) -> str:
    try:
        return str(json.loads(position).get("name") or "")
    except (ValueError, AttributeError):
        return ""  # one unreadable record does not cost the list; the integrity check names it
