"""Writes the parts of docs/ that follow from the program: `python3 scripts/make_docs.py [--check]`.

The targets by modality come from the catalogue, the names of the Python API from the package, the options from the command line's parser, the sentences of the troubleshooting page from
Resources/fault_table.md (which scripts/fault_table.py makes). Each part stands between two comments in its page; the rest of a page is
written by hand. With --check nothing is written, and the exit status says whether everything is current.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "MedImageParseExtension" / "MedImageParse")]

import environment

_BEGIN, _END = "<!-- made by scripts/make_docs.py: {name} -->", "<!-- end of {name} -->"
MODALITIES = {
    "CT": "CT", "MR": "MRI", "PT": "PET", "US": "Ultrasound", "DX": "X-ray", "SM": "Pathology", "ES": "Endoscopy", "DMS": "Dermoscopy",
    "OP": "Fundus photography", "OPT": "Optical coherence tomography", "GM": "Microscopy (electron, light sheet)",
}  # fmt: skip


def targets_by_modality() -> str:
    """A table a modality: the targets that the model cards recommend, with their codes."""
    from MedImageParseLib import targets

    parts = []
    for code, title in MODALITIES.items():
        found = targets(code)
        parts += [f"## {title}", f"{len(found)} targets.", "", "| target | also called | code |", "|---|---|---|"]
        for each in found:
            kind = each["terminology"].get("type", {})
            called = ", ".join(each["aliases"][:4])
            parts.append(
                f"| {each['name']} | {_cell(called)} | {_cell(' '.join((kind.get('scheme', ''), kind.get('value', ''))).strip())} |"
            )
        parts.append("")
    return "\n".join(parts).rstrip()


def options() -> str:
    """A section a command, from the parser."""
    from MedImageParseLib.cli.main import build_parser

    parts: list[str] = []
    for name, parser in _commands(build_parser("medimageparse"), ""):
        parts += [f"## {name}", ""]
        if parser.description:
            parts += [_cell(parser.description), ""]
        rows = [row for action in parser._actions if (row := _option(action))]
        parts += ["| option | meaning |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(parts).rstrip()


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if name and not inner:
        yield name, parser
    for action in inner:
        for word, each in action.choices.items():
            yield from _commands(each, f"{name} {word}".strip())


def _option(action: argparse.Action) -> str:
    if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)) or action.help == argparse.SUPPRESS:
        return ""
    value = action.metavar or (" / ".join(map(str, action.choices)) if action.choices else action.dest.upper())
    value = " ".join(value) if isinstance(value, tuple) else str(value)
    word = f"{', '.join(action.option_strings)} {value if action.nargs != 0 else ''}".strip() if action.option_strings else value
    return f"| `{_cell(word)}` | {_cell((action.help or '') % _help_values(action))} |"


def _help_values(action: argparse.Action) -> dict[str, object]:
    return {"default": action.default, "prog": "medimageparse", "choices": action.choices}


# What the fault table calls in a developer's words.
_PLAIN = {
    "refused": "nothing runs at the address", "name does not resolve": "the name is not known", "hang before the headers": "no answer",
    "hang in the body": "the answer stops midway", "upload not taken": "the upload is not accepted", "reset in the upload": "the upload breaks off",
    "reset in the reply": "the answer breaks off", "closed without a reply": "the connection is closed without an answer",
    "truncated JSON": "the answer is cut off", "HTML": "a web page instead of an answer", "empty reply": "an empty answer",
    "https to a plain port": "https, where the server speaks http", "http to a TLS port": "http, where the server speaks https",
    "proxy asks for a sign-in": "the proxy asks for a sign-in", "proxy forbids": "the proxy forbids the connection",
    "body over the limit": "the request is too large", "redirect to another host": "the endpoint sends the request elsewhere",
}  # fmt: skip


def faults() -> str:
    """What goes wrong and what a person reads, without ports and ids; what reads the same is listed once."""
    rows: dict[str, str] = {}
    for line in (ROOT / "Resources" / "fault_table.md").read_text(encoding="utf-8").splitlines()[2:]:
        fault, reads, *_rest = (cell.strip() for cell in line.strip("|").split(" | "))
        if reads.startswith("error: "):
            rows.setdefault(without_ids(reads.removeprefix("error: ")), _PLAIN.get(fault, fault))
    return "\n".join(
        ["| what happens | what you read |", "|---|---|", *(f"| {_cell(fault)} | {_cell(reads)} |" for reads, fault in rows.items())]
    )


def without_ids(sentence: str) -> str:
    """A sentence of the fault table as it concerns every endpoint: no port, request id, seconds or dates of the run that made it.

    Args:
        sentence: what `segment` said on stderr.
    """
    for pattern, words in (
        (r"; request id [0-9a-f-]{36}|\(request id [0-9a-f-]{36}\)|request id [0-9a-f-]{36}", ""),
        (r"\(tried \d+ times in [^)]*\)", ""),
        (r"The proxy (?:localhost|127\.0\.0\.1):\d+", "The proxy proxy.example:8080"),
        (r"(?<=@)(?:localhost|127\.0\.0\.1):\d+", "proxy.example:8080"),
        (r"(localhost|127\.0\.0\.1):\d+", "the endpoint"),
        (r"(endpoint\.\w+):\d+", r"\1"),
        (r" \(\d{4}-\d\d-\d\d \d\d:\d\d\)", ""),
        (r"(after )?under 0\.1 s", r"\1… s"),
        (r"\b0\.6 s", "… s"),
        (r"“(?:scripted|model container said no)”", "“the endpoint's own words”"),
        (r"“Testing CA #\S+ \(([^)]*)\)”", r"“\1”"),
        (r" \(Testing cert #[^)]*\)\)", ""),
        (r" after \d+ of [\d,]+ bytes", ""),
        (r"after \d+ bytes \(it ends in “.*?”\)", "after some bytes"),
        (r", more than the \d+ s left for waiting", ", more than there is time for"),
    ):
        sentence = re.sub(pattern, words, sentence)
    sentence = re.sub(r"\s+([.:;,])", r"\1", sentence.replace("()", "")).strip()
    return sentence[:1].upper() + sentence[1:]


_TITLES = {
    "api.segment": "Segment", "api.embed": "Image search", "api.compare": "Compare", "api.labels": "Labels of an index", "api.targets": "Targets",
    "api.evaluate": "Evaluate", "api.batch": "Many cases", "api.presets": "Presets", "imaging.volume": "Images in memory", "errors": "Errors",
}  # fmt: skip


def report() -> str:
    """The common keys of a report, from the attributes that its docstring names."""
    from MedImageParseLib.tasks.run import Report

    words = dict(re.findall(r"^        (\w+): (.*)$", Report.__doc__ or "", flags=re.MULTILINE))
    del words["details"]
    return "\n".join(["| key | what |", "|---|---|", *(f"| `{name}` | {_cell(meaning)} |" for name, meaning in words.items())])


_AZURE = ("sign_in_to_azure", "Azure", "reminders")


def api() -> str:
    """Every name that `from MedImageParseLib import …` gives, by the file that has it; mkdocstrings puts the docstrings there."""
    import MedImageParseLib
    from MedImageParseLib.api import deploy

    parts = []
    for module, names in MedImageParseLib._MODULES.items():
        parts.append(f"### {_TITLES.get(module, module.rpartition('.')[2].replace('_', ' ').capitalize())}")
        for name in names:
            parts += _entry(f"MedImageParseLib.{module}.{name}", getattr(MedImageParseLib, name))
        parts.append("")
    parts.append("### Endpoints in Azure")
    for name in _AZURE:
        parts += _entry(f"MedImageParseLib.api.deploy.{name}", getattr(deploy, name))
    parts += _options_table(deploy.DeployOptions, "what `deploy` makes")
    return "\n".join(parts).rstrip()


def _entry(path: str, found: object) -> list[str]:
    """A name's place for its docstring, and a table of each options class that it takes."""
    tables = [_options_table(each) for each in getattr(found, "option_groups", {}).values()]
    return [f"::: {path}", *(line for table in tables for line in table)]


