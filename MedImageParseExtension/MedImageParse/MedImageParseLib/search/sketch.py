"""Searching a million vectors in a fraction of a second: a file of sketches beside the index, and the exact answer for those that matter.

Each vector, turned by a fixed random rotation, is kept twice in a file that is mapped into memory: one bit a number (its sign around the
mean), and one byte a number. A query meets all the bits first (the estimator of Gao and Long, RaBitQ, SIGMOD 2024: unbiased, with a known
error). What could be among the nearest within 2.7 standard errors is compared by bytes, and the best of these exactly, with the vectors of the
index. So a true neighbor is missed with a chance below one in a hundred, and every similarity that is told is exact.

The file can be made again from the index at any time and is of no use without it. It is thrown away before anything is removed from the
index: what a person removes must not live on in a sketch.
"""

from __future__ import annotations

import functools
import glob
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .faults import BrokenContent, IndexFault
from .matrix import DESCRIBED_BYTES, unpack

_MAGIC = b"MIPSKT02"
_HEADER_BYTES, _ALIGN = 4096, 64
_PART = 4096  # vectors a step while it is made
_SAMPLE = 20_000  # vectors for the mean
_BLOCK = 32_768  # vectors a step of the scan: what it needs fits a core's cache
_QUERY_BITS = 4
_FIRST = 2048  # compared by bytes to learn how good the nearest are
_ERRORS = 2.7  # standard errors: four of a thousand lie beyond
_NOISE = 0.62  # standard error of an estimate, times its factor and the query's length; of the signs (0.60) and the query's 4 bits (0.135)
_ROWS_AT_ONCE = 512  # of bytes turned into numbers
_MOST_THREADS = 8


def sketch_path(index: Path, space: int) -> Path:
    """Where the sketches of a space are."""
    return index.with_name(f"{index.name}.{space}.sketch")


def drop_sketches(index: Path) -> None:
    """Throw away all sketches of an index.

    Raises:
        IndexFault: that is not possible; then nothing may be removed from the index either.
    """
    for path in index.parent.glob(f"{glob.escape(index.name)}.*.sketch"):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise IndexFault(
                "The file {path} holds sketches of what is to be removed and cannot be deleted ({why}); close the program that uses it.",
                "busy",
                path=path,
                why=error.strerror or "no reason given",
            ) from error


