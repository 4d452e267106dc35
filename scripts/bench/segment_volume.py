"""Benchmark: a whole volume with many prompts, the documented sample's way against ours, on the same made-up data in one run.

    python3 scripts/bench/segment_volume.py [--size 512x512x300] [--prompts 10] [--repeat 3] [--json FILE]

Each way runs in a process of its own, its imports warmed by a tiny volume first, the order alternating; figures are medians of the
repeats. Memory is the highest resident memory during the call above that at its start. No endpoint takes part: only the work at
our end is measured.

The steps "whole" are whole processes, from the command to its end, imports included: a .nii.gz in, and out the sample's one .nii.gz a
structure or our one .seg.nrrd. An endpoint on loopback answers them at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "bench"), str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment
import measuring

WAYS = ("sample", "ours")
STEPS = {
    "request": "request built",
    "stack": "reply with overlapping masks (4D) to segments",
    "labelmap": "reply with a labelmap (3D) to segments",
    "stack-float32": "reply with probabilities (4D, float32) to segments",
    "whole": "whole process, file to files, labelmap reply",
    "whole-overlapping": "whole process, file to files, overlapping masks (4D)",
}
_WHOLE = {"whole": "labelmap", "whole-overlapping": "stack"}  # the form of the reply
# figure: (heading, factor, digits)
FIGURES = {
    "seconds": ("time, s", 1, 2),
    "cpu_seconds": ("processor time, s", 1, 2),
    "peak_mb": ("peak memory, MB", 1, 0),
    "bytes": ("on the wire, MB", 1e-6, 1),
}
DEFAULT_SIZE, DEFAULT_PROMPTS = "512x512x300", 10
# (step, figure, at most this share of the sample's), for the default size and prompts: on small volumes other costs rule
TARGETS = (
    ("request", "seconds", 0.35),
    ("request", "bytes", 0.35),
    ("request", "peak_mb", 0.6),
    ("stack", "seconds", 0.1),
    ("stack", "peak_mb", 0.6),
    ("whole", "seconds", 0.45),
    ("whole", "peak_mb", 0.45),
    ("whole-overlapping", "seconds", 0.45),
    ("whole-overlapping", "peak_mb", 0.45),
)
_WARM_SHAPE = (6, 8, 10)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        if options.measure:
            way, step = options.measure.split(":")
            print(json.dumps(_measure_here(way, step, options)))
            return 0
        import nibabel  # noqa: F401

        results = _compare(options)
    except ImportError as error:
        print(f"error: The benchmark needs {error.name}; python3 scripts/run_tests.py installs it in .venv.", file=sys.stderr)
        return 1
    except measuring.CannotMeasure as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _print(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", default=DEFAULT_SIZE, type=_shape_kji, help="columns x rows x slices (default 512x512x300)")
    parser.add_argument("--prompts", default=DEFAULT_PROMPTS, type=int, help="how many masks come back (default 10)")
    parser.add_argument("--repeat", default=3, type=int, help="runs of each way (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument(
        "--steps",
        default="request,stack,labelmap,whole",
        help=f"what to measure, of {', '.join(STEPS)} (stack-float32 and whole-overlapping need 16 GB)",
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--inputs", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.steps = options.steps.split(",")
    if options.prompts < 1 or options.repeat < 1 or not set(options.steps) <= set(STEPS):
        parser.error(f"--prompts and --repeat start at 1, --steps are of {', '.join(STEPS)}.")
    return options


def _shape_kji(text: str) -> tuple[int, int, int]:
    try:
        columns, rows, slices = (int(part) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError("give columns x rows x slices, such as 512x512x300") from None
    if min(columns, rows, slices) < 8:
        raise argparse.ArgumentTypeError("give at least 8 voxels a side")
    return slices, rows, columns


def _compare(options: argparse.Namespace) -> dict:
    import made_up
    import numpy as np

    runs: dict[str, dict[str, list[dict]]] = {step: {way: [] for way in WAYS} for step in options.steps}
    size = "x".join(map(str, options.size[::-1]))
    with tempfile.TemporaryDirectory() as folder:
        print(f"Making a volume of {size} voxels and replies with {options.prompts} masks ...", file=sys.stderr)
        np.save(Path(folder) / "volume.npy", made_up.volume(options.size))
        for step in options.steps:
            form = _WHOLE.get(step, step)
            if step != "request":
                for way in WAYS:
                    _reply_file(folder, way, form).write_bytes(_reply(way, form, options.prompts, options.size))
            for turn in range(options.repeat):
                for way in WAYS[::-1] if turn % 2 else WAYS:
                    print(f"{step}: {way}, run {turn + 1} of {options.repeat} ...", file=sys.stderr)
                    if step in _WHOLE:
                        runs[step][way].append(_whole(way, form, Path(folder), options))
                        continue
                    own = ["--measure", f"{way}:{step}", "--inputs", folder, "--size", size, "--prompts", str(options.prompts)]
                    runs[step][way].append(measuring.in_own_process(Path(__file__), own))
    return _summary(options, size, runs)


def _whole(way: str, form: str, folder: Path, options: argparse.Namespace) -> dict:
    """One run of a whole process, and what its files hold."""
    import made_up
    import nibabel
    import numpy as np
    import whole_process

    image, names = folder / "volume.nii.gz", made_up.prompts(options.prompts)
    if not image.exists():
        voxels = np.load(folder / "volume.npy")
        nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), made_up.ijk_to_ras(voxels.shape)), image)
    reply = _reply_file(folder, way, form).read_bytes()
    with tempfile.TemporaryDirectory() as out, whole_process.endpoint({"/medimageparse3d/score": reply}) as address:
        figures = whole_process.measure(whole_process.command(way, image, f"{address}/medimageparse3d/score", names, Path(out)))
        return {**figures, "segments": whole_process.voxels_written(way, Path(out), names)}


def _summary(options: argparse.Namespace, size: str, runs: dict) -> dict:
    steps = {}
    for step, by_way in runs.items():
        found = {way: measuring.medians(by_way[way]) for way in WAYS}
        for figure in FIGURES:
            found.setdefault("ratios", {})[figure] = measuring.ratio(found["ours"].get(figure), found["sample"].get(figure))
        if step != "request":
            found["same_segments"] = found["sample"].pop("segments") == found["ours"].pop("segments")
        steps[step] = found
    asked = {"size": size, "prompts": options.prompts, "repeat": options.repeat}
    applies = size == DEFAULT_SIZE and options.prompts == DEFAULT_PROMPTS
    targets = [
        {
            "step": step,
            "figure": figure,
            "at_most": limit,
            "is": steps[step]["ratios"][figure],
            "met": steps[step]["ratios"][figure] <= limit if applies and steps[step]["ratios"][figure] is not None else None,
        }
        for step, figure, limit in TARGETS
        if step in steps
    ]
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    return {**asked, "machine": machine, "steps": steps, "targets": targets, "runs": runs}


def _reply(way: str, step: str, count: int, shape_kji: tuple[int, int, int]) -> bytes:
    """On the grid that this way sends: the sample sends the volume as it is, ours turned to the patient's axes."""
    import made_up
    import our_way

    axes = our_way.axes_for(made_up.ijk_to_ras(shape_kji)) if way == "ours" else None
    return made_up.reply(step, count, shape_kji, axes)