def _options_table(options: type, title: str = "each field is a keyword too") -> list[str]:
    """The fields of an options class."""
    import dataclasses

    from MedImageParseLib.options import about, default_of

    rows = [
        f"| `{each.name}` | `{default_of(options, each.name)!r}` | {_cell(about(options, each.name).help)} |"
        for each in dataclasses.fields(options)
    ]
    return ["", f"`{options.__name__}`: {title}.", "", "| option | default | meaning |", "|---|---|---|", *rows, ""]


def _cell(text: str) -> str:
    """Text for a cell of a table: no bar, no line break, no HTML."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "targets": ("targets.md", targets_by_modality),
    "options": ("options.md", options),
    "faults": ("troubleshooting.md", faults),
    "api": ("python-api.md", api),
    "report": ("report.md", report),
}


def with_part(page: str, name: str, part: str) -> str:
    """A page with one of its parts made anew.

    Args:
        page: the page's text, with the two comments in it.
        name: of the part, a key of PARTS.
        part: its new text.

    Raises:
        ValueError: the comments are missing.
    """
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    before, found, rest = page.partition(begin)
    _old, found_too, after = rest.partition(end)
    if not (found and found_too):
        raise ValueError(f"The page lacks {begin} or {end}.")
    return f"{before}{begin}\n{part}\n{end}{after}"


def main() -> int:
    """Returns 0, or 1 if --check finds a page that is not current."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what is not current")
    arguments = parser.parse_args()
    environment.ensure()
    stale = []
    for name, (page, make) in PARTS.items():
        path = DOCS / page
        old = path.read_text(encoding="utf-8")
        new = with_part(old, name, make())
        if new != old:
            stale.append(page)
            if not arguments.check:
                path.write_text(new, encoding="utf-8", newline="\n")
    print("\n".join(f"docs/{page} {'is not current' if arguments.check else 'is written'}" for page in stale) or "All pages are current.")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
