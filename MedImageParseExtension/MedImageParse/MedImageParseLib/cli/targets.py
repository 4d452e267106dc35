"""`medimageparse targets`: what can be asked for, with codes, and the named lists of it."""

from __future__ import annotations

import argparse

from ..api.targets import presets, targets
from ..errors import UsageError
from ..models import SEGMENTING
from ..prompts.presets import Preset, add_presets, read_presets, remove_preset
from .json_answer import answered
from .options import add_quiet


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("targets", help="what can be asked for, with codes, and named lists of it")
    parser.set_defaults(run=run)
    parser.add_argument("--modality", default="", metavar="M", help="only those recommended for it: CT, MR, US, X-ray, …")
    parser.add_argument("--model", default="", choices=("", *SEGMENTING), metavar="MODEL", help=f"only those of {' or '.join(SEGMENTING)}")
    lists = parser.add_argument_group("presets: named lists of prompts, for `segment --preset NAME`")
    what = lists.add_mutually_exclusive_group()
    what.add_argument("--presets", action="store_true", help="list them")
    what.add_argument("--add-preset", default="", metavar="NAME", help="keep the prompts of --prompt (and --model) under a name")
    what.add_argument("--import-presets", default="", metavar="FILE.json", help="keep all presets of such a file")
    what.add_argument("--remove-preset", default="", metavar="NAME", help="forget one of your own")
    lists.add_argument("--prompt", action="append", metavar='"A & B"', help="with --add-preset; may be given several times")
    add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    if arguments.add_preset and not arguments.prompt:
        raise UsageError('Say what the preset holds: --prompt "liver & spleen".')
    if arguments.prompt and not arguments.add_preset:
        raise UsageError("--prompt belongs to --add-preset NAME.")
    if arguments.presets:
        _list_presets(arguments)
    elif arguments.add_preset or arguments.import_presets or arguments.remove_preset:
        _change_presets(arguments)
    else:
        _list_targets(arguments)
    return 0


def _list_targets(arguments: argparse.Namespace) -> None:
    found = targets(arguments.modality, arguments.model)
    answered(arguments, found)
    for target in found:
        code = target["terminology"].get("type", {})
        print(target["name"], ", ".join(target["modalities"]), f"{code.get('scheme', '')} {code.get('value', '')}".strip(), sep="\t")


def _list_presets(arguments: argparse.Namespace) -> None:
    found = presets(arguments.model)
    answered(arguments, found)
    for preset in found:
        title = preset["title"] or ("your own" if preset["is_own"] else "")
        print(preset["name"], f"{len(preset['prompts'])} prompts", preset["modality"], preset["model"], title, sep="\t")


def _change_presets(arguments: argparse.Namespace) -> None:
    """Keep or forget own presets; prints the file that holds them, which can be given to others."""
    if arguments.remove_preset:
        path = remove_preset(arguments.remove_preset)
    elif arguments.import_presets:
        path = add_presets(read_presets(arguments.import_presets).values())
    else:
        path = add_presets([Preset(arguments.add_preset, tuple(arguments.prompt), model=arguments.model)])
    print(path)
