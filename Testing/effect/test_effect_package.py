"""How the effect comes into Slicer: a hidden module of listed files that registers it once, and each editor has an effect of its own."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")

from effect_support import EFFECT
from panel_support import destroyQtObjects
from places import ROOT


def test_every_file_of_the_effect_is_listed_and_built_with_the_extension():
    from host import module_files

    files = {path for path in EFFECT.parent.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert module_files.listed(EFFECT.parent) == files - {EFFECT.parent / "CMakeLists.txt"}
    assert "add_subdirectory(MedImageParseExtension/SegmentEditorMedImageParse)" in (ROOT / "CMakeLists.txt").read_text()


def test_the_module_is_hidden_and_registers_one_effect_that_each_editor_clones(opened):
    import slicer

    assert slicer.modules.segmenteditormedimageparse.hidden
    (registered,) = slicer.qSlicerSegmentEditorEffectFactory.instance().effects
    assert registered.name == "Text prompt" and registered.self().box is None, "what is registered is never shown"
    second = slicer.qMRMLSegmentEditorWidget()
    try:
        effects = [editor.effectByName("Text prompt") for editor in (opened.editor, second)]
        assert effects[0] is not effects[1] and effects[0].self().box.logic is not effects[1].self().box.logic
    finally:
        second.cleanUp()


def test_the_effect_closes_without_a_fault_where_qt_has_destroyed_its_widgets_before(opened):
    import slicer

    second = slicer.qMRMLSegmentEditorWidget()
    box = second.effectByName("Text prompt").self().box
    try:
        destroyQtObjects(box.widget, *(each._timer._timer for each in (box, box.segments)))
        second.cleanUp()
        assert box._isClosed and box.logic.isIdle
    finally:
        second.deleteLater()


def test_the_effect_is_a_thin_client_of_the_same_logic():
    shell = (EFFECT.parent / "SegmentEditorMedImageParseLib" / "SegmentEditorEffect.py").read_text()
    assert len(shell.splitlines()) < 100
    assert set(re.findall(r"from (MedImageParseLib[\w.]*) import", shell)) == {"MedImageParseLib.panels.text_prompt"}
