"""`medimageparse try-it`: segment a synthetic CT, or one's own image, through the local demo endpoint, and compare with the truth.

The last two lines are the paths of the segmentation and of the picture.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np

from ..engines.classical.phantom import TILT_DEGREES, make_phantom
from ..files.read import PICTURE_EXTENSIONS
from ..files.write import make_folder, write_atomically
from ..imaging.nifti import encode_nifti
from ..local_endpoint.server import LocalEndpoint
from ..models import SLICES, VOLUMES
from ..progress import Cancellation

PROMPTS = "lungs & bones & liver & spleen & kidneys & unicorn"
PICTURE_PROMPTS = "foreground & unicorn"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("try-it", help="segment a synthetic CT, or your own image, through the local demo endpoint")
    parser.set_defaults(run=run)
    parser.add_argument(
        "--volume", metavar="FILE", help="your own volume or 2D picture instead of the synthetic CT; it does not leave this computer"
    )
    parser.add_argument(
        "--prompt", action="append", metavar='"A & B"', help=f"what to look for (default: {PROMPTS}; in a picture: {PICTURE_PROMPTS})"
    )
    parser.add_argument("--output", metavar="FOLDER", default="try_it_output", help="folder for the results (default try_it_output)")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status of the segmentation."""
    folder = make_folder(arguments.output).resolve()
    references: dict[str, np.ndarray] = {}
    if arguments.volume:
        volume = Path(arguments.volume)
        stem = volume.name.split(".")[0] or "volume"
    else:
        volume, references = _make_phantom(folder)
        stem = "phantom"
    is_picture = volume.name.lower().endswith(PICTURE_EXTENSIONS)
    segmentation, picture = folder / f"{stem}.seg.nrrd", folder / f"{stem}.png"
    labels, report = folder / f"{stem}_labels.nii.gz", folder / f"{stem}_report.json"
    prompts = arguments.prompt or [PICTURE_PROMPTS if is_picture else PROMPTS]
    outputs = ["--output", str(segmentation), "--labels", str(labels), "--picture", str(picture), "--report", str(report)]
    status = _segment(volume, SLICES.name if is_picture else VOLUMES.name, prompts, outputs, arguments.cancellation)
    if status not in (0, 4):  # 4: a part was done, and is kept
        return status
    if references:
        _compare(labels, report, references)
    print(f"The labelmap is {labels.name} and the report {report.name} in the same folder. The segmentation and the picture:")
    print(segmentation)
    print(picture)
    return status


def _segment(volume: Path, model: str, prompts: list[str], outputs: list[str], cancellation: Cancellation) -> int:
    """The command line's `segment` through an endpoint of our own; returns its exit status."""
    from .main import run_command

    with LocalEndpoint(port=0) as endpoint:
        print(f"Started the local endpoint at {endpoint.url}, which only this computer can reach.")
        print("Behind it is the local demo engine: classical image processing. It is NOT MedImageParse and no measure of it.")
        print(f"Segmenting {volume.name}: {' & '.join(prompts)}", flush=True)
        command = ["segment", str(volume), "--model", model, "--endpoint", endpoint.url]
        for prompt in prompts:
            command += ["--prompt", prompt]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = run_command([*command, *outputs], cancellation)
    for line in said.getvalue().splitlines():
        if line not in outputs:  # the paths come last
            print(f"  {line}")
    return status


def _make_phantom(folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    phantom = make_phantom()
    path = write_atomically(folder / "phantom_ct.nii.gz", encode_nifti(phantom.voxels, phantom.ijk_to_ras))
    columns, rows, slices = phantom.voxels.shape[::-1]
    print(
        f"Created a CT of a synthetic patient, {columns} x {rows} x {slices} voxels, "
        f"with a geometry tilted by {TILT_DEGREES:.0f} degrees: {path.name}"
    )
    return path, phantom.references


def _compare(labels: Path, report: Path, references: dict[str, np.ndarray]) -> None:
    """Print the overlap with the shapes that the phantom was made of. The labelmap is read with SimpleITK, not with our own code."""
    import SimpleITK as sitk

    found = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    print("Overlap with the truth (Dice; 1 is perfect):")
    for entry in json.loads(report.read_text(encoding="utf-8"))["prompts"]:
        truth = references.get(entry["text"].lower())
        if truth is not None:
            mask = found == entry["label"]
            together = int(np.count_nonzero(mask)) + int(np.count_nonzero(truth))
            print(f"  {entry['name']:<10} {2 * np.count_nonzero(mask & truth) / together:.3f}")
