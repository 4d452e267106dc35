"""How well the demo endpoint finds the brain on MR with deepbrain's network, and that it finds none where there is none.

    .venv/bin/python scripts/bench/brain_on_mr.py HEAD.nii.gz BRAIN.nii.gz [NO_HEAD …]

HEAD is a T1-weighted volume, BRAIN the same with everything but the brain set to 0 (Debian's package mricron-data has both: Colin27, as
ch2.nii.gz and ch2bet.nii.gz). NO_HEAD are volumes without a brain, or pictures. `engine add deepbrain` has to be run before. Each volume
goes over the wire to the local endpoint, as HEAD is, turned, in thick slices, with a bias field and with noise.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]
import environment

environment.ensure()

import numpy as np

from MedImageParseLib import Volume, segment
from MedImageParseLib.files.read import read_image
from MedImageParseLib.imaging.geometry import AxisMap
from MedImageParseLib.local_endpoint.server import LocalEndpoint

AIM = 0.92


def variants(head: Volume, brain: np.ndarray) -> Iterator[tuple[str, Volume, np.ndarray]]:
    """The head as it may come: a name, the volume, and the brain on its grid."""
    voxels, matrix = head.voxels.astype(np.float32), head.ijk_to_ras
    yield "as it is", Volume(voxels, matrix, modality="MR"), brain
    for directions in (("A", "I", "L"), ("L", "S", "P"), ("P", "R", "I")):
        axes = AxisMap.towards(matrix, directions)
        turned = np.ascontiguousarray(axes.apply(voxels))
        yield f"axes {''.join(directions)}", Volume(turned, axes.turned_matrix(matrix, voxels.shape), modality="MR"), axes.apply(brain)
    thick, count = matrix.copy(), voxels.shape[0] // 5
    thick[:3, 2] *= 5
    thick[:3, 3] += 2 * matrix[:3, 2]
    slabs = voxels[: 5 * count].reshape(count, 5, *voxels.shape[1:]).mean(axis=1)
    yield (
        "slices five times as thick",
        Volume(slabs, thick, modality="MR"),
        brain[: 5 * count].reshape(count, 5, *brain.shape[1:]).mean(axis=1) > 0.5,
    )
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in voxels.shape), indexing="ij")
    yield "bias field, 0.3 to 1.7", Volume(voxels * (1 + 0.4 * i + 0.3 * j - 0.3 * k * k), matrix, modality="MR"), brain
    random, spread = np.random.default_rng(0), 0.1 * float(voxels.max())
    noisy = np.hypot(voxels + random.normal(0, spread, voxels.shape), random.normal(0, spread, voxels.shape)).astype(np.float32)
    yield "10 % noise (Rician)", Volume(noisy, matrix, modality="MR"), brain
    yield "contrast turned", Volume(np.where(voxels > 0, voxels.max() - voxels, 0), matrix, modality="MR"), np.zeros_like(brain)


def main() -> int:
    """Print a line a volume. Returns 1 where one is below the aim, or a brain was found where there is none."""
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    head, brain = (read_image(path)[0] for path in sys.argv[1:3])
    worst = 0
    with LocalEndpoint() as endpoint:
        for name, volume, truth in variants(head, brain.voxels > 0):
            worst |= ask(endpoint, name, volume, truth)
        for path in sys.argv[3:]:
            volume = read_image(path)[0]
            worst |= ask(endpoint, Path(path).name, volume, np.zeros(volume.voxels.shape[:3], bool))
    return worst


def ask(endpoint: LocalEndpoint, name: str, volume: Volume, truth: np.ndarray) -> int:
    """Ask for the brain, and print what came. Returns whether that is worse than the aim."""
    started, worked = time.perf_counter(), time.process_time()
    model = "medimageparse" if volume.is_picture else "medimageparse3d"
    result = segment(volume, "brain", model=model, endpoint=endpoint.url_of(model))
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    found = result[0].array
    voxels = int(found.sum()) + int(truth.sum())
    dice = 2 * int((found & truth).sum()) / voxels if truth.any() else 0.0
    said = f"Dice {dice:.4f}" if truth.any() else ("nothing found" if not found.any() else f"{int(found.sum())} voxels found")
    print(
        f"{name:32} {said:16} {seconds:5.1f} s ({processor:.1f} s of the processor)  {result.report['engine']}  {' '.join(result.report['warnings'])}",
        flush=True,
    )
    return int(dice < AIM if truth.any() else bool(found.any()))


if __name__ == "__main__":
    sys.exit(main())
