"""The command line: `medimageparse COMMAND …`, in a checkout `python3 scripts/mip.py COMMAND …`. Exit status and report: docs/command-line.md, docs/report.md."""

from __future__ import annotations

import argparse
import difflib
import importlib
import logging
import re
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from threading import Event, Thread, main_thread

from .. import __version__
from ..errors import Cancelled, MedImageParseError, UsageError, path_fault
from ..packages import missing_package
from ..program import command_name
from ..progress import Cancellation
from ..redaction import visible
from .json_answer import WITHOUT_RESULT, add_debug_and_json
from .json_answer import run_command as run_as_asked
from .options import Parser
from .terminal import PlainStream

COMMANDS = (
    "segment",
    "batch",
    "embed",
    "index",
    "classify",
    "outliers",
    "adapter",
    "exam",
    "evaluate",
    "targets",
    "check",
    "serve",
    "engine",
    "discover",
    "profiles",
    "deploy",
    "try-it",
    "completion",
    "mcp",
    "batch-azure",
)

# What the help calls a value that is the name of a file or folder.
_PLACE = re.compile(r"FILE|DIR|FOLDER|PATH|INDEX|INPUT|OUT|REF|PRED|\.(npz|png|csv|json)")

_GRACE_S = 5.0  # in which work that is asked to end stops by itself

