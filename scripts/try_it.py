"""Try everything on a made-up CT: `python3 scripts/try_it.py [--volume FILE] [--prompt "A & B"] [--output FOLDER]`.

Sets up `.venv/` on the first run, makes a phantom CT, starts the local endpoint, segments the CT through it, compares with the truth,
and prints where the segmentation and the picture are: the last two lines are their paths.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
sys.path[:0] = [str(SCRIPTS), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment

PROMPTS = "lungs & bones & liver & spleen & kidneys & unicorn"
PICTURE_PROMPTS = "foreground & unicorn"


def main() -> int:
    """Returns the exit status of the segmentation (see the README's table)."""
    parser = argparse.ArgumentParser(description="Segment a made-up CT, or your own volume, through the local demo engine.")
    parser.add_argument(
        "--volume", metavar="FILE", help="your own volume or 2D picture instead of the made-up CT; it does not leave this computer"
    )
    parser.add_argument(
        "--prompt", action="append", metavar='"A & B"', help=f"what to look for (default: {PROMPTS}; in a picture: {PICTURE_PROMPTS})"
    )
    parser.add_argument("--output", metavar="FOLDER", default=str(ROOT / "try_it_output"), help="default: try_it_output")
    arguments = parser.parse_args()
    environment.ensure()
    from MedImageParseLib.errors import MedImageParseError

    try:
        return _try(arguments)
    except MedImageParseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("error: Cancelled.", file=sys.stderr)
        return 130


def _try(arguments: argparse.Namespace) -> int:
    from MedImageParseLib.cli.main import main as command_line
    from MedImageParseLib.files.read import PICTURE_EXTENSIONS
    from MedImageParseLib.files.write import make_folder
    from MedImageParseLib.local_endpoint.server import LocalEndpoint

    folder = make_folder(arguments.output).resolve()
    references = {}
    if arguments.volume:
        volume = Path(arguments.volume)
        stem = volume.name.split(".")[0] or "volume"
    else:
        volume, references = _make_phantom(folder)
        stem = "phantom"
    segmentation, picture = folder / f"{stem}.seg.nrrd", folder / f"{stem}.png"
    labels, report = folder / f"{stem}_labels.nii.gz", folder / f"{stem}_report.json"
    is_picture = volume.name.lower().endswith(PICTURE_EXTENSIONS)
    prompts = arguments.prompt or [PICTURE_PROMPTS if is_picture else PROMPTS]

    with LocalEndpoint(port=0) as endpoint:
        print(f"Started the local endpoint at {endpoint.url}, which only this computer can reach.")
        print("Behind it is the local demo engine: classical image processing. It is NOT MedImageParse and no measure of it.")
        print(f"Segmenting {volume.name}: {' & '.join(prompts)}", flush=True)
        command = ["segment", str(volume), "--model", "medimageparse" if is_picture else "medimageparse3d", "--endpoint", endpoint.url]
        for prompt in prompts:
            command += ["--prompt", prompt]
        command += ["--output", str(segmentation), "--labels", str(labels), "--picture", str(picture), "--report", str(report)]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = command_line(command)
    for line in said.getvalue().splitlines():
        if line not in (str(segmentation), str(labels), str(picture)):  # the paths come last, below
            print(f"  {line}")
    if status not in (0, 4):  # 4: a part was done, and is kept
        return status
    if references:
        _compare(labels, report, references)
    print(f"The labelmap is {labels.name} and the report {report.name} in the same folder. The segmentation and the picture:")
    print(segmentation)
    print(picture)
    return status


def _make_phantom(folder: Path):
    from MedImageParseLib.engines.classical.phantom import TILT_DEGREES, make_phantom
    from MedImageParseLib.files.write import write_atomically
    from MedImageParseLib.imaging.nifti import encode_nifti

    phantom = make_phantom()
    path = write_atomically(folder / "phantom_ct.nii.gz", encode_nifti(phantom.voxels, phantom.ijk_to_ras))
    columns, rows, slices = phantom.voxels.shape[::-1]
    print(f"Made a CT of a made-up patient, {columns} x {rows} x {slices} voxels, turned by {TILT_DEGREES:.0f} degrees: {path.name}")
    return path, phantom.references


def _compare(labels: Path, report: Path, references: dict) -> None:
    """Print the overlap with the shapes that the phantom was made of. The labelmap is read with SimpleITK, not with our own code."""
    import json

    import numpy as np
    import SimpleITK as sitk

    found = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    print("Overlap with the truth (Dice; 1 is perfect):")
    for entry in json.loads(report.read_text(encoding="utf-8"))["prompts"]:
        truth = references.get(entry["text"].lower())
        if truth is not None:
            mask = found == entry["label"]
            together = int(np.count_nonzero(mask)) + int(np.count_nonzero(truth))
            print(f"  {entry['name']:<10} {2 * np.count_nonzero(mask & truth) / together:.3f}")


if __name__ == "__main__":
    sys.exit(main())
