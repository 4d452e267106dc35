"""`medimageparse completion SHELL`: a script that lets a shell complete commands, options, choices and file names.

It is made from the commands themselves by shtab, once; completing does not start Python.
"""

from __future__ import annotations

import argparse

from ..packages import require
from ..program import INSTALLED

SHELLS = ("bash", "zsh", "tcsh", "fish")
_FILES = ("INPUT", "IMAGE", "FILE", "OUT", "INDEX", "REF", "PRED", "PATH")
_FOLDERS = ("DIR", "FOLDER")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("completion", help="print a completion script for a shell")
    parser.set_defaults(run=run)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    require("shtab", "making a completion script")
    import shtab

    from .main import build_parser

    parser = build_parser(INSTALLED)
    _complete_files(parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(parser, shell=arguments.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser, files: object, folders: object) -> None:
    """Mark the options that take paths, in the parser and in those of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command, files, folders)
        named = str(action.metavar or "").upper()
        if named.startswith(_FOLDERS):
            vars(action)["complete"] = folders
        elif named.startswith(_FILES):
            vars(action)["complete"] = files
