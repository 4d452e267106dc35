"""Gzip read only as far as is asked for. Formats: RFC 1951 (deflate), RFC 1952 (gzip)."""

from __future__ import annotations

import zlib

from ..errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
# Inflating goes in pieces that stay in the processor's cache: 16 KB in (zlib copies what it has not used at every step), 64 KB out.
_PACKED, _UNPACKED = 1 << 14, 1 << 16
_ZEROS = bytes(_UNPACKED)


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
