"""Brings the translations of the panel up to date with the source: `python3 scripts/update_translations.py`.

It collects every text that Slicer may show, lets Qt's lupdate merge them into MedImageParse_*.ts (what is translated stays, what is gone
goes), and lets lrelease make the .qm files that Slicer loads. Both tools come with PySide6. Texts come from three places:

* `_("…")` in the module, in the panels and in the effect. Their context is what Slicer computes: "package.file".
* .ui files. Their context is the form's class.
* Sentences of the packages below: errors, warnings, labels of options. They are found by their shape and stand in the context
  "MedImageParseLib", because whoever shows an error does not know in which file it was raised.

Slicer's own Utilities/Scripts/update_translations.py does the same for `_()` and .ui; it knows no templates.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "MedImageParseExtension"
MODULE = EXTENSION / "MedImageParse"
LIBRARY = MODULE / "MedImageParseLib"
FOLDER = MODULE / "Resources" / "Translations"
CONTEXT = "MedImageParseLib"
LANGUAGES = ("it",)
_MOST_SHOWN = 40

_SHOWN_BY = ("panels",)  # what these import, directly or not, may speak to the person
_BY_NAME = ("tasks.segment_slices", "tasks.segment_volume", "wire.medimageparse3d")  # imported by the name that models.py gives
_NOT_SHOWN = ("api.index_cases", "cohort.manifest")  # working folders of many cases, which only the command line and scripts make
_RAISED = (
    "Error",
    "Fault",
    "Cancelled",
    "PartlyDone",
    "Dropped",
    "NotSent",
    "WrongAddress",
    "EngineLoading",
    "DamagedFile",
    "BadRequest",
    "NotOffered",
)
_SQL = re.compile(r"(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|PRAGMA) ")
_OPTIONS_SHOWN = ("deploy.py",)  # files whose options a panel explains with `about`
_SPEAKING = ("Sentence", "sentence", "shown")


@dataclass(frozen=True, order=True)
class Source:
    """A text to translate. Attributes: context: of Qt. text: English. comment: for the translator."""

    context: str
    text: str
    comment: str = ""


def context_of(path: Path) -> str:
    """The context that Slicer's `tr` computes for a file: its name, after its folder's where that is a package."""
    return f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").is_file() else path.stem


def faces() -> list[Path]:
    """The files that talk to Qt: the module, the effect, the panels."""
    return sorted(
        [MODULE / "MedImageParse.py", *(EXTENSION / "SegmentEditorMedImageParse").rglob("*.py"), *(LIBRARY / "panels").glob("*.py")]
    )


def forms() -> list[Path]:
    """The .ui files."""
    return sorted(EXTENSION.rglob("*.ui"))


def shown_files() -> list[Path]:
    """The files below the panels that run in Slicer: all that the panels import, and what those import."""
    files = {_module(path): path for path in LIBRARY.rglob("*.py")}
    found: set[Path] = set()
    waiting = [path for name, path in files.items() if path.parent.name in _SHOWN_BY or ".".join(name) in _BY_NAME]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [files[name] for name in _imports(path) if name in files and ".".join(name) not in _NOT_SHOWN]
    return sorted(path for path in found if path.parent.name not in _SHOWN_BY)


def _module(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _imports(path: Path) -> Iterator[tuple[str, ...]]:
    folder = path.relative_to(LIBRARY).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            whole = (*folder[: len(folder) - node.level + 1], *(node.module.split(".") if node.module else ()))
            yield whole
            yield from ((*whole, each.name) for each in node.names)


# --- what is written in Python -----------------------------------------------------------------------------------------


def marked_texts(path: Path) -> list[str]:
    """What stands in `_("…")`."""
    return [
        node.args[0].value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_" and isinstance(node.args[0], ast.Constant)
    ]


def library_texts(path: Path) -> list[str]:
    """The sentences of a file below the panels."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed_over = set(_not_shown(tree))
    spoken = set(_spoken(tree))
    if path.name in _OPTIONS_SHOWN:
        spoken |= {word.value for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords if word.arg == "help"}
    wholly = {node.args[0] for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Sentence"}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or node in passed_over:
            continue
        if is_sentence(node.value) or (node in spoken and is_phrase(node.value)) or (node in wholly and re.search("[a-z]{2}", node.value)):
            found.append(node.value)
    return found


def is_sentence(text: str) -> bool:
    """Whether a text looks like something to be read: words that begin with a capital letter and end as a sentence does."""
    return bool(re.match(r"[A-Z{“\"']", text)) and is_phrase(text) and text[-1] in ".?!:" and not _SQL.match(text)


def is_phrase(text: str) -> bool:
    """Whether a text holds words at all, beside its placeholders."""
    return " " in text.strip() and bool(re.search(r"[a-z]{2}", re.sub(r"\{[^}]*\}", "", text)))


def _not_shown(tree: ast.AST) -> Iterator[ast.AST]:
    """Docstrings, parts of f-strings, and what goes to the log."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
        elif isinstance(node, ast.JoinedStr) or _is_log(node):
            yield from ast.walk(node)


def _is_log(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in ("_log", "logging", "re")


def _spoken(tree: ast.Module) -> Iterator[ast.AST]:
    """Constants that are a template: what an error or a Sentence begins with, named constants among them."""
    named: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and node.args
            and _speaks(node.func)
            and not (len(node.args) > 1 and "entence" in ast.unparse(node.func))
        ):
            for part in [node.args[0]] + [value for value in ast.walk(node.args[0]) if isinstance(value, ast.IfExp)]:
                yield from _constants(part, named)


def _speaks(function: ast.expr) -> bool:
    name = ast.unparse(function).split(".")[-1]
    return name.endswith(_RAISED) or name in _SPEAKING


def _constants(node: ast.AST, named: dict[str, list[ast.AST]]) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant):
        yield node
    elif isinstance(node, ast.IfExp):
        yield from _constants(node.body, named)
        yield from _constants(node.orelse, named)
    elif isinstance(node, ast.Name):
        for value in named.get(node.id, ()):
            if isinstance(value, (ast.Constant, ast.IfExp)):
                yield from _constants(value, {})


def python_sources() -> list[Source]:
    """All texts of Python files, each once in its context."""
    found = [Source(context_of(path), text) for path in faces() for text in marked_texts(path)]
    found += [Source(CONTEXT, text) for path in shown_files() for text in library_texts(path)]
    presets = json.loads((LIBRARY / "prompts" / "presets.json").read_text(encoding="utf-8"))
    found += [Source(CONTEXT, each["title"]) for each in presets.values()]
    return sorted(set(found))


# --- what is not translatable ------------------------------------------------------------------------------------------

# Sentences of these files are written into files or pictures, or are for a person who programs; (file, how the sentence begins).
_FOR_OTHERS = {
    ("api/adapters.py", "{} images of {}"),
    ("api/embed.py", ""),
    ("engines/hosting.py", ""),
    ("files/picture.py", ""),
    ("logic/saving.py", "Protocol {}"),
    ("renamed.py", ""),
    ("search/labels.py", "{} WHERE"),
}
# Names and keys that look like words for a person.
_NAMES = {
    "The MedImageParse for 3D Slicer authors", "lungs & unicorn", "Local demo", "MedImageParse 3D", "MedImageInsight (ONNX)",
    "Look at Azure", "Make an endpoint", "List endpoints", "Delete an endpoint", "Find endpoints", "Make a profile", "Load sample",  # jobs
    "Text prompt",  # the effect's key
}  # fmt: skip
_SHOWING = re.compile(
    r"(set(Text|ToolTip|Title|WindowTitle|PlaceholderText|AccessibleName|StatusTip|WhatsThis|Suffix|Prefix|HeaderLabels|"
    r"HorizontalHeaderLabels|Plain|Tip)|showSentence|showRich|_?say|addItems?|addAction|addTab|QLabel|QPushButton|QAction|QCheckBox|"
    r"QGroupBox|\w*Display)"
)


def plain_sentences() -> list[str]:
    """What a person would read in English only, as "file:line: text"."""
    found = [each for path in faces() for each in _plain_in_a_face(path)]
    return found + [each for path in shown_files() for each in _plain_below(path)]


def _plain_in_a_face(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed_over = {node for node in _not_shown(tree) if not isinstance(node, ast.JoinedStr)} | {
        key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            passed_over |= set(ast.walk(node))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            if name in ("_", "connect", "AttributeError", "translate"):
                passed_over |= set(ast.walk(node))
            elif _SHOWING.fullmatch(name):
                yield from (
                    _found(path, part)
                    for part in node.args
                    if part not in passed_over and re.search("[A-Za-z]{2}", _literal_part(part)) and not _is_markup(_literal_part(part))
                )
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node not in passed_over:
            text = _literal_part(node)
            if re.search(r"[A-Za-z]{2,} [a-z&]", text) and text not in _NAMES and not _is_markup(text):
                yield _found(path, node)


def _is_markup(text: str) -> bool:
    return text.lstrip().startswith("<")


def _plain_below(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(LIBRARY).as_posix()
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if part is not node}
    to_log = {part for node in ast.walk(tree) if _is_log(node) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node not in inside and node not in to_log:
            text = _literal_part(node)
            if is_sentence(text) and not any(file == name and text.startswith(start) for file, start in _FOR_OTHERS):
                yield _found(path, node)
    for node in _parameters(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and is_phrase(_literal_part(node)) and _literal_part(node) not in _NAMES:
            yield _found(path, node)


def _parameters(tree: ast.AST) -> Iterator[ast.AST]:
    """Texts that are put into an error or a Sentence, and are none themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _speaks(node.func):
            waiting = [word.value for word in node.keywords if word.arg not in ("code", "cause")]
            while waiting:
                value = waiting.pop()
                if isinstance(value, ast.IfExp):
                    waiting += [value.body, value.orelse]
                elif isinstance(value, ast.BoolOp):
                    waiting += value.values
                else:
                    yield value


def _literal_part(node: ast.AST) -> str:
    """What a text holds beside its parameters, which are {}."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return ""


def _found(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(EXTENSION).as_posix()}:{node.lineno}: {_literal_part(node)}"


# --- Qt's tools --------------------------------------------------------------------------------------------------------


def translation_file(language: str) -> Path:
    """The .ts file of a language."""
    return FOLDER / f"MedImageParse_{language}.ts"


def update(path: Path) -> None:
    """Bring a .ts file up to date.

    Args:
        path: the file, made where it is not there yet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.h"
        lines = []
        for each in python_sources():
            lines += [f"//: {each.comment}"] if each.comment else []
            lines.append(f"QT_TRANSLATE_NOOP({_literal(each.context)}, {_literal(each.text)})")
        texts.write_text("\n".join(lines) + "\n", encoding="utf-8")
        options = [
            "-silent",
            "-no-obsolete",
            "-locations",
            "none",
            "-sort-messages",
            "-disable-heuristic",
            "similartext",
            "-source-language",
            "en_US",
        ]
        _tool("lupdate", *options, str(texts), *map(str, forms()), "-ts", str(path))


def release(path: Path) -> Path:
    """Make the .qm file that Slicer loads. Returns its path.

    Args:
        path: of the .ts file.
    """
    made = path.with_suffix(".qm")
    _tool("lrelease", "-silent", str(path), "-qm", str(made))
    return made


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def _tool(name: str, *arguments: str) -> None:
    try:
        import PySide6
    except ImportError:
        sys.exit(f"{name} comes with PySide6, which is not installed: pip install PySide6-Essentials.")
    program = Path(PySide6.__file__).parent / name
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr or done.stdout}")


