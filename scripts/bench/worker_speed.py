"""Benchmark: how fast a job's worker is beside an event loop that keeps Python's interpreter lock (GIL), and how long the window stalls.

    python3 scripts/bench/worker_speed.py [--size 512x512x300] [--prompts 10] [--timer-ms 2] [--yield-ms 5] [--repeat 3] [--json FILE]

Slicer's event loop is C++ and keeps the lock while it waits. Here `usleep` called through ctypes.PyDLL, which keeps the lock too, stands
for it: a timer fires, `poll` runs, and what is left of the timer's interval passes with the lock held. The same work is timed in a
plain script. `--timer-ms 10 --yield-ms 2` shows what a slower timer and a shorter sleep cost.
Three kinds of work: Python bytecode alone (needs the lock all the time), a request built and a reply decoded (mostly does not), and
the whole run on a volume node (MedImageParseLogic with a connection inside the process that answers at once).

Printed: the ratio of the times (goal: at most 1.3), and of the whole run the longest time from one timer event to the end of its poll,
apart from the import, and the import itself. Medians of the repeats; a busy machine makes them worse.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "bench"), str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment
import measuring

from MedImageParseLib.logic.jobs import (
    POLL_MS,
    YIELD_S,
    Job,
    JobQueue,
)

GOAL = 1.3
_LOOPS = 12_000_000


@dataclass(slots=True)
class _Reply:
    """What a connection gives back."""

    body: bytes
    tries: int = 1
    request_ids: tuple = ()


class _InProcess:
    """A connection that answers at once with a reply made beforehand."""

    name, dialect, body_limit, max_in_flight = "in process", "azureml", 2**31, 1

    def __init__(self, reply: bytes):
        self._reply = reply

    def send(
        self, body: bytes, *, progress: object = None, cancellation: object = None, max_reply_bytes: int = 0, model: str = "", work: int = 0
    ) -> _Reply:
        return _Reply(self._reply)


@dataclass(slots=True)
class Times:
    """Seconds of one run: in all, the longest turn of the loop apart from the import, and the import."""

    total: float
    longest: float = 0.0
    imported: float = 0.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="512x512x300", metavar="IxJxK")
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--timer-ms", type=float, default=POLL_MS, help="milliseconds between two timer events (default %(default)s)")
    parser.add_argument("--yield-ms", type=float, default=1000 * YIELD_S, help="milliseconds that a poll sleeps (default %(default)s)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        hold = holder()
    except measuring.CannotMeasure as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = measure(options, hold)
    print(report(results))
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    return 0


def holder() -> Callable[[float], None]:
    """A function that passes some seconds while it keeps the interpreter lock, as Slicer's event loop does."""
    if sys.platform == "win32":
        sleep = ctypes.PyDLL("kernel32").Sleep
        return lambda seconds: sleep(ctypes.c_uint32(int(seconds * 1000)))
    try:
        sleep = ctypes.PyDLL(None).usleep
    except (OSError, AttributeError) as error:
        raise measuring.CannotMeasure("This system has no usleep to stand for the event loop, so nothing was measured.") from error
    return lambda seconds: sleep(ctypes.c_uint32(int(seconds * 1e6)))


def measure(options: argparse.Namespace, hold: Callable[[float], None]) -> dict:
    shape = tuple(int(size) for size in options.size.split("x"))[::-1]
    loop = EventLoop(hold, options.timer_ms / 1000, options.yield_ms / 1000)
    volume, reply, prompts = made_up_data(shape, options.prompts)
    figures = {}
    for name, work in {"Python bytecode": count, "request and reply": lambda: segment(volume, reply, prompts)}.items():
        times = [(timed(work), beside(loop, work)) for _ in range(options.repeat)]
        figures[name] = summary([plain for plain, _ in times], [looped for _, looped in times])
    whole = [whole_run(loop, volume, reply, prompts) for _ in range(options.repeat)]
    figures["whole run on a node"] = summary([plain for plain, _ in whole], [looped.total for _, looped in whole])
    stalls = {key: round(statistics.median(getattr(looped, key) for _, looped in whole), 4) for key in ("longest", "imported")}
    return {
        **{key: getattr(options, key) for key in ("size", "prompts", "timer_ms", "yield_ms", "repeat")},
        "figures": figures,
        "window_s": stalls,
    }


