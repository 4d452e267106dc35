"""One case of a batch: what is asked of it, what its result depends on, and its work, which ends in a line of the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..cohort.cases import Case
from ..cohort.manifest import fingerprint
from ..errors import UsageError
from ..options import names_of
from ..progress import Cancellation
from ..prompts.presets import with_preset
from ..tasks.results import SegmentationResult
from .batch_runs import blank_line, settled
from .segment import segment
from .segment_options import ImageOptions, RequestOptions, SegmentOptions

# What can be written, and how the file of a case is called.
WRITES = {
    "seg": "{id}.seg.nrrd",
    "labels": "{id}_labels.nii.gz",
    "masks": "{id}_masks",
    "dicomseg": "{id}_seg.dcm",
    "picture": "{id}.png",
    "statistics": "{id}_statistics.csv",
}
_ARGUMENTS = {"seg": "output", "dicomseg": "dicom_seg"}  # where `segment` calls it otherwise


def checked_writes(write: str | Iterable[str]) -> tuple[str, ...]:
    """What to write, as keys of WRITES. Args: write: a text with commas, or a list. Raises UsageError for what there is not."""
    words = write.split(",") if isinstance(write, str) else list(write)
    kinds = tuple(dict.fromkeys(word.strip().lower() for word in words if word.strip()))
    for kind in kinds:
        if kind not in WRITES:
            raise UsageError("There is no output '{kind}'; write {all}.", kind=kind[:40], all=", ".join(WRITES))
    if not kinds:
        raise UsageError("Say what to write: {all}.", all=", ".join(WRITES))
    return kinds


@dataclass(frozen=True, kw_only=True)
class Settings(ImageOptions):
    """What all cases have in common, and how their images are sent; plain values, so that another computer's worker can be told.

    Attributes:
        folder: where results go.
        model: "medimageparse3d" or "medimageparse".
        texts: prompts of cases that have none of their own. preset: name of a list of prompts.
        write: keys of WRITES.
    """

    folder: str
    model: str
    texts: tuple[str, ...] = ()
    preset: str = ""
    write: tuple[str, ...] = ("seg",)

    def prompts(self, case: Case) -> list[str]:
        """The prompts of a case: its own, else the batch's."""
        if case.prompt:
            return with_preset("", [case.prompt], self.model)
        if not self.preset and not any(text.strip() for text in self.texts):
            raise UsageError(
                'Say what to look for in {id}: --prompt "liver & spleen", --preset NAME, or a column prompt in the table.', id=case.id
            )
        return with_preset(self.preset, self.texts, self.model)

    def fingerprint(self, case: Case, content: str, endpoint: str) -> str:
        """See batch_runs.Settings, as for the next two."""
        image = self.options(case)
        options = {name: getattr(image, name) for name in (*names_of(ImageOptions), "series", "frame")}
        options |= {"model": self.model, "write": sorted(self.write)}
        return fingerprint(content, self.prompts(case), options, endpoint, __version__)

    def blank(self, case: Case, fingerprint: str) -> dict:
        """A case's line before anything is known."""
        modality, reference = case.modality or self.modality or None, case.reference or None
        return blank_line(case, fingerprint, self.model, window=None, modality=modality, reference=reference, prompts=[])

    def do(self, case: Case, client: Any, fingerprint: str, cancellation: Cancellation | None = None) -> dict:
        """Segment a case and write its results; gives its line."""
        return settled(self.blank(case, fingerprint), lambda: self._segmented(case, client, cancellation))

    def _segmented(self, case: Case, client: Any, cancellation: Cancellation | None) -> dict:
        Path(self.folder, case.place).mkdir(parents=True, exist_ok=True)
        outputs = self.outputs(case)
        given: dict[str, Any] = {_ARGUMENTS.get(kind, kind): path for kind, path in outputs.items()}
        options = replace(self.options(case), **given)
        masks_before = _dates(outputs.get("masks"))
        result = segment(case.input, self.prompts(case), model=self.model, client=client, cancellation=cancellation, options=options)
        _remove_old(masks_before)
        return _entry_of(result)

    def outputs(self, case: Case) -> dict[str, Path]:
        """Where the results of a case go, by what they are."""
        return {kind: Path(self.folder, case.place, WRITES[kind].format(id=case.id)) for kind in self.write}

    def options(self, case: Case) -> SegmentOptions:
        """How the image of a case is sent, its own wishes before those of all; without its outputs."""
        shared = {name: getattr(self, name) for name in names_of(ImageOptions)}
        own = {name: value for name in ("window", "plane", "slices", "modality") if (value := getattr(case, name))}
        return SegmentOptions(**shared | own, series=case.series, frame=case.frame)


def shared_options(options: RequestOptions) -> dict[str, Any]:
    """The options of all cases as plain values for Settings."""
    plain = {name: getattr(options, name) for name in names_of(ImageOptions) if hasattr(options, name)}
    return plain | {"slabs": None if options.slabs is None else str(options.slabs)}


def _entry_of(result: SegmentationResult) -> dict:
    """What the manifest says of a result; the values inside a structure are measured here, while the image is in memory."""
    from ..cohort.statistics import describe

    report = result.report
    prompts = []
    for prompt, said in zip(result.prompts, report["prompts"]):
        measured = describe(result.volume, prompt.mask) if prompt.found else None
        values = {name: _number(getattr(measured, name)) if measured else None for name in ("mean", "sd")}
        prompts.append({name: said[name] for name in ("text", "name", "label", "found", "voxels", "volume_ml")} | values)
    failed = {"state": "failed", "kind": "endpoint", "error": f"Only a part was done and is kept: {result.failure}"}
    return {
        **(failed if result.failure else {"state": "done"}),
        "outputs": report["outputs"],
        "request_ids": report["request_ids"],
        "bytes_sent": report["bytes_sent"],
        "engine": report["engine"],
        "window": report["window"],
        "modality": report["input"]["modality"],
        "prompts": prompts,
        "warnings": report["warnings"],
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.9g}")


def _dates(folder: Path | None) -> dict[Path, int]:
    """The masks in a folder with their dates."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")} if folder and folder.is_dir() else {}


def _remove_old(before: dict[Path, int]) -> None:
    """Take away masks of an earlier run that this one has not replaced: nobody should take them for its results."""
    for path, date in before.items():
        if path.exists() and path.stat().st_mtime_ns == date:
            path.unlink()