# --- what translators get and give -------------------------------------------------------------------------------------


def messages(path: Path) -> Iterator[tuple[str, ElementTree.Element]]:
    """(context, message) of each entry of a .ts file that is not obsolete."""
    for context in ElementTree.parse(path).getroot().iter("context"):
        for message in context.iter("message"):
            translation = message.find("translation")
            if translation is not None and translation.get("type") not in ("obsolete", "vanished"):
                yield context.findtext("name", ""), message


def unfinished(path: Path) -> list[dict[str, str]]:
    """What is still to be translated: context, source and comment of each entry."""
    return [
        {
            "context": context,
            "source": message.findtext("source", ""),
            "comment": message.findtext("extracomment", "") or message.findtext("comment", ""),
        }
        for context, message in messages(path)
        if message.find("translation").get("type") == "unfinished"
    ]


def fill(path: Path, entries: Iterable[dict[str, str]]) -> int:
    """Put translations into a .ts file. Returns how many found their source.

    Args:
        path: of the .ts file.
        entries: context, source and translation of each.
    """
    wanted = {(each["context"], each["source"]): each["translation"] for each in entries if each.get("translation")}
    tree = ElementTree.parse(path)
    filled = 0
    for context in tree.getroot().iter("context"):
        for message in context.iter("message"):
            key = (context.findtext("name", ""), message.findtext("source", ""))
            translation = message.find("translation")
            if key in wanted and translation is not None and translation.get("type") not in ("obsolete", "vanished"):
                translation.text = wanted[key]
                translation.attrib.pop("type", None)
                filled += 1
    text = ElementTree.tostring(tree.getroot(), encoding="unicode")
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n{text}\n', encoding="utf-8", newline="\n")
    return filled


