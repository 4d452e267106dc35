"""Benchmark: slices for the 2D model, the published toolkit's steps against ours, on the same made-up slices in one run.

    python3 scripts/bench/segment_slices.py [--size 512x512] [--slices 12] [--prompts 2] [--json FILE]

Request: window, pad, resize to 1024x1024, PNG, base64, JSON. Reply: JSON and base64 to masks; ours go on to the slice's own pixels,
which the toolkit leaves to its user. No endpoint takes part. Both ways run in one process, in turn, after one slice to warm up;
figures are medians a slice.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "bench"), str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment
import measuring

SIDE = 1024
WINDOW_HU = (-150.0, 250.0)  # the toolkit's "ct-abdomen"; ours comes to the same by itself
WAYS = ("toolkit", "ours")
FIGURES = {"request_ms": ("request built, ms", 1), "bytes": ("request on the wire, kB", 1e-3), "reply_ms": ("reply decoded, ms", 1)}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        import skimage.transform  # noqa: F401
    except ImportError:
        print("error: The toolkit's way needs scikit-image; run pip install scikit-image in the same environment first.", file=sys.stderr)
        return 1
    results = _compare(options)
    _print(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", default="512x512", help="columns x rows of a slice (default 512x512)")
    parser.add_argument("--slices", default=12, type=int, help="how many slices (default 12)")
    parser.add_argument("--prompts", default=2, type=int, help="how many maps come back for each (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    options = parser.parse_args(arguments)
    try:
        columns, rows = (int(part) for part in options.size.split("x"))
    except ValueError:
        parser.error("--size is columns x rows, such as 512x512.")
    if min(columns, rows) < 8 or options.slices < 1 or options.prompts < 1:
        parser.error("give at least 8 pixels a side, one slice and one prompt.")
    options.shape = (rows, columns)
    return options


def _compare(options: argparse.Namespace) -> dict:
    import made_up
    import numpy as np

    voxels = made_up.volume((options.slices + 1, *options.shape))
    matrix = made_up.ijk_to_ras(voxels.shape)
    names = made_up.prompts(options.prompts)
    body = _reply(options.prompts)
    ours = _Ours(voxels, matrix, names)
    runs: dict[str, list[dict]] = {way: [] for way in WAYS}
    for index in range(options.slices + 1):
        for way in WAYS[::-1] if index % 2 else WAYS:
            build = ours.build_request if way == "ours" else _toolkit_request
            decode = ours.decode_reply if way == "ours" else _toolkit_masks
            started = time.perf_counter()
            request = build(index) if way == "ours" else build(voxels[index].astype(np.float32), names)
            built = time.perf_counter()
            decode(body)
            decoded = time.perf_counter()
            if index:  # slice 0 warms up
                runs[way].append({"request_ms": (built - started) * 1e3, "reply_ms": (decoded - built) * 1e3, "bytes": len(request)})
    found = {way: {figure: round(statistics.median(run[figure] for run in runs[way]), 2) for figure in FIGURES} for way in WAYS}
    found["ratios"] = {figure: measuring.ratio(found["ours"][figure], found["toolkit"][figure]) for figure in FIGURES}
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    return {"size": options.size, "slices": options.slices, "prompts": options.prompts, "machine": machine, "a_slice": found}


class _Ours:
    """The product's own functions, in the order in which tasks/segment_slices.py calls them."""

    def __init__(self, voxels, matrix, names: list[str]):
        from MedImageParseLib.imaging.geometry import SliceView
        from MedImageParseLib.imaging.volume import Volume
        from MedImageParseLib.imaging.windows import choose_window
        from MedImageParseLib.prompts import sites

        self._volume, self._names = Volume(voxels, matrix, modality="CT"), names
        self._view = SliceView.of(self._volume)
        self._window = choose_window(self._volume, "auto", [site for site in map(sites.site_of, names) if site])

    def build_request(self, index: int) -> bytes:
        from MedImageParseLib.imaging.png import encode_png
        from MedImageParseLib.imaging.windows import apply_window, to_eight_bit
        from MedImageParseLib.prompts import grammar
        from MedImageParseLib.wire import medimageparse

        picture, _cut = to_eight_bit(apply_window(self._volume.voxels[index : index + 1], self._window))
        return medimageparse.build_request([encode_png(self._view.picture(picture, 0))], grammar.join_prompts(self._names), "azureml")

    def decode_reply(self, body: bytes) -> list:
        """Binary masks at the slice's own pixels."""
        from MedImageParseLib.wire import medimageparse

        (reply,) = medimageparse.parse_reply(body, 1, len(self._names), (SIDE, SIDE))
        return [self._view.slice_map(map_) >= reply.threshold for map_ in reply.maps]


