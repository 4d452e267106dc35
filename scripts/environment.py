"""Sets up `.venv/` in the repository's root once, and runs the scripts inside it. Standard library only.

Behaviour
- `ensure()` makes the environment if it is absent or broken, installs what pyproject.toml lists, and starts the calling script again
  inside it. What was installed is noted in `.venv/`, so that the next run needs neither pip nor a network.
- `reexec_if_present()` only moves into an environment that is there; it never installs anything.
- With MEDIMAGEPARSE_LOCKED=1 in the environment it installs exactly what requirements-lock.txt pins, checked by its hashes.
- Whatever goes wrong is one sentence on stderr and exit status 1.
An environment that somebody made by hand is used as it is, with the missing packages added; only one whose Python does not run, or
that was left half-made, is removed and made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 10)
NOTE = "medimageparse-setup.json"
CHECKOUT = ("slicer", "entra")  # extras that trying, using and testing a checkout need; an installed package leaves them to its user
LOCKED = "MEDIMAGEPARSE_LOCKED"
_MOVED = "MEDIMAGEPARSE_MOVED_INTO_VENV"
_NETWORK_SIGNS = (
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "ProxyError",
    "name resolution",
    "getaddrinfo failed",
    "Network is unreachable",
    "Connection refused",
    "Max retries exceeded",
    "Connection aborted",
    "nodename nor servname",
    "Connection broken",
)


class SetupError(Exception):
    """Why the environment cannot be set up: one sentence, with what to do about it."""


def ensure(extras: tuple[str, ...] = (), root: Path = ROOT) -> None:
    """Make `.venv/` ready with the project's dependencies, those of CHECKOUT and those of `extras`, and go on inside it.

    Args:
        extras: further names under [project.optional-dependencies] of pyproject.toml.
        root: the repository's root.

    Returns only inside the environment; ends the program with a sentence where that is not possible.
    """
    try:
        prepare((*CHECKOUT, *extras), root)
        _move_into(root)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("error: Setting up was stopped; start again to go on.", file=sys.stderr)
        sys.exit(130)


def reexec_if_present(root: Path = ROOT) -> None:
    """Go on inside `.venv/` where it exists and its Python runs; else return and use the running Python. Installs nothing."""
    if python_of(root).exists() and not _is_inside(root) and (_has_note(root) or _runs(python_of(root))):
        try:
            _move_into(root)
        except SetupError:
            return  # the running Python may do as well


def prepare(extras: tuple[str, ...] = (), root: Path = ROOT) -> Path:
    """Make the environment ready without moving into it.

    Returns:
        the environment's Python.

    Raises:
        SetupError: old Python, no venv module, no network, full disk, a package that cannot be installed.
    """
    wanted = dependencies(root, extras)
    python = python_of(root)
    noted = _noted(root)
    if noted and not _is_inside(root) and not _runs(python):
        noted = {}
    if noted.get("python") and all(noted.get("installed", {}).get(name) == digest for name, digest in _digests(root, extras).items()):
        return python
    if not _is_inside(root) and not _runs(python, "import pip"):
        _make(root)
    _install(python, wanted, root / "requirements-lock.txt")
    installed = {**noted.get("installed", {}), **_digests(root, extras)}
    (root / ".venv" / NOTE).write_text(json.dumps({"python": _version(sys.version_info), "installed": installed}, indent=1) + "\n")
    return python


def python_of(root: Path = ROOT) -> Path:
    """Where the environment's Python is, or would be."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def dependencies(root: Path = ROOT, extras: tuple[str, ...] = ()) -> list[str]:
    """The requirements that pyproject.toml lists, those of `extras` after the project's own.

    Read by pattern, because Python 3.10 has no TOML reader: each list is `name = [ "…", … ]`.
    """
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    found: list[str] = []
    for name in ("dependencies", *extras):
        match = re.search(rf'^{re.escape(name)}\s*=\s*\[((?:[^\]"]|"[^"]*")*)\]', text, re.MULTILINE)
        if match is None:
            raise SetupError(f"pyproject.toml has no list '{name}'; restore the file from the repository.")
        found += re.findall(r'"([^"]*)"', match.group(1))
    return found


def _digests(root: Path, extras: tuple[str, ...]) -> dict[str, str]:
    """One fingerprint a list: a changed list is installed again, an unchanged one is not."""
    return {
        name: hashlib.sha256("\n".join(dependencies(root, (name,) if name != "project" else ())).encode()).hexdigest()
        for name in ("project", *extras)
    }


