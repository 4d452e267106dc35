"""Which cases a batch has: from image files, globs, folders, DICOM series, tables, BIDS data sets, and paths on standard input.

A case's id names its files, so it holds what a file's name may hold and nothing from a header: a file's id is its name without the ending
(with the folders below a folder that was given, joined by "_"), that of a DICOM series found in a folder a short fingerprint of its UID.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import InputError, UsageError
from ..files.dicom import is_dicom_file, series_of
from ..files.packed import PACKED_EXTENSIONS
from ..files.read import EMPTY_NAME, IMAGE_EXTENSIONS, known_extension
from ..files.write import check_name, safe_file_stem
from ..remedies import Sentence

COLUMNS = ("image", "id", "prompt", "modality", "window", "reference", "series", "frame", "plane", "slices")
TABLES = (".csv", ".json")
BIDS_RESULTS = Path("derivatives") / "medimageparse"
_SEGMENTATION = ".seg.nrrd"
_ENDINGS = (*IMAGE_EXTENSIONS, *PACKED_EXTENSIONS, ".dcm")
# Folders and endings of a BIDS data set that hold no single volume of the body: time series, field maps, curves; maps and labels.
_BIDS_OTHERS = frozenset({"func", "dwi", "fmap", "perf", "meg", "eeg", "ieeg", "nirs", "motion", "beh", "mrs"})
_BIDS_LABELS = ("_dseg", "_mask", "_probseg", "_defacemask")
_BIDS_MODALITIES = {"ct": "CT", "pet": "PT", "anat": "MR"}


@dataclass(slots=True, frozen=True)
class Case:
    """One image of a batch.

    Attributes:
        id: names its results; unique in the batch.
        input: absolute path of a file or DICOM folder.
        prompt: "A & B" for this case, "" for the batch's own.
        modality: DICOM code, "" for the file's own.
        window: as `segment` takes it, "" for the batch's own.
        reference: absolute path of its reference segmentation, "" for none.
        series: UID or number of the DICOM series in the folder, "" for the only one.
        frame: which volume of an image with several, counted from 0; None for the only one.
        plane, slices: for the model medimageparse on a volume, "" for the batch's own.
        place: folder below the output folder that its results go to, "" for that folder itself.
    """

    id: str
    input: str
    prompt: str = ""
    modality: str = ""
    window: str = ""
    reference: str = ""
    series: str = ""
    frame: int | None = None
    plane: str = ""
    slices: str = ""
    place: str = ""


@dataclass(slots=True)
class Cases:
    """What was found.

    Attributes:
        cases: in the order in which they are done.
        warnings: sentences.
        bids_root: the BIDS data set, where it is the only input; results go below it.
    """

    cases: list[Case] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    bids_root: Path | None = None


def find_cases(
    inputs: Iterable[str | os.PathLike],
    *,
    output_dir: str | os.PathLike | None = None,
    results: Iterable[str] = (),
    lines: Iterable[str] = (),
) -> Cases:
    """The cases that inputs name. Nothing is read but names, tables and, of DICOM files, headers.

    Args:
        inputs: image files; patterns with * ? [ ]; folders (each image file and each DICOM series in them is a case, hidden files and
            segmentations are passed over); cases.csv or cases.json; the root of a BIDS data set; "-" for the paths in `lines`.
        output_dir: where results go: nothing in it is a case, unless it is a folder of images itself.
        results: real paths of an earlier run's results, which no folder or pattern makes cases of.
        lines: one path a line, for "-".

    Raises:
        UsageError: no input, or two cases that would have one name.
        InputError: something that is not there, a folder without images, a table that cannot be read.
    """
    given = [os.fspath(one) for one in inputs]
    found, results = Cases(), frozenset(results)
    for name in given:
        if not name:
            raise UsageError(EMPTY_NAME)
        if name == "-":
            found.cases += [_file_case(Path(line.strip()).expanduser()) for line in lines if line.strip()]
            continue
        for path in _expanded(name, results):
            if path.is_dir():
                is_bids = _is_bids(path)
                found.cases += _bids_cases(path) if is_bids else _folder_cases(path, output_dir, results)
                found.bids_root = path if is_bids and len(given) == 1 else None
            elif known_extension(path, TABLES):
                found.cases += read_table(path, found.warnings)
            else:
                found.cases.append(_file_case(path))
    if not found.cases:
        raise UsageError("Name at least one image: files, folders, a cases.csv, or - for paths on standard input.")
    check_ids(found.cases)
    return found


def check_ids(cases: Iterable[Case]) -> None:
    """Raises UsageError where the results of two cases would have one name, on file systems that ignore case too."""
    seen: dict[str, Case] = {}
    for case in cases:
        key = unicodedata.normalize("NFC", f"{case.place}/{case.id}").casefold()
        other = seen.setdefault(key, case)
        if other is not case:
            raise UsageError(
                "The results of {one} and {other} would both be named {id}: give the cases ids of their own in a cases.csv (columns image, id).",
                one=other.input,
                other=case.input,
                id=case.id,
            )


def is_sound(case: Case) -> bool:
    """Whether a case that was read from a file holds what `find_cases` gives: values of the right kinds, and names that stay in their folder."""
    texts = [value for name, value in asdict(case).items() if name != "frame"]
    place = PurePosixPath(case.place) if isinstance(case.place, str) else PurePosixPath("/")
    return (
        all(isinstance(text, str) and "\0" not in text for text in texts)
        and (case.frame is None or type(case.frame) is int)
        and safe_file_stem(case.id) == case.id
        and all(safe_file_stem(part) == part for part in place.parts)
    )


def shard_of(cases: list[Case], shard: str) -> list[Case]:
    """The part of the cases that one of several runs does.

    Args:
        cases: all of them; each run must be given the same.
        shard: "K/N": the K-th of N runs, counted from 1; "" for all cases.

    Raises:
        UsageError: it is not of that form.
    """
    if not shard:
        return cases
    number, total = parse_shard(shard)
    return cases[number - 1 :: total]


def parse_shard(shard: str) -> tuple[int, int]:
    """(K, N) of "K/N". Raises UsageError where it is not of that form."""
    first, slash, last = shard.partition("/")
    if slash and first.strip().isdecimal() and last.strip().isdecimal() and 1 <= int(first) <= int(last) <= 100_000:
        return int(first), int(last)
    raise UsageError("The shard '{shard}' is not K/N with K from 1 to N, such as 2/8.", shard=shard[:40])


def _expanded(name: str, results: frozenset[str]) -> list[Path]:
    """The paths that a word of the command stands for; a pattern does not stand for results."""
    path = Path(name).expanduser()
    if path.exists():
        return [path]
    if not any(sign in name for sign in "*?["):
        raise InputError("There is no file or folder {path}; check the path.", path=path)
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise InputError("No file fits the pattern {pattern}; check it.", pattern=name)
    paths = [one for each in found if not (one := Path(each)).name.startswith(".") and not _is_segmentation(one)]
    return [path for path in paths if not _is_result(path, results)]


def _is_result(path: Path, results: frozenset[str]) -> bool:
    """Whether an earlier run made the file, or the folder that it lies in."""
    real = os.path.realpath(path)
    return real in results or os.path.dirname(real) in results


def _is_segmentation(path: Path) -> bool:
    return path.name.lower().endswith(_SEGMENTATION)


def _file_case(path: Path, stem: str = "", modality: str = "", place: str = "") -> Case:
    return Case(safe_file_stem(stem or stem_of(path)), os.path.abspath(path), modality=modality, place=place)


def stem_of(path: Path) -> str:
    """A file's name without the ending of an image, a folder's name as it is."""
    name = path.name
    return name[: len(name) - len(known_extension(path, _ENDINGS))] or name


def _folder_cases(root: Path, output_dir: str | os.PathLike | None, results_before: frozenset[str]) -> list[Case]:
    """Each image file and each DICOM series in a folder and below, but for the results of the batch itself."""
    results = os.path.realpath(output_dir) if output_dir else ""
    cases: list[Case] = []
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith(".") and os.path.realpath(Path(folder, name)) != results)
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        images = [file for file in files if known_extension(file, IMAGE_EXTENSIONS) and not _is_segmentation(file)]
        images = [image for image in images if not _is_result(image, results_before)]
        cases += [_file_case(image, _joined(image.relative_to(root))) for image in images]
        if any(is_dicom_file(file) for file in files if file not in images):
            cases += series_cases(Path(folder))
    if not cases:
        raise InputError("The folder {path} holds no image that can be read; check the path.", path=root)
    return cases


def _joined(path: Path) -> str:
    return "_".join((*path.parent.parts, stem_of(path)))


def series_cases(folder: Path) -> list[Case]:
    """One case for each DICOM series whose images lie in this folder itself, and for each of several radiographs or photographs."""
    found = series_of(sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")))
    place = os.path.abspath(folder)
    if not found:  # damaged or no images: reading it will say which
        return [Case(_series_id(place), place)]
    return [
        Case(_series_id(f"{uid or place}/{file.name}"), os.path.abspath(file))
        if file is not None
        else Case(_series_id(uid or place), place, series=uid if len(found) > 1 else "")
        for uid, file in found
    ]


def _series_id(uid: str) -> str:
    """A name for a series that says nothing of the patient, as folders of exports are named after them."""
    return f"series-{hashlib.sha256(uid.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def _is_bids(path: Path) -> bool:
    return (path / "dataset_description.json").is_file() and any(one.is_dir() for one in path.glob("sub-*"))


def _bids_cases(root: Path) -> list[Case]:
    """The volumes of the subjects; results go to the same folders below derivatives."""
    cases: list[Case] = []
    for file in sorted(root.glob("sub-*/**/*")):
        parts = file.relative_to(root).parts
        stem = stem_of(file)
        is_other = stem.endswith(_BIDS_LABELS) or parts[-2] in _BIDS_OTHERS or any(part.startswith(".") for part in parts)
        if is_other or not file.is_file() or not known_extension(file, IMAGE_EXTENSIONS) or _is_segmentation(file):
            continue
        modality = _BIDS_MODALITIES.get(stem.rpartition("_")[2].lower()) or _BIDS_MODALITIES.get(parts[-2], "")
        cases.append(_file_case(file, stem, modality=modality, place="/".join(parts[:-1])))
    if not cases:
        raise InputError("The BIDS data set {path} holds no volumes below its sub- folders; check the path.", path=root)
    return cases


# --- tables ------------------------------------------------------------------------------------------------------------


def read_table(path: Path, warnings: list[str]) -> list[Case]:
    """The cases of a cases.csv or cases.json; paths in it are relative to its own folder.

    Args:
        path: a CSV file with a header, or a JSON list of objects (also as "cases" of an object).
        warnings: a sentence about columns that are not known is added here.

    Raises:
        InputError: no such table, or a row without an image.
    """
    rows = list(_json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path))
    if not rows:
        raise InputError("The table {name} holds no cases; write a line of columns (image, id, prompt) and one a case.", name=path.name)
    unknown = sorted({str(column) for row in rows for column in row if column and column not in COLUMNS})
    if unknown:
        listed = ", ".join(unknown)[:200]
        warnings.append(Sentence("The columns {listed} of {name} are not known and were passed over.", listed=listed, name=path.name))
    return [_row_case(row, number, path) for number, row in enumerate(rows, start=1)]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            "The table {name} cannot be read ({why}).", name=path.name, why=error.strerror or Sentence("unknown reason")
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("The table {name} is no text in UTF-8; save it as CSV UTF-8.", name=path.name) from error


def _csv_rows(path: Path) -> Iterator[dict]:
    text = _text(path)
    head = text.partition("\n")[0]
    sign = max(",;\t", key=head.count)  # a spreadsheet writes the sign of its country
    reader = csv.DictReader(io.StringIO(text), delimiter=sign)
    columns = [str(name).strip().lower() for name in reader.fieldnames or []]
    if "image" not in columns:
        raise InputError("The table {name} has no column named image; its first line names the columns.", name=path.name)
    reader.fieldnames = columns
    try:
        for row in reader:
            if any(isinstance(value, str) and value.strip() for value in row.values()):
                yield {name: value.strip() for name, value in row.items() if name and isinstance(value, str)}
    except csv.Error as error:
        raise InputError("The table {name} is damaged near line {line}.", name=path.name, line=reader.line_num) from error


def _json_rows(path: Path) -> list[dict]:
    try:
        data = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError("The table {name} is not JSON; write a list of objects with image, id and prompt.", name=path.name) from error
    rows = data.get("cases") if isinstance(data, dict) else data
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("The table {name} is no list of objects; write a list of objects with image, id and prompt.", name=path.name)
    return [{str(name).strip().lower(): _cell(value) for name, value in row.items()} for row in rows]


def _cell(value: object) -> str:
    """A value as a table's cell: prompts may be a list."""
    if isinstance(value, list):
        return " & ".join(str(one) for one in value)
    return "" if value is None else str(value).strip()


