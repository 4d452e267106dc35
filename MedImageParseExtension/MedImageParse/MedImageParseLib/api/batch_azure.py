"""Many cases through an Azure ML batch endpoint, from Python: export them as CSV files, have a job run on these, import its predictions.

The export folder holds the files that the endpoint reads and, last, export.json: which cases and rows there are, and how they were made.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..azure.batch_jobs import PREDICTIONS, BatchEndpoint
from ..cohort.azure_rows import Recorder, Replayer, RowPlace, RowWriter, places_as_json, read_predictions
from ..cohort.cases import Case, content_digest, find_cases
from ..cohort.manifest import Manifest, fingerprint
from ..cohort.statistics import describe
from ..errors import Cancelled, EndpointError, InputError, MedImageParseError, UsageError
from ..files.collisions import check_outputs
from ..files.write import make_folder, write_atomically
from ..progress import Cancellation, Progress, no_progress
from ..prompts.presets import with_preset
from ..tasks.run import SegmentationResult, blank_report
from .calls import in_sentences
from .segment import MODELS, segment

EXPORT, JOB = "export.json", "job.json"
WRITE = ("seg", "labels", "masks", "dicomseg", "picture", "statistics")
_FORMAT = 1


@dataclass(slots=True, frozen=True)
class AzureExportOptions:
    """How cases are made into rows; the names and meanings are those of `segment`.

    Attributes:
        model: "medimageparse3d" or "medimageparse".
        preset: a named list of prompts.
        window, modality, group: as `segment` takes them; a case's own count more.
        plane, slices, orient: for "medimageparse" on volumes.
        slabs: for "medimageparse3d".
        rows_per_file: most rows in a CSV file, which is what the endpoint takes at once.
    """

    model: str
    preset: str = ""
    window: str = "auto"
    modality: str = ""
    group: str = "auto"
    plane: str = ""
    slices: str = ""
    orient: str = ""
    slabs: str = ""
    rows_per_file: int = 16


@dataclass(slots=True)
class AzureBatchResult:
    """What became of the cases.

    Attributes:
        folder: where the files are.
        done, failed: how many cases.
        rows, files: written for the endpoint (export only).
        errors: a sentence a failed case, by its id.
        report: as `--report` writes it.
        failure: a sentence where some cases failed, "" where all went through.
    """

    folder: Path
    done: int = 0
    failed: int = 0
    rows: int = 0
    files: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    report: dict = field(default_factory=blank_report)

    @property
    def failure(self) -> str:
        """What `PartlyDone` says."""
        if not self.failed:
            return ""
        name, sentence = next(iter(self.errors.items()))
        return f"{self.failed} of {self.done + self.failed} cases failed; {name}: {sentence}"


@in_sentences
def batch_export_azure(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    prompt: str | Iterable[str] = (),
    *,
    output_dir: str | os.PathLike,
    model: str,
    preset: str = "",
    window: str = "auto",
    modality: str = "",
    group: str = "auto",
    plane: str = "",
    slices: str = "",
    orient: str = "",
    slabs: str = "",
    rows_per_file: int = 16,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> AzureBatchResult:
    """Write cases as CSV files of `image,text` for an Azure ML batch endpoint. Nothing is sent.

    Args:
        inputs: files, folders, patterns, cases.csv, as `batch` takes them.
        prompt: "A & B", or a list of such; a case's own prompt in the table counts more.
        output_dir: a new or empty folder.
        model: "medimageparse3d" or "medimageparse".
        preset: a named list of prompts.
        window, modality, group: as `segment` takes them; a case's own count more.
        plane, slices, orient: for "medimageparse" on volumes. slabs: for "medimageparse3d".
        rows_per_file: most rows in a CSV file, which is what the endpoint takes at once.
        progress: told "cases".
        cancellation: stops it; the folder then is no export.

    Returns:
        AzureBatchResult. A case that cannot be read does not stop the others.

    Raises:
        UsageError: bad usage, or a folder that holds something. InputError: no case could be exported.
    """
    options = AzureExportOptions(model, preset, window, modality, group, plane, slices, orient, slabs, rows_per_file)
    if options.model not in MODELS:
        raise UsageError("A batch endpoint segments with medimageparse3d or medimageparse; choose one of them.")
    if not 1 <= options.rows_per_file <= 10_000:
        raise UsageError("The rows in a file are 1 to 10,000.")
    cancellation = cancellation or Cancellation()
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    found = find_cases(given, output_dir=output_dir)
    common = with_preset(options.preset, texts, options.model) if texts or options.preset else []
    lacking = [case.id for case in found.cases if not (case.prompt or common)]
    if lacking:
        raise UsageError("There is no prompt for {case}; give --prompt, --preset or a column prompt.", case=lacking[0])
    folder = _empty_folder(output_dir)
    check_outputs({"--output-dir": folder / EXPORT}, [case.input for case in found.cases])
    writer, result = RowWriter(folder, options.rows_per_file), AzureBatchResult(folder)
    result.report["warnings"] += found.warnings
    entries = []
    for number, case in enumerate(found.cases):
        progress("cases", number, len(found.cases))
        prompts = with_preset("", [case.prompt], options.model) if case.prompt else common
        recorder = Recorder(writer)
        try:
            segment(case.input, prompts, client=recorder, cancellation=cancellation, **_arguments(case, options))
            if not recorder.places:
                raise InputError("Nothing of it can be sent.")
        except Cancelled:
            raise
        except MedImageParseError as error:
            result.failed += 1
            result.errors[case.id] = str(error)
            continue
        result.done += 1
        entry = {"case": asdict(case), "prompts": prompts, "content": content_digest(case.input)}
        entries.append(entry | {"rows": places_as_json(recorder.places)})
    writer.flush()
    if not entries:
        raise InputError("No case could be exported: {why}", why=next(iter(result.errors.values())))
    result.rows, result.files = sum(len(entry["rows"]) for entry in entries), len(writer.files)
    export = {"format": _FORMAT, "version": __version__, "options": asdict(options), "files": writer.files, "cases": entries}
    write_atomically(folder / EXPORT, json.dumps(export, ensure_ascii=False).encode())
    result.report |= {"model": options.model, "outputs": [str(folder)]}
    progress("cases", len(found.cases), len(found.cases))
    return result


@in_sentences
def batch_import_azure(
    folder: str | os.PathLike,
    predictions: str | os.PathLike,
    *,
    output_dir: str | os.PathLike | None = None,
    write: str | Sequence[str] = "seg",
    endpoint: str = "",
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> AzureBatchResult:
    """Bring the predictions of a batch endpoint back onto the cases' own grids, with a batch.jsonl as `batch` writes it.

    Args:
        folder: of the export.
        predictions: the job's predictions.csv.
        output_dir: for results; "results" in the export's folder by default.
        write: of "seg", "labels", "masks", "dicomseg", "picture", "statistics", as a list or with commas.
        endpoint: what the endpoint is called in reports and tags.
        progress: told "cases".
        cancellation: stops it; what is done is kept.

    Returns:
        AzureBatchResult. A case whose prediction is missing or makes no sense does not stop the others.

    Raises:
        UsageError, InputError: no export, or no predictions of it.
    """
    export = _read_export(Path(folder))
    options = AzureExportOptions(**export["options"])
    kinds = _checked_write(write)
    target = Path(output_dir) if output_dir else Path(folder) / "results"
    if not Path(predictions).is_file():
        raise InputError("There is no file {path}; give the job's predictions.csv.", path=predictions)
    cancellation = cancellation or Cancellation()
    name = endpoint or Recorder.name
    result = AzureBatchResult(target)
    places = [RowPlace(**place) for entry in export["cases"] for place in entry["rows"]]
    with ExitStack() as held:
        kept = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=".replies-", dir=folder)))
        found = read_predictions(Path(predictions), places, kept)
        manifest = Manifest(target)
        held.enter_context(manifest.held())
        if found.strangers:
            result.report["warnings"].append(f"{found.strangers} lines of the predictions belong to no row of this export.")
        for number, entry in enumerate(export["cases"]):
            cancellation.check()
            progress("cases", number, len(export["cases"]))
            case = Case(**entry["case"])
            rows = [RowPlace(**place) for place in entry["rows"]]
            line = _import_case(case, entry, options, kinds, target, Replayer(name, rows, found.cells), cancellation)
            manifest.append(line)
            result.done += line["state"] == "done"
            if line["state"] == "failed":
                result.failed += 1
                result.errors[case.id] = line["error"]
        manifest.write_table()
    if not result.done:
        raise EndpointError("No case could be imported: {why}", why=next(iter(result.errors.values())), code="no-prediction")
    result.report |= {"model": options.model, "endpoint": name, "outputs": [str(manifest.path)]}
    progress("cases", len(export["cases"]), len(export["cases"]))
    return result


@in_sentences
def batch_submit_azure(
    folder: str | os.PathLike,
    batch_endpoint: BatchEndpoint,
    *,
    deployment: str = "",
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> Path:
    """Have a batch endpoint run on an export: upload its files, start a job, watch it, download its predictions.

    A job that was started is noted in the folder: when this was interrupted, the same call watches it further and starts no second one.

    Args:
        folder: of the export.
        batch_endpoint: signed in.
        deployment: of the endpoint, "" for its default.
        progress: told "uploading" in files, then the job's states.
        cancellation: stops watching; the job goes on in Azure.

    Returns:
        the path of predictions.csv in the folder.

    Raises:
        UsageError, InputError: no export. EndpointError: Azure refused, or the job failed.
    """
    place = Path(folder)
    export = _read_export(place)
    note = place / JOB
    started = _noted_job(note, batch_endpoint.name)
    if started is None:
        files = [place / name for name in export["files"]]
        job = batch_endpoint.start(files, deployment=deployment, progress=progress, cancellation=cancellation)
        started = asdict(job) | {"endpoint": batch_endpoint.name}
        write_atomically(note, json.dumps(started, indent=1).encode())
    try:
        batch_endpoint.wait(started["name"], progress=progress, cancellation=cancellation)
    except EndpointError as error:
        if error.code == "job-failed":
            note.unlink(missing_ok=True)  # the next call starts another one
        raise
    return batch_endpoint.fetch(started["folder"], place / PREDICTIONS)


def outputs_of(case: Case, kinds: Sequence[str], folder: Path) -> dict[str, Path]:
    """The files of a case, by the argument of `segment` that writes them."""
    place = folder / case.place
    names = {
        "seg": ("output", f"{case.id}.seg.nrrd"), "labels": ("labels", f"{case.id}.nii.gz"), "masks": ("masks", f"{case.id}_masks"),
        "dicomseg": ("dicom_seg", f"{case.id}.dcm"), "picture": ("picture", f"{case.id}.png"),
        "statistics": ("statistics", f"{case.id}.csv"),
    }  # fmt: skip
    return {names[kind][0]: place / names[kind][1] for kind in kinds}


def _import_case(
    case: Case,
    entry: dict,
    options: AzureExportOptions,
    kinds: Sequence[str],
    folder: Path,
    replayer: Replayer,
    cancellation: Cancellation,
) -> dict:
    """Write a case's results; gives its line of the manifest."""
    began = time.monotonic()
    outputs = outputs_of(case, kinds, folder)
    mark = fingerprint(entry["content"], entry["prompts"], asdict(options), replayer.name, __version__)
    line: dict[str, Any] = {"id": case.id, "input": case.input, "state": "done", "kind": None, "error": None, "outputs": []}
    line |= {"request_ids": [], "seconds": 0.0, "bytes_sent": 0, "fingerprint": mark, "prompts": []}
    try:
        if content_digest(case.input) != entry["content"]:
            raise InputError("The image has changed since it was exported; export it again.")
        os.makedirs(folder / case.place, exist_ok=True)
        arguments = {**_arguments(case, options), **outputs}
        result = segment(case.input, entry["prompts"], client=replayer, cancellation=cancellation, **arguments)
        if result.failure:
            raise EndpointError("{why}", why=result.failure, code="no-prediction")
        line["prompts"] = _measured(result)
        line["outputs"] = [str(path.relative_to(folder)) for path in outputs.values()]
        line["model"], line["reference"] = options.model, case.reference or None
    except Cancelled:
        raise
    except MedImageParseError as error:
        line |= {"state": "failed", "kind": error.kind, "error": str(error)}
    return line | {"seconds": round(time.monotonic() - began, 3)}


