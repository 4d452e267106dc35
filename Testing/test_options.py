"""Options that are written once: for Python, for the command line and for help."""

from __future__ import annotations

import argparse
import doctest
import inspect
from dataclasses import dataclass

import pytest

from MedImageParseLib import options as options_module
from MedImageParseLib.options import about, add_options, default_of, option, options_from, spread


@dataclass(frozen=True)
class SoupOptions:
    kind: str = option("leek", help="which soup", choices=("leek", "pea"), group="soup")
    spoons: int = option(2, help="how many spoons", metavar="N")
    hot: bool = option(False, help="serve it hot")
    bread: bool = option(True, help="without bread")
    cook: object = option(None, help="who cooks", on_command_line=False)
    toppings: list[str] = option([], help="what goes on it", many=True)


@spread
def order(table: int, *, soup: SoupOptions, hot: bool = True) -> tuple[int, SoupOptions, bool]:
    """Order soup.

    Args:
        table: whose it is.
        soup: each field is a keyword too.
        hot: as the guest wants it.
    """
    return table, soup, hot


def test_the_example_of_the_docstring_runs():
    assert doctest.testmod(options_module).failed == 0


def test_a_function_takes_options_as_keywords_or_in_one_object():
    assert order(3, spoons=5)[1] == SoupOptions(spoons=5)
    assert order(3, soup=SoupOptions("pea"))[1].kind == "pea"
    assert order(3, soup=SoupOptions("pea", 1), spoons=4)[1] == SoupOptions("pea", 4)


def test_a_parameter_of_the_function_wins_over_an_option_of_its_name():
    assert order(3, hot=False)[2] is False and order(3, hot=False)[1].hot is False
    assert list(inspect.signature(order).parameters).count("hot") == 1


def test_signature_and_docstring_list_every_option_with_its_default():
    parameters = inspect.signature(order).parameters
    assert parameters["kind"].default == "leek" and parameters["spoons"].kind is inspect.Parameter.KEYWORD_ONLY
    assert "kind: which soup; one of leek, pea (default leek)" in inspect.getdoc(order)
    assert "soup" not in parameters


def test_a_command_gets_flags_kinds_choices_and_defaults_from_the_class():
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser, SoupOptions)
    assert options_from(SoupOptions, parser.parse_args([])) == SoupOptions()
    typed = ["--kind", "pea", "--spoons", "7", "--hot", "--no-bread", "--toppings", "chives", "--toppings", "cream"]
    assert options_from(SoupOptions, parser.parse_args(typed)) == SoupOptions("pea", 7, True, False, None, ["chives", "cream"])
    assert options_from(SoupOptions, parser.parse_args([])).toppings == []  # one command's list is not the next one's
    assert "--cook" not in parser.format_help() and "which soup (default leek)" in " ".join(parser.format_help().split())
    with pytest.raises(argparse.ArgumentError):
        parser.parse_args(["--kind", "goulash"])


def test_one_option_can_be_asked_about():
    assert about(SoupOptions, "kind").choices == ("leek", "pea") and default_of(SoupOptions, "toppings") == []