_TOKENS = (
    ("parameters", r"\{[^{}]*\}"),
    ("percent signs", r"%\w?"),
    ("tags", r"</?\w+[^<>]*>"),
    ("line ends", r"\n"),
    ("shortcuts", r"(?<!&)&(?![&\s]|\w+;)"),
    ("commands", r"`[^`]*`"),
    ("options", r"(?<![\w-])--[a-z][a-z-]*"),
)


def faults_of(source: str, translation: str) -> list[str]:
    """In what a translation is not like its source.

    Args:
        source: English.
        translation: of it.
    """
    faults = [
        f"other {what}" for what, pattern in _TOKENS if sorted(re.findall(pattern, source)) != sorted(re.findall(pattern, translation))
    ]
    if what := [side for side, blank in (("beginning", r"^\s*"), ("end", r"\s*$")) if _match(blank, source) != _match(blank, translation)]:
        faults.append(f"other blanks at the {' and the '.join(what)}")
    if _match(r"[.:?!…]?\s*$", source).strip() != _match(r"[.:?!…]?\s*$", translation).strip():
        faults.append("ends with another sign")
    return faults


def _match(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[0] if found else ""


def malformed(path: Path) -> list[str]:
    """Every entry of a .ts file that is missing, unfinished or not like its source, as "context: source: why".

    Args:
        path: of the .ts file.
    """
    found = []
    for context, message in messages(path):
        source, translation = message.findtext("source", ""), message.find("translation")
        assert translation is not None
        unfinished = translation.get("type") == "unfinished" or not translation.text
        why = ["not translated"] if unfinished else faults_of(source, translation.text or "")
        found += [f"{context}: {source!r}: {', '.join(why)}"] if why else []
    return found


def main(arguments: list[str] | None = None) -> int:
    """Update every language, fill in what is given, make the .qm files. Returns 0, or 1 where something is left to do."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument(
        "--fill", nargs="+", metavar="FILE.json", default=[], help="translations: a list of objects with context, source, translation"
    )
    parser.add_argument("--unfinished", metavar="FILE.json", help="write what is still to be translated, as a list of the same form")
    parser.add_argument("--language", default="it", choices=LANGUAGES, help="whose translations these are (default: it)")
    chosen = parser.parse_args(arguments)
    for language in LANGUAGES:
        path = translation_file(language)
        update(path)
        if language == chosen.language:
            entries = [each for name in chosen.fill for each in json.loads(Path(name).read_text(encoding="utf-8"))]
            if entries:
                print(f"{fill(path, entries)} of {len(entries)} translations found their text.")
                update(path)  # lupdate writes the file as it always does
            if chosen.unfinished:
                text = json.dumps(unfinished(path), ensure_ascii=False, indent=1)
                Path(chosen.unfinished).write_text(text + "\n", encoding="utf-8")
        release(path)
        wrong = malformed(path)
        print(*wrong[:_MOST_SHOWN], sep="\n", end="\n" if wrong else "")
        print(f"{path.name}: {len(list(messages(path)))} texts, {len(wrong)} of them not translated or not well formed.")
    plain = plain_sentences()
    print(*plain, sep="\n", end="\n" if plain else "")
    print(f"{len(plain)} texts cannot be translated.")
    return int(bool(plain or wrong))


if __name__ == "__main__":
    sys.exit(main())
