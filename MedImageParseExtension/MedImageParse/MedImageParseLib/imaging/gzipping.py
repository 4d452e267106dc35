"""Gzip made on several processors: zlib lets other threads work while it compresses, and pieces can be compressed apart.

Formats: RFC 1951 (deflate), RFC 1952 (gzip).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time
WORKERS = min(4, os.cpu_count() or 1)


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
