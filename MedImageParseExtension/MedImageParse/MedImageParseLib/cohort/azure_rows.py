"""Requests as the rows of CSV files that an Azure ML batch endpoint reads, and its predictions as the replies to them.

What goes in (Microsoft's mip-deploy-batch-endpoint notebook): files with a running number, columns `image` (base64) and `text`, and pandas'
row number before them, which has no title. What comes out: predictions.csv without a header, one line a row: the row's number in its
file, the model's cells (`image_features` as JSON or as Python writes a dictionary, `text_features` as Python writes a list), and the name of
the file that the row was in. Lines come in any order, a line that failed is missing, and one that was tried again may come twice.

A case is worked on by the same code as when an endpoint answers: `Recorder` stands in for the connection when rows are written, and
`Replayer` afterwards, which answers with the predictions.
"""

from __future__ import annotations

import csv
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ..errors import EndpointError, InputError
from ..files.write import write_whole
from ..progress import Cancellation, Progress, no_progress
from ..tasks.run import NotSent
from ..transport.client import Reply

FILE_NAME = "batch_input_{number:03d}.csv"
FILE_NAMES = re.compile(r"batch_input_[0-9]{3,9}\.csv")
LARGEST_FILE = 64 * 2**20  # bytes of one input file; a mini-batch of the endpoint is one of them
_LARGEST_CELL = 512 * 2**20  # characters of a prediction's cell
_MODEL_CELLS = ("image_features", "nifti_file")
_field_limit = threading.Lock()  # the csv module has one limit for the whole program


@dataclass(slots=True, frozen=True)
class RowPlace:
    """Where a request's row is: the name of its file, its number there, and its text."""

    file: str
    row: int
    text: str


class RowWriter:
    """Writes rows into files of a folder, a new one where the last is full.

    Args:
        folder: exists.
        rows_per_file: most rows in a file.
    """

    def __init__(self, folder: Path, rows_per_file: int):
        self._folder, self._rows_per_file = folder, rows_per_file
        self._lines: list[tuple[str, str]] = []
        self._size = 0
        self.files: list[str] = []

    def add(self, image: str, text: str) -> RowPlace:
        """Keep a row. Args: image: base64. text: the prompts, joined."""
        if self._lines and (len(self._lines) >= self._rows_per_file or self._size + len(image) > LARGEST_FILE):
            self.flush()
        if not self._lines:
            self.files.append(FILE_NAME.format(number=len(self.files) + 1))
        self._lines.append((image, text))
        self._size += len(image)
        return RowPlace(self.files[-1], len(self._lines) - 1, text)

    def flush(self) -> None:
        """Write the file that is being filled."""
        if not self._lines:
            return
        lines, self._lines, self._size = self._lines, [], 0

        def write(file: Any) -> None:
            file.write(b",image,text\n")
            for number, (image, text) in enumerate(lines):
                quoted = text.replace('"', '""')
                file.write(f'{number},{image},"{quoted}"\n'.encode())

        write_whole(self._folder / self.files[-1], write)


class Recorder:
    """Takes the place of a connection and keeps each request's row.

    Args:
        rows: where rows go.
    """

    name, dialect, body_limit, max_in_flight = "an Azure ML batch endpoint", "azureml", 2**40, 1

    def __init__(self, rows: RowWriter):
        self._rows = rows
        self.places: list[RowPlace] = []

    def send(self, body: bytes, *, cancellation: Cancellation | None = None, **_options: Any) -> Any:
        """Keeps the request's rows. Raises NotSent."""
        (cancellation or Cancellation()).check()
        self.places += [self._rows.add(image, text) for image, text in json.loads(body)["input_data"]["data"]]
        raise NotSent("Nothing is sent while rows are written.")


