"""Who hears the panel instead of seeing it, or uses no mouse: every input has a name, and Tab goes where the eye goes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
QtWidgets = pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed: there is no Qt to test against")
QtCore = pytest.importorskip("PySide6.QtCore", reason="PySide6 is not installed: there is no Qt to test against")


def rawOf(widget: Any) -> Any:
    from host.qt_classes import raw

    return raw(widget)


def inputs(root: Any) -> list[Any]:
    """Every widget below `root` that a person can use; parts of Qt's own compound widgets are left out."""
    kinds = (
        QtWidgets.QLineEdit, QtWidgets.QPlainTextEdit, QtWidgets.QComboBox, QtWidgets.QAbstractSpinBox,
        QtWidgets.QAbstractButton, QtWidgets.QAbstractItemView, QtWidgets.QAbstractSlider,
    )  # fmt: skip
    found = []
    for widget in QtCore.QObject.findChildren(rawOf(root), QtWidgets.QWidget):
        name = QtCore.QObject.objectName(widget)
        isOfSlicer = type(widget).__name__.startswith("qMRML") and type(widget).__name__ != "qMRMLWidget"
        if name and not name.startswith("qt_") and (isOfSlicer or isinstance(widget, kinds)):
            found.append(widget)
    return found


def nameOf(widget: Any, root: Any) -> str:
    """What a screen reader says: the name given, a button's text, or the text of the label whose buddy it is."""
    given = QtWidgets.QWidget.accessibleName(widget)
    if given or isinstance(widget, QtWidgets.QAbstractButton):
        return given or QtWidgets.QAbstractButton.text(widget)
    for label in QtCore.QObject.findChildren(rawOf(root), QtWidgets.QLabel):
        if QtWidgets.QLabel.buddy(label) is widget:
            return QtWidgets.QLabel.text(label)
    return ""


def nameless(root: Any) -> list[str]:
    """The inputs without a name, and buttons that show only a sign. A button that is hidden gets its text when it is shown."""
    return [
        f"{QtCore.QObject.objectName(widget)}: {nameOf(widget, root)!r}"
        for widget in inputs(root)
        if len(nameOf(widget, root).strip("….: ")) < 2
        and not (isinstance(widget, QtWidgets.QAbstractButton) and QtWidgets.QWidget.isHidden(widget))
    ]


def strayTabs(root: Any) -> list[str]:
    """Steps of the Tab key that go up, or to the left on the same line."""
    root = rawOf(root)
    first = widget = QtWidgets.QWidget.nextInFocusChain(root)
    places = []
    while True:
        takesTab = QtWidgets.QWidget.focusPolicy(widget).value & QtCore.Qt.FocusPolicy.TabFocus.value
        if takesTab and QtWidgets.QWidget.isVisible(widget) and QtWidgets.QWidget.isAncestorOf(root, widget):
            corner = QtWidgets.QWidget.mapTo(widget, root, QtCore.QPoint(0, 0))
            places.append((QtCore.QObject.objectName(widget) or type(widget).__name__, corner, QtWidgets.QWidget.height(widget)))
        widget = QtWidgets.QWidget.nextInFocusChain(widget)
        if widget is first:
            break
    faults = []
    for (before, at, height), (after, then, other) in itertools.pairwise(places):
        isOnTheSameLine = at.y() < then.y() + other and then.y() < at.y() + height
        if (not isOnTheSameLine and then.y() < at.y()) or (isOnTheSameLine and then.x() < at.x() and then.y() <= at.y()):
            faults.append(f"from {before} to {after}")
    return faults


def test_every_input_of_the_segment_tab_has_a_name_and_tab_follows_the_eye(opened, endpoint):
    assert nameless(opened.panel.widget) == [] and strayTabs(opened.panel.widget) == []
    opened.makeReady(endpoint[0], "cube & unicorn & kidney & left kidney")
    opened.run()
    opened.host.click("optionsButton")
    for mode in ("Volume (3D)", "Slices from–to (2D)"):
        opened.host.choose("modeComboBox", mode)
        opened.host.choose("windowComboBox", "Custom range")
        opened.host.process()
        assert nameless(opened.panel.widget) == [] and strayTabs(opened.panel.widget) == []


def test_every_input_of_the_settings_has_a_name_and_tab_follows_the_eye(opened):
    opened.addProfile("Ward 3", "https://ward3.example/score", sign_in="entra")
    for button in ("settingsButton", "moreButton", "findSection", "privacySection"):
        opened.host.click(button)
    opened.host.process()
    assert nameless(opened.panel.settings.widget) == [] and strayTabs(opened.panel.settings.widget) == []


def test_every_input_of_the_dialogs_has_a_name_and_tab_follows_the_eye(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    opened.host.click("browseButton")
    opened.host.click("settingsButton")
    for button in ("findSection", "deployButton"):
        opened.host.click(button)
    opened.host.process()
    windows = {QtCore.QObject.objectName(each): each for each in QtWidgets.QApplication.topLevelWidgets()}
    browse = windows["browseDialog"]
    deploy = QtWidgets.QWidget.window(rawOf(opened.host.find("deployModelComboBox")))
    for dialog in (browse, deploy):
        assert nameless(dialog) == [] and strayTabs(dialog) == [] and len(inputs(dialog)) > 2


def test_every_input_of_the_search_tab_has_a_name_and_tab_follows_the_eye(search):
    root = search.host.find("SimilarImages")
    search.fill()
    for section in ("indexSection", "searchSection", "classifySection", "outliersSection", "labelSection", "adapterSection"):
        search.host.find(section).collapsed = False
    for mode in ("This region", "This text"):
        search.host.choose("queryModeComboBox", mode)
        for _pass in range(4):
            search.host.process()
        assert nameless(root) == [] and strayTabs(root) == [] and len(inputs(root)) > 30


def test_every_input_of_the_effect_has_a_name_and_tab_follows_the_eye():
    from effect_support import openedEditor

    with openedEditor() as person:
        person.load()
        person.editor.setActiveEffectByName("Text prompt")
        person.host.process()
        root = QtWidgets.QWidget.parentWidget(rawOf(person.host.find("promptEdit")))
        assert nameless(root) == [] and strayTabs(root) == [] and len(inputs(root)) > 5


def test_an_input_without_a_name_and_a_tab_that_jumps_back_are_found(opened):
    import qt

    window = qt.QWidget()
    layout = qt.QVBoxLayout(window)
    edits = [qt.QLineEdit() for _each in range(3)]
    for number, edit in enumerate(edits):
        edit.setObjectName(f"edit{number}")
        layout.addWidget(edit)
    window.show()
    opened.host.process()
    assert len(nameless(window)) == 3 and strayTabs(window) == []
    qt.QWidget.setTabOrder(edits[2], edits[1])
    assert strayTabs(window) != []
