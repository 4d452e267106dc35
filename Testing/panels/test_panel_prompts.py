"""The prompt field: what it suggests, what it says while typing, and the targets to browse."""

from __future__ import annotations

from typing import Any

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
QtCore = pytest.importorskip("PySide6.QtCore", reason="PySide6 is not installed: there is no Qt to test against")


def suggested(opened: Any) -> list[str]:
    """The names in the list under the field; none while it is closed."""
    shown = opened.panel.prompts.completer.list
    return [shown.topLevelItem(row).text(0) for row in range(shown.topLevelItemCount)] if shown.visible else []


def textOf(opened: Any) -> str:
    return opened.host.find("promptsEdit").toPlainText()


def ctVolume(opened: Any) -> None:
    node = opened.addVolume()
    node.SetAttribute("DICOM.Modality", "CT")
    opened.host.choose("volumeSelector", "CT")


def hint(opened: Any) -> str:
    """What stands under the field once typing has paused."""
    opened.host.wait_until(lambda: not opened.panel.prompts.hints._timer.isActive())
    return "" if opened.host.find("hintLabel").isHidden() else opened.text("hintLabel")


def test_three_letters_and_enter_give_a_target_and_ctrl_z_takes_it_back(opened):
    opened.host.type("promptsEdit", "liver\nlef")
    opened.host.type("promptsEdit", "t adr", clear=False)
    assert suggested(opened)[0] == "left adrenal gland"
    opened.host.key("promptsEdit", "Return")
    assert textOf(opened) == "liver\nleft adrenal gland" and suggested(opened) == []
    assert opened.panel.parameters["Prompts"] == "liver\nleft adrenal gland"
    opened.host.find("promptsEdit").undo()
    assert textOf(opened) == "liver\nleft adr"


def test_down_and_up_choose_a_row_and_the_list_says_what_it_means(opened):
    opened.host.type("promptsEdit", "suprarenal gl")
    shown = opened.panel.prompts.completer.list
    assert suggested(opened) == ["adrenal gland", "left adrenal gland", "right adrenal gland"]
    assert "suprarenal gland" in shown.topLevelItem(0).text(1)
    for key, row in (("Down", 1), ("Down", 2), ("Down", 0), ("Up", 2)):
        opened.host.key("promptsEdit", key)
        assert shown.indexOfTopLevelItem(shown.currentItem()) == row
    opened.host.key("promptsEdit", "Return")
    assert textOf(opened) == "right adrenal gland"


def test_a_click_takes_a_row_and_only_the_target_under_the_cursor_changes(opened):
    edit = opened.host.find("promptsEdit")
    edit.insertPlainText("🫀 & sple & lung")
    cursor = edit.textCursor()
    cursor.setPosition(len("xx & sple"))  # the heart is two of Qt's characters
    edit.setTextCursor(cursor)
    opened.host.type("promptsEdit", "n", clear=False)
    shown = opened.panel.prompts.completer.list
    shown.itemClicked.emit(shown.topLevelItem(suggested(opened).index("splenic vein")), 0)
    assert textOf(opened) == "🫀 & splenic vein & lung"


def test_esc_closes_the_list_and_keeps_what_was_typed_and_a_run_in_progress(opened):
    cancelled: list[int] = []
    opened.panel.runBox._ui.cancelButton.connect("clicked()", lambda: cancelled.append(1))
    opened.host.type("promptsEdit", "sple")
    assert suggested(opened)
    opened.host.key("promptsEdit", "Esc")
    assert suggested(opened) == [] and textOf(opened) == "sple" and cancelled == []


def test_whole_names_and_free_words_are_left_alone_by_enter(opened):
    opened.host.type("promptsEdit", "liver\nsomething quite free\nkidney\n")
    assert textOf(opened) == "liver\nsomething quite free\nkidney\n"


def test_a_text_that_is_put_in_opens_no_list(opened):
    opened.panel.parameters["Prompts"] = "sple"
    opened.host.process()
    assert textOf(opened) == "sple" and suggested(opened) == []


def test_the_list_closes_when_the_field_is_left(opened):
    opened.host.type("promptsEdit", "sple")
    assert suggested(opened)
    opened.host.find("modeComboBox").setFocus()
    opened.host.process()
    assert suggested(opened) == []


def test_targets_that_do_not_fit_the_image_come_last_and_are_marked(opened):
    ctVolume(opened)
    opened.host.type("promptsEdit", "mel")
    shown = opened.panel.prompts.completer.list
    assert suggested(opened)[-1] == "melanoma" and "not recommended" in shown.topLevelItem(len(suggested(opened)) - 1).text(1)


