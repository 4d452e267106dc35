"""The package installed by itself: built from what the Dockerfile copies, with the packages that it declares and no others."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import environment
import numpy as np
import pytest
import SimpleITK as sitk
from packaging.requirements import Requirement
from places import LIBRARY, ROOT

pytest.importorskip("hatchling", reason="hatchling is not installed: the wheel cannot be built")

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instructions(word: str) -> list[str]:
    """What follows an instruction of the Dockerfile, a line each."""
    return re.findall(rf"^{word}\s+(.*)$", DOCKERFILE, re.MULTILINE)


def copy_as_docker_does(folder: Path) -> None:
    """COPY into an empty image, whose root is `folder`."""
    for line in instructions("COPY"):
        *sources, target = shlex.split(line)
        for source in sources:
            place = folder / target.lstrip("/")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)


def declared(name: str) -> set[str]:
    """A distribution and all that it requires, without extras."""
    found, waiting = set(), [name]
    while waiting:
        one = waiting.pop().lower()
        if one in found:
            continue
        found.add(one)
        needs = [Requirement(text) for text in importlib.metadata.requires(one) or ()]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def link_packages(requirements: list[str], site: Path) -> None:
    """Make the installed distributions that are declared, and no others, importable from `site`: as an index would give them."""
    for name in set().union(*(declared(Requirement(text).name) for text in requirements)):
        distribution = importlib.metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of the programs of a fresh environment."""
    folder = tmp_path_factory.mktemp("installed")
    copy_as_docker_does(folder)
    built = run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], folder / "src")
    assert built.returncode == 0, built.stderr
    base = getattr(sys, "_base_executable", sys.executable)
    assert run([base, "-m", "venv", "--without-pip", str(folder / "env")], folder).returncode == 0
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = programs / ("python.exe" if os.name == "nt" else "python")
    site = run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).stdout.strip()
    try:
        link_packages(environment.dependencies(), Path(site))
    except OSError as error:
        pytest.skip(f"this system makes no symbolic links ({error.__class__.__name__})")
    wheel = next(folder.glob("*.whl"))
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "--quiet", str(wheel)]
    done = run(install, folder)
    assert done.returncode == 0, done.stderr
    return programs


@pytest.fixture(scope="module")
def volume(installed) -> Path:
    """A body of soft tissue in air."""
    voxels = np.full((8, 40, 40), -1000, np.int16)
    voxels[:, 8:32, 8:32] = 40
    path = installed.parent / "small.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    return path


def test_the_container_starts_a_command_that_segments_without_slicer_core(installed, volume):
    entry, command = (json.loads(line) for word in ("ENTRYPOINT", "CMD") for line in instructions(word))
    bare = installed.parent / "data"
    bare.mkdir()
    done = run([str(installed / entry[0]), *command, "--volume", str(volume), "--prompt", "body"], bare)
    assert done.returncode == 0, done.stderr
    segmentation, picture = (Path(line) for line in done.stdout.splitlines()[-2:])
    for path in (segmentation, segmentation.with_name("small_labels.nii.gz")):
        assert int(np.count_nonzero(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))) > 2000
    assert segmentation.name == "small.seg.nrrd" and picture.read_bytes()[:4] == b"\x89PNG"


def test_help_speaks_as_the_program_that_was_started(installed):
    assert run([str(installed / "medimageparse"), "segment", "--help"], ROOT).stdout.startswith("usage: medimageparse segment")
    assert run([str(installed / "python"), "-m", "MedImageParseLib", "check"], ROOT).stderr.count("`medimageparse") == 1
    assert run([sys.executable, str(ROOT / "scripts" / "mip.py"), "check"], ROOT).stderr.count("`mip.py") == 1


def test_a_result_that_needs_a_further_package_is_one_sentence_that_names_the_extra(installed, volume):
    words = ["segment", str(volume), "--model", "medimageparse3d", "--prompt", "liver", "--endpoint", "http://127.0.0.1:9/score"]
    done = run([str(installed / "medimageparse"), *words, "--dicom-seg", "x.dcm"], installed.parent)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "pip install highdicom` (the extra [dicom] of medimageparse)" in done.stderr


def test_the_wheel_holds_every_file_of_the_library(installed):
    listed = importlib.metadata.distributions(path=[str(site) for site in installed.parent.rglob("site-packages")])
    wheel = next(one for one in listed if one.metadata["Name"] == "medimageparse")
    ours = {str(path.relative_to(LIBRARY)) for path in (LIBRARY / "MedImageParseLib").rglob("*") if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    assert ours == {str(path) for path in wheel.files if path.parts[0] == "MedImageParseLib" and path.suffix != ".pyc"}
    assert wheel.version == __import__("MedImageParseLib").__version__


def test_what_the_container_copies_is_not_ignored():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")]
    copied = [source for line in instructions("COPY") for source in shlex.split(line)[:-1]]
    assert copied and all((ROOT / source).exists() and source in kept for source in copied)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_a_shell_completes_commands_and_options(capsys, shell):
    pytest.importorskip("shtab", reason="shtab is not installed: no completion script can be made")
    from MedImageParseLib.cli.main import main

    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "medimageparse" in script and "segment" in script and "prompt" in script
    program = shutil.which(shell)
    if program and shell != "tcsh":
        assert subprocess.run([program, "-n"], input=script, text=True, capture_output=True, check=False).returncode == 0
