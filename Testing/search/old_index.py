"""An index of format 1, written by hand from its description: nothing of the product writes it any more."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np

from MedImageParseLib.search.records import KINDS, Provenance, Record

TABLES = """
CREATE TABLE spaces (id INTEGER PRIMARY KEY, model TEXT NOT NULL, deployment TEXT NOT NULL, engine TEXT NOT NULL,
  preprocessing TEXT NOT NULL, length INTEGER NOT NULL, UNIQUE (model, deployment, engine, preprocessing));
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL, hash BLOB NOT NULL, chunk INTEGER NOT NULL,
  kind INTEGER NOT NULL, slice INTEGER NOT NULL, source INTEGER NOT NULL, series INTEGER NOT NULL, plane INTEGER NOT NULL,
  position INTEGER NOT NULL, added INTEGER NOT NULL);
CREATE UNIQUE INDEX records_by_hash ON records (hash, space);
CREATE TABLE thumbnails (id INTEGER PRIMARY KEY, png BLOB NOT NULL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL, revision INTEGER NOT NULL, count INTEGER NOT NULL,
  made_by TEXT NOT NULL, described BLOB NOT NULL, vectors BLOB NOT NULL);
PRAGMA application_id = 0x4D495049;
PRAGMA user_version = 1;
"""
DESCRIBED = np.dtype([("id", "<i8"), ("series", "<i4"), ("kind", "<u4"), ("checksum", "<u8")])
PER_BLOCK = 7


def checksum(vector: np.ndarray) -> int:
    """The sum of the vector's 64-bit words times odd weights, modulo 2^64, in Python's whole numbers."""
    data = vector.astype("<f4").tobytes()
    data += bytes(-len(data) % 8)
    odd = 0x9E3779B97F4A7C15
    words = [int.from_bytes(data[start : start + 8], "little") for start in range(0, len(data), 8)]
    return (sum(word * (2 * place + 1) * odd for place, word in enumerate(words)) + odd) % 2**64


def write_old_index(path: Path, spaces: dict[Provenance, list[Record]]) -> None:
    """One block of vectors for every seven records."""
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA page_size = 65536;" + TABLES)
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        if text not in texts:
            texts[text] = len(texts) + 1
            connection.execute("INSERT INTO texts VALUES (?, ?)", (texts[text], text))
        return texts[text]

    record_id = 0
    for space, (provenance, records) in enumerate(spaces.items(), start=1):
        connection.execute("INSERT INTO spaces VALUES (?, ?, ?, ?, ?, ?)", (space, *provenance.as_tuple, records[0].vector.size))
        for start in range(0, len(records), PER_BLOCK):
            part = records[start : start + PER_BLOCK]
            described = np.zeros(len(part), DESCRIBED)
            block = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM chunks").fetchone()[0]
            for row, record in enumerate(part):
                record_id += 1
                position = json.dumps(record.position, sort_keys=True, separators=(",", ":"))
                numbers = [number(text) for text in (record.source, record.series, record.plane, position, record.added)]
                kind = KINDS.index(record.kind)
                described[row] = (record_id, numbers[1], kind, checksum(record.vector))
                values = (record_id, space, bytes.fromhex(record.content_hash), block, kind, record.slice_index, *numbers)
                connection.execute(f"INSERT INTO records VALUES ({', '.join('?' * 11)})", values)
                connection.execute("INSERT INTO thumbnails VALUES (?, ?)", (record_id, record.thumbnail))
            vectors = np.stack([record.vector for record in part]).astype("<f4").tobytes()
            made_by = json.dumps(provenance.as_tuple)
            connection.execute(
                "INSERT INTO chunks VALUES (?, ?, 5, ?, ?, ?, ?)", (block, space, len(part), made_by, described.tobytes(), vectors)
            )
    connection.commit()
    connection.close()
