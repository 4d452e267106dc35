"""`--json` of every command that prints a result: one JSON value on standard output in place of the lines for people."""

from __future__ import annotations

import argparse
import io
import json
from contextlib import redirect_stdout
from typing import Any

from ..errors import MedImageParseError

# They print no result: a server's sentences, a script for a shell, a walk through the demo.
WITHOUT_RESULT = ("serve", "completion", "mcp", "try-it")


def add_debug_and_json(parser: argparse.ArgumentParser, has_result: bool) -> None:
    """Give `--debug`, and `--json` where a result is printed, to a command, or to each of its parts; one that has its own keeps it."""
    parts = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in parts:
        for part in action.choices.values():
            add_debug_and_json(part, has_result)
    if not parts:
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if has_result and "--json" not in parser._option_string_actions:
            parser.add_argument("--json", dest="as_json", action="store_true", help="print the result as one JSON value")


def answered(arguments: argparse.Namespace, value: Any) -> None:
    """Keep what a command found, for `--json`.

    Args:
        arguments: the command's options.
        value: plain JSON types.
    """
    arguments.answer = value


def run_command(arguments: argparse.Namespace) -> int:
    """Run a command; with `--json` its answer is printed in place of its lines, and an error is part of it.

    Args:
        arguments: the command's options, with its `run`.

    Returns:
        the exit status.

    Raises:
        MedImageParseError as the command does.
    """
    if not getattr(arguments, "as_json", False):
        return arguments.run(arguments)
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            status = arguments.run(arguments)
    except MedImageParseError as error:
        known = getattr(arguments, "answer", None)
        fault = {"error": str(error), "kind": error.kind, "code": error.code, "exit_status": error.exit_status}
        _print((known if isinstance(known, dict) else {}) | fault)
        raise
    _print(getattr(arguments, "answer", {"lines": said.getvalue().splitlines()}))
    return status


def _print(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
