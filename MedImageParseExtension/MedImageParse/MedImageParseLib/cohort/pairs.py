"""Which prediction belongs to which reference: files, folders that pair up by name, or the account of a batch."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError, UsageError
from ..files.read import known_extension
from .labels import LABEL_FILES, digit_names
from .manifest import MANIFEST, read_entries

_MARKS = ("seg", "labels", "label", "gt", "mask", "masks", "segmentation", "pred", "prediction", "reference", "ref")


@dataclass(slots=True)
class Candidate:
    """A segmentation that may be measured.

    Attributes:
        key: the case's name.
        path: its file or folder; None where a batch did not get so far.
        names: of its labels' values, where they are known already.
        image: the image that it belongs to, None where it is not known.
        engine: what made it, "" where it is not known.
        reference: where the batch's table names the reference.
        modality: DICOM code, "" where it is not known.
    """

    key: str
    path: Path | None
    names: dict[int, str] = field(default_factory=dict)
    image: Path | None = None
    engine: str = ""
    reference: Path | None = None
    modality: str = ""


@dataclass(slots=True)
class Pair:
    """One case: a reference, and its prediction (None where there is none)."""

    case: str
    reference: Path
    prediction: Candidate | None


def pair_up(reference: Path, prediction: Path) -> tuple[list[Pair], list[str]]:
    """Pairs of references and predictions, and the names of predictions that have no reference.

    Two files pair whatever their names. In folders the names decide: alike without their endings, or alike but for a mark such as
    "_labels" or "_seg".

    Raises:
        InputError: something is not there, or nothing pairs up. UsageError: two predictions for one reference.
    """
    for path in (reference, prediction):
        if not path.exists():
            raise InputError("There is no file or folder {path}; check the path.", path=path)
    predictions = _candidates(prediction)
    if reference.name.endswith(".jsonl"):
        references = {one.key: one.reference for one in _manifest(reference) if one.reference}
    else:
        references = {one.key: one.path for one in _candidates(reference) if one.path}
    if not references:
        raise InputError("{path} names no references; give a file or a folder of labelmaps.", path=reference)
    if len(references) == 1 and len(predictions) == 1:
        ((name, path),) = references.items()
        return [Pair(predictions[0].key if prediction.suffix == ".jsonl" else name, path, predictions[0])], []
    return _by_name(references, predictions)


def _by_name(references: dict[str, Path], predictions: list[Candidate]) -> tuple[list[Pair], list[str]]:
    own = {one.reference.resolve(): one for one in predictions if one.reference}
    plain: dict[str, list[Candidate]] = defaultdict(list)
    for one in predictions:
        for key in dict.fromkeys((one.key, plain_name(one.key), *((case_name(one.image),) if one.image else ()))):
            plain[key.casefold()].append(one)
    pairs: list[Pair] = []
    used: set[int] = set()
    for name, path in references.items():
        found = [own[path.resolve()]] if path.resolve() in own else []
        for key in (name, plain_name(name)):
            found = found or plain.get(key.casefold(), [])
        if len(found) > 1:
            names = ", ".join(str(other.path.name if other.path else other.key) for other in found)
            raise UsageError("The reference {name} fits several predictions ({found}); keep one of them.", name=path.name, found=names)
        used |= {id(other) for other in found}
        pairs.append(Pair(name, path, found[0] if found else None))
    if not used:
        raise InputError(
            "No prediction has the name of a reference ({reference} and {prediction}, for instance); name the files alike.",
            reference=next(iter(references)),
            prediction=predictions[0].key if predictions else "nothing",
        )
    return pairs, [one.key for one in predictions if id(one) not in used]


def _candidates(path: Path) -> list[Candidate]:
    if path.name.endswith(".jsonl"):
        return _manifest(path)
    if not path.is_dir():
        return [Candidate(case_name(path), path)]
    if (path / MANIFEST).is_file():
        return _manifest(path / MANIFEST)
    found = [Candidate(case_name(file), file) for file in sorted(path.iterdir()) if _is_label_file(file)]
    folders = [
        Candidate(folder.name, folder)
        for folder in sorted(path.iterdir())
        if folder.is_dir() and not folder.name.startswith(".") and any(_is_label_file(file) for file in folder.iterdir())
    ]
    if not found and not folders:
        raise InputError("The folder {path} holds no labelmaps; check the path.", path=path)
    return found or folders


def _is_label_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and bool(known_extension(path, LABEL_FILES))


def case_name(path: Path) -> str:
    """A file's or folder's name without the ending of an image."""
    name = path.name
    if name.lower().endswith(".seg.nrrd"):
        return name[: -len(".seg.nrrd")]
    return name[: len(name) - len(known_extension(path, LABEL_FILES))] or name


def plain_name(key: str) -> str:
    """The name without a mark at its end: "case1_labels" is "case1"."""
    for mark in _MARKS:
        for sign in "_-.":
            if key.lower().endswith(sign + mark) and len(key) > len(mark) + 1:
                return key[: -len(mark) - 1]
    return key


def _manifest(path: Path) -> list[Candidate]:
    """The cases of a batch.jsonl, the last line of each; those that have no result come with path None."""
    entries = read_entries(path)
    if not entries:
        raise InputError("{path} holds no cases.", path=path)
    return [_manifest_case(entry, path.parent) for entry in entries.values()]


def _manifest_case(entry: dict, folder: Path) -> Candidate:
    outputs = entry.get("outputs") or []
    chosen = [output for ending in (".seg.nrrd", "_labels.nii.gz", "_masks") for output in outputs if output.endswith(ending)]
    prompts = entry.get("prompts") or []
    names = {one["label"]: str(one["name"]) for one in prompts if type(one.get("label")) is int and "name" in one}

    def placed(value: object) -> Path | None:
        if not value:
            return None
        path = folder / str(value)  # an absolute path stays what it is
        beside = folder / Path(str(value)).name
        return beside if beside.exists() and not path.exists() else path  # the folder may have moved since

    return Candidate(
        str(entry["id"]),
        placed(chosen[0]) if chosen and entry.get("state") == "done" else None,
        names,
        placed(entry.get("input")),
        str(entry.get("engine") or ""),
        placed(entry.get("reference")),
        str(entry.get("modality") or ""),
    )


def read_names(path: Path) -> dict[str, dict]:
    """What a `--names` file says: {"reference": {value: name}, "prediction": {value: name}, "rename": {name: name}}.

    The file is {"1": "spleen"}, {"spleen": 1}, {"Milz": "spleen"} (a prediction's names as the reference has them), or an object with
    "reference" and "prediction" in one of these forms.

    Raises:
        InputError: missing, no JSON, or none of these.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("There is no file {path} with names that can be read; check the path.", path=path) from error
    except (ValueError, RecursionError) as error:
        raise InputError("{name} is not JSON; write {example}.", name=path.name, example='{"1": "spleen", "2": "liver"}') from error
    parts = data if isinstance(data, dict) and set(data) <= {"reference", "prediction"} else {"reference": data, "prediction": data}
    found: dict[str, dict] = {"reference": {}, "prediction": {}, "rename": {}}
    for side, names in parts.items():
        values = digit_names(names) if isinstance(names, dict) else {}
        if values:
            found[side] = values
        elif isinstance(names, dict) and names and all(isinstance(value, str) for value in names.values()):
            found["rename"] |= names
        else:
            raise InputError(
                "{name} does not say which label is which; write {example}.", name=path.name, example='{"1": "spleen", "2": "liver"}'
            )
    return found
