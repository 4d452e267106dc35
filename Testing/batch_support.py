"""A cohort of small cases, an endpoint that counts what it is sent and fails where it is told, and a way to run `batch` on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
from places import LIBRARY

from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges

RANGES = {"liver": (90, 110), "spleen": (190, 210)}
FAILS = 150  # a voxel of this value in the volume's first corner: the model fails on it
SHAPE = (10, 12, 14)


def write_case(path: Path, number: int, *, fails: bool = False) -> None:
    """A volume that no other number has, with a liver of 60 voxels and a spleen of 18."""
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[2:5, 3:7, 3:8], voxels[7:9, 3:6, 3:6] = 100, 200
    voxels[0, 1, :4] = [number % 80, number // 80, 1, 2]
    voxels[0, 0, 0] = FAILS if fails else 0
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([1.0, 1.0, 2.0, 1.0])), path)


class CountingDouble(EndpointDouble):
    """Answers with the truth, and 424 as the published server does where the model fails."""

    def __init__(self) -> None:
        super().__init__(GrayRanges(RANGES))
        self._local = threading.local()

    def answer(self, body: bytes, headers: dict[str, str] | None = None, path: str = "") -> bytes:
        reply = super().answer(body, headers, path)
        self._local.fails = FAILS in np.asarray(self.seen_as(body).nifti().dataobj)
        return reply

    def tampered(self, reply: bytes) -> bytes | tuple[int, str, bytes]:
        if self._local.fails:
            return 424, "application/json", json.dumps({"error": "the model failed"}).encode()
        return super().tampered(reply)

    @staticmethod
    def seen_as(body: bytes):
        from doubles.endpoint import take_apart

        return take_apart(body)

    def on_the_wire(self) -> Counter[bytes]:
        """How often each request came."""
        return Counter(seen.body for seen in list(self.seen))


def batch_words(folder: Path, url: str, *more: str) -> list[str]:
    words = ["batch", str(folder / "images"), "--output-dir", str(folder / "out"), "--endpoint", url]
    return [*words, "--model", "medimageparse3d", "--prompt", "liver & spleen", "--slabs", "none", "--window", "raw", *more]


def start(words: list[str], **more) -> subprocess.Popen:
    """The program as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    command = [sys.executable, "-m", "MedImageParseLib", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def lines_of(folder: Path) -> dict[str, dict]:
    """The last line of each case, read with json alone."""
    entries = [json.loads(line) for line in (folder / "batch.jsonl").read_text().splitlines() if line.endswith("}")]
    return {entry["id"]: entry for entry in entries}
