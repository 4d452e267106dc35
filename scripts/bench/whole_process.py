"""A run as a person starts it, from the command to its end: a server that answers at once, and the two commands.

The endpoint is a thread of the benchmark's own process that answers every request with a reply that was made before, so that the time
at the endpoint is next to nothing, and the same for both ways.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import measuring

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def endpoint(replies: dict[str, bytes]) -> Iterator[str]:
    """A server on loopback; yields its address. `replies`: body by path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            left = int(self.headers.get("Content-Length", 0))
            while left:
                left -= len(self.rfile.read(min(left, 2**20)))
            body = replies[self.path]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def command(way: str, image: Path, url: str, prompts: list[str], folder: Path) -> list[str]:
    """What a person types: ours with a .seg.nrrd to write, the sample as a script that writes one .nii.gz a structure."""
    if way == "sample":
        return [sys.executable, str(Path(__file__).with_name("sample_way.py")), str(image), url, str(folder), *prompts]
    ours = [sys.executable, str(ROOT / "scripts" / "mip.py"), "segment", str(image), "--model", "medimageparse3d", "--endpoint", url]
    asked = [part for prompt in prompts for part in ("--prompt", prompt)]
    return [*ours, *asked, "--output", str(folder / "structures.seg.nrrd"), "--slabs", "none", "--quiet"]


def measure(arguments: list[str]) -> dict:
    """Run a command to its end, started by a small process: a system counts the memory of who starts a process as that process's own.

    Returns:
        {"seconds", "cpu_seconds", "peak_mb"}: of the whole process, its start and its imports included.

    Raises:
        CannotMeasure: it failed, or the system does not tell.
    """
    if not hasattr(os, "wait4"):
        raise measuring.CannotMeasure("This system does not tell a process's memory; leave the whole process out (--steps).")
    return measuring.in_own_process(Path(__file__), arguments)


def voxels_written(way: str, folder: Path, prompts: list[str]) -> list[int]:
    """Voxels of each structure in the files that a run wrote, to see that both ways end in the same."""
    import nibabel
    import numpy as np
    import SimpleITK

    if way == "sample":
        return [int(np.count_nonzero(nibabel.load(folder / f"{name}.nii.gz").dataobj)) for name in prompts]
    image = SimpleITK.ReadImage(str(folder / "structures.seg.nrrd"))
    voxels = SimpleITK.GetArrayFromImage(image)
    voxels = voxels[..., np.newaxis] if voxels.ndim == 3 else voxels
    found = {}
    for number in range(len(prompts)):
        name, layer, value = (image.GetMetaData(f"Segment{number}_{key}") for key in ("Name", "Layer", "LabelValue"))
        found[name] = int(np.count_nonzero(voxels[..., int(layer)] == int(value)))
    return list(found.values())


def _measure_here(arguments: list[str]) -> dict:
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=sys.stderr)
    _pid, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(1)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {"seconds": round(seconds, 4), "cpu_seconds": round(used.ru_utime + used.ru_stime, 4), "peak_mb": round(peak, 1)}


if __name__ == "__main__":
    print(json.dumps(_measure_here(sys.argv[1:])))