def _reply_file(folder: str | Path, way: str, step: str) -> Path:
    return Path(folder) / f"reply_{way}_{step}.json"


def _measure_here(way: str, step: str, options: argparse.Namespace) -> dict:
    """One run, in this process."""
    import made_up
    import numpy as np

    voxels = np.load(options.inputs / "volume.npy")
    names = made_up.prompts(options.prompts)
    if step == "request":
        _request(way, made_up.volume(_WARM_SHAPE), names)
        body, figures = measuring.measure(lambda: _request(way, voxels, names))
        return {**figures, "bytes": len(body)}
    from MedImageParseLib.scene.session import freshScene

    # The reply is for the shape that was sent; a tiny one warms up whatever is imported late.
    with freshScene() as scene:
        _segments(way, scene, _volume_node(scene, made_up.volume(_WARM_SHAPE)), _reply(way, step, len(names), _WARM_SHAPE), names, {})
    body = _reply_file(options.inputs, way, step).read_bytes()
    with freshScene() as scene:
        node, parts = _volume_node(scene, voxels), {}
        del voxels
        segmentation_node, figures = measuring.measure(lambda: _segments(way, scene, node, body, names, parts))
        return {**figures, **parts, "bytes": len(body), "segments": _describe(segmentation_node)}


def _request(way: str, voxels, names: list[str]) -> bytes:
    import made_up
    import our_way
    import sample_way

    build = our_way.build_request if way == "ours" else sample_way.build_request
    return build(voxels, made_up.ijk_to_ras(voxels.shape), names)


