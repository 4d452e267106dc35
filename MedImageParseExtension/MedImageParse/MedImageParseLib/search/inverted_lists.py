"""Searching with FAISS, where a person has installed it and asked for it: inverted lists in a file beside the index.

The vectors lie in lists around centers, one byte a number; a query looks into the lists whose centers are nearest. How many that are is found
when the file is made: so many that vectors of the index find 99.5 of a hundred of their true neighbors. Where vectors lie in groups, as
slices do, these are few lists; where they do not, all. The best are compared exactly with the vectors of the index, as with sketches.

As the sketches, the file can be made again at any time, and is thrown away before anything is removed from the index. FAISS reads it: it is as
much to be trusted as the program that wrote it.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..packages import is_there, require
from .faults import BrokenContent

_MOST_LISTS, _OF_A_LIST = 1024, 40  # vectors that a list needs at least
_TRAINED_ON = 40_000
_TRIALS, _NEIGHBORS, _ENOUGH = 64, 10, 0.995
_SPARE = 256  # beyond those that are asked for: bytes tell similarities to three or four digits only
_DOUBT = 0.0025  # by which a similarity told by bytes may be wrong

Vectors = Callable[[int], Iterator[tuple[list[int], np.ndarray]]]  # every N-th vector of the space, some at a time, with their numbers


@dataclass(slots=True)
class InvertedLists:
    """The lists of one space, as they were when they were made; vectors that came later are not in them.

    Attributes:
        chunks: int64 (rows,), the number of each vector in the index, rising.
        length: numbers in a vector.
        known: None: where they are shown is read from the index.
    """

    chunks: np.ndarray
    length: int
    _lists: Any
    known: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def open(cls, path: Path, length: int) -> InvertedLists | None:
        """The lists, None where there are none, FAISS is not installed, or the file is damaged."""
        if not path.exists() or not is_there("faiss"):
            return None
        import faiss

        try:
            lists = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
            if lists.d != length or not isinstance(lists, faiss.IndexIVF):
                return None
            lists.parallel_mode = 1  # one query at a time: its lists are shared out among the processors
            inside = lists.invlists
            parts = [faiss.rev_swig_ptr(inside.get_ids(one), inside.list_size(one)).copy() for one in range(lists.nlist)]
        except (RuntimeError, AttributeError, ValueError):  # FAISS's own kind of error is a RuntimeError
            return None
        chunks = np.sort(np.concatenate(parts).astype(np.int64))
        return cls(chunks, length, lists) if len(chunks) and np.all(np.diff(chunks) > 0) else None

    def search(self, query: np.ndarray, hidden: np.ndarray | None, want: int) -> tuple[np.ndarray, np.ndarray, float]:
        """As `Sketch.search`."""
        import faiss

        chosen: dict[str, Any] = {"nprobe": self._lists.nprobe}
        if hidden is not None:
            allowed = np.zeros(int(self.chunks[-1]) + 1, bool)
            allowed[self.chunks[~hidden]] = True
            chosen["sel"] = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        scores, numbers = self._lists.search(
            query[None].astype(np.float32), min(4 * want + _SPARE, len(self.chunks)), params=faiss.SearchParametersIVF(**chosen)
        )
        found = numbers[0] >= 0
        rows = np.searchsorted(self.chunks, numbers[0][found])
        order = np.argsort(rows)
        return rows[order], scores[0][found][order], _DOUBT


def lists_path(index: Path, space: int, revision: int) -> Path:
    """Where the lists of a space are; the name holds its revision, which a removal changes."""
    return index.with_name(f"{index.name}.{space}.{revision}.faiss")


def make_lists(path: Path, vectors: Vectors, count: int, length: int, told: Callable[[int, int], object]) -> int:
    """Write the lists of a space; the file appears when it is whole, for its owner only.

    Args:
        path: see lists_path.
        vectors: gives them.
        count: of vectors.
        length: numbers in a vector.
        told: told(done, all) now and then; what it raises stops it.

    Returns:
        how many vectors.

    Raises:
        UsageError: FAISS is not installed. BrokenContent: vectors that are damaged. OSError.
    """
    require("faiss", "inverted lists", "or prepare the index with sketches")
    import faiss

    lists = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(length), length, max(1, min(_MOST_LISTS, count // _OF_A_LIST)), faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )  # fmt: skip
    some = [rows for _ids, rows in vectors(max(1, count // _TRAINED_ON))] or [rows for _ids, rows in vectors(1)]
    sample = np.concatenate(some)
    tried = np.zeros(len(sample), bool)
    tried[:: max(2, len(sample) // _TRIALS)] = len(sample) > 1
    lists.cp.min_points_per_centroid = 1  # FAISS prints a warning of small indexes, whose lists do not matter
    lists.train(sample[~tried])  # without those that are queries below: the lists must not know them any better than new images
    trials = _Trials(sample[tried][:_TRIALS])
    del some, sample
    done = 0
    for ids, rows in vectors(1):
        lists.add_with_ids(np.ascontiguousarray(rows), np.array(ids, np.int64))
        trials.meet(ids, rows)
        done += len(ids)
        told(done, count)
    if done != count:
        raise BrokenContent("there are more or fewer vectors than it says")
    lists.nprobe = trials.lists_needed(lists)
    handle, name = tempfile.mkstemp(prefix=".faiss-", dir=path.parent)  # 0600: it says as much of an image as its vector
    os.close(handle)
    try:
        try:
            faiss.write_index(lists, name)
        except RuntimeError as error:
            raise OSError(None, "FAISS cannot write it") from error
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    return count


class _Trials:
    """Vectors of the index as queries, and their true neighbors among all that they meet."""

    def __init__(self, queries: np.ndarray):
        self.queries = queries
        self._scores = np.full((len(queries), 0), -np.inf, np.float32)
        self._ids = np.zeros((len(queries), 0), np.int64)

    def meet(self, ids: list[int], rows: np.ndarray) -> None:
        """Compare some more."""
        scores = np.concatenate([self._scores, self.queries @ rows.T], axis=1)
        numbers = np.concatenate([self._ids, np.broadcast_to(np.array(ids, np.int64), (len(self.queries), len(ids)))], axis=1)
        keep = np.argsort(-scores, axis=1)[:, : _NEIGHBORS + 1]  # and the query itself
        self._scores, self._ids = np.take_along_axis(scores, keep, 1), np.take_along_axis(numbers, keep, 1)

    def lists_needed(self, lists: Any) -> int:
        """The least power of two of lists, or all, in which enough of the true neighbors are found."""
        import faiss

        probed = 1
        while probed < lists.nlist and len(self.queries):
            params = faiss.SearchParametersIVF(nprobe=probed)
            _scores, found = lists.search(self.queries, min(_NEIGHBORS + _SPARE, lists.ntotal), params=params)
            if np.mean([np.isin(true[1:], own).mean() for true, own in zip(self._ids, found, strict=True)]) >= _ENOUGH:
                return probed
            probed *= 2
        return int(lists.nlist)


def count_vectors(connection: sqlite3.Connection, space: int) -> int:
    """How many vectors a space has."""
    return int(connection.execute("SELECT count(*) FROM chunks WHERE space = ?", (space,)).fetchone()[0])