def _noted(root: Path) -> dict:
    try:
        noted = json.loads((root / ".venv" / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) and isinstance(noted.get("installed"), dict) else {}


def _has_note(root: Path) -> bool:
    return bool(_noted(root))


def _make(root: Path) -> None:
    if sys.version_info[:2] < OLDEST_PYTHON:
        raise SetupError(
            f"This is Python {_version(sys.version_info)}; Python {_version(OLDEST_PYTHON)} or newer is needed: "
            "install it and start the script with it, for example python3.12 scripts/try_it.py."
        )
    folder = root / ".venv"
    if folder.exists() or folder.is_symlink():
        print("The environment in .venv is broken or half-made; making it anew.", flush=True)
        _remove(folder)
    print(f"Making a Python {_version(sys.version_info)} environment in .venv ...", flush=True)
    # The base interpreter: an environment made from within another one would break with it.
    base = getattr(sys, "_base_executable", "") or sys.executable
    try:
        status, output = _run([base, "-m", "venv", str(folder)])
    except KeyboardInterrupt:
        _remove(folder)
        raise
    if status != 0:
        _remove(folder)
        raise SetupError(_venv_sentence(output))


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise SetupError(f"The folder {folder} cannot be removed; remove it by hand and start again.")


def _venv_sentence(output: str) -> str:
    if "ensurepip" in output or "No module named venv" in output:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return (
            f"This Python lacks its venv module; install it (on Debian and Ubuntu: sudo apt install python{version}-venv) and start again."
        )
    return _disk_sentence(output) or f"The environment .venv could not be made: {_last_line(output)}"


def _install(python: Path, wanted: list[str], lock: Path | None = None) -> None:
    if not wanted:
        return
    print(f"Installing {len(wanted)} packages and what they need into .venv (once; a minute or two, about 300 MB) ...", flush=True)
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        *(["--require-hashes", "-r", str(lock)] if os.environ.get(LOCKED) and lock is not None and lock.exists() else wanted),
    ]
    status, output = _run(command, tell=_tell_pip)
    if status != 0:
        raise SetupError(_pip_sentence(output))
    print("The environment is ready.", flush=True)


def _tell_pip(line: str) -> None:
    if line.startswith("Collecting "):
        print("  " + re.split(r"[^\w.-]", line.split()[1])[0], flush=True)
    elif line.startswith("Installing collected packages"):
        print("  unpacking", flush=True)


def _pip_sentence(output: str) -> str:
    disk = _disk_sentence(output)
    if disk:
        return disk
    # pip also says "no matching distribution" after it could not reach the index: look at the network first.
    if any(sign in output for sign in _NETWORK_SIGNS):
        return (
            "The packages cannot be downloaded: the package index does not answer; connect to the network (or set the proxy in "
            "HTTPS_PROXY) and start again."
        )
    if "CERTIFICATE_VERIFY_FAILED" in output:
        return "The packages cannot be downloaded: the index's certificate is not trusted; tell pip your certificate file in PIP_CERT."
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing:
        return (  # pip cannot tell these two apart when it was told not to retry
            f"The package {missing.group(1)} was not found for Python {_version(sys.version_info)} on this system; "
            "check the network, and use Python 3.10 to 3.13 on a 64-bit system."
        )
    return f"The packages could not be installed: {_last_line(output)}"


def _disk_sentence(output: str) -> str:
    if "No space left" in output or "Errno 28" in output or "not enough space" in output:
        return "The disk is full: free about 2 GB where the repository is and start again."
    return ""


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.upper().startswith("ERROR")]
    return (errors or lines or ["no reason was given"])[-1][:300]


def _run(command: list[str], tell=None) -> tuple[int, str]:
    """Run a command; `tell` gets each line as it comes. Returns (exit status, all it said)."""
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return 1, str(error)
    lines = []
    with process:
        try:
            for line in process.stdout:
                lines.append(line)
                if tell is not None:
                    tell(line)
        except KeyboardInterrupt:
            process.terminate()
            raise
    return process.returncode, "".join(lines)


def _runs(python: Path, statement: str = "pass") -> bool:
    return python.exists() and _run([str(python), "-c", statement])[0] == 0


def _is_inside(root: Path) -> bool:
    return Path(sys.prefix).resolve() == (root / ".venv").resolve()


def _move_into(root: Path) -> None:
    """Start the running script again, with its arguments, in the environment's Python; returns where that is so already."""
    moved = os.environ.pop(_MOVED, "")  # popped, so that no child process inherits it
    if _is_inside(root):
        return
    python = str(python_of(root))
    if moved:
        raise SetupError("The environment in .venv does not start properly; remove the folder .venv and start again.")
    command = [python, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, _MOVED: "1"}
    if os.name == "nt":  # there, exec would give the prompt back before the script ends
        try:
            sys.exit(subprocess.call(command, env=environment))
        except KeyboardInterrupt:
            sys.exit(130)
    os.execve(python, command, environment)


def _version(version) -> str:
    return ".".join(str(part) for part in tuple(version)[:2])
