"""Drives every fault of an endpoint, a proxy and a network through the whole command line and prints what a person gets to read.

    python3 scripts/fault_table.py [--json FILE] [--markdown FILE]

Each row is a real server on loopback (TLS with its own authority too) and a real `mip.py segment` in this process, with short
timeouts, onto an output file that already exists. It ends with status 1 if a row hung past its budget, lost something or leaked a key.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse"), str(ROOT / "Testing")]

import environment

YESTERDAY = b"segments that somebody has spent an hour on"
SECRETS = ("k3y-5ecret-0f-the-endpoint", "pr0xy-pass")


@dataclasses.dataclass
class Row:
    """One fault.

    Attributes:
        fault: what went wrong.
        reads: the line on stderr, or what was done where it went well in the end.
        kind: the error's stable word.
        exit_status: of the command.
        tries: how often the request was sent.
        seconds: the whole command.
        budget: seconds that it may take at the very most.
        lost: what was lost of what was there before, "nothing" as it should be.
        leaked: where a key or a proxy's password showed up, "nowhere" as it should be.
    """

    fault: str
    reads: str
    kind: str
    exit_status: int
    tries: int
    seconds: float
    budget: float
    lost: str
    leaked: str

    @property
    def is_fine(self) -> bool:
        return self.lost == "nothing" and self.leaked == "nowhere" and self.seconds <= self.budget


def make_volumes(folder: Path) -> tuple[Path, Path]:
    """A small volume, and one of noise whose request is several MB."""
    import nibabel
    import numpy as np

    small, large = folder / "small.nii.gz", folder / "large.nii.gz"
    grid = np.indices((24, 24, 12)).sum(axis=0).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(grid, np.diag([2.0, 2, 4, 1])), small)
    noise = np.random.default_rng(7).integers(0, 256, (192, 192, 160), np.uint8)
    nibabel.save(nibabel.Nifti1Image(noise, np.diag([2.0, 2, 2, 1])), large)
    return small, large


def run_row(scenario, volumes: tuple[Path, Path], folder: Path) -> Row:
    """Run one fault.

    Args:
        scenario: doubles.fault_scenarios.Scenario.
        volumes: as `make_volumes` returns them.
        folder: an empty one.
    """
    from doubles import fault_server, small_models
    from doubles.fault_scenarios import BIG_BODY, RETRY, ROOMY, TIMEOUTS, staged
    from MedImageParseLib.api import connections
    from MedImageParseLib.cli.main import main
    from MedImageParseLib.transport.audit import AuditLog

    script = [small_models.volume_model() if behavior is fault_server.well else behavior for behavior in scenario.script]
    results, report, audit = folder / "results", folder / "report.json", folder / "audit.jsonl"
    results.mkdir()
    output, labels = results / "yesterday.seg.nrrd", results / "yesterday.nii.gz"
    for path in (output, labels):
        path.write_bytes(YESTERDAY)
    stdout, stderr, log = io.StringIO(), io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setLevel(logging.DEBUG)
    volume = volumes[1] if scenario.body is BIG_BODY else volumes[0]
    with contextlib.ExitStack() as stack:
        client, _ = stack.enter_context(staged(dataclasses.replace(scenario, script=script), folder, audit=AuditLog(audit)))
        stack.enter_context(mock.patch.object(connections, "connect", lambda *_, **__: client))
        stack.enter_context(_logging_to(handler))
        stack.enter_context(contextlib.redirect_stdout(stdout))
        stack.enter_context(contextlib.redirect_stderr(stderr))
        began = time.perf_counter()
        exit_status = main(
            [
                "segment",
                str(volume),
                "--model",
                "medimageparse3d",
                "--prompt",
                "liver",
                "--slabs",
                "none",
                "--quiet",
                "--endpoint",
                client.url,
            ]
            + ["--output", str(output), "--labels", str(labels), "--report", str(report)]
        )
        seconds = time.perf_counter() - began
    told = json.loads(report.read_text(encoding="utf-8"))
    line = stderr.getvalue().strip() or stdout.getvalue().splitlines()[0]
    shown = {"stdout": stdout, "stderr": stderr, "log": log}
    places = {name: stream.getvalue() for name, stream in shown.items()} | {
        path.name: path.read_text(errors="replace") for path in (report, audit, *results.iterdir()) if path.exists()
    }
    leaked = [name for name, text in places.items() if any(secret in text or secret in name for secret in SECRETS)]
    tries = told["tries"]
    timeouts = TIMEOUTS if scenario.kind else ROOMY
    # 20 s to read, write and import, on a computer with other work too.
    budget = max(1, tries) * (timeouts.connect + timeouts.stall + timeouts.reply) + RETRY.wait_budget + 20
    return Row(
        scenario.name, line, scenario.kind, exit_status, tries, seconds, budget, _lost(results, exit_status), ", ".join(leaked) or "nowhere"
    )


def _lost(results: Path, exit_status: int) -> str:
    """What is gone of the results of before: a failed run may neither touch them nor leave anything beside them."""
    names = sorted(path.name for path in results.iterdir())
    if names != ["yesterday.nii.gz", "yesterday.seg.nrrd"]:
        return f"files: {', '.join(names)}"
    if exit_status == 0:
        untouched = [name for name in names if (results / name).read_bytes() == YESTERDAY]
        return "nothing" if not untouched else "the new result"
    changed = [name for name in names if (results / name).read_bytes() != YESTERDAY]
    return ", ".join(changed) or "nothing"


@contextlib.contextmanager
def _logging_to(handler: logging.Handler):
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def run_all() -> list[Row]:
    """All rows, with a configuration folder of their own."""
    from doubles.fault_scenarios import all_scenarios

    rows = []
    with tempfile.TemporaryDirectory() as name, _own_environment(Path(name)):
        volumes = make_volumes(Path(name))
        for number, scenario in enumerate(all_scenarios()):
            folder = Path(name) / str(number)
            folder.mkdir()
            rows.append(run_row(scenario, volumes, folder))
    return rows


@contextlib.contextmanager
def _own_environment(folder: Path):
    """The person's own proxies, certificates and settings stay out of it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith(("_proxy", "_ca_bundle", "ssl_cert_file")) and name != "MEDIMAGEPARSE_KEY"
    }
    with mock.patch.dict(os.environ, {**kept, "MEDIMAGEPARSE_CONFIG_DIR": str(folder / "configuration")}, clear=True):
        yield


def markdown(rows: list[Row]) -> str:
    """The table as Markdown."""
    lines = ["| fault | what the person reads | exit | tries | seconds | lost | key leaked |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        reads = row.reads.replace("|", "\\|")
        lines.append(f"| {row.fault} | {reads} | {row.exit_status} | {row.tries} | {row.seconds:.1f} | {row.lost} | {row.leaked} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Returns 0 if every row ended within its budget, lost nothing and leaked nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    parser.add_argument("--markdown", metavar="FILE", help="also write the table to a file")
    arguments = parser.parse_args()
    rows = run_all()
    table = markdown(rows)
    print(table)
    if arguments.markdown:
        Path(arguments.markdown).write_text(table, encoding="utf-8")
    if arguments.json:
        Path(arguments.json).write_text(
            json.dumps([dataclasses.asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    wrong = [row.fault for row in rows if not row.is_fine]
    print(
        f"{len(rows)} faults; "
        + (f"not as they should be: {', '.join(wrong)}." if wrong else "none hung, none lost anything, none leaked a key.")
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    environment.reexec_if_present()
    sys.exit(main())