def summary(plain: list[float], looped: list[float]) -> dict:
    ratio = measuring.ratio(statistics.median(looped), statistics.median(plain))
    return {"plain_s": round(statistics.median(plain), 4), "looped_s": round(statistics.median(looped), 4), "ratio": ratio}


def report(results: dict) -> str:
    rows = [["work", "plain script, s", "beside the loop, s", "ratio", f"goal {GOAL}"]]
    for name, figure in results["figures"].items():
        met = "met" if figure["ratio"] <= GOAL else "missed"
        rows.append([name, f"{figure['plain_s']:.2f}", f"{figure['looped_s']:.2f}", f"{figure['ratio']:.2f}", met])
    window = results["window_s"]
    return (
        measuring.table(rows)
        + f"\n\nThe window, {results['size']} with {results['prompts']} masks: longest stall {window['longest'] * 1000:.0f} ms apart from the import, "
        + f"import {window['imported'] * 1000:.0f} ms."
    )


# --- the work ------------------------------------------------------------------------------------------------------


def count() -> int:
    number = 0
    for _ in range(_LOOPS):
        number += 1
    return number


def made_up_data(shape_kji: tuple[int, int, int], count_of_prompts: int) -> tuple:
    import made_up

    from MedImageParseLib.imaging.geometry import AxisMap
    from MedImageParseLib.imaging.volume import Volume

    matrix = made_up.ijk_to_ras(shape_kji)
    volume = Volume(made_up.volume(shape_kji), matrix, modality="CT")
    axes = AxisMap.towards(matrix, ("S", "A", "R"))
    return volume, made_up.reply("stack", count_of_prompts, shape_kji, axes), made_up.prompts(count_of_prompts)


def segment(volume: object, reply: bytes, prompts: list[str]) -> object:
    from MedImageParseLib.tasks.segment_volume import segment_volume

    return segment_volume(volume, prompts, _InProcess(reply), slabs="none")


# --- the loop ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class EventLoop:
    """A timer in a loop that keeps the interpreter lock between its events.

    Attributes:
        hold: passes some seconds without giving the lock away.
    """

    hold: Callable[[float], None]
    timer_s: float
    yield_s: float

    def run(self, poll: Callable[[], None], job: Job) -> tuple[float, list[tuple[str, float]]]:
        """Returns the seconds until the job has ended, and for each timer event (the job's state before, seconds that it took)."""
        turns = []
        began = due = time.perf_counter()
        while not job.has_ended:
            state, start = job.state, time.perf_counter()
            poll()
            now = time.perf_counter()
            turns.append((state, now - start))
            due = max(due + self.timer_s, now)
            self.hold(due - now)
        if job.error is not None:
            raise job.error
        return time.perf_counter() - began, turns


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def beside(loop: EventLoop, work: Callable[[], object]) -> float:
    """Seconds for the work as a job in a queue."""
    queue = JobQueue(yield_s=loop.yield_s)
    seconds, _turns = loop.run(queue.poll, queue.add(Job("work", work=lambda _prepared, _progress, _cancellation: work())))
    queue.close()
    return seconds


def whole_run(loop: EventLoop, volume: object, reply: bytes, prompts: list[str]) -> tuple[float, Times]:
    """A run on a volume node, waited for by a script, and beside the loop."""
    from MedImageParseLib.logic.segmentation import MedImageParseLogic
    from MedImageParseLib.scene import session
    from MedImageParseLib.scene.volumes import nodeFromVolume

    with session.freshScene():
        node = nodeFromVolume(volume, "CT")
        logic = MedImageParseLogic(yieldSeconds=loop.yield_s)
        plain = timed(lambda: logic.segmentVolume(node, prompts, client=_InProcess(reply), slabs="none"))
        job = logic.segmentVolume(node, prompts, client=_InProcess(reply), slabs="none", callback=lambda job: None)
        total, turns = loop.run(logic.poll, job)
        logic.close()
    stalls = {is_import: max(turn for state, turn in turns if (state == "importing") == is_import) for is_import in (True, False)}
    return plain, Times(total, stalls[False], stalls[True])


if __name__ == "__main__":
    environment.reexec_if_present()
    sys.exit(main())
