"""Many cases from beginning to end: `python3 scripts/cohort_example.py [--output FOLDER]`.

Sets up `.venv/` on the first run, makes three CTs of a synthetic patient with their references, segments them with `batch` through the
local demo endpoint (classical image processing, not MedImageParse), and measures the results with `evaluate`. The last two lines are the
paths of a table and of a picture of the cases that fit worst. A second run sends nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
sys.path[:0] = [str(SCRIPTS), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment

ORGANS = ("liver", "spleen", "lungs", "kidneys")
# Of each case: noise (HU), slices left out below, and voxels left out on the patient's left.
VARIANTS = {"case1": (0, 0, 0), "case2": (12, 6, 0), "case3": (25, 0, 10)}


def write_cohort(folder: Path) -> Path:
    """Three CTs, their reference labelmaps, the names of the labels, and the table that names them all. Returns the table."""
    import numpy as np

    from MedImageParseLib.engines.classical.phantom import make_phantom
    from MedImageParseLib.files.write import write_atomically
    from MedImageParseLib.imaging.nifti import encode_nifti

    phantom = make_phantom()
    labels = np.zeros(phantom.voxels.shape, np.uint8)
    for value, organ in enumerate(ORGANS, start=1):
        labels[phantom.references[organ] != 0] = value
    lines = ["image,id,prompt,reference"]
    for number, (name, (noise, below, left)) in enumerate(VARIANTS.items()):
        shaken = phantom.voxels + np.random.default_rng(number).normal(0, noise, phantom.voxels.shape)
        part = np.s_[below:, :, left:]
        matrix = phantom.ijk_to_ras.copy()
        matrix[:3, 3] = (matrix @ [left, 0, below, 1])[:3]
        for ending, voxels in ((".nii.gz", np.rint(shaken).astype(np.int16)), ("_reference.nii.gz", labels)):
            write_atomically(folder / f"{name}{ending}", encode_nifti(np.ascontiguousarray(voxels[part]), matrix))
        lines.append(f"{name}.nii.gz,{name},{' & '.join(ORGANS)},{name}_reference.nii.gz")
    write_atomically(folder / "names.json", json.dumps({value: organ for value, organ in enumerate(ORGANS, start=1)}).encode())
    return write_atomically(folder / "cases.csv", ("\n".join(lines) + "\n").encode())


def main() -> int:
    """Returns the exit status of the first command that failed, 0 where none did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", metavar="FOLDER", default=str(ROOT / "cohort_output"), help="folder for everything that is made")
    folder = Path(parser.parse_args().output).resolve()
    from MedImageParseLib.cli.main import main as command
    from MedImageParseLib.local_endpoint.server import LocalEndpoint

    images, results = folder / "cases", folder / "results"
    images.mkdir(parents=True, exist_ok=True)
    table = images / "cases.csv"
    if not table.exists():
        table = write_cohort(images)
    with LocalEndpoint(port=PORT) as endpoint:
        print(f"Three synthetic CTs in {images}; segmenting them through {endpoint.url}, the local demo engine. It is NOT MedImageParse.")
        status = command(["batch", str(table), "--model", "medimageparse3d", "--endpoint", endpoint.url, "--output-dir", str(results)])
    if status:
        return status
    account = str(results / "batch.jsonl")
    scores = ["--csv", str(results / "scores.csv"), "--table", str(results / "scores.md"), "--picture", str(results / "scores.png")]
    return command(["evaluate", "--reference", account, "--prediction", account, "--names", str(images / "names.json"), *scores])


PORT = 5017  # the same each time: the endpoint's address is part of what a result depends on

if __name__ == "__main__":
    environment.ensure()
    sys.exit(main())