def _segments(way: str, scene, volume_node, body: bytes, names: list[str], parts: dict):
    """The reply's masks as segments; notes how long each half took in `parts`."""
    import time

    import made_up
    import our_way
    import sample_way

    started = time.perf_counter()
    shape_kji = tuple(volume_node.GetImageData().GetDimensions()[::-1])
    if way == "ours":
        masks = our_way.decode_reply(body, made_up.ijk_to_ras(shape_kji), shape_kji, names)
        decoded = time.perf_counter()
        node = our_way.import_masks(masks, names, volume_node)
    else:
        values, matrix = sample_way.decode_reply(body)
        decoded = time.perf_counter()
        node = sample_way.import_masks(values, matrix, names, scene)
    parts.update(decode_seconds=round(decoded - started, 4), import_seconds=round(time.perf_counter() - decoded, 4))
    return node


def _volume_node(scene, voxels):
    import made_up

    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.scene.volumes import nodeFromVolume

    return nodeFromVolume(Volume(voxels, made_up.ijk_to_ras(voxels.shape), "CT"), "CT", scene)


def _describe(segmentation_node) -> list:
    """Name, voxels and middle (RAS, 0.01 mm) of each segment, to see that both ways end in the same."""
    import numpy as np
    import slicer

    from MedImageParseLib.scene.geometry import imageToWorld, segmentMask

    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation = segmentation_node.GetSegmentation()
    described = []
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        image = segment.GetRepresentation(binary)
        voxels, start = segmentMask(image, segment.GetLabelValue())
        middle = [index.mean() for index in np.nonzero(voxels)]
        ijk = [middle[axis] + start[axis] for axis in (2, 1, 0)]
        described.append([segment.GetName(), int(voxels.sum()), *np.round(imageToWorld(image) @ [*ijk, 1], 2)[:3].tolist()])
    return described


def _print(results: dict) -> None:
    rows = [["step", "figure", "sample's way", "ours", "ours / sample's", "target"]]
    limits = {(target["step"], target["figure"]): target for target in results["targets"]}
    for step, found in results["steps"].items():
        for figure, (unit, scale, digits) in FIGURES.items():
            if (step != "request" and figure == "bytes") or figure not in found["ours"]:
                continue  # the endpoint decides
            values = [None if found[way].get(figure) is None else found[way][figure] * scale for way in WAYS]
            target = limits.get((step, figure))
            verdict = ""
            if target and target["met"] is not None:
                verdict = f"at most {target['at_most']}: {'met' if target['met'] else 'not met'}"
            shown = (measuring.number(value, digits) for value in values)
            rows.append([STEPS[step], unit, *shown, measuring.number(found["ratios"][figure]), verdict])
    print(f"Volume {results['size']} int16, {results['prompts']} prompts, medians of {results['repeat']} runs\n")
    print(measuring.table(rows))
    for step, found in results["steps"].items():
        if step != "request":
            verdict = "the same segments" if found["same_segments"] else "DIFFERENT segments"
            print(f"\n{STEPS[step]}: both ways gave {verdict} (names, voxels, places).", end="")
    print()


if __name__ == "__main__":
    environment.reexec_if_present()
    sys.exit(main())
