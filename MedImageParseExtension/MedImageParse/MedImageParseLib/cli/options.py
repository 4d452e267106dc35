"""Options that several commands share and that no options dataclass holds."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import UsageError
from ..options import add_options, names_of
from ..profiles.options import ConnectionOptions
from ..program import command_name
from .terminal import print_prompt


class RefuseKey(argparse.Action):
    """`--key SECRET` is refused by name: anybody on this computer can read a command's arguments, and argparse would print it back."""

    def __call__(self, *_: object) -> None:
        raise UsageError(
            "A key is never given on the command line, where others can read it: set MEDIMAGEPARSE_KEY or use --key-file FILE."
        )


class Parser(argparse.ArgumentParser):
    """argparse that raises a sentence instead of printing usage and leaving, that knows no abbreviations (--key is not --key-file), and that
    guesses what a mistyped word was meant to be. What was typed beside an option may be a secret: only options and short words are repeated."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})
        self.commands: dict[str, argparse.ArgumentParser] = {}  # of the whole program, by name
        self._given: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but whoever meets words that no option takes refuses them: a part of a command knows its own options best.

        Args:
            args: the words.
            namespace: takes the values.
        """
        self._given = list(sys.argv[1:] if args is None else args)
        namespace, rest = super().parse_known_args(self._given, namespace)
        if rest:
            self._refuse(rest)
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        # A mistyped option is not there, so argparse may miss it, or what stands beside it, first.
        if unknown := [word for word in self._given if word.startswith("--") and len(word) > 2 and not self._takes(word)]:
            self._refuse(unknown)
        raise UsageError("{upper}{message}; see `{prog} --help`.", upper=message[:1].upper(), message=message[1:], prog=self.prog)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value).lower(), choices, 1)
        if isinstance(action, argparse._SubParsersAction):
            what = f"There is no {self.prog.partition(' ')[2]} command{_repeated(value)}"
            which = f"did you mean {near[0]}" if near else f"the commands are {', '.join(choices)}"
            raise UsageError(
                "{what}; {which}? See `{prog} --help`." if near else "{what}; {which}.", what=what, which=which, prog=self.prog
            )
        meant = f"did you mean {near[0]}? It takes" if near else "it takes"
        raise argparse.ArgumentError(action, f"there is no choice{_repeated(value)}; {meant} {', '.join(choices)}")

    def _takes(self, word: str) -> bool:
        return word.partition("=")[0] in self._option_string_actions

    def _refuse(self, rest: list[str]) -> NoReturn:
        """Raises UsageError for words that no option takes."""
        unknown = [word.partition("=")[0] for word in rest if word.startswith("-")]
        see = f"see `{self.prog} --help`"
        if not unknown:
            many = (
                "there are too many words: segment takes one image, and `batch` takes several; put a prompt of several words in quotation marks"
                if self.prog.endswith(" segment")
                else "there are too many words"
            )
            raise UsageError("{upper}{many}; {see}.", upper=many[:1].upper(), many=many[1:], see=see)
        known = [option for action in self._actions if action.help != argparse.SUPPRESS for option in action.option_strings]
        near = difflib.get_close_matches(unknown[0], known, 1)
        meant = f"did you mean {near[0]}? Otherwise {see}" if near else see
        raise UsageError("Unknown {listed}; {meant}.", listed=", ".join(unknown), meant=meant)


def _repeated(word: object) -> str:
    """A word that was typed, in quotation marks; nothing of one that may be a secret."""
    return f" '{word}'" if len(str(word)) < 20 else ""


def add_part(
    parts: argparse._SubParsersAction, name: str, words: str, run: Callable[[argparse.Namespace], int], *, index: str = "the index file"
) -> argparse.ArgumentParser:
    """A command, or a part of one such as `index search`.

    Args:
        parts: what it joins.
        name: as it is typed.
        words: its line in the help.
        run: does it, and returns the exit status.
        index: what the help says of its argument INDEX; "" where it has none.
    """
    parser = parts.add_parser(name, help=words)
    parser.set_defaults(run=run)
    if index:
        parser.add_argument("index", metavar="INDEX", help=index)
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """--report and --quiet."""
    parser.add_argument("--report", metavar="FILE.json", help="write what was done, machine-readable")
    add_quiet(parser)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """--quiet."""
    parser.add_argument("--quiet", action="store_true", help="stderr carries the error line only")


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Where to send and how to sign in."""
    group = parser.add_argument_group("endpoint")
    where = group.add_mutually_exclusive_group()
    where.add_argument("--endpoint", metavar="URL", help="scoring URL")
    where.add_argument("--profile", metavar="NAME", help="a stored profile (see `profiles`)")
    group.add_argument("--key", action=RefuseKey, nargs="?", help=argparse.SUPPRESS)
    add_options(parser, ConnectionOptions)


def connection_options(arguments: argparse.Namespace) -> dict:
    """Keyword arguments of `connect` from parsed options; those not given are left out."""
    given = {name: value for name in names_of(ConnectionOptions) if (value := getattr(arguments, name, None)) not in ("", None)}
    if not arguments.endpoint and not arguments.profile:
        raise UsageError(
            "Say where to send: --endpoint URL or --profile NAME (`{command_name} serve` starts a local endpoint).",
            command_name=command_name(),
        )
    return {
        "endpoint": arguments.endpoint,
        "profile": arguments.profile,
        "show_device_code": print_prompt,
        **given,
    }


def connection_unless_index(arguments: argparse.Namespace) -> dict:
    """As `connection_options`; nothing where the only input is an index, which needs no endpoint."""
    from ..api.adapters import is_one_index  # here, as only two commands need that file

    if arguments.endpoint or arguments.profile:
        return connection_options(arguments)
    if not is_one_index(arguments.input):
        raise UsageError("Say where to send the images: --endpoint URL or --profile NAME; only an index needs none.")
    return {}


INPUT_HELP = ".nii .nii.gz .nrrd .mha .mhd, a DICOM file or folder, .png .jpg .tif, or a folder of such"
