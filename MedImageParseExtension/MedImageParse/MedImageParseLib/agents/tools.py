"""What an agent can do. Plain functions over `Folders` and the API; the server gives them to a client (see `server.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..api import embed, evaluate, segment
from ..api.evaluate import EvaluateOptions
from ..api.insight_options import SearchOptions
from ..api.segment_options import SegmentOptions
from ..api.targets import presets, targets
from ..errors import UsageError
from ..progress import Cancellation, Progress
from ..tasks.find_similar import describe_hit
from .folders import Folders

TOOLS = ("segment", "targets", "check", "search", "evaluate")
WRITING = ("segment", "evaluate")
_LIST_OF_CASES = ".jsonl"


class Tools:
    """The tools, with what was chosen when the server was started.

    Args:
        folders: what may be read and written.
        connection: keywords of `connect`: endpoint or profile, sign-in and so on. Empty where only targets and evaluate are wanted.
    """

    def __init__(self, folders: Folders, connection: dict[str, Any]):
        self._folders = folders
        self._connection = connection

    def segment(
        self,
        progress: Progress,
        cancellation: Cancellation,
        image: str,
        prompts: list[str],
        model: str,
        output: str = "",
        labels: str = "",
        picture: str = "",
        statistics: str = "",
        slices: str = "",
        plane: str = "",
        modality: str = "",
        window: str = "auto",
        preset: str = "",
        replace: bool = False,
    ) -> dict[str, Any]:
        """Segment a medical image by text prompts. The result is research output, not a diagnosis.

        Args:
            progress: told what is going on; not the agent's to give.
            cancellation: stops the work; not the agent's to give.
            image: file (.nii, .nii.gz, .nrrd, .mha, .mhd, .png, .jpg, .tif) or DICOM folder, inside the server's folders.
            prompts: English names of structures, such as "liver"; `targets` lists those that are known.
            model: "medimageparse3d" for volumes (CT, MR), "medimageparse" for slices and 2D pictures.
            output: file to write: a 3D Slicer segmentation, name ends in .seg.nrrd.
            labels: file to write: a labelmap (.nii.gz or .nrrd) where value k is the k-th prompt.
            picture: file to write: .png of the image with the masks over it.
            statistics: file to write: .csv or .json with volume and values of each structure.
            slices: for "medimageparse" on a volume: "15", "10:20" (end not included) or "all".
            plane: "axial", "coronal" or "sagittal" for slices; "" for axial.
            modality: DICOM code (CT, MR, …) where the file does not say.
            window: "auto", or a CT window such as "lung", or "LOW,HIGH" in Hounsfield units.
            preset: a named list of prompts, such as "abdomen-15"; `prompts` may be empty then.
            replace: whether files that exist may be replaced.
        """
        files = {"output": output, "labels": labels, "picture": picture, "statistics": statistics}
        options = SegmentOptions(slices=slices or None, plane=plane, modality=modality, window=window, **self._written(files, replace))
        result = segment.segment(
            self._folders.readable(image), prompts, model=model, preset=preset, options=options,
            progress=progress, cancellation=cancellation, **self._connected(),
        )  # fmt: skip
        return _answer(result.report, result.failure)

    def targets(self, progress: Progress, cancellation: Cancellation, modality: str = "", model: str = "") -> dict[str, Any]:
        """List what can be asked for by name, and the named lists of it (presets). Other prompts are allowed too.

        Args:
            progress: told what is going on; not the agent's to give.
            cancellation: stops the work; not the agent's to give.
            modality: only what is recommended for it: CT, MR, US, X-ray, …; "" for all.
            model: only what "medimageparse3d" or "medimageparse" is recommended for; "" for both.
        """
        found = [{name: each[name] for name in ("name", "aliases", "modalities", "inside")} for each in targets(modality, model)]
        return {"targets": found, "presets": presets(model)}

    def check(self, progress: Progress, cancellation: Cancellation, model: str = "auto") -> dict[str, Any]:
        """Test with a tiny synthetic image whether the endpoint answers, and which model is behind it.

        Args:
            progress: told what is going on; not the agent's to give.
            cancellation: stops the work; not the agent's to give.
            model: "medimageparse3d", "medimageparse", "medimageinsight", or "auto" for whichever is there.
        """
        found = segment.check(model=model, cancellation=cancellation, **self._connected())
        return {
            "sentence": found.sentence, "model": found.model, "engine": found.engine or None, "seconds": round(found.latency_s, 3), "warnings": found.warnings,
        }  # fmt: skip

    def search(
        self,
        progress: Progress,
        cancellation: Cancellation,
        index: str,
        image: str = "",
        text: str = "",
        slice: str = "",
        plane: str = "auto",
        top: int = 10,
        other_volumes: bool = False,
    ) -> dict[str, Any]:
        """Find the images of an index that are most like an image, or that fit a text best.

        Args:
            progress: told what is going on; not the agent's to give.
            cancellation: stops the work; not the agent's to give.
            index: the index file, inside the server's folders.
            image: a picture or volume to search with; or
            text: what the images should show, such as "x-ray chest pneumonia".
            slice: of a volume, the index of the slice along the plane's axis.
            plane: "auto", "axial", "coronal" or "sagittal".
            top: how many results.
            other_volumes: leave out what comes from the same volume.
        """
        options = SearchOptions(text=text or None, slices=slice or None, plane=plane, top=top, other_volumes=other_volumes)
        result = embed.index_search(
            self._folders.readable(index), image=self._folders.readable(image) if image else None, options=options,
            progress=progress, cancellation=cancellation, **self._connected(),
        )  # fmt: skip
        hits = [describe_hit(rank, hit) for rank, hit in enumerate(result.hits, start=1)]
        return {"hits": hits, "warnings": result.report["warnings"]}

    def evaluate(
        self,
        progress: Progress,
        cancellation: Cancellation,
        reference: str,
        prediction: str,
        names: str = "",
        protocol: str = "plain",
        tolerance: float = 2.0,
        csv: str = "",
        table: str = "",
        replace: bool = False,
    ) -> dict[str, Any]:
        """Measure segmentations against references: Dice, surface Dice, volumes.

        Args:
            progress: told what is going on; not the agent's to give.
            cancellation: stops the work; not the agent's to give.
            reference: a labelmap, .seg.nrrd or folder of masks, or a folder of such, inside the server's folders.
            prediction: the same.
            names: .json file that says which label is which.
            protocol: "plain", "cvpr25" or "amos".
            tolerance: of the surface Dice, in mm.
            csv: file to write: one row a case and structure.
            table: file to write: .md with the means.
            replace: whether files that exist may be replaced.
        """
        options = EvaluateOptions(
            names=self._folders.readable(names) if names else None, protocol=protocol, tolerance=tolerance,
            **self._written({"csv": csv, "table": table}, replace),
        )  # fmt: skip
        given = self._cases(reference), self._cases(prediction)
        result = evaluate.evaluate(*given, options=options, progress=progress, cancellation=cancellation)
        return _answer(result.report, result.failure) | {"table": result.table}

    def _cases(self, path: str) -> str:
        """A list of cases names files anywhere, so it is not read."""
        found = Path(self._folders.readable(path))
        if found.suffix.lower() == _LIST_OF_CASES or (found.is_dir() and any(found.rglob(f"*{_LIST_OF_CASES}"))):
            raise UsageError(
                "{path} is a list of cases (batch.jsonl), which may name files elsewhere: give the folder of masks.", path=path
            )
        return str(found)

    def _connected(self) -> dict[str, Any]:
        if not self._connection:
            raise UsageError("This server was started without an endpoint: start it with --endpoint URL or --profile NAME.")
        return self._connection

    def _written(self, files: dict[str, str], replace: bool) -> dict[str, Any]:
        return {name: self._folders.writable(path, replace) for name, path in files.items() if path}


def _answer(report: dict, failure: str) -> dict[str, Any]:
    return dict(report) | ({"failure": str(failure)} if failure else {})
