"""Benchmark: the search index against bare NumPy and the bare bytes, with made-up vectors.

    python3 scripts/bench/search_index.py [--vectors 100000] [--length 1024] [--thumbnail 0] [--slices 50000] [--folder DIR] [--json FILE]

Prints, with the bound that each is held to: search time over that of `matrix @ query` on the same matrix in the same run (1.5), opening
with all vectors in memory, in a process of its own (2 s), adding 1,000 vectors to the full index (1 s), and file size over raw vectors
plus thumbnails (1.1). Bare product and search take turns; figures are medians. fill_s is what filling an array of that size costs by itself in the process
that opens the index. Outliers: --slices slices in series that change from slice to slice, half of them the reference set; `outliers` on their index
beside scikit-learn's NearestNeighbors (brute force, which is its fastest in so many dimensions) on an .npy file of them, each a whole
process: time on the clock and of the processor, memory, and by how much the distances differ. The file is on the disk of --folder; it has just been written, so it is read from the system's cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "bench"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import measuring

from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.records import Provenance, Record

PROVENANCE = Provenance("made up", "", "benchmark", "none")
SLICES = 200  # of a series
TURNS = 15
OPENINGS = 3
BOUNDS = {"search_ratio": 1.5, "search_filtered_ratio": 1.5, "open_s": 2.0, "add_1000_s": 1.0, "size_ratio": 1.1}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.open:
        print(json.dumps(_open(options.open)))
        return 0
    if options.outliers:
        print(json.dumps(_outliers(options.outliers[0], Path(options.outliers[1]))))
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = measure(Path(folder) / "benchmark.index", options.vectors, options.length, options.thumbnail)
        if options.slices:
            figures |= outlier_figures(Path(folder), options.slices, options.length)
    for name, value in figures.items():
        bound = f"   at most {BOUNDS[name]:g}: {'yes' if value <= BOUNDS[name] else 'NO'}" if name in BOUNDS else ""
        print(f"{name:28s} {value:>12.4g}{bound}")
    if options.json:
        options.json.write_text(json.dumps({"machine": platform.platform(), "cpus": os.cpu_count(), **figures}, indent=1) + "\n")
    return 0 if all(figures[name] <= bound for name, bound in BOUNDS.items()) else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--vectors", type=int, default=100_000, help="how many (default 100000)")
    parser.add_argument("--length", type=int, default=1024, help="numbers in a vector (default 1024)")
    parser.add_argument("--thumbnail", type=int, default=0, metavar="BYTES", help="size of the thumbnails (default none)")
    parser.add_argument("--slices", type=int, default=50_000, metavar="N", help="for outliers (default 50000; 0 leaves them out)")
    parser.add_argument("--outliers", nargs=2, metavar=("WAY", "DIR"), help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--folder", type=Path, help="where to write the index (default the system's temporary folder)")
    parser.add_argument("--open", type=Path, metavar="FILE", help="only open this index of a benchmark, and print how long that takes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    if min(options.vectors, options.length) < 1 or options.thumbnail < 0:
        parser.error("--vectors and --length are at least 1.")
    return options


def measure(path: Path, count: int, length: int, thumbnail: int) -> dict[str, float]:
    """All figures for an index of `count` vectors at `path`."""
    random = np.random.default_rng(1)
    start = time.perf_counter()
    with EmbeddingIndex.open(path) as index:
        for first in range(0, count, 5000):
            index.add(_records(random, first, min(first + 5000, count), length, thumbnail), PROVENANCE)
    figures = {"vectors": count, "length": length, "thumbnail_bytes": thumbnail, "build_s": time.perf_counter() - start}
    figures |= measuring.medians([measuring.in_own_process(Path(__file__), ["--open", str(path)]) for _ in range(OPENINGS)])
    with EmbeddingIndex.open(path) as index:
        _, matrix = index.vectors(PROVENANCE)
        figures |= _search(index, matrix, random)
        figures["size_ratio"] = path.stat().st_size / (count * (length * 4 + thumbnail))
        more = list(_records(random, count, count + 1000, length, thumbnail))
        start = time.perf_counter()
        index.add(more, PROVENANCE)
        figures["add_1000_s"] = time.perf_counter() - start
        start = time.perf_counter()
        index.search(more[-1].vector, provenance=PROVENANCE)
        figures["first_search_after_add_s"] = time.perf_counter() - start
        start = time.perf_counter()
        is_sound = index.check().is_sound
        figures["check_s"] = time.perf_counter() - start
    if not is_sound:
        raise SystemExit("The index that was written is not sound.")
    return figures


def _open(path: Path) -> dict[str, float]:
    """How long it takes until all vectors are in memory, and what filling as much memory costs by itself."""
    start = time.perf_counter()
    with EmbeddingIndex.open(path, create=False) as index:
        opened = time.perf_counter()
        _, matrix = index.vectors(PROVENANCE)
        ready = time.perf_counter()
        np.empty_like(matrix).fill(1.0)
        return {"open_file_s": opened - start, "open_s": ready - start, "fill_s": time.perf_counter() - ready}


def outlier_figures(folder: Path, slices: int, length: int) -> dict[str, float]:
    """Ours and scikit-learn's, each in a process of its own."""
    random = np.random.default_rng(2)
    directions = random.standard_normal((64, length)).astype(np.float32) / 8
    path, rows = folder / "outliers.index", []
    with EmbeddingIndex.open(path) as index:
        for series in range(slices // SLICES):
            walk = random.standard_normal(64) + np.cumsum(0.15 * random.standard_normal((SLICES, 64)), axis=0)
            own = walk.astype(np.float32) @ directions + 0.15 * random.standard_normal((SLICES, length)).astype(np.float32)
            own /= np.linalg.norm(own, axis=1, keepdims=True)
            rows.append(own)
            source = f"/archive/{'usual' if series % 2 else 'new'}/{series}.nii.gz"
            first = series * SLICES
            index.add(
                (
                    Record(
                        hashlib.sha256(str(first + place).encode()).hexdigest(),
                        "slice",
                        source,
                        _series(series),
                        "axial",
                        place,
                        vector=one,
                    )
                    for place, one in enumerate(own)
                ),
                PROVENANCE,
            )
    np.save(folder / "outliers.npy", np.concatenate(rows))
    figures: dict[str, float] = {}
    distances = {}
    for way in ("ours", "sklearn"):
        start = time.perf_counter()
        try:
            said = measuring.in_own_process(Path(__file__), ["--outliers", way, str(folder)])
        except measuring.CannotMeasure as error:
            print(error, file=sys.stderr)
            continue
        figures |= {f"outliers_{way}_process_s": time.perf_counter() - start, f"outliers_{way}_processor_s": said["processor_s"]}
        figures[f"outliers_{way}_peak_MB"] = said["peak_MB"]
        distances[way] = np.load(folder / f"outliers-{way}.npy")
    if len(distances) == 2:
        figures["outliers_process_ratio"] = figures["outliers_ours_process_s"] / figures["outliers_sklearn_process_s"]
        figures["outliers_processor_ratio"] = figures["outliers_ours_processor_s"] / figures["outliers_sklearn_processor_s"]
        figures["outliers_largest_difference"] = float(np.abs(distances["ours"] - distances["sklearn"]).max())
    return figures


def _outliers(way: str, folder: Path) -> dict[str, float | None]:
    """Distances of the new slices to the reference set, and of its members to one another, into a file; what it took."""
    if way == "ours":
        from MedImageParseLib.tasks.outliers import find_outliers

        with EmbeddingIndex.open(folder / "outliers.index", create=False) as index:
            found = find_outliers(index, ["/archive/usual"])
        by_id = {item.id: item.distance for item in [*found.items, *found.members]}
        distances = np.array([by_id[number] for number in sorted(by_id)])
    else:
        from sklearn.neighbors import NearestNeighbors

        vectors = np.load(folder / "outliers.npy")
        usual = np.arange(len(vectors)) // SLICES % 2 == 1
        nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(vectors[usual])
        distances = np.empty(len(vectors))
        distances[usual] = nearest.kneighbors()[0][:, 0]
        distances[~usual] = nearest.kneighbors(vectors[~usual])[0][:, 0]
    np.save(folder / f"outliers-{way}.npy", distances)
    return {"processor_s": time.process_time(), "peak_MB": measuring.peak_mb()}


def _search(index: EmbeddingIndex, matrix: np.ndarray, random: np.random.Generator) -> dict[str, float]:
    times: dict[str, list[float]] = {"bare": [], "search": [], "filtered": []}
    for turn in range(TURNS + 1):
        query = random.standard_normal(matrix.shape[1]).astype(np.float32)
        query /= np.linalg.norm(query)
        start = time.perf_counter()
        matrix @ query
        middle = time.perf_counter()
        index.search(query, provenance=PROVENANCE)
        late = time.perf_counter()
        index.search(query, provenance=PROVENANCE, exclude_series=_series(0), kinds=["slice"])
        if turn:  # the first one warms up
            times["bare"].append(middle - start)
            times["search"].append(late - middle)
            times["filtered"].append(time.perf_counter() - late)
    bare, search, filtered = (statistics.median(times[name]) for name in ("bare", "search", "filtered"))
    ratios = {"search_ratio": search / bare, "search_filtered_ratio": filtered / bare}
    return {"bare_product_s": bare, "search_s": search, **ratios}


def _records(random: np.random.Generator, first: int, last: int, length: int, thumbnail: int):
    vectors = random.standard_normal((last - first, length)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for number, vector in zip(range(first, last), vectors):
        series, place = divmod(number, SLICES)
        yield Record(
            content_hash=hashlib.sha256(str(number).encode()).hexdigest(),
            source=f"/archive/hospital/department/2026/study-{series // 3:06d}/series-{series:06d}.nii.gz",
            series=_series(series),
            plane="axial",
            slice_index=place,
            position={"spacing_mm": [0.7, 0.7, 1.5], "size": [512, 512, SLICES], "window": [-150, 250], "offset_mm": place * 1.5},
            thumbnail=random.bytes(thumbnail),
            vector=vector,
        )


def _series(number: int) -> str:
    return hashlib.sha256(f"series {number}".encode()).hexdigest()[:32]


if __name__ == "__main__":
    sys.exit(main())
