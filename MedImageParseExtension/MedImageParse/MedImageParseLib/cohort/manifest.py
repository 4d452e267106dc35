"""The account of a batch: batch.jsonl, a line a case as it ends. It is the truth about what is done; batch.csv is made from it.

    {"id": "case1", "input": "/data/case1.nii.gz", "state": "done", "kind": null, "error": null, "outputs": […], "request_ids": […],
     "seconds": 4.2, "bytes_sent": 812345, "fingerprint": "…", "prompts": [{"name": "liver", "found": true, "voxels": …}], …}

A case may have several lines; the last one counts. Each line is written whole, flushed and on the disk before the next case is counted as
done; a line that was torn (a crash, a full disk) is passed over, and the case is done again. The folder `.batch` beside it holds the locks
and, while a case is in work, the replies that have come for it (see `courier`), so that nothing is sent twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..configuration import append_line, locked, try_lock
from ..errors import UsageError
from ..files.write import after_requests, csv_text, write_atomically
from ..remedies import Sentence
from .cases import parse_shard

MANIFEST, TABLE, WORK = "batch.jsonl", "batch.csv", ".batch"
_HALF = re.compile(r"\.[0-9a-f]{16}\.part")  # as files.write names a file until it is whole
STATES = ("done", "failed", "skipped")
REDO = ("", "failed", "changed", "all")
TABLE_COLUMNS = ("id", "state", "prompt", "name", "found", "voxels", "volume_ml", "mean", "sd", "error")


def fingerprint(content: str, prompts: list[str], options: Mapping[str, Any], endpoint: str, version: str) -> str:
    """What a result depends on, as 32 hexadecimal digits: another one means another result.

    Args:
        content: digest of the input's files.
        prompts: as typed.
        options: plain JSON values that change what is sent or written.
        endpoint: scheme, host and path, and the deployment.
        version: of this program.
    """
    parts = [content, prompts, {name: options[name] for name in sorted(options)}, endpoint, version]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


class Manifest:
    """batch.jsonl of one output folder. Safe from several threads, and, for shards, from several programs.

    Args:
        folder: where the results go; made if only its last part is missing.

    Attributes:
        entries: the last line of each case by its id, as the file stood when it was opened, and what was added since.

    Raises:
        UsageError: the folder cannot be made, or the file in it cannot be read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / MANIFEST
        self.entries: dict[str, dict] = {}
        self._lock = threading.Lock()
        self.read()

    def read(self) -> None:
        """Take the file's lines anew; those that are no whole JSON object are passed over."""
        try:
            self.entries = read_entries(self.path)
        except FileNotFoundError:
            self.entries = {}
        except OSError as error:
            raise UsageError(
                "The file {path} cannot be read ({why}).", path=self.path, why=error.strerror or Sentence("unknown reason")
            ) from error

    def is_due(self, case_id: str, fingerprint: str, redo: str = "") -> bool:
        """Whether a case is to be done.

        Args:
            case_id: of the case.
            fingerprint: what its result depends on now.
            redo: "" does what has not ended with this fingerprint; "failed" the failed ones as well; "changed" also those whose results
                are missing; "all" everything.
        """
        entry = self.entries.get(case_id)
        if redo == "all" or entry is None or entry.get("state") not in ("done", "failed") or entry.get("fingerprint") != fingerprint:
            return True
        if entry["state"] == "failed":
            return redo == "failed"
        return redo == "changed" and not all(os.path.exists(self.folder / str(path)) for path in entry.get("outputs") or [])

    def append(self, entry: dict) -> None:
        """Write a case's line; it is on the disk when this returns.

        Raises:
            PartlyDone: it could not be written (a full disk), and the case has been sent by then.
        """
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock:
            try:
                with locked(self.folder / WORK / "manifest"):
                    append_line(self.path, line.encode("utf-8", "replace"))
            except (OSError, TimeoutError) as error:
                why = getattr(error, "strerror", None) or "another program holds it"
                with after_requests():
                    raise UsageError("The file {path} cannot be written ({why}); make room there.", path=self.path, why=why) from error
            self.entries[str(entry["id"])] = entry

    def write_table(self) -> Path:
        """Write batch.csv from all lines, in one step. Returns its path."""
        self.read()
        return write_atomically(self.folder / TABLE, table_text(self.entries.values()).encode("utf-8", "replace"))

    def replies_of(self, case_id: str) -> Path:
        """The folder of the replies that have come for a case in work."""
        return self.folder / WORK / "replies" / case_id

    def forget_replies(self, case_id: str) -> None:
        """The case has ended: its replies are in its results."""
        shutil.rmtree(self.replies_of(case_id), ignore_errors=True)

    @contextmanager
    def held(self, shard: str = "") -> Iterator[None]:
        """Hold the folder while a run is at work: one run, or one of each shard. The system lets go of it if the run is killed.

        Args:
            shard: "K/N", "" for a run of all cases.

        Raises:
            UsageError: another run is at work there, or the folder cannot be written.
        """
        work = self.folder / WORK
        try:
            self.folder.mkdir(exist_ok=True)
            work.mkdir(exist_ok=True)
        except FileNotFoundError as error:
            raise UsageError("The folder {path} does not exist; create it or choose another.", path=self.folder.parent) from error
        except OSError as error:
            raise UsageError(
                "The folder {path} cannot be written ({why}).", path=self.folder, why=error.strerror or Sentence("unknown reason")
            ) from error
        with ExitStack() as held:
            names = [("run.lock", bool(shard))]
            if shard:
                number, total = parse_shard(shard)
                names.append((f"shard-{number}-of-{total}.lock", False))
            for name, is_shared in names:
                file = held.enter_context(open(work / name, "a+b"))
                if not try_lock(file.fileno(), is_shared=is_shared):  # on Windows the shards' own locks keep them apart
                    raise UsageError(
                        "Another run is at work in {folder}; wait until it has ended, or choose another output folder.", folder=self.folder
                    )
            self.read()
            if not shard:
                _remove_halves(self.folder)
            yield


