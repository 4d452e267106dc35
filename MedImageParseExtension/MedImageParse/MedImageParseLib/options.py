"""Options that are written once: a field of a dataclass holds an option's name, kind, default, help and choices.

The functions of the API take such a dataclass whole or its fields as keywords (`spread`), the command line's parsers are made from it
(`add_options`, `options_from`), and so are the panel's choices and tooltips (`about`). `help(segment)` and `segment --help` therefore say
the same.

    >>> @dataclass(frozen=True)
    ... class GreetingOptions:
    ...     name: str = option("world", help="whom to greet")
    >>> @spread
    ... def greet(loud: bool = False, *, options: GreetingOptions):
    ...     '''Greet.
    ...
    ...     Args:
    ...         loud: shout.
    ...         options: whom, and how; each field is a keyword too.
    ...     '''
    ...     return f"Hello {options.name}" + "!" * loud
    >>> greet(name="Ada"), greet(True, options=GreetingOptions("Grace"))
    ('Hello Ada', 'Hello Grace!')
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import argparse

Path_ = str | os.PathLike
_Result = TypeVar("_Result")
_Options = TypeVar("_Options")
_KEY = "option"
_SEVERAL = re.compile(r"(?:Iterable|list)\[(\w+)\]")
_KINDS: dict[str, Callable[[str], object]] = {"int": int, "float": float}  # any other kind stays the text that was typed


@dataclass(slots=True, frozen=True)
class About:
    """What is said about an option wherever a person meets it.

    Attributes:
        help: what it does, in plain words; without the default, which is added.
        choices: what it can be, () for anything.
        metavar: how its value is written in a command's help, such as "FILE.json".
        group: heading that it stands under in a command's help, "" for the first.
        exclusive: options with the same text here exclude one another.
        flag: "" for `--name-with-dashes` (`--no-name` where the default is True), else the flag itself.
        on_command_line: False for what only Python can give (a connection, a password field's key).
        many: it may be given several times; its value is a list.
        off: of an option that is on by default, what its flag `--no-name` does, in words.
        bare: what it is where its flag is given without a value; None where that is not allowed.
    """

    help: str
    choices: tuple[str, ...] = ()
    metavar: str = ""
    group: str = ""
    exclusive: str = ""
    flag: str = ""
    on_command_line: bool = True
    many: bool = False
    off: str = ""
    bare: object = None


def option(default: Any, *, help: str, choices: Iterable[str] = (), **more: Any) -> Any:
    """A field of an options dataclass.

    Args:
        default: what it is where nobody says otherwise; a list stands for a new empty list each time.
        help: the sentence that `--help`, `help()` and tool tips show; see About.
        choices: the values that are allowed; empty for any.
        more: the other fields of About (flag, metavar, group, on_command_line, …).
    """
    metadata = {_KEY: About(help, tuple(choices), **more)}
    if isinstance(default, list):
        return field(default_factory=list, metadata=metadata)
    return field(default=default, metadata=metadata)


def about(options: type, name: str) -> About:
    """What is said about one option of a class."""
    return next(each for each in dataclasses.fields(options) if each.name == name).metadata[_KEY]


def default_of(options: type, name: str) -> Any:
    """What an option is where nobody says otherwise."""
    return _default(next(each for each in dataclasses.fields(options) if each.name == name))


def names_of(options: type) -> list[str]:
    """The options' names, in the order in which they are written."""
    return [each.name for each in dataclasses.fields(options)]


# --- functions ---------------------------------------------------------------------------------------------------------


def spread(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """A function that takes each option of its options dataclasses as a keyword, or all of a class in one object.

    A parameter is spread where its annotation names a dataclass with fields made by `option`. Its default, where it has one, counts for
    nothing; the fields have theirs. Signature and docstring list the options as if they were the function's own.

    Args:
        function: documents the parameter itself under "Args:"; its options' lines are put behind that.
    """
    signature = inspect.signature(function)
    groups = {name: found for name, each in signature.parameters.items() if (found := _options_class(function, each)) is not None}

    @functools.wraps(function)
    def spread_out(*given: Any, **options: Any) -> Any:
        for name, kind in groups.items():
            options[name] = _gathered(name, kind, options, signature)
        return function(*given, **options)

    spread_out.__signature__ = _spread_signature(signature, groups)  # type: ignore[attr-defined]
    spread_out.__doc__ = _spread_doc(function.__doc__ or "", groups, signature)
    spread_out.option_groups = groups  # type: ignore[attr-defined]
    return spread_out


def option_groups(function: Callable[..., Any]) -> dict[str, type]:
    """The parameters that `spread` has spread, and their classes."""
    return getattr(function, "option_groups", {})


def _options_class(function: Callable[..., Any], parameter: inspect.Parameter) -> type | None:
    kind = parameter.annotation
    if isinstance(kind, str):
        kind = inspect.unwrap(function).__globals__.get(kind)
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return None
    return kind if any(_KEY in each.metadata for each in dataclasses.fields(kind)) else None


def _own_names(signature: inspect.Signature) -> list[str]:
    """Parameters that the function has itself: an option of the same name is theirs."""
    return [name for name, each in signature.parameters.items() if each.kind is not each.VAR_KEYWORD]


def _gathered(name: str, kind: type, options: dict[str, Any], signature: inspect.Signature) -> Any:
    own = _own_names(signature)
    given = {each: options.pop(each) for each in names_of(kind) if each in options and each not in own}
    whole = options.pop(name, None)
    if whole is None:
        return kind(**given)
    return dataclasses.replace(whole, **given) if given else whole


def _spread_signature(signature: inspect.Signature, groups: dict[str, type]) -> inspect.Signature:
    kept: list[inspect.Parameter] = []
    added: list[inspect.Parameter] = []
    last: list[inspect.Parameter] = []
    for name, each in signature.parameters.items():
        if each.kind is each.VAR_KEYWORD:
            last.append(each)
        elif name not in groups:
            (added if each.kind is each.KEYWORD_ONLY else kept).append(each)
        else:
            added += [
                inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=_default(one), annotation=one.type)
                for one in dataclasses.fields(groups[name])
                if one.name not in _own_names(signature)
            ]
    return signature.replace(parameters=[*kept, *added, *last])


def _spread_doc(text: str, groups: dict[str, type], signature: inspect.Signature) -> str:
    lines = text.splitlines()
    for name, kind in groups.items():
        place = next((number for number, line in enumerate(lines) if line.strip().startswith(f"{name}:")), None)
        if place is None:
            continue
        margin = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
        own = _own_names(signature)
        told = [f"{margin}{one.name}: {_help(one)}" for one in dataclasses.fields(kind) if one.name not in own]
        lines[place + 1 : place + 1] = told
    return "\n".join(lines)


def _default(one: dataclasses.Field) -> Any:
    return one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default


def _help(one: dataclasses.Field) -> str:
    """The help with what is chosen where nothing is said, and what can be chosen."""
    said: About = one.metadata[_KEY]
    default = _default(one)
    text = said.help
    if said.choices:
        text += f"; one of {', '.join(each or '(none)' for each in said.choices)}"
    return f"{text} (default {default})" if _is_worth_saying(default, said) else text


def _is_worth_saying(default: object, said: About) -> bool:
    return said.bare is None and default not in ("", None, [], ()) and not isinstance(default, bool) and "default" not in said.help


# --- commands ----------------------------------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser, options: type, *, leave_out: Iterable[str] = ()) -> None:
    """Give a command the options of a class.

    Args:
        parser: of the command.
        options: a dataclass with fields made by `option`.
        leave_out: names that this command has not, or declares itself.
    """
    headings: dict[str, Any] = {"": parser, **{each.title: each for each in parser._action_groups if each.title}}
    exclusive: dict[str, Any] = {}
    for one in dataclasses.fields(options):
        said: About | None = one.metadata.get(_KEY)
        if said is None or not said.on_command_line or one.name in leave_out:
            continue
        if said.group not in headings:
            headings[said.group] = parser.add_argument_group(said.group)
        place = headings[said.group]
        if said.exclusive:
            if said.exclusive not in exclusive:
                exclusive[said.exclusive] = place.add_mutually_exclusive_group()
            place = exclusive[said.exclusive]
        _add(place, one, said)


def _add(place: Any, one: dataclasses.Field, said: About) -> None:
    default = _default(one)
    dashed = one.name.replace("_", "-")
    flag = said.flag or (f"--no-{dashed}" if default is True else f"--{dashed}")
    if isinstance(default, bool):
        words = (said.off or said.help) if default else said.help
        place.add_argument(flag, dest=one.name, action="store_false" if default else "store_true", help=words)
        return
    more: dict[str, Any] = {"action": "append"} if said.many else {}
    if said.many:
        default = list(default)  # which argparse copies before it adds to it
    if said.bare is not None:
        more |= {"nargs": "?", "const": said.bare}
    kinds = {_SEVERAL.sub(r"\1", part.strip()) for part in str(one.type).split("|")} - {"None"}
    kind = _KINDS.get(kinds.pop()) if len(kinds) == 1 else None
    if kind:
        more["type"] = kind
    if said.choices:
        more["choices"] = said.choices
    elif said.metavar or not kind:
        more["metavar"] = said.metavar or one.name.upper()
    text = f"{said.help} (default {default})" if _is_worth_saying(default, said) else said.help
    place.add_argument(flag, dest=one.name, default=default, help=text.replace("%", "%%"), **more)


def options_from(options: type[_Options], arguments: argparse.Namespace) -> _Options:
    """An object of the class, from what a command was given; what the command does not have keeps its default."""
    return options(**{name: getattr(arguments, name) for name in names_of(options) if hasattr(arguments, name)})
