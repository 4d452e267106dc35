"""Where the records of a run go: an index on disk, or a list in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..search.index import EmbeddingIndex
from ..search.records import Provenance, Record


class Keeper(Protocol):
    """Where records go: an index, or a list in memory.

    Attributes:
        keeps_copies: whether two slices that are alike to the last pixel are two records.
    """

    keeps_copies: bool

    def engines(self, provenance: Provenance) -> set[str]:
        """Engines under which something is held, all else being equal."""

    def has(self, digest: str, provenance: Provenance) -> bool:
        """Whether this picture is held."""

    def add(self, records: list[Record], provenance: Provenance, factor: float | None) -> None:
        """Keep these, before returning; those without a vector are further places of what is held. `factor`: the scaling factor."""


@dataclass(slots=True)
class ListKeeper:
    """Keeps records in memory, in the order in which they came."""

    records: list[Record] = field(default_factory=list)
    provenance: Provenance | None = None
    keeps_copies: bool = True

    def engines(self, provenance: Provenance) -> set[str]:
        return set()

    def has(self, digest: str, provenance: Provenance) -> bool:
        return False

    def add(self, records: list[Record], provenance: Provenance, factor: float | None) -> None:
        self.provenance = provenance
        self.records += records


class IndexKeeper:
    """Keeps records in an index file. A new one is made when the first vectors are there, so that a run that fails leaves none.

    Args:
        path: the index, existing or not.

    Raises:
        IndexFault: the file is no index, damaged, or of a newer version.
    """

    keeps_copies = False

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path).expanduser()
        exists = self.path.exists() and self.path.stat().st_size > 0
        self._index = EmbeddingIndex.open(self.path, create=False) if exists else None

    def engines(self, provenance: Provenance) -> set[str]:
        alike = (provenance.model, provenance.deployment, provenance.preprocessing)
        spaces = self._index.spaces() if self._index else []
        return {space.engine for space in spaces if (space.model, space.deployment, space.preprocessing) == alike}

    def has(self, digest: str, provenance: Provenance) -> bool:
        return self._index is not None and bool(self._index.has([digest], provenance))

    def add(self, records: list[Record], provenance: Provenance, factor: float | None) -> None:
        if self._index is None:
            self._index = EmbeddingIndex.open(self.path)
        self._index.add(records, provenance, factor=factor)

    def close(self) -> None:
        """Give the file back."""
        if self._index is not None:
            self._index.close()
