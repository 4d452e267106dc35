"""Sets of labels for zero-shot classification: ready ones for common modalities, and a person's own from a CSV file.

A label has a name to show and a text to embed. The model's documentation recommends one fixed style for the text: modality, anatomy,
finding, such as "x-ray chest anteroposterior Pneumonia".
"""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import InputError, UsageError

_READY = Path(__file__).with_name("label_sets.json")
_HEADS = {"set": "set", "label": "label", "name": "label", "text": "text", "prompt": "text"}
_MOST_BYTES = 10_000_000


@dataclass(slots=True, frozen=True)
class Label:
    """A label: the name that a table shows and the text that is embedded."""

    name: str
    text: str


@dataclass(slots=True, frozen=True)
class LabelSet:
    """Labels that exclude one another, as the probabilities are compared within a set.

    Attributes:
        modality: DICOM modality code that the set is for, "" for any.
    """

    name: str
    labels: tuple[Label, ...]
    modality: str = ""

    @property
    def texts(self) -> list[str]:
        return [label.text for label in self.labels]

    @property
    def names(self) -> list[str]:
        return [label.name for label in self.labels]


@lru_cache(maxsize=1)
def ready_sets() -> tuple[LabelSet, ...]:
    """The sets that come with the extension, in the order of the file: one or more for each common modality."""
    sets = []
    for entry in json.loads(_READY.read_text(encoding="utf-8"))["sets"]:
        labels = tuple(Label(finding, f"{entry['prefix']} {finding}") for finding in entry["findings"])
        sets.append(_checked(LabelSet(entry["name"], labels, entry["modality"])))
    return tuple(sets)


def ready_set(name: str) -> LabelSet:
    """A ready set by its name, or the first one for a DICOM modality code ("CT", "MR", "DX"; "CR" counts as "DX").

    Raises:
        UsageError: there is none; the sentence lists those there are.
    """
    wanted = name.strip().lower()
    for label_set in ready_sets():
        if label_set.name.lower() == wanted:
            return label_set
    modality = {"cr": "dx", "rg": "dx", "pet": "pt"}.get(wanted, wanted)
    for label_set in ready_sets():
        if label_set.modality.lower() == modality:
            return label_set
    raise UsageError(
        'There is no ready label set "{name}"; there are: {listed}.',
        name=name,
        listed=", ".join(label_set.name for label_set in ready_sets()),
    )


def read_label_sets(path: str | os.PathLike) -> list[LabelSet]:
    """Label sets from a CSV file (comma, semicolon or tab; UTF-8).

    Without a header the first column holds the labels' texts. With one, `label` is the name, `text` (or `prompt`) what is embedded, the
    name where it is left out, and `set` the set a label belongs to; more columns do no harm. Lines that are empty or begin with # are
    skipped.

    Returns:
        the sets in the order of their first label; the file's name names a single set.

    Raises:
        InputError: the file is missing, too large or no text.
        UsageError: a set with fewer than two labels, a label given twice, a line without a label.
    """
    path = Path(path).expanduser()
    rows = read_rows(path)
    heads = [_HEADS.get(cell.strip().lower(), "") for cell in rows[0]]
    if "label" in heads or "text" in heads:
        rows = rows[1:]
    else:
        heads = ["label"]
    sets: dict[str, list[Label]] = {}
    for row in rows:
        cells = {head: cell.strip() for head, cell in zip(heads, row) if head}
        text = cells.get("text") or cells.get("label", "")
        if not text:
            raise UsageError(
                'The label file {name} has a line without a label ("{listed}"); fill it in or take it out.',
                name=path.name,
                listed=",".join(row)[:40],
            )
        sets.setdefault(cells.get("set") or path.stem, []).append(Label(cells.get("label") or text, text))
    if not sets:
        raise UsageError("The label file {name} has a header and no labels; give one label a line.", name=path.name)
    return [_checked(LabelSet(name, tuple(labels))) for name, labels in sets.items()]


def read_rows(path: Path) -> list[list[str]]:
    """The lines of a CSV file of labels (comma, semicolon or tab), cell by cell; empty ones and those that begin with # are skipped.

    Args:
        path: the file.

    Raises:
        InputError: missing, too large or no text. UsageError: empty.
    """
    lines = [line for line in _text_of(path).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise UsageError("The label file {name} is empty; give one label a line.", name=path.name)
    return list(csv.reader(io.StringIO("\n".join(lines)), delimiter=_delimiter(lines[0]), skipinitialspace=True))


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError("The label file {name} is too large to be a list of labels; choose another.", name=path.name)
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            "The label file {path} cannot be read ({strerror}); check its name.", path=path, strerror=error.strerror
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("The label file {name} is not a text in UTF-8; save it as CSV in UTF-8.", name=path.name) from error


def _delimiter(first_line: str) -> str:
    """Tab or semicolon where the first line has them outside quotes, else comma: labels themselves may hold commas in quotes."""
    outside = "".join(first_line.split('"')[::2])
    return "\t" if "\t" in outside else ";" if ";" in outside else ","


def _checked(label_set: LabelSet) -> LabelSet:
    names, texts = label_set.names, label_set.texts
    if any(not text for text in texts):
        raise UsageError("A label is empty; take it out.")
    for values in (texts, names):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError('The label "{twice}" is given twice in "{name}"; take one out.', twice=twice, name=label_set.name)
    if len(texts) < 2:
        raise UsageError('Give at least two labels in "{name}": one alone always gets 100 %.', name=label_set.name)
    return label_set
