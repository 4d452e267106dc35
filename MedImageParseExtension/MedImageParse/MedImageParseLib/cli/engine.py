"""`medimageparse engine …`: models on this computer behind the local endpoint: list, add, remove, check."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..api import engines
from ..errors import EndpointError, UsageError
from ..program import command_name
from .json_answer import answered
from .options import Parser, add_part, add_quiet
from .terminal import Terminal


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("engine", help="models on this computer for `serve --engine`: list, add, remove, check")
    parts = parser.add_subparsers(title="what to do", required=True, metavar="WHAT", parser_class=Parser)
    _add(parts, "list", "the engines of this computer, and those that can be added", _list)
    add = _add(parts, "add", "add one, with an environment of its own", _add_engine)
    add.add_argument("engine", metavar="NAME|FILE.py:Class", help="one that `engine list` shows, or a class of your own")
    add.add_argument("--name", default="", help="what to call it (default: its own name)")
    add.add_argument("--repo", default="", metavar="DIR", help="your checkout of its authors' code, where it needs one")
    add.add_argument("--checkpoint", default="", metavar="FILE", help="your copy of its weights, where it needs one")
    add.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", help="another option of the engine; may be given several times"
    )
    add.add_argument(
        "--python", default="", metavar="FILE", help="Python of an environment that has its packages; nothing is installed then"
    )
    add.add_argument("--accept-licence", action="store_true", help="you have read and accepted the terms that the engine names")
    remove = _add(parts, "remove", "forget one and its environment; your checkout and weights stay", _remove)
    remove.add_argument("name", help="as `engine list` shows it")
    check = _add(parts, "check", "start one and hold it to what is demanded of every engine", _check)
    check.add_argument("engine", metavar="NAME|FILE.py:Class", help="one that was added, classical, or a class of your own")


def _add(parts: argparse._SubParsersAction, name: str, words: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    parser = add_part(parts, name, words, run, index="")
    add_quiet(parser)
    return parser


def _list(arguments: argparse.Namespace) -> int:
    rows = engines.engine_list()
    answered(arguments, rows)
    for row in rows:
        print(row["name"], row["state"], row["licence"] or "licence not said", ", ".join(row["models"]), row["finds"], sep="\t")
        for option, help in row["needs"].items():
            print(f"\t--{option}\t{help}")
    return 0


def _add_engine(arguments: argparse.Namespace) -> int:
    options = {name: value for name, value in (("repo", arguments.repo), ("checkpoint", arguments.checkpoint)) if value}
    for text in arguments.set:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError("Give each further option as OPTION=VALUE (--set seed=1).")
        options[name.strip().replace("-", "_")] = value
    terminal = Terminal(arguments.quiet)
    try:
        added = engines.engine_add(
            arguments.engine, name=arguments.name, options=options, python=arguments.python, accept_licence=arguments.accept_licence,
            progress=terminal.progress, cancellation=arguments.cancellation,
        )  # fmt: skip
    finally:
        terminal.end()
    terminal.say(
        f"note: {added.title} {added.version} is under {added.licence or 'a licence that it does not name'}; weights {added.weights or 'none'}."
    )
    terminal.say(f"note: start it with `{command_name()} serve --engine {added.name}`.")
    print(added.name)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    engines.engine_remove(arguments.name)
    print(arguments.name)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    terminal = Terminal(arguments.quiet)
    findings = engines.engine_check(
        arguments.engine,
        tell=lambda finding: print(
            f"{'ok' if finding.is_met else 'NO'}  {finding.demand}" + (f": {finding.fault}" if finding.fault else "")
        ),
        on_change=terminal.say,
    )
    sys.stdout.flush()
    missed = [finding for finding in findings if not finding.is_met]
    if missed:
        raise EndpointError(
            "The engine does not meet {count} of {count2} demands: see the lines that begin with NO.",
            count=len(missed),
            count2=len(findings),
            code="contract",
        )
    return 0
