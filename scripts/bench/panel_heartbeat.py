"""How alive the window stays: `python3 scripts/bench/panel_heartbeat.py [--shape 300x512x512] [--masks 10]`.

The panel runs in the headless Slicer of Testing/host, with Qt's loop holding the GIL as Slicer's does, against an endpoint in another
process that finds structures by their gray values. A timer of the window ticks every 5 ms; a gap between two ticks is a stall. Printed:
the longest stall while a job is under way and during its import, the same job in plain Python without a window, and how long Cancel
takes in each stage.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "MedImageParseExtension" / "MedImageParse"
sys.path[:0] = [str(ROOT / "scripts"), str(MODULE), str(ROOT / "Testing")]

import environment

_TICK_MS = 5
_STAGES = ("queued", "preparing", "running", "model working", "importing")
_SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges
double = EndpointDouble(GrayRanges({f"box {n}": (20 * n + 5, 20 * n + 15) for n in range(1, int(sys.argv[2]) + 1)}))
with double.serve() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def make_volume(shape_kji: tuple[int, int, int], masks: int):
    """int16: noise below zero, and a box of one gray value for each mask."""
    import numpy as np

    from MedImageParseLib.imaging.volume import Volume

    voxels = np.random.default_rng(1).normal(-500, 60, shape_kji).clip(-1000, -100).astype(np.int16)
    depth, height, width = shape_kji
    for number in range(1, masks + 1):
        left = (number - 1) * width // masks
        voxels[depth // 4 : 3 * depth // 4, height // 4 : 3 * height // 4, left + 2 : left + width // masks - 2] = 20 * number + 10
    return Volume(voxels, np.diag([-0.8, -0.8, 1.0, 1.0]), modality="CT")


class Heart:
    """Ticks in the window, and keeps the gaps between ticks by what the job was doing when they began."""

    def __init__(self, host, panel):
        self._panel = panel
        self.gaps: dict[str, float] = {}
        self._last, self._state = time.perf_counter(), "idle"
        self._timer = host.qt.QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.connect("timeout()", self._tick)

    def start(self) -> None:
        self.gaps, self._last, self._state = {}, time.perf_counter(), "queued"
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps[self._state] = max(self.gaps.get(self._state, 0.0), now - self._last)
        jobs = self._panel.logic.jobs
        self._last, self._state = now, jobs[0].state if jobs else "done"


def run_in_window(host, panel, heart: Heart):
    """One job, started by a click; the window idles. Returns (job, seconds)."""
    started = time.perf_counter()
    heart.start()
    host.find("runButton").click()
    job = panel.logic.jobs[0]
    host.wait_until(lambda: job.has_ended, 300, every=0.05)
    seconds = time.perf_counter() - started
    host.wait_until(lambda: True, 1)
    heart.stop()
    return job, seconds


def cancel_times(host, panel) -> dict[str, float]:
    """Seconds from the click on Cancel until the panel is free again, by stage."""
    seconds = {}
    for stage in _STAGES:
        host.find("runButton").click()
        job = panel.logic.jobs[0]
        # Looked at after each of the panel's own polls: the short stages are over before a timer would see them.
        poll = panel.logic.poll

        def watched(job=job, stage=stage, poll=poll) -> None:
            if stage not in (job.state, job.stage):
                poll()

        panel.logic.poll = watched
        host.wait_until(lambda job=job, stage=stage: stage in (job.state, job.stage) or job.has_ended, 300, every=0.005)
        panel.logic.poll = poll
        started = time.perf_counter()
        host.find("cancelButton").click()
        host.process()
        seconds[stage] = time.perf_counter() - started
        assert job.state == "cancelled", f"cancelled too late for {stage}: {job.state}"
        host.wait_until(lambda: panel.logic.isIdle, 60)
    return seconds


def prepare(host, url: str, volume, masks: int):
    """The panel with everything chosen. Returns (panel, options of the same job for the Logic)."""
    from MedImageParseLib.profiles.profiles import Profile, ProfileStore
    from MedImageParseLib.scene.volumes import nodeFromVolume

    panel = host.widget.panel
    node = nodeFromVolume(volume, "CT", host.scene)
    profile = Profile("Bench", url)
    ProfileStore().add(profile)
    panel.endpoint.readProfiles()
    host.choose("profileComboBox", "Bench")
    panel.parameters.setNodeFor("InputVolume", node)
    panel.parameters["Window"] = "0,255"
    panel.parameters["Slabs"] = "none"
    prompts = [f"box {number}" for number in range(1, masks + 1)]
    panel.parameters["Prompts"] = "\n".join(prompts)
    host.process()
    return panel, {"volumeNode": node, "prompts": prompts, "profile": profile, "window": "0,255", "slabs": "none"}


def measure(host, url: str, volume, masks: int, rounds: int) -> None:
    """Print the figures."""
    panel, same = prepare(host, url, volume, masks)
    heart = Heart(host, panel)
    windows, plain, stalls, imports = [], [], [], []
    for _round in range(rounds):
        panel.parameters.setNodeFor("Segmentation", None)
        job, seconds = run_in_window(host, panel, heart)
        assert job.state == "done" and len(job.result.found) == masks, (job.state, job.sentence)
        windows.append(seconds)
        stalls.append(max((gap, state) for state, gap in heart.gaps.items() if state != "importing"))
        imports.append(job.result.report["timings_s"]["import"])
        host.scene.RemoveNode(job.result.segmentationNode)
        started = time.perf_counter()
        result = panel.logic.segmentVolume(**same)
        plain.append(time.perf_counter() - started)
        host.scene.RemoveNode(result.segmentationNode)
    longest, state = max(stalls)
    print(f"longest stall of the window during a job, import apart: {1000 * longest:.0f} ms, while {state} (goal: under 100)")
    print(f"import of {masks} masks: {1000 * max(imports):.0f} ms (goal: under 500)")
    ratio = min(windows) / min(plain)
    print(f"job in the idle window: {min(windows):.2f} s, in plain Python: {min(plain):.2f} s, ratio {ratio:.2f} (goal: at most 1.3)")
    panel.parameters.setNodeFor("Segmentation", None)
    for stage, seconds in cancel_times(host, panel).items():
        print(f"Cancel while {stage}: {1000 * seconds:.0f} ms (goal: under 200)")


def main() -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="300x512x512", help="slices x rows x columns (default: 300x512x512)")
    parser.add_argument("--masks", type=int, default=10, help="1 to 11")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    environment.ensure(("test",))
    from host import Host, idle

    if idle.why_not():
        print(f"note: {idle.why_not()}, so worker threads fare better here than in Slicer")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDIMAGEPARSE_CONFIG_DIR"] = folder
        command = [sys.executable, "-c", _SERVER, str(ROOT / "Testing"), str(arguments.masks)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            url = server.stdout.readline().strip()
            volume = make_volume(tuple(int(size) for size in arguments.shape.split("x")), arguments.masks)
            with Host() as host:
                host.load_module("MedImageParse", MODULE / "MedImageParse.py")
                measure(host, url, volume, arguments.masks, arguments.rounds)
            server.stdin.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
