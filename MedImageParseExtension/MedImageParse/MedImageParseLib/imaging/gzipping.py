"""Gzip made on several processors (zlib lets other threads work while it compresses, and pieces can be compressed apart), and read only as
far as is asked for.

Formats: RFC 1951 (deflate), RFC 1952 (gzip).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ..errors import InputError

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time
WORKERS = min(4, os.cpu_count() or 1)
GZIP_MAGIC = b"\x1f\x8b"
# Inflating goes in pieces that stay in the processor's cache: 16 KB in (zlib copies what it has not used at every step), 64 KB out.
_PACKED, _UNPACKED = 1 << 14, 1 << 16
_ZEROS = bytes(_UNPACKED)


def gzip_pieces(pieces: Iterable[bytes | memoryview], level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> Iterator[bytes]:
    """One gzip member of all pieces together, the same bytes on any number of processors.

    Args:
        pieces: what to compress, in order, about a megabyte each: smaller ones find fewer repeats. They must not change afterwards.
        level: 1 (fast) to 9.
        strategy: zlib's.

    Yields:
        the member in order, a piece for each piece, with its beginning and end.
    """

    def deflate(piece: bytes | memoryview) -> bytes:
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, strategy=strategy)
        # A full flush ends on a whole byte, and nothing after it refers to what is before.
        return packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)

    checksum, length = 0, 0
    coming: deque[Future[bytes]] = deque()
    yield _HEADER
    with ThreadPoolExecutor(WORKERS) as pool:
        for piece in pieces:
            coming.append(pool.submit(deflate, piece))
            checksum, length = zlib.crc32(piece, checksum), length + len(piece)
            if len(coming) > 2 * WORKERS:  # no more of them stand in memory
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    yield zlib.compressobj(level, zlib.DEFLATED, -15).flush() + struct.pack("<II", checksum, length & 0xFFFFFFFF)


class PlainBytes:
    """Bytes that are not packed, read in the same way."""

    def __init__(self, data: bytes):
        self._data = memoryview(data)

    def read_into(self, target: memoryview) -> int:
        """Fill `target` as far as there is data; returns how many bytes there were."""
        size = min(len(target), len(self._data))
        target[:size] = self._data[:size]
        self._data = self._data[size:]
        return size

    def ended_well(self) -> bool:
        """Whether nothing is missing at the end, which plain bytes cannot tell."""
        return True


class Inflater:
    """Inflates gzip (several members too) only as far as asked, so that a small file cannot fill the memory."""

    def __init__(self, data: bytes):
        self._data = memoryview(data)
        self._at = 0
        self._inflate = zlib.decompressobj(31)

    def read_into(self, target: memoryview) -> int:
        """Fill `target`, which must hold zeros, as far as there is data; returns how many bytes there were."""
        done = 0
        while done < len(target):
            piece = self._more(min(len(target) - done, _UNPACKED))
            if not piece:
                break
            if piece != _ZEROS:  # most of a mask is background, and comparing costs less than touching new memory
                target[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def ended_well(self) -> bool:
        """Whether the gzip is whole; its checksum is compared by zlib on the way. Bytes after the last voxel are passed over."""
        while self._more(_UNPACKED):
            pass
        return self._inflate.eof

    def _more(self, size: int) -> bytes:
        try:
            while True:
                if self._inflate.eof:
                    following = self._at - len(self._inflate.unused_data)
                    if self._data[following : following + 2] != GZIP_MAGIC:
                        return b""  # zero padding after the end is common and harmless
                    self._at, self._inflate = following, zlib.decompressobj(31)
                chunk: bytes | memoryview = self._inflate.unconsumed_tail
                if not chunk:
                    chunk = self._data[self._at : self._at + _PACKED]
                    self._at += len(chunk)
                piece = self._inflate.decompress(chunk, size)
                if piece:
                    return piece
                if self._inflate.eof:
                    continue
                if not self._inflate.unconsumed_tail and self._at == len(self._data):
                    return b""
        except zlib.error as error:
            raise InputError("The NIfTI file is damaged: its gzip cannot be unpacked.") from error
