"""A cohort through `batch`: against the ideal of the endpoint, against a shell loop of `segment`, and its memory.

    python scripts/bench/batch_cohort.py [--cases 60] [--size 256x256x100] [--seconds 8] [--at-once 8] [--loop 4] [--many 500] [--json FILE]

The endpoint is a thread of this script that takes `--seconds` for each request and serves `--at-once` of them at the same time; the rest
wait. Ideal is cases · seconds / at once. The loop is measured on a few cases and taken for all. Memory: `--many` small cases in one
process; the slope of its resident memory over the last four fifths, in kB a case.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import made_up
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = [sys.executable, str(ROOT / "scripts" / "mip.py")]
_ASK = ["--model", "medimageparse3d", "--prompt", "liver", "--slabs", "none", "--quiet"]


class Endpoint:
    """Takes `seconds` a request, serves `at_once`, and answers with a mask for volumes of one size."""

    def __init__(self, shape_kji: tuple[int, int, int], seconds: float, at_once: int):
        reply, room = made_up.reply("labelmap", 1, shape_kji), threading.Semaphore(at_once)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                left = int(self.headers["Content-Length"])
                while left:
                    left -= len(self.rfile.read(min(left, 2**20)))
                with room:
                    time.sleep(seconds)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_arguments: object) -> None:
                """Nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/score"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """No more."""
        self._server.shutdown()
        self._server.server_close()


def write_cases(folder: Path, count: int, shape_kji: tuple[int, int, int]) -> list[Path]:
    """CT-like volumes that differ in one voxel, as .nii.gz."""
    import nibabel

    voxels, paths = made_up.volume(shape_kji), []
    for number in range(count):
        voxels[0, 0, :2] = number, number // 2
        image = nibabel.Nifti1Image(np.ascontiguousarray(voxels.T), made_up.ijk_to_ras(shape_kji))
        paths.append(folder / f"case{number:04}.nii.gz")
        nibabel.save(image, paths[-1])
    return paths


def timed(words: list[str]) -> float:
    """Seconds of a command from its start to its end."""
    start = time.perf_counter()
    subprocess.run([*_PROGRAM, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def throughput(given: argparse.Namespace, shape_kji: tuple[int, int, int], folder: Path) -> dict:
    """The batch beside the ideal and the loop."""
    paths = write_cases(folder, given.cases, shape_kji)
    endpoint = Endpoint(shape_kji, given.seconds, given.at_once)
    try:
        many = [
            "batch",
            str(folder),
            "--output-dir",
            str(folder.parent / "out"),
            "--endpoint",
            endpoint.url,
            "--at-once",
            str(given.at_once),
        ]
        batch_s = timed([*many, *_ASK])
        one = folder.parent / "one.seg.nrrd"
        loop = [timed(["segment", str(path), "--output", str(one), "--endpoint", endpoint.url, *_ASK]) for path in paths[: given.loop]]
    finally:
        endpoint.close()
    loop_s = sum(loop) / len(loop) * given.cases
    ideal_s = math.ceil(given.cases / given.at_once) * given.seconds
    return {
        "cases": given.cases,
        "ideal_s": given.cases * given.seconds / given.at_once,
        "ideal_whole_rounds_s": ideal_s,
        "batch_s": round(batch_s, 2),
        "batch / ideal": round(batch_s / (given.cases * given.seconds / given.at_once), 3),
        "loop_s": round(loop_s, 1),
        "loop / batch": round(loop_s / batch_s, 2),
    }


def memory(given: argparse.Namespace, folder: Path) -> dict:
    """Resident memory after each case of a long batch of small volumes, in a process of its own."""
    shape = (24, 96, 96)
    write_cases(folder, given.many, shape)
    endpoint = Endpoint(shape, 0.0, 4)
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(folder), str(folder.parent / "many"), endpoint.url],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        endpoint.close()
    sizes = np.array(json.loads(done.stdout.splitlines()[-1]))
    last = sizes[len(sizes) // 5 :]
    slope = np.polyfit(np.arange(len(last)), last, 1)[0]
    return {
        "cases": given.many,
        "counted": len(last),
        "kB a case": round(float(slope), 1),
        "MB at the end": round(float(sizes[-1]) / 1000, 1),
    }


def _measure(images: str, out: str, url: str) -> None:
    sys.path.insert(0, str(ROOT / "MedImageParseExtension" / "MedImageParse"))
    from MedImageParseLib.api.batch import batch

    sizes: list[int] = []

    def look(_stage: str, _done: float, _total: float) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE") // 1000)

    batch(images, "liver", model="medimageparse3d", output_dir=out, endpoint=url, slabs="none", progress=look)
    print(json.dumps(sizes))


def main() -> int:
    """Measure and print. Returns 0."""
    if sys.argv[1:2] == ["--measure"]:
        _measure(*sys.argv[2:5])
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, kind, default in (("cases", int, 60), ("seconds", float, 8.0), ("at-once", int, 8), ("loop", int, 4), ("many", int, 500)):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--size", default="256x256x100", help="along i, j, k")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    across, down, deep = (int(part) for part in given.size.split("x"))
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        for name in ("images", "small"):
            (Path(place) / name).mkdir()
        if given.cases:
            figures["throughput"] = throughput(given, (deep, down, across), Path(place) / "images")
            print(json.dumps(figures["throughput"], indent=1), flush=True)
        if given.many:
            figures["memory"] = memory(given, Path(place) / "small")
            print(json.dumps(figures["memory"], indent=1), flush=True)
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
