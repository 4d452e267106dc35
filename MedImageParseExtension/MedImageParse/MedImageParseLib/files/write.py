"""Writing a file whole or not at all, and saying before the work starts when a file could not be written after it.

Writing integer labelmaps and probability volumes on the input's own grid. No MRML here.

NIfTI keeps the affine as its sform; both take sheared matrices and are put in place in one step. Neither file carries anything about the patient.

Vectors of images as a file for other programs: .npz (numpy, no pickled objects) or .csv.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import Cancelled, EndpointError, MedImageParseError, PartlyDone, UsageError
from ..imaging.nifti import encode_nifti
from ..imaging.volume import Volume
from ..redaction import visible
from ..remedies import Sentence
from ..search.records import Provenance, Record
from .nrrd import write_nrrd

_LONGEST_PART = 255  # bytes
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are the first four in full width


def csv_cell(text: str) -> str:
    """A text from outside as the cell of a table: no spreadsheet takes it for a formula, and no terminal obeys it."""
    text = visible(text, keep="\t\r\n")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object] | Mapping[str, object]]) -> str:
    """A table as CSV with a header: texts as `csv_cell` has them, truth values as 1 and 0, empty cells for None and NaN.

    Args:
        columns: the header.
        rows: cells in the order of the columns, or by their names; a name that a row lacks is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    for row in rows:
        writer.writerow(map(_cell, (row.get(name) for name in columns) if isinstance(row, Mapping) else row))
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return csv_cell(value)
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return int(value) if isinstance(value, bool) else value


def check_writable(path: str | os.PathLike, extensions: tuple[str, ...] = ()) -> Path:
    """Make sure, before anything is computed or sent, that `path` can be written later.

    Args:
        path: the file to come; it may exist (it will be replaced).
        extensions: the allowed endings, in lower case, such as (".nii.gz", ".nrrd"); none: any.

    Returns:
        the path with ~ expanded.

    Raises:
        UsageError: the ending is not one of these, the folder is missing or not writable, the path is a folder.
    """
    path = Path(path).expanduser()
    check_name(path)
    if extensions and not path.name.lower().endswith(extensions):
        raise UsageError(
            "The file {name} cannot be written: its name must end with {listed}.", name=path.name, listed=" or ".join(extensions)
        )
    if path.is_dir():
        raise UsageError("{path} is a folder; give the name of a file.", path=path)
    _check_folder(path.parent, path.name)
    return path


def check_folder(folder: str | os.PathLike, purpose: str, within: int = 1) -> None:
    """As check_writable, for a folder of results.

    Args:
        folder: may be missing.
        purpose: what goes there, as "masks".
        within: how many last parts of its path may be missing.

    Raises:
        UsageError: it is a file, it or the folder to make it in is not writable, more of its path is missing.
    """
    path = Path(folder).expanduser()
    check_name(path)
    if path.exists() and not path.is_dir():
        raise UsageError("{folder} is a file; give a folder for the {purpose}.", folder=folder, purpose=purpose)
    above = [path, *path.parents][: within + 1]
    _check_folder(next((one for one in above if one.exists()), above[-1]), path.name)


def check_name(path: Path) -> None:
    """Raises UsageError for a path that no file system takes: a part of more than 255 bytes, or a zero byte in it."""
    for part in path.parts:
        if len(os.fsencode(part)) > _LONGEST_PART or "\0" in part:
            raise UsageError("The name {part}… is longer than a file's name may be (255 bytes): choose a shorter one.", part=part[:40])


@contextmanager
def after_requests(report: dict | None = None) -> Iterator[None]:
    """For what is written once the endpoint has answered: a file that cannot be written is no bad usage then, as data has been sent.

    Args:
        report: of the run, which the error carries.

    Raises:
        PartlyDone: in place of an error about a file; its sentence names the file.
    """
    try:
        yield
    except (EndpointError, PartlyDone, Cancelled):
        raise
    except MedImageParseError as error:
        raise PartlyDone(
            "{error} The endpoint had answered by then; what could be written is kept.",
            error=error,
            cause=error,
            code="not-written",
            report=report,
        ) from error


def _check_folder(folder: Path, name: str) -> None:
    if not folder.is_dir():
        raise UsageError("The folder {folder} for {name} does not exist; create it or choose another.", folder=folder, name=name)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError("The folder {folder} for {name} is not writable; choose another.", folder=folder, name=name)
    with suppress(OSError):
        disk = shutil.disk_usage(folder)
        if disk.total and not disk.free:  # a network drive that does not know says 0 of 0
            raise UsageError("The disk of the folder {folder} is full; free some space, or choose another place.", folder=folder)


