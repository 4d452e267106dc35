"""Named lists of prompts: those that come with the program, and a person's own.

Those that come with it are presets.json beside this file: the targets that the model cards recommend, by region. A person's own are a file
of the same form, presets.json in the configuration folder, beside the profiles; it can be given to others. Fields of a preset there:
    title     what it holds, for people
    model     name of the model whose words the prompts are; "" for any
    modality  DICOM modality that it is for; "" for any
    prompts   a list of texts
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from ..configuration import configuration_folder, read_at_most, write_atomically
from ..errors import UsageError
from ..remedies import Sentence
from .grammar import parse_prompts

MOST_PROMPTS = 500
_FILE = Path(__file__).with_name("presets.json")
_LARGEST_FILE = 1 << 20  # bytes
_NAME = re.compile(r"[\w][\w.+-]{0,59}")


@dataclass(slots=True, frozen=True)
class Preset:
    """A named list of prompts.

    Attributes:
        name: what a person types, e.g. "abdomen-15".
        prompts: as they are sent, in this order.
        title: what it holds, for people.
        model: name of the model whose words the prompts are; "" for any.
        modality: DICOM modality that it is for; "" for any.
        is_own: a person's own, not one that comes with the program.
    """

    name: str
    prompts: tuple[str, ...]
    title: str = ""
    model: str = ""
    modality: str = ""
    is_own: bool = False


def presets(model: str = "", own: bool = True) -> dict[str, Preset]:
    """All presets by name, those that come with the program first.

    Args:
        model: only those that fit this model; "" for all.
        own: with a person's own.

    Raises:
        UsageError: the person's own file cannot be used.
    """
    found = {**_built_in(), **(_own() if own else {})}
    return {name: preset for name, preset in found.items() if not model or preset.model in ("", model)}


def find_preset(name: str, model: str = "") -> Preset:
    """The preset of a name, in upper or lower case.

    Args:
        name: as typed.
        model: the model that is to be asked; "" for any.

    Raises:
        UsageError: there is none, or it is for another model.
    """
    known = presets()
    folded = {each.casefold(): each for each in known}
    typed = name.strip().casefold()
    if typed not in folded:
        near = difflib.get_close_matches(typed, folded, 1)
        rest = (
            Sentence("did you mean {folded}?", folded=folded[near[0]])
            if near
            else Sentence("there are {listed}.", listed=", ".join(presets(model)))
        )
        raise UsageError("There is no preset with that name; {rest}", rest=rest)
    preset = known[folded[typed]]
    if model and preset.model and preset.model != model:
        fitting = ", ".join(presets(model))
        raise UsageError(
            "The preset {name} is for the model {model}, not {model2}; for {model2} there are {fitting}.",
            name=preset.name,
            model=preset.model,
            model2=model,
            fitting=fitting,
        )
    return preset


def with_preset(preset: str, texts: Iterable[str], model: str) -> list[str]:
    """The prompts of a run: those of the preset, then those that were typed.

    Args:
        preset: a name, "" for none.
        texts: as typed; each may hold several prompts.
        model: the model that is to be asked.

    Raises:
        UsageError: no such preset, no prompt at all, or one given twice.
    """
    return parse_prompts([*(find_preset(preset, model).prompts if preset else ()), *texts])


def add_presets(added: Iterable[Preset]) -> Path:
    """Keep presets as a person's own, in place of own ones with the same names.

    Args:
        added: to be kept.

    Returns:
        the file.

    Raises:
        UsageError: a name or a prompt that cannot be used, or a name of a preset that comes with the program.
    """
    return _write(own_file(), {**_own(), **{preset.name: _checked(preset) for preset in added}})


def remove_preset(name: str) -> Path:
    """Forget one of a person's own presets. Returns the file.

    Raises:
        UsageError: there is no own preset of that name.
    """
    kept = _own()
    if name not in kept:
        raise UsageError(
            "There is no preset of your own with that name; your own are {value}.", value=", ".join(kept) or Sentence("none yet")
        )
    return _write(own_file(), {each: preset for each, preset in kept.items() if each != name})


def export_presets(path: str | Path) -> list[str]:
    """Write a person's own presets to a file for others. Returns their names.

    Args:
        path: the file; `read_presets` reads it.

    Raises:
        UsageError: there are none, or the file cannot be written.
    """
    kept = _own()
    if not kept:
        raise UsageError("There is no preset of your own to export.")
    _write(Path(path), kept)
    return list(kept)


def own_file() -> Path:
    """Where a person's own presets are, or would be."""
    return configuration_folder() / "presets.json"


def read_presets(path: str | Path) -> dict[str, Preset]:
    """The presets in a file of the form that is described above, checked.

    Args:
        path: the file.

    Raises:
        UsageError: the file cannot be read, or what it holds cannot be used.
    """
    path = Path(path)
    try:
        content = read_at_most(path, _LARGEST_FILE)
        if len(content) > _LARGEST_FILE:
            raise UsageError("The presets in {name} are larger than 1 MB, so they cannot be a list of prompts.", name=path.name)
        data = json.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("The presets in {path} cannot be read: correct the file as JSON, or move it away.", path=path) from error
    if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
        raise UsageError("The presets in {path} are not a JSON object of name and preset: correct the file, or move it away.", path=path)
    try:
        return {name: _checked(_parsed(name, entry)) for name, entry in data.items()}
    except UsageError as error:
        raise UsageError(
            "The presets in {path} cannot be used: {lower}{error}", path=path, lower=str(error)[:1].lower(), error=str(error)[1:]
        ) from error


@cache
def _built_in() -> dict[str, Preset]:
    return {name: _parsed(name, entry, False) for name, entry in json.loads(_FILE.read_text(encoding="utf-8")).items()}


def _own() -> dict[str, Preset]:
    path = own_file()
    return read_presets(path) if path.exists() else {}


def _write(path: Path, kept: dict[str, Preset]) -> Path:
    entries = {
        name: {key: value for key, value in asdict(preset).items() if key not in ("name", "is_own")} for name, preset in kept.items()
    }
    try:
        write_atomically(path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError("The presets cannot be kept in {path}: make its folder writable.", path=path) from error
    return path


def _parsed(name: str, entry: dict, is_own: bool = True) -> Preset:
    prompts = entry.get("prompts")
    if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
        raise UsageError("The prompts of the preset {name!r} have to be a list of texts.", name=name[:60])
    texts = [entry.get(key, "") for key in ("title", "model", "modality")]
    if not all(isinstance(text, str) and len(text) <= 300 for text in texts):
        raise UsageError("The title, model and modality of the preset {name!r} have to be short texts.", name=name[:60])
    return Preset(name, tuple(prompts), texts[0], texts[1], texts[2], is_own)


def _checked(preset: Preset) -> Preset:
    """An own preset as it is kept: prompts apart and trimmed."""
    if not _NAME.fullmatch(preset.name):
        raise UsageError("A preset's name is one word of letters, digits, dots, plus and minus signs, of at most 60 characters.")
    if preset.name.casefold() in _built_in():
        raise UsageError("The preset {name} comes with the program; give yours another name.", name=preset.name)
    if len(preset.prompts) > MOST_PROMPTS:
        raise UsageError("The preset {name} has more than {most_prompts} prompts.", name=preset.name, most_prompts=MOST_PROMPTS)
    return Preset(preset.name, tuple(parse_prompts(preset.prompts)), preset.title, preset.model, preset.modality, True)
