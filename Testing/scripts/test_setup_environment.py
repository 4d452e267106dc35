"""The shared set-up: makes .venv once, works offline afterwards, mends what is broken, and says what is wrong in a sentence."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import environment
import pytest

NO_INDEX = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_RETRIES": "1",
}
SCRIPT = """import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
import environment
environment.{call}
print("inside", Path(sys.prefix).name, *sys.argv[1:])
"""


def write_wheel(folder: Path) -> Path:
    """A package of one line, made by hand, so that pip can install it without a network."""
    path = folder / "tiny_sample-1.0-py3-none-any.whl"
    files = {
        "tiny_sample.py": "value = 42\n",
        "tiny_sample-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-sample\nVersion: 1.0\n",
        "tiny_sample-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {name: urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode() for name, text in files.items()}
    lines = [f"{name},sha256={digest},{len(files[name])}" for name, digest in digests.items()]
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr("tiny_sample-1.0.dist-info/RECORD", "\n".join([*lines, "tiny_sample-1.0.dist-info/RECORD,,", ""]))
    return path


def write_repository(root: Path, dependencies: list[str], test: list[str] = ()) -> Path:
    """A repository's root with a pyproject.toml, the real environment.py, and a script that uses it."""
    (root / "scripts").mkdir(parents=True, exist_ok=True)
    quoted = [", ".join(f'"{one}"' for one in some) for some in (dependencies, test)]
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "sample"\ndependencies = [{quoted[0]}]\n\n[project.optional-dependencies]\nslicer = []\nentra = []\ntest = [\n  {quoted[1]}\n]\n'
    )
    shutil.copy(environment.__file__, root / "scripts" / "environment.py")
    for name, call in (("ensured.py", "ensure()"), ("present.py", "reexec_if_present()"), ("tested.py", "ensure(('test',))")):
        (root / "scripts" / name).write_text(SCRIPT.format(call=call))
    return root


def run(root: Path, name: str, *arguments: str) -> subprocess.CompletedProcess:
    base = getattr(sys, "_base_executable", sys.executable)
    return subprocess.run([base, str(root / "scripts" / name), *arguments], env={**os.environ, **NO_INDEX}, capture_output=True, text=True)


def test_the_whole_life_of_an_environment(tmp_path):
    wheel = write_wheel(tmp_path)
    root = write_repository(tmp_path / "a repository", [f"tiny_sample @ {wheel.as_uri()}"])
    assert run(root, "present.py").stdout.split()[:1] == ["inside"] and not (root / ".venv").exists()  # moves only into what is there

    # Half-made: a Python that does not run. It is noticed, told, and made anew.
    python = environment.python_of(root)
    python.parent.mkdir(parents=True)
    python.write_text("not a program")
    first = run(root, "ensured.py", "one", "two words")
    assert first.returncode == 0, first.stderr
    assert "half-made" in first.stdout and "Installing 1 packages" in first.stdout
    assert first.stdout.splitlines()[-1] == "inside .venv one two words"
    said = subprocess.run([str(python), "-c", "import tiny_sample; print(tiny_sample.value)"], capture_output=True, text=True)
    assert said.stdout == "42\n"

    # Again, with nothing to install from: no pip, no word, same result.
    wheel.unlink()
    again = run(root, "ensured.py")
    assert (again.returncode, again.stdout, again.stderr) == (0, "inside .venv\n", "")
    assert run(root, "present.py").stdout == "inside .venv\n"

    # A new requirement that cannot be fetched: one sentence, and the environment stays usable.
    write_repository(root, ["tiny-sample"], ["no-such-package-here"])
    failed = run(root, "tested.py")
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("error: The packages cannot be downloaded")
    assert run(root, "ensured.py").stdout.endswith("\ninside .venv\n")

    # The note is gone, as in an environment made by hand: it is kept, not thrown away.
    (root / ".venv" / environment.NOTE).unlink()
    (root / ".venv" / "mine.txt").write_text("keep me")
    write_repository(root, ["pip"])
    by_hand = run(root, "ensured.py")
    assert by_hand.stdout.splitlines()[-1] == "inside .venv" and (root / ".venv" / "mine.txt").exists()


def test_dependencies_are_those_that_a_toml_reader_finds():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader to compare with")
    project = tomllib.loads((environment.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert environment.dependencies() == project["dependencies"]
    assert environment.dependencies(extras=("test",)) == project["dependencies"] + project["optional-dependencies"]["test"]


def test_dependencies_with_extras_in_brackets_are_read_whole(tmp_path):
    root = write_repository(tmp_path, ["package[extra,more]>=1,<2", "other"], ["third[x]"])
    assert environment.dependencies(root, ("test",)) == ["package[extra,more]>=1,<2", "other", "third[x]"]


@pytest.mark.parametrize(
    "output,words",
    [
        ("The virtual environment was not created successfully because ensurepip is not available.", "sudo apt install python3"),
        ("/usr/bin/python3: No module named venv", "sudo apt install python3"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("Error: something odd", "something odd"),
    ],
)
def test_an_environment_that_cannot_be_made_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, output, words):
    def half_make(command, tell=None):
        Path(command[-1]).mkdir()
        return 1, output

    root = write_repository(tmp_path, ["pip"])
    monkeypatch.setattr(environment, "_run", half_make)
    with pytest.raises(environment.SetupError, match=words) as caught:
        environment.prepare(root=root)
    assert "\n" not in str(caught.value) and not (root / ".venv").exists()


@pytest.mark.parametrize(
    "output,words",
    [
        ("Retrying after NewConnectionError ... \nERROR: No matching distribution found for numpy", "cannot be downloaded"),
        ("ERROR: No matching distribution found for slicer-core<6,>=5.12", "slicer-core.* was not found for Python"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ssl.SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED", "certificate"),
        ("ERROR: a strange thing", "a strange thing"),
        ("", "no reason"),
    ],
)
def test_a_failed_installation_is_told_in_one_sentence(output, words):
    sentence = environment._pip_sentence(output)
    assert re.search(words, sentence) and "\n" not in sentence


def test_an_old_python_is_told_which_one_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "OLDEST_PYTHON", (99, 0))
    with pytest.raises(environment.SetupError, match=r"Python 99\.0 or newer is needed"):
        environment.prepare(root=write_repository(tmp_path, ["pip"]))
    assert not (tmp_path / ".venv").exists()


def test_the_environment_is_ignored_by_git():
    ignored = [each.rstrip("/") for each in (environment.ROOT / ".gitignore").read_text().split()]
    assert {".venv", "try_it_output"} <= set(ignored)
