"""The engines that a person has added: what each is, where its Python is, what it was given, and which terms were shown.

One folder an engine, `.engines/NAME/` of a checkout, `engines/NAME/` in the person's own settings elsewhere, or in the folder that
MEDIMAGEPARSE_ENGINES_DIR names: engine.json, and `env/`, the engine's environment. Nothing of it is ever Slicer's own Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..configuration import configuration_folder, write_atomically
from ..errors import UsageError
from ..progress import Cancellation, Progress, no_progress
from ..remedies import Sentence
from ..transport.about import HOUNSFIELD
from . import default_engine
from .hosting import Host, OwnProcess
from .interface import Engine
from .named import DEFAULT, OURS, absolute, engine_class, is_file
from .packages import make_environment, take_out

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_RECORD = "engine.json"
_PIECE = 1 << 22


@dataclass(slots=True)
class Added:
    """An engine that was added.

    Attributes:
        name: as in `serve --engine NAME`.
        engine: one of named.OURS, or FILE.py:Class.
        python: of its environment; "" for the one that runs this package.
        options: what it was given: paths, and its own options.
        weights: fingerprint of its weights, "" where there are none.
        title, version, licence, finds, wants: as the class says.
        models: names of the models that it answers as.
        requirements: what was installed.
        terms_accepted: when its terms were shown and accepted, ISO 8601, "" where it has none.
        added: when.
    """

    name: str
    engine: str
    python: str = ""
    options: dict[str, str] = field(default_factory=dict)
    weights: str = ""
    title: str = ""
    version: str = ""
    licence: str = ""
    finds: str = ""
    wants: str = ""
    models: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    terms_accepted: str = ""
    added: str = ""

    @property
    def takes_hounsfield(self) -> bool:
        """Whether a CT must be sent to it as it is. Records of earlier versions do not say so; its class does."""
        wants = self.wants or (engine_class(self.engine).wants if self.engine in OURS else "")
        return wants == HOUNSFIELD

    @staticmethod
    def read(path: Path) -> Added:
        """An engine's record. Raises UsageError where it cannot be read."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return Added(**{name: value for name, value in values.items() if name in Added.__dataclass_fields__})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UsageError(
                "The record of the engine {name} is damaged: remove the engine, and add it again.", name=path.parent.name
            ) from error


def engines_folder() -> Path:
    """Where engines are kept; it need not exist yet."""
    named = os.environ.get("MEDIMAGEPARSE_ENGINES_DIR", "").strip()
    if named:
        return Path(named).expanduser()
    checkout = Path(__file__).resolve().parents[4]
    if (checkout / "pyproject.toml").is_file() and (checkout / "MedImageParseExtension").is_dir():
        return checkout / ".engines"
    return configuration_folder() / "engines"


def added_engines() -> list[Added]:
    """The engines that were added, by name; one whose record is damaged is listed by its name alone."""
    found = []
    for record in sorted(engines_folder().glob(f"*/{_RECORD}")):
        try:
            found.append(Added.read(record))
        except UsageError:
            found.append(Added(record.parent.name, "", title="damaged: remove it, and add it again"))
    return found


def find_engine(which: str = "", *, patience_s: float | None = None, on_change: Callable[[str], object] | None = None) -> Host:
    """An engine to ask; it is not started yet.

    Args:
        which: "" or "classical" for the demo engine, the name of one that was added, or FILE.py:Class.
        patience_s: how long a request waits while it is loading; None for what is usual.
        on_change: called with a sentence when its state changes.

    Raises:
        UsageError: there is none of that name, or what it was given is gone.
    """
    more: dict[str, Any] = {} if patience_s is None else {"patience_s": patience_s}
    if on_change is not None:
        more["on_change"] = on_change
    if which in ("", DEFAULT):
        return default_engine()
    if is_file(which):
        return OwnProcess(absolute(which), Path(which.partition(".py")[0]).name, **more)
    if not _NAME.fullmatch(which) or not (engines_folder() / which / _RECORD).is_file():
        raise UsageError(_how_to_get(which))
    added = Added.read(engines_folder() / which / _RECORD)
    for option, value in added.options.items():
        if os.path.isabs(value) and not os.path.exists(value):
            raise UsageError(
                "What the engine {which} was given for --{option} is not there any more: put it back, or add the engine again.",
                which=which,
                option=option,
            )
    return OwnProcess(added.engine, added.name, python=added.python, options=added.options, weights=added.weights, **more)


def _how_to_get(which: str) -> str:
    if which in OURS:
        needs = " ".join(f"--{name} {need.kind.upper()}" for name, need in engine_class(which).needs.items() if need.is_required)
        return Sentence(
            "The engine {which} is not added yet: run `engine add {listed}`.", which=which, listed=" ".join(filter(None, (which, needs)))
        )
    there = [DEFAULT, *(each.name for each in added_engines())]
    return Sentence(
        "There is no engine of that name: give {listed}, or FILE.py:Class; `engine list` shows what can be added.", listed=", ".join(there)
    )


