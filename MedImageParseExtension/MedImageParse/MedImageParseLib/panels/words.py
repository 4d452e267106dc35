"""How far a run is, in the person's language."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

_LITTLE = 1e5  # bytes, of which nobody wants to see the progress


def stageText(job: Any) -> str:
    """One line for a job at work: "uploading 42 of 118 MB", "7 of 20 done, model working 0:12"."""
    if job.state == "queued":
        return _("Waiting for its turn")
    if job.state == "preparing":
        return _("Preparing")
    if job.state == "importing":
        return _("Importing")
    words = _stage(job.stage, job.done, job.total)
    finished, everything = job.items
    if everything:
        return _("{finished} of {all} done, {stage}").format(finished=finished, all=everything, stage=words[:1].lower() + words[1:])
    return words


def fractionDone(job: Any) -> float | None:
    """Share of the work that is done, 0 to 1, None where nobody can know."""
    finished, everything = job.items
    if everything:
        return finished / everything
    if job.stage in ("uploading", "downloading") and job.total:
        return min(1.0, job.done / job.total)
    return None


def _stage(stage: str, done: float, total: float) -> str:
    if stage in ("uploading", "downloading") and max(done, total) < _LITTLE:
        return _("Uploading") if stage == "uploading" else _("Receiving")
    if stage == "uploading":
        return _("Uploading {done} of {total} MB").format(done=megabytes(done), total=megabytes(total))
    if stage == "downloading" and total:
        return _("Receiving {done} of {total} MB").format(done=megabytes(done), total=megabytes(total))
    if stage == "downloading":
        return _("Receiving {done} MB").format(done=megabytes(done))
    if stage == "model working":
        return _("Model working {minutes}:{seconds}").format(minutes=int(done) // 60, seconds=f"{int(done) % 60:02d}")
    if stage == "waiting to try again":
        return _("The endpoint is busy, trying again in {seconds} s").format(seconds=int(done) + 1)
    return _("Preparing")


def megabytes(size: float) -> str:
    """Bytes as a number of MB (10**6 bytes)."""
    return f"{size / 1e6:.1f}" if size < 1e7 else f"{size / 1e6:.0f}"
