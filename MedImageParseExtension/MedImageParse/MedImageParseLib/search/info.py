"""What an index tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from .records import Provenance


@dataclass(slots=True, frozen=True)
class SpaceInfo:
    """One provenance in an index: how many records, the length of their vectors, and the model's scaling factor where it gave one."""

    provenance: Provenance
    records: int
    length: int
    factor: float | None = None


@dataclass(slots=True, frozen=True)
class IndexInfo:
    """What an index holds.

    Attributes:
        bytes: size of the file.
        spaces: one entry a provenance that has records.
        kinds: how many records of each kind.
        series, sources, thumbnails: how many different ones.
    """

    path: str
    version: int
    bytes: int
    records: int
    spaces: tuple[SpaceInfo, ...]
    kinds: dict[str, int]
    series: int
    sources: int
    thumbnails: int


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