def test_a_misspelled_target_is_named_under_the_field_and_one_button_corrects_it(opened):
    ctVolume(opened)
    opened.host.type("promptsEdit", "spleen\nkidny")
    opened.host.key("promptsEdit", "Esc")
    assert "“kidny” is not a known target. Did you mean kidney" in hint(opened)
    assert opened.text("hintButton") == "Use kidney"
    opened.host.click("hintButton")
    assert textOf(opened) == "spleen\nkidney"
    assert hint(opened) == "" and opened.host.find("hintButton").isHidden()


def test_targets_separated_by_commas_are_put_on_lines_of_their_own(opened):
    opened.host.type("promptsEdit", "liver, spleen")
    opened.host.key("promptsEdit", "Esc")
    assert "contains a comma" in hint(opened)
    opened.host.click("hintButton")
    assert textOf(opened) == "liver\nspleen" and hint(opened) == ""


def test_a_target_of_another_modality_is_hinted_at_and_can_be_run_all_the_same(opened):
    ctVolume(opened)
    opened.host.type("promptsEdit", "white matter hyperintensity")
    assert "not for CT" in hint(opened) and opened.host.find("hintButton").isHidden()


def test_nested_targets_in_one_request_are_hinted_at_and_one_button_sends_them_separately(opened):
    opened.panel.parameters["Group"] = "together"
    opened.host.type("promptsEdit", "kidney\nleft kidney")
    opened.host.key("promptsEdit", "Esc")
    assert "one can suppress another" in hint(opened)
    opened.host.click("hintButton")
    assert opened.panel.parameters["Group"] == "auto" and hint(opened) == ""


def leaves(opened: Any) -> dict[str, Any]:
    tree = opened.host.find("browseTree")
    groups = [tree.topLevelItem(number) for number in range(tree.topLevelItemCount)]
    return {group.child(row).text(0): group.child(row) for group in groups for row in range(group.childCount())}


def test_known_targets_are_browsed_and_ticked(opened):
    ctVolume(opened)
    opened.host.type("promptsEdit", "unicorn\nspleen\nliver")
    opened.host.key("promptsEdit", "Esc")
    opened.host.click("browseButton")
    assert opened.panel.prompts._browser.modality.key == "CT"
    assert leaves(opened)["spleen"].checkState(0) == QtCore.Qt.CheckState.Checked
    opened.host.type("browseFilterEdit", "kid")
    assert "left kidney" in leaves(opened) and "spleen" not in leaves(opened)
    leaves(opened)["left kidney"].setCheckState(0, QtCore.Qt.CheckState.Checked)
    opened.host.type("browseFilterEdit", "spl")
    leaves(opened)["spleen"].setCheckState(0, QtCore.Qt.CheckState.Unchecked)
    opened.panel.prompts._browser._accept()
    assert textOf(opened) == "unicorn\nliver\nleft kidney"


def test_browsing_without_ok_changes_nothing(opened):
    opened.host.type("promptsEdit", "liver")
    opened.host.click("browseButton")
    leaves(opened)["spleen"].setCheckState(0, QtCore.Qt.CheckState.Checked)
    opened.panel.prompts._browser.dialog.reject()
    assert textOf(opened) == "liver"


def test_recent_prompts_are_settings_and_hold_nothing_but_names_of_targets(opened, endpoint):
    import qt

    node = opened.makeReady(endpoint[0], "cube")
    node.SetName("DOE^JANE 1980")
    opened.run()
    assert qt.QSettings().value("MedImageParse/RecentPrompts") == '["cube"]'


def test_the_field_grows_with_its_prompts_so_that_none_is_out_of_sight(opened):
    field = opened.host.find("promptsEdit")
    heights = []
    for count in (1, 4, 6, 30):
        opened.host.type("promptsEdit", "\n".join(f"structure {number}" for number in range(count)))
        opened.host.key("promptsEdit", "Esc")
        opened.host.process()
        heights.append(field.height)
        assert (field.verticalScrollBar().maximum > 0) == (count == 30)
    assert heights[0] == heights[1] < heights[2] < heights[3] < 200
    opened.host.type("promptsEdit", "liver\nspleen\nbones\nlungs\nkidneys")
    with opened.host.panel.dressed(300, 900, 1.5, "light"):
        opened.host.process()
        assert field.verticalScrollBar().maximum == 0, "at a large font, too"