def _layout(count: int, length: int) -> list[tuple[str, str, tuple[int, ...]]]:
    words = -(-length // 64)
    return [
        ("rotation", "<f4", (length, length)), ("mean", "<f4", (length,)), ("chunks", "<i8", (count,)), ("base", "<f4", (count,)),
        ("ones", "<f4", (count,)), ("factor", "<f4", (count,)), ("scale", "<f4", (count,)), ("bits", "<u8", (words, count)), ("codes", "|i1", (count, length)),
    ]  # fmt: skip


def _places(count: int, length: int) -> tuple[dict[str, tuple[int, str, tuple[int, ...]]], int]:
    """Offset, kind and shape of each array, and the size of the file."""
    found, offset = {}, _HEADER_BYTES
    for name, kind, shape in _layout(count, length):
        found[name] = (offset, kind, shape)
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        offset += -(-size // _ALIGN) * _ALIGN
    return found, offset


@dataclass(slots=True)
class Sketch:
    """The sketches of one space, as they were when they were made; vectors that came later are not in them.

    Attributes:
        chunks: int64 (rows,), the number of each vector in the index, rising.
        length: numbers in a vector.
    """

    chunks: np.ndarray
    length: int
    _arrays: dict[str, Any]

    @classmethod
    def open(cls, path: Path, space: int, length: int, revision: int) -> Sketch | None:
        """The sketches, None where there are none, or they are of another state of the index or damaged."""
        try:
            with open(path, "rb") as file:
                head = file.read(_HEADER_BYTES)
            about = json.loads(head[len(_MAGIC) :].rstrip(b"\0")) if head.startswith(_MAGIC) else {}
            if (about.get("space"), about.get("length"), about.get("revision")) != (space, length, revision):
                return None
            count = about["count"]
            places, size = _places(count, length)
            if type(count) is not int or count < 1 or path.stat().st_size != size:
                return None
            arrays = {name: np.memmap(path, kind, "r", offset, shape) for name, (offset, kind, shape) in places.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
            return None
        chunks = np.array(arrays["chunks"], np.int64)
        return cls(chunks, length, arrays) if np.all(np.diff(chunks) > 0) else None

    def search(self, query: np.ndarray, hidden: np.ndarray | None, want: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that may be among the `want` nearest, and their similarities to three or four digits.

        Args:
            query: (length,), of unit length.
            hidden: bool (rows,), rows that do not count; None where all do.
            want: how many nearest must be among them.

        Returns:
            rows int64 rising, similarities float32.
        """
        arrays = self._arrays
        turned = np.asarray(arrays["rotation"] @ query.astype(np.float32))
        mean, factor = np.asarray(arrays["mean"]), arrays["factor"]
        beside = turned - mean
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            estimates = self._estimates(beside, float(mean @ turned), pool)
            if hidden is not None:
                estimates[hidden] = -np.inf
            first = min(max(_FIRST, 4 * want), len(estimates))
            rows = np.sort(np.argpartition(estimates, len(estimates) - first)[len(estimates) - first :])
            scores = np.where(np.isfinite(estimates[rows]), self._scores(rows, turned, pool), -np.inf)
            least = float(np.partition(scores, max(0, len(scores) - want))[max(0, len(scores) - want)])
            reach = np.float32(_ERRORS * _NOISE * float(np.linalg.norm(beside))) * factor
            reach += estimates
            reach[rows] = -np.inf
            more = np.flatnonzero((reach >= least) & (reach > -np.inf))
            if len(more):
                rows, scores = np.concatenate([rows, more]), np.concatenate([scores, self._scores(more, turned, pool)])
        kept = np.isfinite(estimates[rows])
        rows, scores = rows[kept], scores[kept]
        order = np.argsort(rows)
        return rows[order], scores[order]

    def _estimates(self, beside: np.ndarray, middle: float, pool: ThreadPoolExecutor) -> np.ndarray:
        """Estimated similarity of every row: what its signs say of the query's numbers, which are rounded to four bits for that."""
        arrays = self._arrays
        low, high = float(beside.min()), float(beside.max())
        step = max((high - low) / (2**_QUERY_BITS - 1), 1e-12)
        rounded = np.rint((beside - low) / step).astype(np.uint8)
        planes = [_packed(((rounded >> bit) & 1)[None])[:, 0] for bit in range(_QUERY_BITS)]
        bits, ones, factor, base = arrays["bits"], arrays["ones"], arrays["factor"], arrays["base"]
        total = step * float(rounded.sum()) + low * len(beside)
        found = np.empty(bits.shape[1], np.float32)

        def scan(start: int) -> None:
            end = min(start + _BLOCK, len(found))
            sums = ones[start:end] * np.float32(low)
            for bit, plane in enumerate(planes):
                sums += _counted(bits, plane, start, end).astype(np.float32) * np.float32(step * 2**bit)
            # The numbers where the bit is set, less those where it is not.
            found[start:end] = (2 * sums - np.float32(total)) * factor[start:end] + base[start:end] + np.float32(middle)

        list(pool.map(scan, range(0, len(found), _BLOCK)))
        return found

    def _scores(self, rows: np.ndarray, turned: np.ndarray, pool: ThreadPoolExecutor) -> np.ndarray:
        codes, scale = self._arrays["codes"], self._arrays["scale"]

        def some(part: np.ndarray) -> np.ndarray:
            # Not by BLAS, whose own threads would wait for one another here.
            return np.einsum("ij,j->i", codes[part].astype(np.float32), turned) * scale[part]

        parts = np.array_split(rows, -(-len(rows) // _ROWS_AT_ONCE)) if len(rows) else [rows]
        return np.concatenate(list(pool.map(some, parts)))


def _packed(bits: np.ndarray) -> np.ndarray:
    """0 and 1 of (rows, length) as uint64 (words, rows)."""
    bytes_ = np.packbits(bits, axis=1)
    short = -bytes_.shape[1] % 8
    if short:
        bytes_ = np.pad(bytes_, ((0, 0), (0, short)))
    return np.ascontiguousarray(bytes_).view("<u8").T


def _counted(bits: np.ndarray, mask: np.ndarray, start: int, end: int) -> np.ndarray:
    """How many bits of the mask each row has, uint16."""
    both, few = np.empty(end - start, np.uint64), np.empty(end - start, np.uint8)
    count = np.zeros(end - start, np.uint16)
    for word, wanted in zip(bits, mask, strict=True):
        np.bitwise_and(word[start:end], wanted, out=both)
        count += _ones(both, few)
    return count


def _ones_by_table(words: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Bits that are set in each word, for a NumPy before 2.0."""
    return _table()[words.view(np.uint16).reshape(-1, 4)].sum(axis=1, dtype=np.uint8, out=out)


@functools.cache
def _table() -> np.ndarray:
    return np.unpackbits(np.arange(65536, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1).sum(axis=1, dtype=np.uint8)


_ones: Callable[[np.ndarray, np.ndarray], np.ndarray] = getattr(np, "bitwise_count", _ones_by_table)


def make_sketch(
    path: Path, connection: sqlite3.Connection, space: int, length: int, revision: int, told: Callable[[int, int], object]
) -> int:
    """Write the sketches of a space, inside the caller's transaction; the file appears when it is whole, for its owner only.

    Args:
        path: see sketch_path.
        connection: the index.
        space: number of the space in it.
        length: numbers in a vector of the space.
        revision: the space's, changed by each removal.
        told: told(done, all) now and then; what it raises stops it.

    Returns:
        how many vectors.

    Raises:
        BrokenContent: vectors that are damaged. OSError.
    """
    count = connection.execute("SELECT count(*) FROM chunks WHERE space = ?", (space,)).fetchone()[0]
    if not count:
        return 0
    places, size = _places(count, length)
    handle, name = tempfile.mkstemp(prefix=".sketch-", dir=path.parent)  # 0600: a sketch says as much of an image as its vector
    try:
        about = json.dumps({"space": space, "length": length, "revision": revision, "count": count}).encode()
        os.write(handle, _MAGIC + about)
        os.truncate(handle, size)
        os.close(handle)
        arrays = {key: np.memmap(name, kind, "r+", offset, shape) for key, (offset, kind, shape) in places.items()}
        rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((length, length)))[0].astype(np.float32)
        arrays["rotation"][:] = rotation
        step = max(1, count // _SAMPLE)
        sums, taken = np.zeros(length), 0
        for _ids, rows in _vectors(connection, space, length, step):
            sums += rows.sum(axis=0, dtype=np.float64)
            taken += len(rows)
        mean = (rotation @ (sums / max(taken, 1))).astype(np.float32)
        arrays["mean"][:] = mean
        done = 0
        for ids, rows in _vectors(connection, space, length):
            if done + len(ids) > count:
                raise BrokenContent("there are more vectors than it says")
            _fill(arrays, slice(done, done + len(ids)), ids, rows @ rotation.T, mean)
            done += len(ids)
            told(done, count)
        if done != count:
            raise BrokenContent("there are fewer vectors than it says")
        for array in arrays.values():
            array.flush()
        del arrays, array
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    return int(count)


def _fill(arrays: dict[str, Any], here: slice, ids: list[int], turned: np.ndarray, mean: np.ndarray) -> None:
    rest = turned - mean
    squares, sizes = np.einsum("ij,ij->i", rest, rest), np.abs(rest).sum(axis=1)
    scale = np.maximum(np.abs(turned).max(axis=1), 1e-12) / 127
    arrays["chunks"][here] = ids
    arrays["ones"][here] = np.count_nonzero(rest > 0, axis=1)
    arrays["base"][here] = rest @ mean
    arrays["factor"][here] = squares / np.maximum(sizes, 1e-12)
    arrays["scale"][here] = scale
    arrays["bits"][:, here] = _packed(rest > 0)
    arrays["codes"][here] = np.rint(turned / scale[:, None]).astype(np.int8)


def _vectors(connection: sqlite3.Connection, space: int, length: int, step: int = 1) -> Iterator[tuple[list[int], np.ndarray]]:
    """Numbers and vectors of a space, some at a time, every `step`-th."""
    query = "SELECT id, described, vectors FROM chunks WHERE space = ? AND id % ? = 0 ORDER BY id"
    cursor = connection.execute(query, (space, step))
    for part in iter(lambda: cursor.fetchmany(_PART), []):
        ids, described, vectors = zip(*part, strict=True)
        yield list(ids), _checked(described, vectors, length)


def exact_vectors(connection: sqlite3.Connection, chunks: np.ndarray, length: int) -> np.ndarray:
    """The vectors with these numbers, float32 (rows, length), in the same order, as the index holds them.

    Raises:
        BrokenContent: one is not there or damaged.
    """
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(chunks), 500):
        part = [int(number) for number in chunks[start : start + 500]]
        rows = connection.execute(f"SELECT id, described, vectors FROM chunks WHERE id IN ({','.join('?' * len(part))})", part).fetchall()
        if rows:
            ids, described, vectors = zip(*rows, strict=True)
            found.update(zip(ids, _checked(described, vectors, length), strict=True))
    if any(int(number) not in found for number in chunks):
        raise BrokenContent("a record's vector is missing")
    return np.stack([found[int(number)] for number in chunks]) if len(chunks) else np.empty((0, length), np.float32)


def _checked(described: Any, vectors: Any, length: int) -> np.ndarray:
    if not all(isinstance(one, bytes) and len(one) == DESCRIBED_BYTES for one in described):
        raise BrokenContent("a vector has the wrong size")
    matrix, good = unpack(described, vectors, length)
    if not good.all():
        raise BrokenContent("vectors do not match their checksums")
    return matrix
