"""A person's own presets in the panel: kept, replaced after a question, given to others as a file, deleted; a broken file is named."""

from __future__ import annotations

import json

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")


def entries(opened) -> dict:
    """What the menu offers, its submenus included."""
    opened.panel.update()
    found = {}
    for action in opened.host.find("presetsButton").menu().actions():
        found[str(action.text)] = action
        for inner in action.menu().actions() if action.menu() is not None else ():
            found[f"{action.text} / {inner.text}"] = inner
    return found


def keep(opened, prompts: str, name: str, *answers) -> None:
    opened.host.type("promptsEdit", prompts)
    opened.host.messages.answers += [name, *answers]
    entries(opened)["Save as preset…"].trigger()


def test_own_presets_are_replaced_only_after_a_question_and_deleted_from_the_menu(opened):
    from MedImageParseLib.prompts.presets import presets

    keep(opened, "liver & spleen", "my organs")
    keep(opened, "kidney", "my organs", False)
    assert presets()["my-organs"].prompts == ("liver", "spleen")
    keep(opened, "kidney", "my organs", True)
    assert presets()["my-organs"].prompts == ("kidney",)
    opened.host.messages.answers.append(False)
    entries(opened)["Delete preset / my-organs"].trigger()
    assert "my-organs (1)" in entries(opened)
    opened.host.messages.answers.append(True)
    entries(opened)["Delete preset / my-organs"].trigger()
    assert "my-organs (1)" not in entries(opened) and "Delete preset" not in entries(opened)


def test_presets_are_given_to_others_as_a_file(opened, tmp_path):
    path = str(tmp_path / "ours.json")
    assert "Export presets…" not in entries(opened)
    keep(opened, "liver & spleen", "organs")
    opened.host.messages.answers.append(path)
    entries(opened)["Export presets…"].trigger()
    assert json.loads(open(path).read())["organs"]["prompts"] == ["liver", "spleen"]
    opened.host.messages.answers.append(True)
    entries(opened)["Delete preset / organs"].trigger()
    opened.host.messages.answers.append(path)
    entries(opened)["Import presets…"].trigger()
    entries(opened)["organs (2)"].trigger()
    assert opened.panel.parameters["Prompts"] == "liver\nspleen"


def test_a_file_that_is_no_list_of_presets_is_refused_and_nothing_is_lost(opened, tmp_path):
    keep(opened, "liver", "organs")
    path = tmp_path / "letter.json"
    path.write_text("Dear colleague")
    opened.host.messages.answers.append(str(path))
    entries(opened)["Import presets…"].trigger()
    assert any("cannot be read" in text for text in opened.host.messages.texts()) and "organs (1)" in entries(opened)


def test_own_presets_that_cannot_be_read_are_named_and_those_of_the_program_stay(opened):
    from MedImageParseLib.prompts.presets import own_file

    own_file().parent.mkdir(parents=True, exist_ok=True)
    own_file().write_text("{ broken")
    menu = entries(opened)
    assert "abdomen-15 (15)" in menu and "Save as preset…" not in menu
    menu["Your presets cannot be read…"].trigger()
    assert any("cannot be read" in text for text in opened.host.messages.texts()) and own_file().read_text() == "{ broken"


def test_what_cannot_be_sent_cannot_be_kept_and_nobody_is_asked_for_a_name(opened):
    opened.host.type("promptsEdit", "")
    entries(opened)["Save as preset…"].trigger()
    assert len(opened.host.messages.texts()) == 1 and not any(name.startswith("Delete") for name in entries(opened))