def _row_case(row: Mapping[str, str], number: int, table: Path) -> Case:
    def placed(name: str) -> str:
        value = row.get(name, "")
        try:
            check_name(Path(value))
        except UsageError as error:
            raise InputError("Row {number} of {table}: {error}", number=number, table=table.name, error=error) from error
        return os.path.abspath(table.parent / Path(value).expanduser()) if value else ""

    image, frame = placed("image"), row.get("frame", "")
    if not image:
        raise InputError("Row {number} of {name} names no image.", number=number, name=table.name)
    if frame and not (frame.isdecimal() and len(frame) < 10):
        raise InputError("The frame in row {number} of {name} is not a number counted from 0.", number=number, name=table.name)
    stem = row.get("id", "") or stem_of(Path(image))
    return Case(
        safe_file_stem(stem),
        image,
        reference=placed("reference"),
        frame=int(frame) if frame else None,
        **{name: row.get(name, "") for name in ("prompt", "modality", "window", "series", "plane", "slices")},
    )


# --- contents ----------------------------------------------------------------------------------------------------------


def content_state(path: str | os.PathLike) -> str:
    """A short digest of names, sizes and dates of an input's files: while it stays the same, nobody has changed them. "" if missing."""
    digest = hashlib.sha256()
    try:
        for name, file in _files_of(Path(path)):
            status = file.stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogatepass"))
    except OSError:
        return ""
    return digest.hexdigest()[:24]


def content_digest(path: str | os.PathLike) -> str:
    """A digest of what an input's files hold, whatever they are called and wherever they lie; "" where it cannot be read."""
    digests = []
    try:
        for _name, file in _files_of(Path(path)):
            with open(file, "rb") as content:
                digests.append(_digest_of(content))
    except OSError:
        return ""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _digest_of(content: io.BufferedReader) -> str:
    digest = hashlib.sha256()
    while piece := content.read(2**20):
        digest.update(piece)
    return digest.hexdigest()


def _files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """The file, with the one that its header names; all files of a folder."""
    from ..files.collisions import companions

    if path.is_dir():
        for folder, _below, names in os.walk(path):
            for name in sorted(names):
                file = Path(folder, name)
                if file.is_file():
                    yield str(file.relative_to(path)), file
        return
    for file in (path, *companions(path)):
        yield file.name, file


def lines_of_stdin() -> Iterator[str]:
    """Paths on standard input, one a line."""
    yield from sys.stdin
