"""The tab "Find similar": labels given by clicking thumbnails, and adapters trained, evaluated and applied, as a person does it."""

from __future__ import annotations

import numpy as np
import pytest
from panel_support import settled, wideOnes

_LENGTH, _PATIENTS = 16, 30


def fillIndex(path: str) -> None:
    """Thirty made-up patients with two slices each; the first two numbers of a vector tell left from right, with one in ten wrong."""
    from MedImageParseLib.search.index import EmbeddingIndex
    from MedImageParseLib.search.labels import PlaceLabel
    from MedImageParseLib.search.records import Provenance, Record

    rng = np.random.default_rng(7)
    records, labels = [], []
    for patient in range(_PATIENTS):
        side = patient % 2
        for slice_index in range(2):
            vector = 0.4 * rng.normal(size=_LENGTH).astype(np.float32)
            vector[side if patient % 10 else 1 - side] += 2
            number = f"{2 * patient + slice_index:064x}"
            records.append(
                Record(
                    number, series=f"series-{patient}", plane="axial", slice_index=slice_index, vector=vector,
                    position={"name": f"knee {patient}"},
                )
            )  # fmt: skip
        labels.append(PlaceLabel("side", ("left", "right")[side], f"series-{patient}"))
    with EmbeddingIndex.open(path) as index:
        index.add(records, Provenance("medimageinsight"))
        index.add_labels(labels)


@pytest.fixture
def adapters(search, tmp_path):
    """The tab with such an index, both sections open."""
    path = str(tmp_path / "knees.index")
    fillIndex(path)
    search.tab.indexBox.useIndex(path)
    search.settle()
    for section in ("labelSection", "adapterSection"):
        search.host.click(section)
    return search


def rows(table) -> list[tuple[str, ...]]:
    return [tuple(table.item(row, column).text() for column in range(3)) for row in range(table.rowCount)]


def test_images_are_labelled_by_clicking_their_thumbnails(adapters):
    from PySide6 import QtCore, QtTest

    from MedImageParseLib.search.index import EmbeddingIndex

    host = adapters.host
    assert host.find("markButton").toolTip == "Show the images first."
    assert adapters.do("tagButton").state == "done"
    grid = host.find("tagList")
    assert grid.count == 24 and "Images 1 to 24 of 60." in adapters.text("tagNoteLabel")
    host.find("tagSetComboBox").setEditText("quality")
    host.find("tagLabelComboBox").setEditText("blurred")
    assert host.find("markButton").toolTip == "Click the images to label."
    settled(adapters)
    left, none = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier
    for row in (2, 5):
        QtTest.QTest.mouseClick(grid.viewport(), left, none, grid.visualItemRect(grid.item(row)).center())
    assert adapters.do("markButton").state == "done"
    adapters.settle()
    with EmbeddingIndex.open(adapters.indexPath, create=False) as index:
        labels = {(one.series, one.slice_index, one.label) for one in index.labels("quality")}
    assert labels == {("series-1", 0, "blurred"), ("series-2", 1, "blurred")}
    tiles = [grid.item(row).data(0x000B).split(", ")[0] for row in range(24)]  # Qt::AccessibleTextRole
    assert [row for row, label in enumerate(tiles) if label == "blurred"] == [2, 5]
    assert "quality" in [host.find("trainSetComboBox").itemText(row).split(" (")[0] for row in range(2)]

    host.click("tagNextButton")
    adapters.settle()
    assert "Images 25 to 48 of 60." in adapters.text("tagNoteLabel")
    assert wideOnes(settled(adapters)) == []


