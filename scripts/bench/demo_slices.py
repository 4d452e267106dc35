"""How long the demo engine takes for one slice as the 2D model gets it (1024 x 1024).

    .venv/bin/python scripts/bench/demo_slices.py [PICTURE.png]

Prints seconds a slice for several sets of prompts, the best of five. The aim is 0.3 s on an idle computer.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]
import environment

environment.ensure()

import numpy as np

from MedImageParseLib.engines.classical.engine import segment_image
from MedImageParseLib.engines.classical.phantom import make_phantom

PROMPTS = (["lungs"], ["bones"], ["liver"], ["liver", "spleen", "left kidney", "right kidney"], ["body", "lungs", "bones", "liver"])


def main() -> None:
    """Print the table."""
    from PIL import Image

    if len(sys.argv) > 1:
        pixels = np.asarray(Image.open(sys.argv[1]).convert("L"))
    else:
        hu = make_phantom().voxels[30].astype(float)
        small = np.clip((hu + 150) / 400 * 255, 0, 255).astype(np.uint8)
        side = max(small.shape)
        square = np.zeros((side, side), np.uint8)
        top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
        square[top : top + small.shape[0], left : left + small.shape[1]] = small
        pixels = np.asarray(Image.fromarray(square).resize((1024, 1024), Image.Resampling.BICUBIC))
    segment_image(pixels, ["body"])  # imports
    for prompts in PROMPTS:
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            segment_image(pixels, prompts)
            seconds.append(time.perf_counter() - started)
        print(f"{' & '.join(prompts):55} {min(seconds):.2f} s a slice")


if __name__ == "__main__":
    main()