def _measured(result: SegmentationResult) -> list[dict]:
    """The report's prompts, with mean and standard deviation of the image inside."""
    rows = []
    for one, entry in zip(result.prompts, result.report["prompts"]):
        measured = describe(result.volume, one.mask)
        rows.append(entry | {"mean": measured.mean, "sd": measured.sd})
    return rows


def _arguments(case: Case, options: AzureExportOptions) -> dict[str, Any]:
    """Arguments of `segment` for a case: its own words before those of all."""
    common: dict[str, Any] = {"model": options.model, "group": options.group, "series": case.series, "frame": case.frame}
    common |= {"window": case.window or options.window, "modality": case.modality or options.modality}
    if options.model == MODELS[0]:
        return common | {"slabs": options.slabs or None}
    return common | {
        "plane": case.plane or options.plane,
        "slices": case.slices or options.slices or None,
        "orient": options.orient or None,
    }


def _empty_folder(path: str | os.PathLike) -> Path:
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("The folder {path} is not empty; choose a new one for the export.", path=folder)
    return make_folder(folder)


def _read_export(folder: Path) -> dict:
    try:
        export = json.loads((folder / EXPORT).read_text(encoding="utf-8"))
        is_ours = export["format"] == _FORMAT and isinstance(export["cases"], list) and isinstance(export["files"], list)
        AzureExportOptions(**export["options"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError("The folder {path} holds no export; make one with batch export-azure.", path=folder) from error
    if not is_ours or any(Path(name).name != name for name in export["files"]):
        raise InputError("The export in {path} is damaged, or of another version; export again.", path=folder)
    return export


def _noted_job(note: Path, endpoint: str) -> dict | None:
    try:
        job = json.loads(note.read_text(encoding="utf-8"))
        return job if job["endpoint"] == endpoint and job["name"] and job["folder"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checked_write(write: str | Sequence[str]) -> list[str]:
    kinds = [kind.strip() for kind in (write.split(",") if isinstance(write, str) else write) if kind.strip()]
    unknown = [kind for kind in kinds if kind not in WRITE]
    if unknown or not kinds:
        raise UsageError("Write some of {known}.", known=", ".join(WRITE))
    return list(dict.fromkeys(kinds))
