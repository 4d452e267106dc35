"""`medimageparse targets`: what can be asked for, with codes."""

from __future__ import annotations

import argparse
import json

from ..api.segment import MODELS
from ..api.targets import targets


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("targets", help="what can be asked for, with codes")
    parser.set_defaults(run=run)
    parser.add_argument("--modality", default="", metavar="M", help="only those recommended for it: CT, MR, US, X-ray, …")
    parser.add_argument("--model", default="", choices=("", *MODELS), metavar="MODEL", help=f"only those of {' or '.join(MODELS)}")
    parser.add_argument("--json", action="store_true", help="everything that is known of each, machine-readable")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    found = targets(arguments.modality, arguments.model)
    if arguments.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    for target in found:
        code = target["terminology"].get("type", {})
        print("\t".join([target["name"], ", ".join(target["modalities"]), f"{code.get('scheme', '')} {code.get('value', '')}".strip()]))
    return 0
