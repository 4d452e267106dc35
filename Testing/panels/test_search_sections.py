"""The tab "Find similar": labels without training, and outliers, against independent computations."""

from __future__ import annotations

import numpy as np


def test_labels_are_compared_as_an_independent_computation_says(search, double):
    import slicer

    from doubles.insight import FACTOR, image_vector, text_vector

    double.keep = True
    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.host.click("classifySection")
    search.host.type("labelsEdit", "bone\nfat\nair")
    search.look(3)
    assert search.do("classifyButton").state == "done"
    image = np.array(image_vector(double.pictures[-1]))
    texts = np.stack([text_vector(text) for text in ("bone", "fat", "air")])
    scores = np.exp(np.exp(FACTOR) * (texts @ image))
    truth = dict(zip(("bone", "fat", "air"), scores / scores.sum()))
    table = search.host.find("labelsTable")
    shown = {table.item(row, 0).text(): float(table.item(row, 1).text().rstrip(" %")) for row in range(table.rowCount)}
    assert list(shown) == sorted(truth, key=truth.get, reverse=True)
    assert all(abs(shown[name] - 100 * truth[name]) < 0.051 for name in truth)
    assert "not the chance that a patient has a finding" in search.text("labelsNoteLabel")

    search.host.choose("classifyOfComboBox", "All slices of this volume")
    search.do("classifyButton")
    search.host.click("labelsTableButton")
    search.host.click("labelsPlotButton")
    node = slicer.util.getNodesByClass("vtkMRMLTableNode")[0]
    assert node.GetNumberOfRows() == 12 and node.GetNumberOfColumns() == 4
    rows = np.array([[float(node.GetTable().GetValue(row, column).ToDouble()) for column in range(4)] for row in range(12)])
    assert list(rows[:, 0]) == list(range(12)) and np.allclose(rows[:, 1:].sum(axis=1), 1)
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 3
    assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlotChartID() == chart.GetID()


def test_outliers_are_ranked_and_a_click_on_the_map_goes_there(search):
    from PySide6 import QtCore, QtTest

    search.addCt("CT", slices=10), search.addCt("Odd", slices=3, size=72)
    search.host.choose("indexWhatComboBox", "All loaded volumes")
    search.do("indexButton")
    search.host.click("outliersSection")
    search.host.choose("outliersReferenceComboBox", "The studies selected below")
    assert search.host.find("outliersButton").toolTip == "Select the reference studies."
    studies = search.host.find("studiesList")
    assert [studies.item(row).text() for row in range(2)] == ["CT (10 images)", "Odd (3 images)"]
    studies.item(0).setCheckState(QtCore.Qt.CheckState.Checked)
    assert search.do("outliersButton").state == "done"
    table = search.host.find("outliersTable")
    assert {table.item(row, 2).text() for row in range(table.rowCount)} == {f"axial {index}, Odd" for index in range(3)}
    distances = [float(table.item(row, 1).text()) for row in range(3)]
    assert distances == sorted(distances, reverse=True)

    outliers, label = search.tab.outliers, search.host.find("mapLabel")
    shown = [(item.record.position["name"], item.record.slice_index) for item in outliers._shown]
    wanted = shown.index(("Odd", 2))
    x, y = outliers._places[wanted]
    search.tab.follower._viewId = ""
    left, none = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier
    QtTest.QTest.mouseClick(label, left, none, QtCore.QPoint(round(x), round(y)))
    search.host.process()
    assert abs(search.offset() - 4.0) < 1e-6
    assert search.host.find("searchVolumeSelector").currentNode().GetName() == "Odd"
