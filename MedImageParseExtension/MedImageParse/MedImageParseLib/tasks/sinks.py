"""Where the records of a run go: an index on disk, or a list in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ..search.index import EmbeddingIndex
from ..search.records import Provenance, Record
from ..search.schema import check_place
from ..search.searching import vectors_of_contents


class Sink(Protocol):
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
class ListSink:
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


class IndexSink:
    """Keeps records in an index file. A new one is made when the first vectors are there, so that a run that fails leaves none.

    What would keep it from being written is found here, before anything is sent.

    Args:
        path: the index, existing or not.
        is_read: it is only read.

    Raises:
        IndexFault: the file is no index, damaged, of a newer version, read-only or in use; its drive has no file locks.
    """

    keeps_copies = False

    def __init__(self, path: str | os.PathLike, *, is_read: bool = False) -> None:
        self.path = Path(path).expanduser()
        exists = self.path.exists() and self.path.stat().st_size > 0
        self.index = EmbeddingIndex.open(self.path, create=False) if exists else None
        if self.index is None:
            check_place(self.path)
        elif not is_read:
            try:
                self.index.require_writable()
            except BaseException:
                self.index.close()
                raise

    def engines(self, provenance: Provenance) -> set[str]:
        alike = (provenance.model, provenance.deployment, provenance.preprocessing)
        spaces = self.index.spaces() if self.index else []
        return {space.engine for space in spaces if (space.model, space.deployment, space.preprocessing) == alike}

    def has(self, digest: str, provenance: Provenance) -> bool:
        return self.index is not None and bool(self.index.has([digest], provenance))

    def add(self, records: list[Record], provenance: Provenance, factor: float | None) -> None:
        if self.index is None:
            self.index = EmbeddingIndex.open(self.path)
        self.index.add(records, provenance, factor=factor)

    def close(self) -> None:
        """Give the file back."""
        if self.index is not None:
            self.index.close()


class PartSink(IndexSink):
    """Keeps the records of one volume in an index of their own, which is to be merged into another one.

    What the other one holds is not embedded again: its vector is copied.

    Args:
        path: the part; one that an earlier, interrupted run left is written anew.
        whole: the index that it is for, existing or not; it is only read.
    """

    def __init__(self, path: Path, whole: Path) -> None:
        for old in (path, path.with_name(f"{path.name}-journal")):
            old.unlink(missing_ok=True)
        super().__init__(path)
        self._whole = IndexSink(whole, is_read=True)

    def engines(self, provenance: Provenance) -> set[str]:
        return super().engines(provenance) | self._whole.engines(provenance)

    def has(self, digest: str, provenance: Provenance) -> bool:
        return super().has(digest, provenance) or self._whole.has(digest, provenance)

    def add(self, records: list[Record], provenance: Provenance, factor: float | None) -> None:
        bare = [record.content_hash for record in records if not record.vector.size]
        if bare and self._whole.index is not None:
            held = vectors_of_contents(self._whole.index, provenance, bare)
            empty = np.empty(0, np.float32)
            records = [record if record.vector.size else replace(record, vector=held.get(record.content_hash, empty)) for record in records]
        super().add(records, provenance, factor)

    def close(self) -> None:
        super().close()
        self._whole.close()