# `batch export-azure …` is a command of its own, as `batch` itself takes inputs there.
_AZURE_BATCH = {"export-azure": "export", "submit-azure": "submit", "import-azure": "import"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 2 bad usage or input, 3 endpoint failed, 4 partly done, 130 cancelled.
    """
    with redirect_stdout(PlainStream(sys.stdout)), redirect_stderr(PlainStream(sys.stderr)):
        return _main(list(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int:
    cancellation = Cancellation()
    give_back = _cancel_on_interrupt(cancellation)
    if argv[:1] == ["batch"] and argv[1:2] and argv[1] in _AZURE_BATCH:
        argv = ["batch-azure", _AZURE_BATCH[argv[1]], *argv[2:]]
    try:
        _guess_command(argv)
        parser = build_parser(command=argv[0] if argv else "")
        _refuse_empty(argv, parser)
        arguments = parser.parse_args(_bind_negative_values(argv))
        arguments.cancellation, arguments.words = cancellation, argv
        return _run(arguments)
    except MedImageParseError as error:
        return _tell(error, "--debug" in argv)
    except ModuleNotFoundError as error:
        return _tell(missing_package(error), "--debug" in argv)
    except KeyboardInterrupt:
        return _tell(Cancelled(), False)
    except BrokenPipeError:
        return 0  # whoever read our output has seen enough
    except SystemExit as leaving:  # argparse after --help
        return int(leaving.code or 0)
    except OSError as error:
        if (fault := path_fault(error)) is None:
            return _tell_own(error, "--debug" in argv)
        return _tell(fault, "--debug" in argv)
    except MemoryError:
        return _tell(MedImageParseError("There is not enough memory for this; crop the volume or send fewer slices."), "--debug" in argv)
    except Exception as error:
        return _tell_own(error, "--debug" in argv)
    finally:
        give_back()


def _tell_own(error: Exception, debug: bool) -> int:
    """A fault of ours: still one sentence, and the way to see the rest."""
    if debug:
        raise error
    return _tell(
        MedImageParseError(
            "The program itself failed ({name}); run it again with --debug and report what it shows.", name=type(error).__name__
        ),
        False,
    )


def run_command(argv: list[str], cancellation: Cancellation) -> int:
    """Run one command inside another, whose interrupt it heeds.

    Args:
        argv: the command and its options.
        cancellation: of the outer command.

    Returns:
        its exit status.

    Raises:
        MedImageParseError as the command does.
    """
    arguments = build_parser(command=argv[0]).parse_args(argv)
    arguments.cancellation, arguments.words = cancellation, argv
    return arguments.run(arguments)


def build_parser(program: str = "", command: str = "") -> Parser:
    """The parser of one command, so that the program need not load what the others use; of all commands where it is none of them.

    Args:
        program: what the command line is called; "" for what it was started as.
        command: the first word of the command line.
    """
    parser = Parser(
        prog=program or command_name(),
        description="Segment medical images by text prompts, and find similar ones, through MedImageParse and MedImageInsight endpoints.",
    )
    parser.add_argument("--version", action="version", version=f"medimageparse {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
    for name in (command,) if command in COMMANDS else COMMANDS:
        importlib.import_module(f".{name.replace('-', '_')}", __package__).add_parser(commands)
    parser.commands = dict(commands.choices)
    for name, each in commands.choices.items():
        add_debug_and_json(each, name not in WITHOUT_RESULT)
    return parser


def _guess_command(argv: list[str]) -> None:
    """Raises UsageError for a command that there is not, with the one that was probably meant."""
    word = argv[0] if argv else ""
    if not word or word.startswith("-") or word in COMMANDS:
        return
    near = difflib.get_close_matches(word.lower(), COMMANDS, 1)
    # What was typed may be anything, a key as well: only what looks like a command is repeated.
    named = f" '{word}'" if word.isalpha() and len(word) < 20 else ""
    raise UsageError(
        f"There is no command{named}; did you mean {near[0]}?"
        if near
        else f"There is no command{named}; the commands are {', '.join(COMMANDS)}."
    )


def _refuse_empty(argv: list[str], parser: Parser) -> None:
    """Raises UsageError for a file or folder whose name is empty, as that of a shell's variable that is not set: as a path it would stand for
    the whole folder that the command runs in."""
    options = {
        option: action for part in _parts(parser) for action in part._actions if action.nargs != 0 for option in action.option_strings
    }
    before = ""
    for word in argv:
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "=", word)
        action = options.get(option)
        if equals and not value and (action is None or _PLACE.search(str(action.metavar))):
            named = "The name of a file or folder" if action is None else f"The name after {option}"
            raise UsageError("{named} is empty: write the name, or leave the word out.", named=named)
        before = word


def _parts(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands and their parts."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part in action.choices.values():
                yield from _parts(part)


def _run(arguments: argparse.Namespace) -> int:
    """A library's log lines and warnings are not for the person at the terminal; --debug brings them back."""
    with warnings.catch_warnings():
        if getattr(arguments, "debug", False):
            logging.basicConfig(level=logging.INFO)
        else:
            logging.getLogger().addHandler(logging.NullHandler())
            warnings.simplefilter("ignore")
        return run_as_asked(arguments)


def _bind_negative_values(argv: list[str]) -> list[str]:
    """`--window -160,240` as `--window=-160,240`: argparse takes what begins with a minus for an option."""
    bound: list[str] = []
    for word in argv:
        if bound and bound[-1] == "--window" and re.match(r"-\.?\d", word):
            bound[-1] = f"--window={word}"
        else:
            bound.append(word)
    return bound


def _cancel_on_interrupt(cancellation: Cancellation) -> Callable[[], None]:
    """Ctrl+C and the system's request to end (SIGTERM) ask the work to stop; a second one stops it hard, and so does the system's own after
    some seconds, as nobody is there to ask again.

    A thread of its own is woken by the signal and cancels. Python runs handlers in the main thread only, which may be holding the very
    lock that cancelling takes, or fall asleep at the very moment of the signal, waiting for requests that nobody would ever give up.

    Returns:
        gives the signals back. They stay where they are not ours to set (not the main thread).
    """
    was_asked, has_ended = False, Event()

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal was_asked
        if was_asked:
            raise KeyboardInterrupt
        was_asked = True

    def watch(heard: socket.socket, _told: socket.socket) -> None:
        while numbers := heard.recv(64):
            if set(numbers) & set(previous):
                cancellation.cancel()
            if signal.SIGTERM in numbers and not has_ended.wait(_GRACE_S):
                signal.pthread_kill(main_thread().ident or 0, signal.SIGTERM)  # wakes it, wherever it waits

    try:
        previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        return has_ended.set
    heard, told = socket.socketpair()
    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    Thread(target=watch, args=(heard, told), name="medimageparse signals", daemon=True).start()

    def give_back() -> None:
        has_ended.set()
        signal.set_wakeup_fd(before)
        for number, handler in previous.items():
            signal.signal(number, handler)
        told.close()  # which ends the thread

    return give_back


def end_when_interrupted() -> None:
    """For a command that only waits: Ctrl+C and SIGTERM end it at once, as there is no work to stop step by step."""
    with suppress(ValueError):  # not the main thread: signals are not ours to set
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)


def _tell(error: MedImageParseError, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {visible(str(error))}", file=sys.stderr)  # one line, whatever a name in it holds
    return error.exit_status