class Replayer:
    """Takes the place of a connection: answers each request of a case with the predictions for its rows.

    Args:
        name: what the endpoint is called in reports and tags.
        places: of the case's rows, in the order of its requests.
        find: gives the model's cells of a row, None where the predictions lack it.
        has_changed: the case's image is another one than when it was exported.
    """

    dialect, body_limit, max_in_flight = "azureml", 2**40, 1

    def __init__(self, name: str, places: Sequence[RowPlace], find: Callable[[RowPlace], dict[str, str] | None], has_changed: bool):
        self.name, self._has_changed = name, has_changed
        self._places, self._find, self._next = places, find, 0

    def send(
        self,
        body: bytes,
        *,
        progress: Progress = no_progress,
        cancellation: Cancellation | None = None,
        max_reply_bytes: int = 0,
        model: str = "",
        work: int = 0,
        slow_again: bool = True,
    ) -> Reply:
        """As EndpointClient.send."""
        del progress, model, work, slow_again
        (cancellation or Cancellation()).check()
        if self._has_changed:
            raise InputError("The image has changed since it was exported; export it again.")
        answers = []
        for _image, text in json.loads(body)["input_data"]["data"]:
            place = self._places[self._next] if self._next < len(self._places) else None
            self._next += 1
            if place is None or place.text != text:
                raise InputError("The case is no longer what it was when it was exported; export it again.")
            cells = self._find(place)
            if cells is None:
                raise EndpointError(
                    "The predictions have no line for row {row} of {file}; the batch endpoint's log says why.",
                    row=place.row,
                    file=place.file,
                    code="no-prediction",
                )
            answers.append(cells)
        reply = json.dumps(answers).encode()
        if max_reply_bytes and len(reply) > max_reply_bytes:
            raise EndpointError("A prediction is larger than any answer to its request can be; it was not read.", code="reply-size")
        return Reply(reply, tries=1)


@dataclass(slots=True)
class Predictions:
    """A predictions.csv, indexed: its cells are in files of their own until they are asked for, so that one row is in memory at a time.

    Attributes:
        found: file and row of each prediction, and where its cells are.
        strangers: lines that belong to no row.
    """

    found: dict[tuple[str, int], Path] = field(default_factory=dict)
    strangers: int = 0

    def cells(self, place: RowPlace) -> dict[str, str] | None:
        """The model's cells of a row by their names; None where there are none."""
        path = self.found.get((place.file, place.row))
        return json.loads(path.read_text(encoding="utf-8")) if path is not None else None


def read_predictions(path: Path, places: Sequence[RowPlace], keep_in: Path) -> Predictions:
    """Find the line of each row.

    Args:
        path: predictions.csv as the endpoint wrote it.
        places: of all rows that were exported.
        keep_in: an empty folder for the cells.

    Raises:
        InputError: it cannot be read, holds none of the rows, or does not say which file its lines belong to.
    """
    expected = {(place.file, place.row) for place in places}
    files = {place.file for place in places}
    predictions = Predictions()
    try:
        with open(path, encoding="utf-8-sig", newline="") as text:
            for number, line in enumerate(_lines(text)):
                key, cells = _parsed(line, files)
                if not cells:
                    continue
                if key not in expected:
                    predictions.strangers += 1
                    continue
                kept = keep_in / f"{number}.json"
                kept.write_text(json.dumps(cells), encoding="utf-8")
                before = predictions.found.get(key)
                if before is not None:  # tried again: the last answer counts
                    before.unlink()
                predictions.found[key] = kept
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("The predictions {name} cannot be read; give the file predictions.csv of the job.", name=path.name) from error
    if not predictions.found:
        raise InputError(
            "The predictions {name} hold no line for a row of this export; give the file predictions.csv of its own job.", name=path.name
        )
    return predictions


def _lines(text: TextIO) -> Iterator[list[str]]:
    with _long_fields():
        yield from csv.reader(text)


@contextmanager
def _long_fields() -> Iterator[None]:
    """A prediction's cell is a picture, far longer than what the csv module takes by itself."""
    with _field_limit:
        before = csv.field_size_limit(_LARGEST_CELL)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _parsed(line: list[str], files: set[str]) -> tuple[tuple[str, int], dict[str, str]]:
    """((file, row), cells) of a line; no cells for a header and for what is no prediction.

    The cells are known by their looks, as models and versions differ in their number: a whole number is the row, the name of one of our
    files is the file, a dictionary is the model's answer, a list its classes.
    """
    row, file, cells = -1, "", {}
    for cell in line:
        start = cell.lstrip()[:1]
        name = cell.rpartition("/")[2].strip() if len(cell) < 1024 else ""
        if name in files:
            file = name
        elif row < 0 and cell.strip().isdecimal() and len(cell) < 12:
            row = int(cell)
        elif start in "{(" and start:
            cells["image_features" if _has_shape(cell) else "nifti_file"] = cell
        elif start == "[":
            cells["text_features"] = cell
    if not any(name in cells for name in _MODEL_CELLS):
        return ("", -1), {}
    if not file and len(files) == 1:
        file = next(iter(files))
    if not file:
        raise InputError(
            "The predictions do not say which input file each line belongs to; deploy with the output action append_row, or export with "
            "one file (--rows-per-file)."
        )
    return (file, row), cells


def _has_shape(cell: str) -> bool:
    """Whether a dictionary holds an array, which has a shape, and not a NIfTI file. Only its ends are looked at: the middle is base64."""
    return any(f"{quote}shape{quote}" in part for part in (cell[:300], cell[-300:]) for quote in "\"'")
