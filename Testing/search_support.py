"""Made-up records, and a child process that works on an index."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from MedImageParseLib.search.records import Provenance, Record

LIBRARY = Path(__file__).resolve().parents[1] / "MedImageParseExtension" / "MedImageParse"
SPACE = Provenance("medimageinsight", "blue", "", "window -150..250")


def unit_vectors(count: int, length: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, length))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def hash_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def made_up(numbers, length: int = 32, thumbnail_bytes: int = 20) -> list[Record]:
    """One record for each number; a number always gives the same record."""
    return [
        Record(
            content_hash=hash_of(number),
            kind="slice" if number % 5 else "picture",
            source=f"/studies/{number // 10}.nii.gz",
            series=f"series-{number // 10}",
            plane="axial",
            slice_index=number % 10,
            position={"spacing_mm": [0.5, 0.5, 2.0], "offset_mm": number / 4},
            thumbnail=hash_of(number).encode()[:1] * thumbnail_bytes,
            vector=unit_vectors(1, length, seed=number)[0],
            added="2026-01-02T03:04:05Z",
        )
        for number in numbers
    ]


def in_child(code: str, *arguments: object, **options) -> subprocess.Popen:
    """A Python process with the library and this file on its path."""
    paths = os.pathsep.join([str(LIBRARY), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def same_record(one: Record, other: Record) -> bool:
    fields = ("content_hash", "kind", "source", "series", "plane", "slice_index", "position", "thumbnail", "added")
    return all(getattr(one, name) == getattr(other, name) for name in fields)
