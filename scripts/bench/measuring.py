"""Time and memory of one piece of work in a process of its own, and tables of what came out."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


class CannotMeasure(Exception):
    """One sentence on why there are no figures."""


def measure(work: Callable[[], object]) -> tuple[object, dict]:
    """Run `work` once, in a process that has warmed up its imports.

    Returns:
        (what it returned, {"seconds", "cpu_seconds", "peak_mb"}): cpu_seconds is the processor time of this process, which a busy
        machine and a slow disk disturb less than the time on the clock; peak_mb is the highest resident memory during the call
        above what was resident when it started, in 10^6 bytes, None where the system does not say.
    """
    gc.collect()
    _forget_peak()
    before = _status_mb("VmRSS")
    started, busy = time.perf_counter(), time.process_time()
    result = work()
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = _status_mb("VmHWM")
    peak_mb = None if peak is None or before is None else round(peak - before, 1)
    return result, {"seconds": round(seconds, 4), "cpu_seconds": round(busy, 4), "peak_mb": peak_mb}


def in_own_process(script: Path, arguments: list[str]) -> dict:
    """Run `script` with these arguments and return the JSON on the last line of its output.

    Raises:
        CannotMeasure: it failed; the sentence holds its last line on stderr.
    """
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        killed = " (killed: most likely too little memory; try a smaller --size)" if done.returncode in (-9, 137) else ""
        raise CannotMeasure(f"Measuring {' '.join(arguments[:2])} failed{killed}: {last}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def medians(runs: list[dict]) -> dict:
    """Key by key, the median of the runs; what is no number is taken from the first run."""
    return {
        key: round(statistics.median(run[key] for run in runs), 4) if isinstance(value, (int, float)) else value
        for key, value in runs[0].items()
    }


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Ours divided by theirs, three digits; None where either is not known."""
    return None if not theirs or ours is None else round(ours / theirs, 3)


def table(rows: list[list[str]]) -> str:
    """Rows (the first is the heading) as a Markdown table."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def number(value: float | None, digits: int = 2) -> str:
    return "not measured" if value is None else f"{value:,.{digits}f}"


def peak_mb() -> float | None:
    """The highest resident memory of this process so far, in 10^6 bytes; None where the system does not say."""
    return _status_mb("VmHWM")


def _forget_peak() -> None:
    """Start the system's note of the highest memory anew (Linux); elsewhere the peak stays unknown."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def _status_mb(field: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field + ":")), None)
