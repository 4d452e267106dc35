"""Searching a million vectors in a fraction of a second: a file of sketches beside the index, and the exact answer for those that matter.

Each vector, turned by a fixed random rotation, is kept three times in a file that is mapped into memory: one bit a number (its sign around
the mean), a second bit (whether it is large), and one byte a number. A query meets all the signs first (the estimator of Gao and Long,
RaBitQ, SIGMOD 2024: unbiased, with a known error). What could be among the nearest within 2.7 standard errors meets the second bits too; what
still could, within 3.5, is compared by bytes, and what bytes cannot tell apart exactly, with the vectors of the index. So a true neighbor
is missed with a chance below one in a hundred, and every similarity that is told is exact.

The file can be made again from the index at any time and is of no use without it. It is thrown away before anything is removed from the
index: what a person removes must not live on in a sketch.
"""

from __future__ import annotations

import functools
import glob
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..remedies import Sentence
from .faults import BrokenContent, IndexFault
from .matrix import DESCRIBED_BYTES, read_places, unpack
from .records import KINDS

_MAGIC = b"MIPSKT04"
_HEADER_BYTES, _ALIGN = 4096, 64
_PART = 4096  # vectors a step while it is made
_SAMPLE = 20_000  # vectors for the mean
_BLOCK = 65_536  # vectors a step of the scan: fewer, and the threads wait for one another; more, and a step leaves a core's cache
_QUERY_BITS = 3
_WIDEST = 2.051  # standard deviations: the outermost of eight even steps that keep most of a normal distribution (Max 1960)
_FIRST = 2048  # compared by bytes to learn how good the nearest are
_ERRORS = 2.7  # standard errors: four of a thousand lie beyond
_ERRORS_LATER = 3.5  # of estimates by two bits, of which few are in question
_NOISE = 0.603  # standard error of an estimate by signs, times its factor and the query's length
_NOISE_LATER, _QUERY_LATER = 0.322, 0.94  # the same by two bits; and what the rounding of the query adds there
# Four levels that keep most of a normal distribution, and where the larger ones begin, in standard deviations (Max 1960).
_SMALL, _LARGE, _BETWEEN = 0.4528, 1.510, 0.9816
_SAME_BYTES = 3.0  # steps of a byte by which a similarity told by bytes may be wrong: ten standard errors
_FEWER = 4096  # vectors a step where few are left
_WORDS_A_BYTE = 3  # 64 bits each: so many ones fit a byte
_SAMPLED = 8  # of the sample that says where the leaders begin, so many times as many as leaders
_ROWS_AT_ONCE = 512  # of bytes turned into numbers
_MOST_THREADS = 8


def sketch_path(index: Path, space: int) -> Path:
    """Where the sketches of a space are."""
    return index.with_name(f"{index.name}.{space}.sketch")


def drop_sketches(index: Path) -> None:
    """Throw away all sketches of an index, and FAISS's lists.

    Raises:
        IndexFault: that is not possible; then nothing may be removed from the index either.
    """
    ours = re.compile(rf"{re.escape(index.name)}\.\d+\.(sketch|\d+\.faiss)")
    for path in index.parent.glob(f"{glob.escape(index.name)}.*"):
        if not ours.fullmatch(path.name):
            continue  # a file of the person's own
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise IndexFault(
                "The file {path} holds sketches of what is to be removed and cannot be deleted ({why}); close the program that uses it.",
                "busy",
                path=path,
                why=error.strerror or Sentence("no reason given"),
            ) from error


