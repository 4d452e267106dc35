"""The index on disk: vectors that outlive the scene, searched exactly.

Whoever changes the file does it in one transaction at a time, so a kill, a full disk or a second writer leaves what was there before
or the whole change. This file owns that promise; schema.py tells how the data lies.

A vector belongs to a content (the pixels as sent), and a content has any number of places: a record is one of them, with its study, its
slice and its path. What two studies share is embedded once and found in both.

Example:
    with EmbeddingIndex.open("studies.index") as index:
        index.add(records, provenance)
        for hit in index.search(vector, provenance=provenance, top=5):
            print(hit.similarity, hit.record.source, hit.record.slice_index)
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from . import labels as label_rows
from . import rows
from .faults import IndexFault, as_sentences, other_factor, other_length
from .info import IndexInfo, SpaceInfo, Study
from .integrity import CheckReport, check, readable_rows, readable_spaces
from .labels import LabelCounts, PlaceLabel, checked_labels, labels_of
from .loaded import Loaded, size_of
from .matrix import in_parts
from .merge import copy_all
from .prepare import check_method, prepare_all
from .records import KINDS, Hit, Provenance, Record, are_names, checked, unit_rows
from .schema import VERSION, Connection, connect
from .searching import hidden_places, search_all, search_sketched
from .sketch import drop_sketches

BATCH = 1024  # records a transaction: what a kill can cost at most
_SAME_FACTOR = 1e-4  # of a scaling factor; models write it with more or fewer digits


class EmbeddingIndex:
    """An index in one file. Safe to use from several threads, and from several programs at once."""

    def __init__(self, path: Path, connection: Connection) -> None:
        """Use `EmbeddingIndex.open`."""
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._loaded = Loaded(path)

    @classmethod
    def open(cls, path: str | os.PathLike, *, create: bool = True, wait_s: float = 30.0) -> EmbeddingIndex:
        """Open the index at `path`. Vectors are read at the first search.

        Args:
            create: make an empty one where there is none.
            wait_s: how long a change waits for another program that is writing, seconds.
            path: the file. One of an older format is brought up to date, with nothing embedded again.

        Raises:
            IndexFault: absent, not an index, made by a newer version, damaged, on a drive without file locks, or not to be opened.
        """
        path = Path(path).expanduser()
        return cls(path, connect(path, create=create, wait_s=wait_s))

    def close(self) -> None:
        """Give the file back. Closing twice is no error."""
        with self._lock:
            self._connection.close()
            self._loaded.clear()

    def __enter__(self) -> EmbeddingIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, records: Iterable[Record], provenance: Provenance, *, factor: float | None = None) -> int:
        """Store records. A content that is held already, with this provenance, gets the record as a further place.

        A place that is known is skipped; one whose file is gone, and which has turned up under another path, is changed. Up to 1024
        records go in one transaction: if something fails later, those before are kept. Vectors that are not of unit length are scaled
        to it. A record without a vector is a place of a content that is held; where it is not, the record is passed over.

        Args:
            records: to store.
            provenance: how all their vectors were made.
            factor: the scaling factor that the model gave with them, None where it gave none.

        Returns:
            how many were stored.

        Raises:
            InputError: a vector that cannot be used (zero, not finite, another length).
            IndexFault: the vectors come from another model than those that are there; full disk, damaged or read-only file, another
                program writing for too long.
        """
        if not are_names(provenance.as_tuple):
            raise UsageError("The names of a model, deployment, engine and preprocessing must be texts of a usual length.")
        added = 0
        for batch in in_parts(records, BATCH):
            added += self._add_batch(checked(batch), provenance, factor)
        return added

    def _add_batch(self, batch: list[Record], provenance: Provenance, factor: float | None) -> int:
        length = next((record.vector.size for record in batch if record.vector.size), 0)
        with self._changing() as connection:
            space = rows.find_space(connection, provenance)
            if space is None:
                if not length:
                    return 0
                space = rows.make_space(connection, provenance, length, factor)
            if length and space.length != length:
                raise other_length(length, space.length, provenance)
            if factor is not None and space.factor is None:
                rows.set_factor(connection, space, factor)
            _require_factor(space, factor)
            return rows.add(connection, space, batch)

    def merge(self, others: Iterable[EmbeddingIndex]) -> int:
        """Add everything that other indexes hold, records and labels, in one transaction: all of it or nothing.

        Args:
            others: open indexes.

        Returns: how many records were new.

        Raises:
            IndexFault: vectors of another model under the same name, or as for `add`; then nothing is added.
        """
        with self._changing() as connection:
            return sum(copy_all(connection, other, _require_factor) for other in others)

    def require_writable(self) -> None:
        """Raise IndexFault where the file is read-only, or another program is writing to it for too long. Nothing is changed."""
        with self._changing():
            pass

    def require_factor(self, provenance: Provenance, factor: float | None) -> None:
        """Raise IndexFault where the vectors of this provenance came with another scaling factor: another model made them."""
        with self.reading() as connection:
            space = rows.find_space(connection, provenance)
        if space is not None:
            _require_factor(space, factor)

    def has(self, hashes: Iterable[str], provenance: Provenance) -> set[str]:
        """Those of the content hashes that are stored with this provenance: no need to embed them again."""
        with self.reading() as connection:
            space = rows.find_space(connection, provenance)
            return set(rows.held_contents(connection, space.id, hashes)) if space else set()

    def search(self, vector: np.ndarray, *, provenance: Provenance, top: int = 10, **narrow: Any) -> list[Hit]:
        """The records most similar to a vector, best first.

        Args:
            vector: (length,) of the query.
            provenance: how the query was made.
            top: how many at most.
            **narrow: which records count, as for `search_many`, which says what is raised too.
        """
        return self.search_many(np.asarray(vector)[None], provenance=provenance, top=top, **narrow)[0]

    def search_many(
        self,
        vectors: np.ndarray,
        *,
        provenance: Provenance,
        top: int = 10,
        exclude_series: str = "",
        kinds: Sequence[str] | None = None,
        only: Iterable[int] | None = None,
        one_each: bool = False,
        least: float = -1.0,
    ) -> list[list[Hit]]:
        """The records most similar to each of several vectors, by exact cosine similarity.

        Every vector of this provenance is compared; in an index that was prepared (see `prepare`) only those that may be among the nearest.

        Args:
            vectors: (queries, length). Scaled to unit length where they are not.
            provenance: how the query was made.
            top: how many at most.
            exclude_series: leave out this series, so that a volume does not find itself.
            kinds: only these of "slice", "picture", "volume", "study".
            only: record numbers; others are left out.
            one_each: of each series only the most similar record.
            least: similarity from which on a record counts.

        Returns:
            for each query the best first. Equal similarities come in the order they were added.

        Raises:
            IndexFault: nothing in the index can be compared with these queries; the sentence says what is there.
        """
        if top < 1:
            raise UsageError("The number of results must be at least 1.")
        unknown = [kind for kind in kinds or () if kind not in KINDS]
        if unknown:
            raise UsageError(
                'There are no records of the kind "{unknown}"; the kinds are {listed}.', unknown=unknown[0], listed=", ".join(KINDS)
            )
        queries = unit_rows(vectors)
        with self.reading() as connection:
            sketch, matrix = self._loaded.prepared(connection, provenance)
            matrix = matrix or self._loaded.matrix(connection, provenance)
            # Taken here: another thread may read newer ones into the same matrix meanwhile.
            places, spots, table = matrix.places, None if matrix.is_plain else matrix.rows, matrix.vectors
            excluded = rows.text_number(connection, exclude_series) if exclude_series else None
            unknown_series = rows.text_number(connection, "") if one_each else None
        if queries.shape[1] != table.shape[1]:
            raise other_length(queries.shape[1], table.shape[1], provenance)
        hidden = hidden_places(places, excluded, kinds, only)
        # Records of which the series is not known stand for themselves.
        series = np.where(places[:, 1] == unknown_series, -places[:, 0], places[:, 1]) if one_each else None
        if sketch is None:
            found = search_all(table, spots, queries, hidden, top, series, least)
        else:
            with self.reading() as connection:
                found = search_sketched(connection, sketch, matrix, queries, hidden, top, series, least)
        return self._hits(places[:, 0], found)

    def _hits(self, ids: np.ndarray, found: list[tuple[np.ndarray, np.ndarray]]) -> list[list[Hit]]:
        wanted = {int(ids[place]) for spots, _ in found for place in spots}
        with self.reading() as connection:
            records = rows.read_records(connection, wanted)
        results = []
        for spots, similarities in found:
            pairs = ((int(ids[place]), float(similarity)) for place, similarity in zip(spots, similarities, strict=True))
            # A record that another program removed a moment ago is left out.
            results.append([Hit(similarity, records[number], number) for number, similarity in pairs if number in records])
        return results

    def vectors(self, provenance: Provenance) -> tuple[np.ndarray, np.ndarray]:
        """The vector of each record of a provenance; a content that is shown at several places stands there several times.

        Args:
            provenance: which.

        Returns:
            record numbers (rows,) int64 rising, and vectors float32 (rows, length) that cannot be written.

        Raises:
            IndexFault: there are none; the sentence says what is there.
        """
        with self.reading() as connection:
            matrix = self._loaded.matrix(connection, provenance)
            places, vectors = matrix.places, matrix.vectors
            if not matrix.is_plain:
                vectors = vectors[matrix.rows]
                vectors.flags.writeable = False
        return places[:, 0].copy(), vectors

    def records(self, ids: Iterable[int] | None = None, *, series: str = "", source: str = "") -> dict[int, Record]:
        """Records without their vectors, by number: those asked for, or of a series or a source, or all. Unknown numbers are left out."""
        with self.reading() as connection:
            wanted = set(ids) if ids is not None else rows.select(connection, self._size(), series=series, source=source)
            return rows.read_records(connection, wanted)

    def numbers(self, *, series: str = "") -> list[int]:
        """The numbers of all records, or of those of a series, rising: for a list that is shown page by page."""
        with self.reading() as connection:
            return sorted(rows.select(connection, self._size(), series=series))

    def spaces(self, *, readable_only: bool = False) -> list[Provenance]:
        """The provenances that have records, in the order they came; with `readable_only` those of a damaged index that can be read."""
        if readable_only:
            with self.reading() as connection:
                return readable_spaces(connection)
        return [space.provenance for space in self.info().spaces]

    def remove(self, *, source: str = "", series: str = "", ids: Iterable[int] = (), provenance: Provenance | None = None) -> int:
        """Remove the records of one source, one series, by number, or all of one provenance; exactly one of these.

        What is removed is overwritten in the file at once. The file shrinks with `compact`.

        Returns:
            how many were removed.

        Raises:
            UsageError: none or several conditions.
            IndexFault: as for `add`.
        """
        ids = {int(number) for number in ids}
        self._drop_sketches()
        if sum((bool(source), bool(series), bool(ids), provenance is not None)) != 1:
            raise UsageError("Say which records to remove: by source, by series, by number or by provenance, one of these.")
        with self._changing() as connection:
            wanted = ids or rows.select(connection, self._size(), source=source, series=series, provenance=provenance)
            removed = rows.delete(connection, wanted)
        self._drop_sketches()  # another program may have made some meanwhile
        return removed

    def prepare(self, told: Callable[[int, int], object] = lambda _done, _all: None, method: str = "sketches") -> int:
        """Make searches among hundreds of thousands of vectors fast, with a file beside the index: sketch.py, or FAISS's inverted_lists.py.
        What is added later is found too; when it is much, prepare again. Removing something throws the file away.

        Args:
            told: told(done, all) now and then; what it raises stops it.
            method: "sketches", or "faiss" where it is installed; the file of the other one goes.

        Returns:
            how many vectors.

        Raises:
            UsageError: FAISS is not installed. IndexFault: damaged, or no room for a third of the index's size.
        """
        check_method(method)
        self._drop_sketches()
        with self.reading() as connection:
            return prepare_all(self.path, connection, told, method)

    def _drop_sketches(self) -> None:
        with self._lock:
            self._loaded.forget_sketches()
        drop_sketches(self.path)

    def info(self) -> IndexInfo:
        """What the index holds, without reading vectors."""
        with self.reading() as connection:
            spaces = [SpaceInfo(space.provenance, count, space.length, space.factor) for space, count in rows.count_spaces(connection)]
            kinds, series, sources, thumbnails = rows.count_records(connection)
        return IndexInfo(str(self.path), VERSION, self._size(), sum(kinds.values()), tuple(spaces), kinds, series, sources, thumbnails)

    def studies(self) -> list[Study]:
        """The volumes and pictures, in the order in which they came: for a list that a person chooses from. Reads no vectors."""
        found: dict[str, Study] = {}
        with self.reading() as connection:
            for series, name, count in rows.read_studies(connection):
                before = found.get(series, Study(series, "", 0))
                found[series] = Study(series, before.name or name, before.images + count)
        return list(found.values())

    def add_labels(self, labels: Iterable[PlaceLabel], *, replace: bool = True) -> int:
        """Label places; all of these or, where something is wrong, none.

        Args:
            labels: to store.
            replace: they take the place of what the same places had in the same sets; else they stand beside it (several findings).

        Returns:
            how many were not there before.

        Raises:
            UsageError: a label that cannot be kept. IndexFault: as for `add`.
        """
        kept = checked_labels(labels)
        with self._changing() as connection:
            return label_rows.write(connection, kept, replace=replace)

    def labels(self, name: str = "") -> list[PlaceLabel]:
        """The labels of a set, or of all sets, in the order in which they came."""
        with self.reading() as connection:
            return label_rows.read(connection, name)

    def labels_of(self, ids: Iterable[int], name: str) -> dict[int, tuple[str, ...]]:
        """The labels of records in a set, by number; a slice's own go before its series'. Records without any are left out."""
        with self.reading() as connection:
            return labels_of(rows.read_records(connection, {int(number) for number in ids}), label_rows.read(connection, name))

    def label_sets(self) -> list[LabelCounts]:
        """The sets of labels, and how many places have each label."""
        with self.reading() as connection:
            return label_rows.count(connection)

    def remove_labels(self, name: str) -> int:
        """Remove a set of labels; the images stay. Returns how many labels there were."""
        with self._changing() as connection:
            return label_rows.drop(connection, name)

    def compact(self) -> int:
        """Give the room of removed records back to the disk; needs as much free room as the index has.

        Returns:
            bytes by which the file has shrunk.
        """
        before = self._size()
        with self._lock, as_sentences(self.path):
            self._connection.start_clock(before)
            self._connection.execute("VACUUM")
        return before - self._size()

    def check(self) -> CheckReport:
        """Read everything and compare it with its checksums; changes nothing. See integrity.check."""
        with self.reading() as connection:
            return check(self.path, connection)

    def export(self, path: str | os.PathLike, *, readable_only: bool = False) -> int:
        """Write all records with their vectors to a .npz or .parquet file. See export.export.

        Args:
            path: ending in .npz or .parquet; an existing file is replaced.
            readable_only: of a damaged index, write what can be read instead of stopping.

        Returns:
            how many records were written.
        """
        from .export import export

        return export(self, path, readable_only=readable_only)

    def import_(self, path: str | os.PathLike) -> int:
        """Add the records of an exported file; those that are there already are skipped.

        Returns:
            how many were added.
        """
        from .export import add_records, read_records

        return add_records(self, read_records(path))

    def rows_of(self, provenance: Provenance, *, readable_only: bool = False) -> Iterator[tuple[Record, np.ndarray]]:
        """Records of a provenance with their vectors, in order; with `readable_only` those of a damaged index that can be read."""
        if readable_only:
            with self.reading() as connection:
                yield from readable_rows(connection, provenance)
            return
        ids, matrix = self.vectors(provenance)
        for start in range(0, len(ids), BATCH):
            part = [int(number) for number in ids[start : start + BATCH]]
            records = self.records(part)
            yield from ((records[number], matrix[start + row]) for row, number in enumerate(part) if number in records)

    def _size(self) -> int:
        return size_of(self.path)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction in which all reads see the same state; for this package."""
        with self._lock, as_sentences(self.path):
            self._connection.execute("BEGIN")
            try:
                self._connection.execute("PRAGMA schema_version").fetchone()  # waits here for a program that is writing
                self._connection.start_clock(self._size())
                yield self._connection
            finally:
                self._end("COMMIT")

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """A transaction that is stored whole or not at all; the only way in which this class changes the file."""
        with self._lock, as_sentences(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.start_clock(self._size())
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._end("ROLLBACK")
                raise

    def _end(self, how: str) -> None:
        """End the transaction, which SQLite may have ended by itself after a full disk."""
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # the error that led here is the one to tell
                self._connection.execute(how)


def _require_factor(space: rows.Space, factor: float | None) -> None:
    if factor is not None and space.factor is not None and abs(factor - space.factor) > _SAME_FACTOR * max(1.0, abs(space.factor)):
        raise other_factor(factor, space.factor, space.provenance)


__all__ = ["EmbeddingIndex", "IndexFault", "IndexInfo", "SpaceInfo", "Study"]
