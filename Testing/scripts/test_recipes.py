"""The recipes for running a batch in parts work as they are written, where their tool is installed; and so does the example of a cohort."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from batch_support import CountingDouble, lines_of, write_case
from places import LIBRARY, ROOT

from MedImageParseLib.cli.main import main
from MedImageParseLib.cohort.cases import find_cases

RECIPES = ROOT / "docs" / "recipes"


@pytest.fixture
def laboratory(tmp_path, monkeypatch):
    """A folder with images, an endpoint with a profile, and the command `medimageparse`."""
    (tmp_path / "cases").mkdir()
    for number in range(3):
        write_case(tmp_path / "cases" / f"c{number}.nii.gz", number)
    command = tmp_path / "bin" / "medimageparse"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{LIBRARY}" exec "{sys.executable}" -m MedImageParseLib "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    double = CountingDouble()
    with double.serve() as url:
        assert main(["profiles", "add", "Double", "--endpoint", url, "--model", "medimageparse3d"]) == 0
        yield tmp_path, double


def all_done_once(folder: Path, double: CountingDouble) -> None:
    entries = lines_of(folder / "results")
    assert {name: entry["state"] for name, entry in entries.items()} == {"c0": "done", "c1": "done", "c2": "done"}
    assert set(double.on_the_wire().values()) == {1} and len(double.seen) == 3
    assert len(list(csv.DictReader((folder / "results" / "batch.csv").open()))) == 6


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_the_slurm_script_does_its_part_of_the_array(laboratory):
    folder, double = laboratory
    given = {"SLURM_ARRAY_TASK_COUNT": "2", "PROFILE": "Double", "MORE": "--slabs none"}
    for part in ("1", "2"):
        environment = os.environ | given | {"SLURM_ARRAY_TASK_ID": part}
        done = subprocess.run(
            ["bash", str(RECIPES / "batch.sbatch")], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    all_done_once(folder, double)


@pytest.mark.skipif(not shutil.which("snakemake"), reason="Snakemake is not installed (pip install snakemake)")
def test_snakemake_runs_the_parts_and_then_the_whole(laboratory):
    folder, double = laboratory
    words = ["snakemake", "-s", str(RECIPES / "Snakefile"), "--cores", "2", "--config", "profile=Double", "more=--slabs none"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    all_done_once(folder, double)
    assert (folder / "results" / "all-done.txt").read_text().startswith("3 cases: 3 done (3 before)")


@pytest.mark.skipif(not shutil.which("nextflow"), reason="Nextflow is not installed (it comes with neither PyPI nor Debian)")
def test_nextflow_runs_the_parts_and_then_the_whole(laboratory):
    folder, double = laboratory
    paths = ["--images", str(folder / "cases"), "--out", str(folder / "results"), "--profile_name", "Double"]
    done = subprocess.run(["nextflow", "run", str(RECIPES / "main.nf"), *paths], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {entry["state"] for entry in lines_of(folder / "results").values()} == {"done"} and len(double.seen) >= 3


def test_the_example_of_a_cohort_makes_three_different_cases_with_references_on_their_grids(tmp_path):
    from cohort_example import ORGANS, write_cohort

    cases = find_cases([write_cohort(tmp_path)]).cases
    assert [case.id for case in cases] == ["case1", "case2", "case3"]
    images = [nibabel.load(case.input) for case in cases]
    references = [nibabel.load(case.reference) for case in cases]
    assert len({image.shape for image in images}) == 3
    for image, reference in zip(images, references):
        assert image.shape == reference.shape and np.allclose(image.affine, reference.affine)
        assert set(np.unique(reference.dataobj)) == set(range(len(ORGANS) + 1))
    # A voxel of the cropped case lies where it lay in the whole one.
    whole, cropped = references[0], references[1]
    liver = np.argwhere(np.asarray(cropped.dataobj) == 1)[0]
    there = np.linalg.inv(whole.affine) @ cropped.affine @ [*liver, 1]
    assert whole.dataobj[tuple(np.rint(there[:3]).astype(int))] == 1