def add_engine(
    which: str,
    *,
    name: str = "",
    options: Mapping[str, str] | None = None,
    python: str = "",
    accept_terms: bool = False,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> Added:
    """Add an engine: an environment of its own is made, and what it was given is looked at and remembered.

    Args:
        which: one of named.OURS, or FILE.py:Class (the file is run once here, to see what it needs).
        name: what to call it; "" for its own name.
        options: what it needs, by name.
        python: an environment's Python that has everything already; "" makes an environment with the pinned packages.
        accept_terms: the person has read and accepted its terms, where it has some.
        progress: told what is going on.
        cancellation: stops it; nothing is left behind.

    Raises:
        UsageError: the name is taken, something is missing, or its terms were not accepted; nothing was done.
        MedImageParseError: the environment could not be made; nothing is left of it.
    """
    cancellation = cancellation or Cancellation()
    kind = engine_class(absolute(which))
    name = (name or kind.name).lower()
    if not _NAME.fullmatch(name) or name == DEFAULT:
        raise UsageError(
            "'{name}' cannot be the name of an engine that is added: use small letters, digits and dashes (--name).", name=name
        )
    folder = engines_folder() / name
    if (folder / _RECORD).exists():
        raise UsageError("The engine {name} is added already: remove it first, or give another name (--name).", name=name)
    given = _checked_options(kind, name, dict(options or {}))
    if python and not Path(python).is_file():
        raise UsageError("There is no such Python: give the path of an environment's python to --python.")
    if kind.terms and not accept_terms:
        raise UsageError(
            "{rstrip}: add the engine with --accept-licence once you have read and accepted that.", rstrip=kind.terms.rstrip(".")
        )
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    try:
        for option, carried in kind.carried.items():
            if option not in given:
                given[option] = str(take_out(carried, folder, progress, cancellation))
        weights = _fingerprint_of_all(kind, given, progress, cancellation)
        environment = python or (make_environment(folder / "env", kind.requirements, progress, cancellation) if kind.requirements else "")
        added = Added(
            name, absolute(which), environment, given, weights, kind.title or name, kind.version, kind.licence, kind.finds,
            kind.wants, list(kind.models), [] if python else list(kind.requirements), now if kind.terms else "", now,
        )  # fmt: skip
        write_atomically(folder / _RECORD, json.dumps(asdict(added), indent=2) + "\n")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(
            "The engine {name} cannot be written ({strerror}): look at the folder of the engines.", name=name, strerror=error.strerror
        ) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return added


def remove_engine(name: str) -> None:
    """Forget an engine and its environment. What the person brought (checkout, weights) is not touched.

    Raises:
        UsageError: there is none of that name.
    """
    folder = engines_folder() / name
    if not _NAME.fullmatch(name) or not (folder / _RECORD).is_file():
        raise UsageError("There is no engine of that name among those that were added: `engine list` shows them.")
    shutil.rmtree(folder, ignore_errors=True)
    if (folder / _RECORD).exists():
        raise UsageError("The engine {name} is in use: stop its server, then remove it.", name=name)


def _checked_options(kind: type[Engine], name: str, given: dict[str, str]) -> dict[str, str]:
    """What was given for what is needed, with absolute paths. Raises UsageError."""
    unknown = [option for option in given if option not in kind.needs]
    if unknown:
        takes = ", ".join(kind.needs) or "none"
        raise UsageError("The engine {name} has no option '{unknown}': it takes {takes}.", name=name, unknown=unknown[0], takes=takes)
    for option, need in kind.needs.items():
        if option not in given:
            if need.is_required:
                raise UsageError(
                    "The engine {name} needs --{option} {upper}: {help}.", name=name, option=option, upper=need.kind.upper(), help=need.help
                )
            continue
        if need.kind == "value":
            continue
        path = Path(given[option]).expanduser()
        if not (path.is_dir() if need.kind == "folder" else path.is_file()):
            raise UsageError("There is no such {kind} for --{option}: {help}.", kind=need.kind, option=option, help=need.help)
        given[option] = str(path.resolve())
    return given


def _fingerprint_of_all(kind: type[Engine], given: Mapping[str, str], progress: Progress, cancellation: Cancellation) -> str:
    paths = [Path(given[option]) for option, need in kind.needs.items() if need.is_weights and option in given]
    return fingerprint(paths, progress, cancellation) if paths else ""


def fingerprint(paths: list[Path], progress: Progress = no_progress, cancellation: Cancellation | None = None) -> str:
    """The first twelve digits of the SHA-256 of files; of a folder, of all files in it by name.

    Args:
        paths: files and folders.
        progress: told the bytes that are done.
        cancellation: stops it.
    """
    files = [file for path in paths for file in (sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path])]
    total, done = sum(file.stat().st_size for file in files), 0
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                done += len(piece)
                progress("reading the weights", done, total)
                if cancellation is not None:
                    cancellation.check()
    return digest.hexdigest()[:12]
