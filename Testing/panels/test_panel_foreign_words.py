"""What comes from an endpoint, a file or another person's profile is shown as it is: a tag in it is not obeyed."""

from __future__ import annotations

import json

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
QtWidgets = pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed: there is no Qt to test against")
from PySide6 import QtCore, QtGui

MARK = "<img src='file:///etc/passwd'> <b>bold</b>"
UNSEEN = "\u202ecod.exe\x1b[31m\u200b"


def faultsOf(root) -> list[str]:
    """Texts and tool tips in which Qt would obey a tag from outside, or in which characters hide."""
    from host.qt_classes import raw

    faults = []

    def look(where, text, isPlain=False):
        if "passwd" in text and "<img" in text and not isPlain and QtGui.Qt.mightBeRichText(text):
            faults.append(f"{where} obeys: {text}")
        if any(each in text for each in UNSEEN if not each.isprintable()):
            faults.append(f"{where} hides: {text!r}")

    for widget in map(raw, QtWidgets.QWidget.findChildren(raw(root), QtWidgets.QWidget)):
        name = f"{type(widget).__name__} {QtCore.QObject.objectName(widget)}"
        look(f"{name} tip", QtWidgets.QWidget.toolTip(widget))
        if isinstance(widget, QtWidgets.QLabel):
            isPlain = QtWidgets.QLabel.textFormat(widget) == QtCore.Qt.TextFormat.PlainText
            look(name, QtWidgets.QLabel.text(widget), isPlain)
        if isinstance(widget, QtWidgets.QComboBox):
            for row in range(QtWidgets.QComboBox.count(widget)):
                look(f"{name} entry tip", QtWidgets.QComboBox.itemData(widget, row, QtCore.Qt.ItemDataRole.ToolTipRole) or "")
        isOurs = bool(QtCore.QObject.objectName(widget))  # the table within qMRMLSegmentsTableView is Slicer's
        if isOurs and isinstance(widget, (QtWidgets.QTableWidget, QtWidgets.QListWidget)):
            model = QtWidgets.QAbstractItemView.model(widget)
            columns = QtWidgets.QTableWidget.columnCount(widget) if isinstance(widget, QtWidgets.QTableWidget) else 1
            for row in range(model.rowCount()):
                for column in range(columns):
                    index = model.index(row, column)
                    look(f"{name} cell", model.data(index) or "", isPlain=True)
                    look(f"{name} cell tip", model.data(index, QtCore.Qt.ItemDataRole.ToolTipRole) or "")
    return faults


def test_results_and_messages_of_a_run(opened, endpoint):
    url, double = endpoint
    opened.makeReady(url, "cube & " + MARK)
    opened.addProfile(f"Ward {MARK}", url)
    opened.run()
    assert "bold" in " ".join(name for row in opened.results() for name in row)
    node = opened.segmentations()[0]
    node.GetSegmentation().GetNthSegment(0).SetName("name " + MARK + UNSEEN)
    opened.host.process()
    assert faultsOf(opened.host.panel.window) == []

    double.tamper = lambda reply: (500, "application/json", json.dumps({"message": MARK + UNSEEN}).encode())
    opened.host.type("promptsEdit", "cube")
    opened.run()
    assert "bold" in opened.text("messageLabel")
    opened.panel.endpoint._setStatus(opened.panel.endpoint.name, "Bad", MARK + UNSEEN)
    assert faultsOf(opened.host.panel.window) == []


def test_the_table_on_the_clipboard_holds_no_formula_and_no_broken_line(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    opened.run()
    opened.segmentations()[0].GetSegmentation().GetNthSegment(0).SetName("=HYPERLINK(1)\tnext\nline")
    opened.host.process()
    opened.host.find("tableButton").menu().actions()[0].trigger()
    lines = opened.host.qt.QApplication.clipboard().text().splitlines()
    assert len(lines) == 2 and lines[1].split("\t")[0] == "'=HYPERLINK(1) next line"


def test_hits_labels_and_studies_of_the_search_tab(search):
    search.addCt("CT " + MARK + UNSEEN, slices=4)
    search.host.find("searchVolumeSelector").setCurrentNode(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0])
    search.do("indexButton")
    search.do("similarButton")
    for section in ("classifySection", "outliersSection"):
        search.host.click(section)
    search.host.type("labelsEdit", f"chest {MARK}\nabdomen")
    search.do("classifyButton")
    search.do("outliersButton")
    search.host.choose("outliersReferenceComboBox", "The studies selected below")
    assert search.host.find("hitsList").count == 4
    assert faultsOf(search.host.panel.window) == []


def test_a_sign_in_page_is_a_link_only_over_https(opened):
    from datetime import datetime, timezone

    from MedImageParseLib.panels.sentences import signInText

    when = datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert '<a href="https://login.example/a?b&amp;c">' in signInText("https://login.example/a?b&c", "CODE", when)
    assert "<a " not in signInText("file:///etc/passwd", "CODE", when)
    assert "<b>x" not in signInText("javascript:alert(1)", "<b>x", when)