def test_an_adapter_is_trained_evaluated_and_applied_in_the_tab(adapters, tmp_path):
    import slicer
    from sklearn.metrics import accuracy_score, confusion_matrix

    from MedImageParseLib.search.heads import load_head
    from MedImageParseLib.search.index import EmbeddingIndex

    host, tab, path = adapters.host, adapters.tab, tmp_path / "side.npz"
    assert host.find("evaluateButton").toolTip == "Train an adapter, or open one."
    assert wideOnes(settled(adapters)) == []
    host.messages.answers.append(str(path)[:-4])  # the ending is added
    assert adapters.do("trainButton").state == "done"
    head = load_head(path)
    assert list(head.labels) == ["left", "right"]
    assert host.find("adapterPathEdit").text == "side.npz" and host.find("adapterPathEdit").toolTip == str(path)

    host.choose("evaluatePartComboBox", "All labeled images")
    assert adapters.do("evaluateButton").state == "done"
    with EmbeddingIndex.open(adapters.indexPath, create=False) as index:
        numbers, vectors = index.vectors(head.provenance)
        known = index.labels_of(numbers.tolist(), "side")
    told = [head.labels[place] for place in head.probabilities(vectors).argmax(axis=1)]
    truth = [known[number][0] for number in numbers.tolist()]
    shown = {name: value for name, value, _interval in rows(host.find("figuresTable"))}
    assert shown["Accuracy"] == f"{accuracy_score(truth, told):.3f}"
    assert "trained on part of these images" in adapters.text("figuresNoteLabel")

    for button in ("rocPlotButton", "reliabilityPlotButton", "confusionTableButton"):
        host.click(button)
    charts = {chart.GetTitle(): chart for chart in slicer.util.getNodesByClass("vtkMRMLPlotChartNode")}
    assert charts["ROC curves"].GetNumberOfPlotSeriesNodes() == 3 and charts["Reliability"].GetNumberOfPlotSeriesNodes() == 2
    confusion = next(node for node in slicer.util.getNodesByClass("vtkMRMLTableNode") if node.GetName() == "Confusion matrix")
    counts = [[float(confusion.GetTable().GetValue(row, 1 + column).ToDouble()) for column in range(2)] for row in range(2)]
    assert counts == confusion_matrix(truth, told).tolist()

    host.type("applyWriteEdit", "side by adapter")
    assert adapters.do("applyButton").state == "done"
    answers = tab.apply.result.answers
    assert len(answers) == 60 and len(rows(host.find("answersTable"))) == 10
    shown = host.find("answersTable").item(0, 0)
    assert shown.toolTip().startswith(shown.text() + "\n"), "the column may be too narrow for the image's name"
    left = told.count("left")
    assert f"left {left}" in adapters.text("answersNoteLabel") and f"right {60 - left}" in adapters.text("answersNoteLabel")
    with EmbeddingIndex.open(adapters.indexPath, create=False) as index:
        assert {one.set for one in index.label_sets()} == {"side", "side by adapter"}
    host.click("answersTableButton")
    assert wideOnes(settled(adapters)) == [] and host.panel.window.width == 420


def test_what_cannot_be_done_with_an_adapter_is_said_in_one_sentence(adapters, tmp_path):
    host, path, notes = adapters.host, tmp_path / "side.npz", tmp_path / "notes.npz"
    host.messages.answers.append(str(path))
    host.choose("trainKindComboBox", "Published network")
    host.click("trainButton")
    host.click("trainCancelButton")
    adapters.settle()
    assert not path.exists() and adapters.text("trainMessageLabel") == "Cancelled. No adapter was written."

    host.choose("trainKindComboBox", "Logistic regression")
    host.messages.answers.append(str(path))
    adapters.do("trainButton")
    adapters.addCt("CT")
    host.choose("searchVolumeSelector", "CT")
    host.choose("applyToComboBox", "This volume")
    assert adapters.do("applyButton").state == "failed" and adapters.tab.apply.result is None
    assert adapters.text("applyMessageLabel") == "The adapter's recipe is none of this version's; train it anew."

    notes.write_bytes(b"not an adapter")
    host.messages.answers.append(str(notes))
    host.click("adapterOpenButton")
    assert adapters.do("evaluateButton").state == "failed"
    assert "is no adapter" in adapters.text("evaluateMessageLabel")
