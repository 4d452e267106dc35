"""Makes the small pictures of the sample data sets: `python3 scripts/make_thumbnails.py`. Needs the real CT beside the repository."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
sys.path[:0] = [str(SCRIPTS), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment

ICONS = ROOT / "MedImageParseExtension" / "MedImageParse" / "Resources" / "Icons"
_SIZE = (240, 200)  # pixels


def main() -> int:
    """Returns 0."""
    environment.ensure()
    import numpy as np
    import SimpleITK as sitk
    from PIL import Image

    from MedImageParseLib.engines.classical.phantom import make_phantom

    real = sitk.GetArrayFromImage(sitk.ReadImage(str(ROOT.parent / "shared" / "data" / "ct_abdomen_3mm.nii.gz")))
    made = make_phantom().voxels
    for name, slice_ji in (("SampleCT", made[38]), ("AbdomenCT", real[20][::-1, ::-1])):  # the file's axes are RAS
        gray = (np.clip((slice_ji + 160.0) / 400.0, 0, 1) * 255).astype(np.uint8)
        picture = Image.fromarray(gray).convert("RGB")
        picture.thumbnail(_SIZE)
        sheet = Image.new("RGB", _SIZE)
        scale = min(_SIZE[0] / picture.width, _SIZE[1] / picture.height)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
        sheet.paste(picture, ((_SIZE[0] - picture.width) // 2, (_SIZE[1] - picture.height) // 2))
        sheet.save(ICONS / f"{name}.png", optimize=True)
        print(ICONS / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
