"""Many cases through an Azure ML batch endpoint, from Python: export them as CSV files, have a job run on these, import its predictions.

The export folder holds the files that the endpoint reads and, last, export.json: which cases and rows there are, and how they were made.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from .. import __version__
from ..azure.batch_jobs import PREDICTIONS, BatchEndpoint
from ..cohort.azure_rows import FILE_NAMES, Recorder, Replayer, RowPlace, RowWriter, read_predictions
from ..cohort.cases import Case, content_digest, find_cases, is_sound, lines_of_stdin
from ..cohort.manifest import MANIFEST, TABLE, Manifest
from ..errors import Cancelled, EndpointError, InputError, MedImageParseError, UsageError
from ..files.collisions import check_many_outputs, check_outputs
from ..files.write import make_folder, write_atomically, write_whole
from ..models import SEGMENTING
from ..progress import Cancellation, Progress, no_progress
from ..tasks.run import NotSent, Report
from .batch_cases import Settings, checked_writes, shared_options
from .calls import in_sentences
from .segment import check_options, segment
from .segment_options import RequestOptions

EXPORT, JOB = "export.json", "job.json"
_FORMAT = 1
_JOB_NAME = re.compile(r"[\w.-]{1,255}")
_OF_RESULTS = ("folder", "write")  # settings that belong to the results, not to what is exported


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
    report: dict = field(default_factory=lambda: Report().as_dict())

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
    options: RequestOptions,
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
        options: how images are put into requests; each of its fields is a keyword too, and a case's own count more.
        rows_per_file: most rows in a CSV file, which is what the endpoint takes at once.
        progress: told "cases".
        cancellation: stops it; the folder then is no export.

    Returns:
        AzureBatchResult. A case that cannot be read does not stop the others.

    Raises:
        UsageError: bad usage, or a folder that holds something. InputError: no case could be exported.
    """
    if model not in SEGMENTING:
        raise UsageError("A batch endpoint segments with medimageparse3d or medimageparse; choose one of them.")
    if not 1 <= rows_per_file <= 10_000:
        raise UsageError("The rows in a file are 1 to 10,000.")
    cancellation = cancellation or Cancellation()
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    texts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    settings = Settings(**shared_options(options), folder=str(output_dir), model=model, texts=texts, preset=preset)
    found = find_cases(given, output_dir=output_dir, lines=lines_of_stdin())
    for case in found.cases:
        check_options(model, settings.options(case))
        settings.prompts(case)
    folder = _empty_folder(output_dir)
    check_outputs({"--output-dir": folder / EXPORT}, [case.input for case in found.cases])
    writer, result = RowWriter(folder, rows_per_file), AzureBatchResult(folder)
    result.report["warnings"] += found.warnings
    entries = []
    for number, case in enumerate(found.cases):
        progress("cases", number, len(found.cases))
        recorder, own = Recorder(writer), settings.options(case)
        try:
            segment(case.input, settings.prompts(case), model=model, client=recorder, cancellation=cancellation, options=own)
        except NotSent:
            pass
        except Cancelled:
            raise
        except MedImageParseError as error:
            result.failed += 1
            result.errors[case.id] = str(error)
            continue
        result.done += 1
        entries.append({"case": asdict(case), "content": content_digest(case.input), "rows": [asdict(place) for place in recorder.places]})
    writer.flush()
    if not entries:
        raise InputError("No case could be exported: {why}", why=next(iter(result.errors.values())))
    result.rows, result.files = sum(len(entry["rows"]) for entry in entries), len(writer.files)
    kept = {name: value for name, value in asdict(settings).items() if name not in _OF_RESULTS}
    export = {"format": _FORMAT, "version": __version__, "settings": kept, "files": writer.files, "cases": entries}
    write_atomically(folder / EXPORT, json.dumps(export, ensure_ascii=False).encode())
    result.report |= {"model": model, "outputs": [str(folder)]}
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
    target = Path(output_dir) if output_dir else Path(folder) / "results"
    settings = replace(_settings_of(export), folder=os.path.abspath(target), write=checked_writes(write))
    if not Path(predictions).is_file():
        raise InputError("There is no file {path}; give the job's predictions.csv.", path=predictions)
    cases = [Case(**entry["case"]) for entry in export["cases"]]
    outputs = {str(path): case.id for case in cases for path in settings.outputs(case).values()}
    outputs |= {os.path.join(settings.folder, own): "the batch itself" for own in (MANIFEST, TABLE)}
    own_files = [os.path.join(folder, own) for own in (EXPORT, JOB, *export["files"])]
    check_many_outputs(outputs, [*(case.input for case in cases), str(predictions), *filter(os.path.exists, own_files)])
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
        for number, (case, entry) in enumerate(zip(cases, export["cases"])):
            cancellation.check()
            progress("cases", number, len(cases))
            rows = [RowPlace(**place) for place in entry["rows"]]
            replayer = Replayer(name, rows, found.cells, has_changed=content_digest(case.input) != entry["content"])
            line = settings.do(case, replayer, settings.fingerprint(case, entry["content"], name), cancellation)
            manifest.append(line)
            result.done += line["state"] == "done"
            if line["state"] != "done":
                result.failed += 1
                result.errors[case.id] = str(line["error"])
        manifest.write_table()
    if not result.done:
        raise EndpointError("No case could be imported: {why}", why=next(iter(result.errors.values())), code="no-prediction")
    result.report |= {"model": settings.model, "endpoint": name, "outputs": [str(manifest.path)]}
    progress("cases", len(cases), len(cases))
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
    write_whole(place / PREDICTIONS, lambda file: batch_endpoint.fetch(started["folder"], file))
    return place / PREDICTIONS


def _empty_folder(path: str | os.PathLike) -> Path:
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("The folder {path} is not empty; choose a new one for the export.", path=folder)
    return make_folder(folder)


def _read_export(folder: Path) -> dict:
    """What an export holds. The folder may come from somebody else: names of files stay names, so nothing is written beside the results.

    Raises:
        InputError: no export, or one that cannot be.
    """
    try:
        export = json.loads((folder / EXPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("The folder {path} holds no export; make one with batch export-azure.", path=folder) from error
    try:
        is_ours = export["format"] == _FORMAT and all(FILE_NAMES.fullmatch(name) for name in export["files"])
        settings = _settings_of(export)
        for entry in export["cases"]:
            case, rows = Case(**entry["case"]), [RowPlace(**place) for place in entry["rows"]]
            is_ours = is_ours and is_sound(case) and isinstance(entry["content"], str) and all(row.file in export["files"] for row in rows)
            is_ours = is_ours and all(type(row.row) is int and isinstance(row.text, str) for row in rows)
            check_options(settings.model, settings.options(case))
            settings.prompts(case)
    except (KeyError, TypeError, ValueError, AttributeError, MedImageParseError) as error:
        raise _damaged(folder) from error
    if not is_ours:
        raise _damaged(folder)
    return export


def _damaged(folder: Path) -> InputError:
    return InputError("The export in {path} is damaged, or of another version; export again.", path=folder)


def _noted_job(note: Path, endpoint: str) -> dict | None:
    try:
        job = json.loads(note.read_text(encoding="utf-8"))
        is_ours = job["endpoint"] == endpoint and _JOB_NAME.fullmatch(job["name"]) and _JOB_NAME.fullmatch(job["folder"].replace("/", ""))
        return job if is_ours else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _settings_of(export: dict) -> Settings:
    """The batch's settings as they were exported; where results go is said later."""
    kept = dict(export["settings"])
    return Settings(folder="", texts=tuple(kept.pop("texts")), **kept)
