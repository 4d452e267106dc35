"""What a person typed wrongly in a call, said in one sentence before anything is read or sent."""

from __future__ import annotations

import difflib
import functools
import inspect
import numbers
import os
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar, cast

import numpy as np

from ..errors import UsageError, path_fault
from ..options import option_groups, spread
from ..remedies import Sentence


def _are(kind: type | tuple[type, ...], value: object) -> bool:
    """Whether something holds things of a kind; what can be gone through once only is not looked into."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, os.PathLike)):
        return False
    return not isinstance(value, Collection) or all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


_Function = TypeVar("_Function", bound=Callable[..., Any])
_SET_BY_THE_COMMAND = ("model", "sends_image_data", "cancellation")
_KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str)),
    "int": ("a whole number", lambda value: isinstance(value, numbers.Integral) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, numbers.Real) and not isinstance(value, bool)),
    "bool": ("True or False", lambda value: isinstance(value, (bool, np.bool_))),
    "list[int]": ("a list of whole numbers", lambda value: isinstance(value, list) and _are(numbers.Integral, value)),
    "Path_": ("a path", lambda value: isinstance(value, (str, os.PathLike))),
    "os.PathLike": ("a path", lambda value: isinstance(value, os.PathLike)),
    "Iterable[str]": ("several texts", lambda value: _are(str, value)),
    "Sequence[str]": ("several texts", lambda value: _are(str, value)),
    "Iterable[int]": ("several whole numbers", lambda value: _are(numbers.Integral, value)),
    "Iterable[str | os.PathLike]": ("several paths", lambda value: _are((str, os.PathLike), value)),
    "Iterable[Path_]": ("several paths", lambda value: _are((str, os.PathLike), value)),
    "BatchEndpoint": ("a BatchEndpoint", lambda value: hasattr(value, "name")),
    "None": ("None", lambda value: value is None),
}  # fmt: skip


def in_sentences(function: _Function) -> _Function:
    """A console function whose wrong options are UsageErrors with one sentence, those of its connection among them.

    Args:
        function: options of its dataclasses are keywords of its own (options.spread); its `**connection`, where it has one, goes to `profiles.connection.connect`.
    """
    taking = spread(function)
    signature = inspect.signature(taking)
    groups = option_groups(taking)

    @functools.wraps(taking)
    def checked(*given: Any, **options: Any) -> Any:
        check_call(function.__name__, signature, given, {name: value for name, value in options.items() if name not in groups})
        try:
            return taking(*given, **options)
        except (OSError, ValueError) as error:
            fault = path_fault(error)
            if fault is None:
                raise
            raise fault from error

    return cast(_Function, checked)


def check_call(name: str, signature: inspect.Signature, given: tuple, options: dict[str, Any]) -> None:
    """Raises UsageError for an option that is unknown, missing, given twice, or of a kind that it cannot be."""
    parameters = {each.name: each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD}
    if len(parameters) < len(signature.parameters):
        own = () if name == "connect" else _SET_BY_THE_COMMAND
        parameters |= {each: one for each, one in _connection_parameters().items() if each not in (*parameters, *own)}
    for option in options:
        if option not in parameters:
            raise UsageError(_unknown(name, option, list(parameters)), code="unknown-option")
    positional = [each.name for each in parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    if len(given) > len(positional):
        listed = " and ".join(positional) or "nothing"
        raise UsageError(
            "{name} takes {listed} without a name; give everything else as option=value.", name=name, listed=listed, code="too-many"
        )
    values = dict(zip(positional, given))
    for option in values:
        if option in options:
            raise UsageError("{name} was given {option} twice; give it once.", name=name, option=option, code="given-twice")
    values |= options
    for each in parameters.values():
        if each.name not in values and each.default is each.empty and each.kind is not each.VAR_POSITIONAL:
            raise UsageError("{name} needs {name2}; give it as {name2}=….", name=name, name2=each.name, code="missing-option")
        if each.name in values:
            _check_value(each, values[each.name])


def _unknown(name: str, option: str, known: list[str]) -> str:
    alike = difflib.get_close_matches(option, known, 2)
    rest = Sentence("did you mean {listed}?", listed=" or ".join(alike)) if alike else Sentence("it has {listed}.", listed=", ".join(known))
    return Sentence("{name} has no option '{option}'; {rest}", name=name, option=option, rest=rest)


def _check_value(parameter: inspect.Parameter, value: object) -> None:
    """Only plain kinds are looked at; what takes files, images or objects of ours says itself what it takes."""
    kinds = re.split(r"\s*\|\s*(?![^\[]*\])", str(parameter.annotation))
    if not set(kinds) <= set(_KINDS) or any(_KINDS[kind][1](value) for kind in kinds):
        return
    if "None" in kinds and len(kinds) > 1:
        kinds.remove("None")
    listed = " or ".join(_KINDS[kind][0] for kind in kinds)
    raise UsageError(
        "The option {name} is {listed}, not of the type {name2}.",
        name=parameter.name,
        listed=listed,
        name2=_type_of(value),
        code="option-kind",
    )


def _type_of(value: object) -> str:
    """As Python calls it; of a list with what is in it."""
    own = type(value).__name__
    held = sorted({type(one).__name__ for one in value}) if isinstance(value, (list, tuple, set)) else []
    return f"{own} of {', '.join(held)}" if held else own


@functools.cache
def _connection_parameters() -> dict[str, inspect.Parameter]:
    from ..profiles.connection import connect

    return dict(inspect.signature(connect).parameters)