def _toolkit_request(image, names: list[str]) -> bytes:
    """Microsoft's healthcareai-examples toolkit, written from its description: clip and scale to 8 bits, pad to a centered square,
    scikit-image's resize of order 3 with anti-aliasing, three equal channels, PNG by Pillow, encodebytes, json.dumps.

    Args:
        image: float32 HU, as its DICOM reader gives it.
        names: of the structures, joined into one prompt.
    """
    import numpy as np
    from PIL import Image
    from skimage import transform

    low, high = WINDOW_HU
    eight_bit = ((np.clip(image, low, high) - low) / (high - low) * 255.0).astype(np.uint8)
    rows, columns = eight_bit.shape
    across, down = (max(0, rows - columns) // 2, max(0, columns - rows) // 2)
    square = np.pad(eight_bit, ((down, down), (across, across)))
    large = transform.resize(square, (SIDE, SIDE), order=3, mode="constant", preserve_range=True, anti_aliasing=True)
    color = np.clip(np.stack([large] * 3, axis=2), 0, 255).astype(np.uint8)
    png = io.BytesIO()
    Image.fromarray(color).save(png, format="PNG")
    text = base64.encodebytes(png.getvalue()).decode("utf-8")
    request = {"input_data": {"columns": ["image", "text"], "index": [0], "data": [[text, " & ".join(names)]]}, "params": {}}
    return json.dumps(request).encode("utf-8")


def _toolkit_masks(body: bytes):
    """Binary masks on the 1024 square: the toolkit knows no way back to the slice."""
    import numpy as np

    inner = json.loads(json.loads(body)[0]["image_features"])
    maps = np.frombuffer(base64.b64decode(inner["data"]), dtype=np.dtype(inner["dtype"])).reshape(inner["shape"])
    return maps > 128


def _reply(prompts: int) -> bytes:
    """Discs of probabilities with soft edges, uint8."""
    import numpy as np

    y, x = np.ogrid[:SIDE, :SIDE]
    edges = [120 + 10 * number - np.hypot(y - 512, x - 400 - 20 * number) for number in range(prompts)]  # pixels inwards
    maps = np.stack([np.clip(128 + 4 * edge, 0, 255).astype(np.uint8) for edge in edges])
    inner = {"data": base64.b64encode(maps.tobytes()).decode("ascii"), "shape": list(maps.shape), "dtype": "uint8"}
    return json.dumps([{"image_features": json.dumps(inner), "text_features": ["liver"] * prompts}]).encode("ascii")


def _print(results: dict) -> None:
    found = results["a_slice"]
    rows = [["a slice", "toolkit's steps", "ours", "ours / toolkit's"]]
    for figure, (heading, scale) in FIGURES.items():
        note = " (ours: back on the slice's pixels)" if figure == "reply_ms" else ""
        values = (measuring.number(found[way][figure] * scale, 1) for way in WAYS)
        rows.append([heading + note, *values, measuring.number(found["ratios"][figure])])
    print(f"{results['slices']} slices of {results['size']}, {results['prompts']} prompts, medians\n")
    print(measuring.table(rows))


if __name__ == "__main__":
    environment.reexec_if_present()
    sys.exit(main())
