"""Benchmark: an index run against an endpoint with latency, several requests at once, compared with the ideal time.

    python3 scripts/bench/embed_throughput.py [--slices 2000] [--latency-ms 50] [--at-once 8] [--batch 4] [--json FILE]

A made-up CT of 512x512 slices goes into a new index, thumbnails and all; the endpoint is the test suite's double in a process of its
own, which waits the latency for each image, as a model that looks at one image after another does. Ideal is slices x latency / at once.
No model takes part, and nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment

_SERVER = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from doubles.insight import InsightDouble
double = InsightDouble(latency_s=float(sys.argv[2]), fast=True)
with double.serve() as url:
    print(url, flush=True)
    sys.stdin.readline()
print(double.peak, len(double.rows), len(double.requests), flush=True)
"""


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(ROOT / "Testing"), str(options.latency_ms / 1000)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = server.stdout.readline().strip()
        results = _run(options, url)
        server.stdin.write("\n")
        server.stdin.flush()
        peak, rows, requests = (int(number) for number in server.stdout.readline().split())
    finally:
        server.terminate()
        server.wait()
    results |= {"peak_in_flight": peak, "images_seen": rows, "requests": requests}
    print(
        f"{results['slices']} slices, {options.latency_ms:g} ms an image, {options.at_once} at once (peak {peak}), {requests} requests: "
        f"{results['seconds']:.2f} s, ideal {results['ideal_s']:.2f} s, ratio {results['ratio']:.3f}; index {results['index_mb']:.1f} MB"
    )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--slices", default=2000, type=int)
    parser.add_argument("--latency-ms", default=50.0, type=float, help="for each image")
    parser.add_argument("--at-once", default=8, type=int)
    parser.add_argument("--batch", default=4, type=int, help="images in a request")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    options = parser.parse_args(arguments)
    if options.slices < 1 or options.latency_ms < 0:
        parser.error("There must be at least one slice and no negative latency.")
    return options


def _volume(slices: int):
    """A disk of soft tissue with noise and a bone that wanders; no two slices alike."""
    import numpy as np

    from MedImageParseLib.imaging.volume import Volume

    random = np.random.default_rng(1)
    row, column = np.mgrid[:512, :512] - 256
    body = np.where(row**2 + column**2 < 220**2, 40, -1000).astype(np.int16)
    noise = random.integers(-15, 16, (16, 512, 512), dtype=np.int16)
    voxels = np.empty((slices, 512, 512), np.int16)
    for k in range(slices):
        voxels[k] = body + noise[k % 16]
        top, left = 100 + k % 300, 150 + k // 300 * 20
        voxels[k, top : top + 12, left : left + 12] = 600
    return Volume(voxels, np.diag([-0.7, -0.7, 1.0, 1.0]), "CT")


def _run(options: argparse.Namespace, url: str) -> dict:
    from MedImageParseLib import index_add

    volume = _volume(options.slices)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bench.index")
        start = time.perf_counter()
        result = index_add(path, volume, endpoint=url, at_once=options.at_once, batch=options.batch)
        seconds = time.perf_counter() - start
        size = path.stat().st_size / 1e6
    if result.failure or result.embedded != options.slices:
        raise SystemExit(f"error: {result.failure or 'not every slice was embedded'}")
    ideal = options.slices * options.latency_ms / 1000 / options.at_once
    return {
        "slices": options.slices, "latency_ms": options.latency_ms, "at_once": options.at_once, "batch": options.batch,
        "seconds": seconds, "ideal_s": ideal, "ratio": seconds / max(ideal, 1e-9), "index_mb": size,
        "timings_s": result.report["timings_s"], "cores": os.cpu_count(), "python": platform.python_version(),
    }  # fmt: skip


if __name__ == "__main__":
    environment.reexec_if_present()
    sys.exit(main())
