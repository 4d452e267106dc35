"""Scripts that import modules by their earlier names go on working, and get the very same objects."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import MedImageParseLib
from MedImageParseLib import renamed


@pytest.mark.parametrize("old", renamed._NOW)
def test_an_earlier_name_leads_to_modules_that_exist_and_hides_none(old):
    module = importlib.import_module(f"MedImageParseLib.{old}")
    homes = [importlib.import_module(f"MedImageParseLib.{name}") for name in renamed._NOW[old]]
    assert module not in homes and f"MedImageParseLib.{old}" not in {each.name for each in pkgutil.walk_packages(MedImageParseLib.__path__)}
    for home in homes:
        names = [name for name, value in vars(home).items() if getattr(value, "__module__", "") == home.__name__]
        assert all(getattr(module, name) is getattr(home, name) for name in names[:5])


def test_what_no_module_holds_is_refused_with_the_new_names():
    from MedImageParseLib.logic import logic

    with pytest.raises(AttributeError, match="logic.segmentation"):
        _ = logic.Nothing


def test_the_logic_is_found_under_both_names():
    from MedImageParseLib.logic.logic import MedImageParseLogic as old
    from MedImageParseLib.logic.segmentation import MedImageParseLogic as new

    assert old is new