def results_in(folder: str | os.PathLike | None) -> set[str]:
    """Real paths of what earlier runs have written, files and folders; none where there is no account of such runs."""
    if folder is None or not Path(folder, MANIFEST).is_file():
        return set()
    entries = Manifest(Path(folder)).entries.values()
    return {os.path.realpath(Path(folder, str(path))) for entry in entries for path in entry.get("outputs") or []}


def _remove_halves(folder: Path) -> None:
    """Take away the files that a killed run was writing; nobody else writes here now."""
    for below, _folders, names in os.walk(folder):
        for name in names:
            if _HALF.fullmatch(name):
                with suppress(OSError):
                    os.unlink(os.path.join(below, name))


def read_entries(path: Path) -> dict[str, dict]:
    """The last line of each case of a batch.jsonl, by the case's id. Raises OSError.

    Args:
        path: the file; lines that are no whole JSON object of a case are passed over.
    """
    entries = {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):  # half a line, where the program was killed while it wrote
                continue
            if isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry.get("state") in STATES:
                for name, kind in (("outputs", str), ("prompts", dict)):  # the folder may come from somebody else
                    if entry.get(name):
                        held = entry[name] if isinstance(entry[name], list) else []
                        entry[name] = [one for one in held if isinstance(one, kind) and "\0" not in one]
                entries[entry["id"]] = entry
    return entries


def table_text(entries: Any) -> str:
    """batch.csv: one row a case and prompt; of a case without prompts one row with its state and error.

    Args:
        entries: lines of the manifest.
    """
    rows = []
    for entry in entries:
        common = {"id": entry["id"], "state": entry["state"], "error": str(entry.get("error") or "")}
        for one in entry.get("prompts") or [{}]:
            found = one.get("found")
            numbers = {name: one.get(name) for name in ("voxels", "volume_ml", "mean", "sd")}
            texts = {"prompt": str(one.get("text", "")), "name": str(one.get("name", ""))}
            rows.append({**common, **texts, **numbers, "found": None if found is None else bool(found)})
    return csv_text(TABLE_COLUMNS, rows)