def _layout(count: int, length: int, places: int) -> list[tuple[str, str, tuple[int, ...]]]:
    words = -(-length // 64)
    return [
        ("places", "<i8", (places, 3)), ("rows", "<i8", (places,)),
        ("rotation", "<f4", (length, length)), ("mean", "<f4", (length,)), ("chunks", "<i8", (count,)), ("base", "<f4", (count,)),
        ("ones", "<f4", (count,)), ("factor", "<f4", (count,)), ("later", "<f4", (count,)), ("scale", "<f4", (count,)), ("bits", "<u8", (words, count)), ("large", "<u8", (count, 2 * words)), ("codes", "|i1", (count, length)),
    ]  # fmt: skip


def _offsets(count: int, length: int, places: int) -> tuple[dict[str, tuple[int, str, tuple[int, ...]]], int]:
    """Offset, kind and shape of each array, and the size of the file."""
    found, offset = {}, _HEADER_BYTES
    for name, kind, shape in _layout(count, length, places):
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
        known: where they are shown, as `places` and `rows` of Matrix: these need not be read from the index again.
    """

    chunks: np.ndarray
    length: int
    known: tuple[np.ndarray, np.ndarray] | None
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
            count, shown = about["count"], about["places"]
            places, size = _offsets(count, length, shown)
            if type(count) is not int or count < 1 or type(shown) is not int or shown < 1 or path.stat().st_size != size:
                return None
            arrays = {name: np.memmap(path, kind, "r", offset, shape).view(np.ndarray) for name, (offset, kind, shape) in places.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None
        chunks, shown, rows = np.array(arrays["chunks"], np.int64), np.array(arrays["places"], np.int64), np.array(arrays["rows"], np.intp)
        known = (
            np.all(np.diff(chunks) > 0) and np.all(np.diff(shown[:, 0]) > 0) and shown[:, 2].min() >= 0 and shown[:, 2].max() < len(KINDS)
        )
        return cls(chunks, length, (shown, rows), arrays) if known and rows.min() >= 0 and rows.max() < count else None

    def search(self, query: np.ndarray, hidden: np.ndarray | None, want: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Rows that may be among the `want` nearest, and their similarities to three or four digits.

        Args:
            query: (length,), of unit length.
            hidden: bool (rows,), rows that do not count; None where all do.
            want: how many nearest must be among them.

        Returns:
            rows int64 rising, similarities float32, and by how much two of these may differ and still be in the wrong order.
        """
        turned = np.asarray(self._arrays["rotation"] @ query.astype(np.float32))
        rounded = _Rounded.of(turned - np.asarray(self._arrays["mean"]))
        middle = np.float32(np.asarray(self._arrays["mean"]) @ turned)
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            signs, estimates = self._estimates(rounded, middle, pool)
            if hidden is not None:
                estimates[hidden] = -np.inf
            rows = _leaders(estimates, min(max(_FIRST, 4 * want), len(estimates)))
            if not len(rows):
                return rows, np.empty(0, np.float32), 0.0
            scores = self._scores(rows, turned, pool)
            least = float(np.partition(scores, max(0, len(scores) - want))[max(0, len(scores) - want)])
            estimates[rows] = -np.inf
            reach = np.float32(_ERRORS * np.hypot(_NOISE, rounded.error) * rounded.size) * self._arrays["factor"]
            reach += estimates
            more = np.flatnonzero(reach >= least)
            more = more[self._reach_later(more, signs[more], rounded, middle, pool) >= least]
            if len(more):
                rows, scores = np.concatenate([rows, more]), np.concatenate([scores, self._scores(more, turned, pool)])
        order = np.argsort(rows)
        rows = rows[order]
        return rows, scores[order], _SAME_BYTES * float(self._arrays["scale"][rows].max(initial=0.0))

    def _estimates(self, query: _Rounded, middle: np.float32, pool: ThreadPoolExecutor) -> tuple[np.ndarray, np.ndarray]:
        """For every row the sum of the query's numbers, each with the sign of the row's, and what that says of the similarity."""
        arrays = self._arrays
        bits, ones, factor, base = arrays["bits"], arrays["ones"], arrays["factor"], arrays["base"]
        signs, found = np.empty(bits.shape[1], np.float32), np.empty(bits.shape[1], np.float32)

        def scan(start: int) -> None:
            here = slice(start, min(start + _BLOCK, len(found)))
            sums = query.summed((word[here] for word in bits), ones[here])
            # The numbers where the bit is set, less those where it is not.
            signs[here] = 2 * sums - np.float32(query.total)
            found[here] = signs[here] * factor[here] + base[here] + middle

        list(pool.map(scan, range(0, len(found), _BLOCK)))
        return signs, found

    def _reach_later(
        self, rows: np.ndarray, signs: np.ndarray, query: _Rounded, middle: np.float32, pool: ThreadPoolExecutor
    ) -> np.ndarray:
        """The largest similarity that some rows may have, by both bits of each number."""
        large, later, base = (self._arrays[name] for name in ("large", "later", "base"))
        reach = np.float32(_ERRORS_LATER * np.hypot(_NOISE_LATER, _QUERY_LATER * query.error) * query.size)
        found = np.empty(len(rows), np.float32)

        def some(start: int) -> None:
            here = slice(start, start + _FEWER)
            part = rows[here]
            words = np.ascontiguousarray(large.take(part, axis=0).T)
            above, below = np.split(words, 2)
            sums = query.summed(above, _all_ones(above)) - query.summed(below, _all_ones(below))
            products = np.float32(_SMALL) * signs[here] + np.float32(_LARGE - _SMALL) * sums
            found[here] = (products + reach) * later[part] + base[part] + middle

        list(pool.map(some, range(0, len(rows), _FEWER)))
        return found

    def _scores(self, rows: np.ndarray, turned: np.ndarray, pool: ThreadPoolExecutor) -> np.ndarray:
        codes, scale = self._arrays["codes"], self._arrays["scale"]

        def some(part: np.ndarray) -> np.ndarray:
            # Not by BLAS, whose own threads would wait for one another here.
            return np.einsum("ij,j->i", codes[part].astype(np.float32), turned) * scale[part]

        parts = np.array_split(rows, -(-len(rows) // _ROWS_AT_ONCE)) if len(rows) else [rows]
        return np.concatenate(list(pool.map(some, parts))).astype(np.float32, copy=False)


@dataclass(slots=True, frozen=True)
class _Rounded:
    """A query, less the mean, rounded to a few bits a number so that it can be compared bit by bit.

    Attributes:
        planes: of each bit, the least first, the numbers that have it, packed.
        low, step: a number is `low` and so many steps.
        total: the sum of the rounded numbers.
        size: the query's length, before rounding.
        error: what rounding took, as a share of that.
    """

    planes: list[np.ndarray]
    low: float
    step: float
    total: float
    size: float
    error: float

    @classmethod
    def of(cls, query: np.ndarray) -> _Rounded:
        """Rounded to even steps; made longer again so far that what points into the query's direction is not underestimated."""
        size = float(np.linalg.norm(query))
        most = 2**_QUERY_BITS - 1
        low = -_WIDEST * max(size, 1e-12) / np.sqrt(len(query))
        step = -2 * low / most
        codes = np.clip(np.rint((query - low) / step), 0, most).astype(np.uint8)
        rounded = low + step * codes.astype(np.float64)
        longer = size**2 / max(float(rounded @ query), 1e-24) if size else 1.0
        error = float(np.linalg.norm(longer * rounded - query)) / size if size else 0.0
        planes = [_packed(((codes >> bit) & 1)[None])[:, 0] for bit in range(_QUERY_BITS)]
        return cls(planes, longer * low, longer * step, longer * float(rounded.sum()), size, error)

    def summed(self, words: Iterable[np.ndarray], ones: np.ndarray) -> np.ndarray:
        """Of each row, the sum of those numbers whose bits are set in it.

        Args:
            words: the rows' bits, 64 of each row at a time: uint64 (rows,).
            ones: how many bits each row has.
        """
        rows = len(ones)
        both, few = np.empty(rows, np.uint64), np.empty(rows, np.uint8)
        some, counts = np.zeros((len(self.planes), rows), np.uint8), np.zeros((len(self.planes), rows), np.uint16)
        for number, word in enumerate(words, start=1):
            for plane, sums in zip(self.planes, some, strict=True):
                np.bitwise_and(word, plane[number - 1], out=both)
                sums += _ones(both, few)
            if number % _WORDS_A_BYTE == 0:
                counts += some
                some.fill(0)
        counts += some
        found = ones * np.float32(self.low)
        for bit, count in enumerate(counts):
            found += count * np.float32(self.step * 2**bit)
        return found


def _leaders(estimates: np.ndarray, count: int) -> np.ndarray:
    """About so many rows with the highest estimates, rising, and only finite ones."""
    sample = estimates[:: max(1, len(estimates) // (_SAMPLED * count))]
    place = max(0, len(sample) - max(1, count * len(sample) // len(estimates)))
    rows = np.flatnonzero(estimates >= np.partition(sample, place)[place])
    if not count // 2 <= len(rows) <= 4 * count:  # few count, or the sample was unlucky
        rows = np.sort(np.argpartition(estimates, len(estimates) - count)[len(estimates) - count :])
    return rows[estimates[rows] > -np.inf]


def _all_ones(words: np.ndarray) -> np.ndarray:
    """How many bits each row has in all its words."""
    few = np.empty(words.shape[1], np.uint8)
    count = np.zeros(len(few), np.uint16)
    for word in words:
        count += _ones(word, few)
    return count.astype(np.float32)


def _packed(bits: np.ndarray) -> np.ndarray:
    """0 and 1 of (rows, length) as uint64 (words, rows)."""
    bytes_ = np.packbits(bits, axis=1)
    short = -bytes_.shape[1] % 8
    if short:
        bytes_ = np.pad(bytes_, ((0, 0), (0, short)))
    return np.ascontiguousarray(bytes_).view("<u8").T


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
    size = connection.execute("PRAGMA page_count").fetchone()[0] * connection.execute("PRAGMA page_size").fetchone()[0]
    shown = read_places(connection, space, 0, size // 8)
    if not len(shown):
        return 0
    chunks, rows = np.unique(shown[:, 3], return_inverse=True)
    count = len(chunks)
    places, size = _offsets(count, length, len(shown))
    handle, name = tempfile.mkstemp(prefix=".sketch-", dir=path.parent)  # 0600: a sketch says as much of an image as its vector
    try:
        about = json.dumps({"space": space, "length": length, "revision": revision, "count": count, "places": len(shown)}).encode()
        os.write(handle, _MAGIC + about)
        os.truncate(handle, size)
        os.close(handle)
        arrays = {key: np.memmap(name, kind, "r+", offset, shape) for key, (offset, kind, shape) in places.items()}
        rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((length, length)))[0].astype(np.float32)
        arrays["rotation"][:] = rotation
        arrays["places"][:], arrays["rows"][:] = shown[:, :3], rows
        mean = (rotation @ _mean(vectors_of(connection, space, length, max(1, count // _SAMPLE)), length)).astype(np.float32)
        arrays["mean"][:] = mean
        done = 0
        for ids, some in vectors_of(connection, space, length):
            if done + len(ids) > count:
                raise BrokenContent("there are more vectors than it says")
            _fill(arrays, slice(done, done + len(ids)), ids, some @ rotation.T, mean)
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


def _mean(some: Iterator[tuple[list[int], np.ndarray]], length: int) -> np.ndarray:
    sums, taken = np.zeros(length), 0
    for _ids, rows in some:
        sums += rows.sum(axis=0, dtype=np.float64)
        taken += len(rows)
    return sums / max(taken, 1)


def _fill(arrays: dict[str, Any], here: slice, ids: list[int], turned: np.ndarray, mean: np.ndarray) -> None:
    rest = turned - mean
    squares, sizes = np.einsum("ij,ij->i", rest, rest), np.abs(rest).sum(axis=1)
    large = np.abs(rest) > (_BETWEEN / np.sqrt(rest.shape[1])) * np.sqrt(squares)[:, None]
    levels = _SMALL * sizes + (_LARGE - _SMALL) * np.where(large, np.abs(rest), 0).sum(axis=1)
    scale = np.maximum(np.abs(turned).max(axis=1), 1e-12) / 127
    arrays["chunks"][here] = ids
    arrays["ones"][here] = np.count_nonzero(rest > 0, axis=1)
    arrays["base"][here] = rest @ mean
    arrays["factor"][here] = squares / np.maximum(sizes, 1e-12)
    arrays["later"][here] = squares / np.maximum(levels, 1e-12)
    arrays["scale"][here] = scale
    arrays["large"][here] = np.vstack([_packed(large & (rest > 0)), _packed(large & (rest < 0))]).T
    arrays["bits"][:, here] = _packed(rest > 0)
    arrays["codes"][here] = np.rint(turned / scale[:, None]).astype(np.int8)


def vectors_of(connection: sqlite3.Connection, space: int, length: int, step: int = 1) -> Iterator[tuple[list[int], np.ndarray]]:
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