def write_atomically(path: str | os.PathLike, data: bytes) -> Path:
    """Write `data` beside `path` and put it in place in one step, so that a reader never sees half a file.

    Whatever stood at `path` stays untouched until then, and for good if writing fails.

    Raises:
        UsageError: missing or unwritable folder, full disk.
    """
    path = check_writable(path)
    write_whole(path, lambda file: file.write(data))
    return path


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """As write_atomically, for what is too large for the memory: `write` gets an open file.

    Raises:
        UsageError: unwritable folder, full disk. Whatever else `write` raises.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(
            "The file {path} cannot be written ({value}); choose another place.",
            path=path,
            value=error.strerror or Sentence("unknown reason"),
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


LABEL_EXTENSIONS = (".nii.gz", ".nii", ".nrrd")
_GZIP_LEVEL = 6  # labelmaps are nearly empty: this costs milliseconds and halves them
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
_LONGEST_NAME = 100


def write_labels(path: str | os.PathLike, labels_kji: np.ndarray, volume: Volume, *, description: str = "") -> Path:
    """Write an integer labelmap: value k is the k-th prompt, 0 is background.

    Args:
        path: .nii.gz, .nii or .nrrd in a folder that exists; an existing file is replaced in one step.
        labels_kji: integers, the size of `volume`; for a picture (1, H, W), which the file holds as W x H x 1.
        volume: whose grid the file gets, sheared or not; a NIfTI gets the position fields of the NIfTI that the volume was read from.
        description: what made the masks, for the NIfTI's description field, where that is no MedImageParse.

    Returns:
        the path written.

    Raises:
        UsageError: unknown ending, missing or unwritable folder, a labelmap of another size, labels beyond 65535.
    """
    path = check_writable(path, LABEL_EXTENSIONS)
    labels = np.asarray(labels_kji)
    if labels.shape != volume.shape_kji:
        raise UsageError(
            "The labelmap has size {shape} and the volume {shape_kji} (kji); they must be alike.",
            shape=labels.shape,
            shape_kji=volume.shape_kji,
        )
    lowest, highest = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if labels.dtype.kind not in "biu" or lowest < 0 or highest > 65535:
        raise UsageError("A labelmap holds whole numbers from 0 to 65535 only.")
    return write_atomically(path, _encode(path, labels.astype(np.uint8 if highest < 256 else np.uint16), volume, description))


def write_probabilities(folder: str | os.PathLike, name: str, probabilities_kji: np.ndarray, volume: Volume) -> Path:
    """Write one prompt's probabilities as a float32 .nii.gz named after the prompt.

    Args:
        folder: created if only its last part is missing.
        name: the prompt; see `safe_file_stem`.
        probabilities_kji: float, the size of `volume`.
        volume: the image on whose grid they are.

    Returns:
        the path written.

    Raises:
        UsageError: the folder cannot be made or written, or the sizes differ.
    """
    probabilities = np.asarray(probabilities_kji, dtype=np.float32)
    if probabilities.shape != volume.shape_kji:
        raise UsageError(
            "The probabilities have size {shape} and the volume {shape_kji} (kji); they must be alike.",
            shape=probabilities.shape,
            shape_kji=volume.shape_kji,
        )
    path = _named(folder, name)
    return write_atomically(path, _encode(path, probabilities, volume))


def write_mask(folder: str | os.PathLike, name: str, mask_kji: np.ndarray, volume: Volume, *, description: str = "") -> Path:
    """Write one structure as a labelmap of its own (1 inside), a .nii.gz named after it.

    Args:
        folder: created if only its last part is missing.
        name: the structure; see `safe_file_stem`.
        mask_kji: the size of `volume`.
        volume: whose grid the file gets.
        description: as for `write_labels`.

    Returns:
        the path written.

    Raises:
        UsageError: the folder cannot be made or written, or the sizes differ.
    """
    return write_labels(_named(folder, name), mask_kji, volume, description=description)


def mask_paths(folder: str | os.PathLike, names: Iterable[str], *, numbered: bool = False) -> dict[str, Path]:
    """Where `write_mask` puts structures, for looking at what they would replace.

    Args:
        folder: need not exist.
        names: of the structures.
        numbered: each becomes "NAME 1", "NAME 2" and so on; as nobody knows how many, only those are given whose file is there already.
    """
    if not numbered:
        return {name: Path(folder, f"{safe_file_stem(name)}.nii.gz") for name in names}
    there = os.listdir(Path(folder).expanduser()) if Path(folder).expanduser().is_dir() else []
    numbers = {int(found[1]): None for one in there if (found := re.search(r" ([0-9]{1,9})(-[0-9a-f]{6})?\.nii\.gz$", one, re.IGNORECASE))}
    known = {one.casefold() for one in there}
    paths = mask_paths(folder, [f"{name} {number}" for name in names for number in numbers])
    return {name: path for name, path in paths.items() if path.name.casefold() in known}


def _named(folder: str | os.PathLike, name: str) -> Path:
    """The .nii.gz of a prompt in a folder, which is made if need be."""
    folder = make_folder(folder)
    stem = safe_file_stem(name)
    # Windows and macOS take "Liver" and "liver" for one file; two prompts must never share one.
    if any(other.name != f"{stem}.nii.gz" and other.name.lower() == f"{stem}.nii.gz".lower() for other in folder.iterdir()):
        stem = f"{stem}-{_fingerprint(name)}"
    return folder / f"{stem}.nii.gz"


def make_folder(folder: str | os.PathLike) -> Path:
    """The folder, created where only its last part is missing. Raises UsageError where that does not work."""
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise UsageError("The folder {parent} does not exist; create it or choose another.", parent=folder.parent) from error
    except OSError as error:
        raise UsageError(
            "The folder {folder} cannot be made ({value}); choose another.",
            folder=folder,
            value=error.strerror or Sentence("unknown reason"),
        ) from error
    return folder


def safe_file_stem(name: str) -> str:
    """A file name (without its ending) for a prompt, good on Linux, macOS and Windows, the same one every time.

    Letters of any script, digits, blanks and - _ . + ( ) stay; anything else becomes "_", and then a fingerprint of the prompt
    follows, so that "a/b" and "a:b" do not share a file.

    Examples:
        >>> safe_file_stem("left kidney")
        'left kidney'
    """
    plain = re.sub(r"[^\w \-.+()]", "_", unicodedata.normalize("NFC", name)).strip(" .")[:_LONGEST_NAME].strip(" .")
    is_reserved = plain.split(".")[0].lower() in _RESERVED
    if plain and plain == name and not is_reserved:
        return plain
    return f"{'_' if is_reserved else ''}{plain or 'prompt'}-{_fingerprint(name)}"


def _fingerprint(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def _encode(path: Path, voxels: np.ndarray, volume: Volume, description: str = "") -> bytes:
    name = path.name.lower()
    if name.endswith(".nrrd"):
        return encode_nrrd(voxels, volume.shown.ijk_to_ras)
    compress = name.endswith(".gz")
    return encode_nifti(voxels, volume.ijk_to_ras, level=_GZIP_LEVEL, compress=compress, forms=volume.forms, description=description)


def encode_nrrd(voxels_kji: np.ndarray, ijk_to_ras: np.ndarray) -> bytes:
    """A NRRD file of a uint8, uint16 or float32 kji array; see `nrrd.write_nrrd`."""
    buffer = io.BytesIO()
    write_nrrd(buffer, voxels_kji, voxels_kji.dtype, voxels_kji.shape, ijk_to_ras, level=_GZIP_LEVEL)
    return buffer.getvalue()


VECTOR_EXTENSIONS = (".npz", ".csv")


def write_vectors(path: str | os.PathLike, records: Sequence[Record], provenance: Provenance, scaling_factor: float | None) -> Path:
    """Write records with their vectors, in their order.

    .npz: "vectors" float32 (rows, length), and for each row "name", "source", "kind", "series", "plane", "slice" (-1 for none) and
    "content_hash"; "model", "deployment", "engine", "preprocessing" and "scaling_factor" (log temperature) once. .csv: the same columns,
    then v0, v1, …; the recipe in columns of its own, so that each line stands for itself.

    Raises:
        UsageError: another ending, or a folder that is missing or not writable.
    """
    path = check_writable(path, VECTOR_EXTENSIONS)
    columns: dict[str, list] = {
        "name": [str(record.position.get("name", "")) for record in records],
        "source": [record.source for record in records],
        "kind": [record.kind for record in records],
        "series": [record.series for record in records],
        "plane": [record.plane for record in records],
        "slice": [record.slice_index for record in records],
        "content_hash": [record.content_hash for record in records],
    }
    vectors = np.stack([np.asarray(record.vector, np.float32) for record in records])
    made = {
        "model": provenance.model,
        "deployment": provenance.deployment,
        "engine": provenance.engine,
        "preprocessing": provenance.preprocessing,
    }
    if path.name.lower().endswith(".npz"):
        return write_atomically(path, _npz(columns, vectors, made, scaling_factor))
    return write_atomically(path, _csv(columns, vectors, made))


def _npz(columns: dict[str, list], vectors: np.ndarray, made: dict[str, str], scaling_factor: float | None) -> bytes:
    arrays: dict[str, Any] = {name: np.array(values, np.int32 if name == "slice" else np.str_) for name, values in columns.items()}
    arrays |= {name: np.array(value, np.str_) for name, value in made.items()}
    buffer = io.BytesIO()
    np.savez(buffer, vectors=vectors, scaling_factor=np.float64(np.nan if scaling_factor is None else scaling_factor), **arrays)
    return buffer.getvalue()


def _csv(columns: dict[str, list], vectors: np.ndarray, made: dict[str, str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *made, *(f"v{number}" for number in range(vectors.shape[1]))])
    for row, values in enumerate(zip(*columns.values())):
        # Nine digits bring a float32 back exactly.
        texts = [csv_cell(value) if isinstance(value, str) else value for value in (*values, *made.values())]
        writer.writerow([*texts, *(f"{value:.9g}" for value in vectors[row])])
    return text.getvalue().encode()
