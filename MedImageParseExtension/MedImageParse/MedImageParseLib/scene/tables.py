"""Numbers as nodes of the scene: tables, and charts made from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .session import ensureScene, importSlicer

DIAGONAL = "diagonal"  # the column of the line on which everything is as claimed, or by chance
Column = tuple[str, Sequence | np.ndarray]  # (title, texts or numbers)


def tableFromColumns(name: str, columns: Sequence[Column], scene: Any = None) -> Any:
    """A new table node.

    Args:
        name: of the node.
        columns: titles and values; texts make a column of texts, everything else one of numbers.
        scene: where it goes; None for the scene of the process.

    Returns:
        the vtkMRMLTableNode.
    """
    import vtk

    scene = scene if scene is not None else ensureScene()
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
    for title, values in columns:
        isText = any(isinstance(value, str) for value in values)
        array = vtk.vtkStringArray() if isText else vtk.vtkDoubleArray()
        array.SetName(title)
        for value in values:
            array.InsertNextValue(str(value) if isText else float(value))
        node.AddColumn(array)
    return node


def chartOfBars(table: Any, labels: str, values: str) -> Any:
    """A chart with a bar for each row. Args: the titles of the columns with the bars' names and heights."""
    return _chart(table, [_series(table, "", values, labels, isBar=True)], labels, values)


def chartOfLines(table: Any, x: str, ys: Sequence[str], yTitle: str) -> Any:
    """A chart with a line for each of the columns `ys` over the column `x`."""
    return _chart(table, [_series(table, x, y, "", isBar=False, number=number) for number, y in enumerate(ys)], x, yTitle)


def chartOfCurves(table: Any, curves: Sequence[tuple[str, str]], xTitle: str, yTitle: str, *, markers: bool = False) -> Any:
    """A chart of shares from 0 to 1 with the diagonal: ROC curves, reliability.

    Args:
        table: with a pair of columns a curve, and columns "diagonal" of 0 and 1.
        curves: the titles of the columns x and y.
        xTitle: of the axis below.
        yTitle: of the axis at the left.
        markers: mark each point.
    """
    slicer = importSlicer()
    series = [_series(table, x, y, "", isBar=False, number=number) for number, (x, y) in enumerate(curves)]
    for node in series if markers else ():
        node.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
    diagonal = _series(table, DIAGONAL, DIAGONAL, "", isBar=False, number=len(_COLORS) - 1)
    diagonal.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleDash)
    chart = _chart(table, [*series, diagonal], xTitle, yTitle)
    for setAuto, setRange in ((chart.SetXAxisRangeAuto, chart.SetXAxisRange), (chart.SetYAxisRangeAuto, chart.SetYAxisRange)):
        setAuto(False)
        setRange(0.0, 1.0)
    return chart


def showTable(table: Any) -> None:
    """Bring a table before the person's eyes, where an application runs."""
    slicer = importSlicer()
    application = getattr(slicer, "app", None)
    if application is None:
        return
    logic = application.applicationLogic()
    logic.GetSelectionNode().SetActiveTableID(table.GetID())
    logic.PropagateTableSelection()
    application.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpTableView)


def showChart(chart: Any) -> None:
    """Bring a chart before the person's eyes, where an application runs."""
    slicer = importSlicer()
    application = getattr(slicer, "app", None)
    if application is None:
        return
    logic = application.applicationLogic()
    logic.GetSelectionNode().SetActivePlotChartID(chart.GetID())
    logic.PropagatePlotChartSelection()
    application.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)


def _series(table: Any, x: str, y: str, labels: str, *, isBar: bool, number: int = 0) -> Any:
    slicer = importSlicer()
    scene = table.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", scene.GenerateUniqueName(y))
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar if isBar else slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    if x:
        node.SetXColumnName(x)
    node.SetYColumnName(y)
    if labels:
        node.SetLabelColumnName(labels)
    if not isBar:
        node.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    node.SetColor(*_COLORS[number % len(_COLORS)])
    return node


def _chart(table: Any, series: Sequence[Any], xTitle: str, yTitle: str) -> Any:
    scene = table.GetScene()
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(table.GetName()))
    for node in series:
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
    chart.SetTitle(table.GetName())
    chart.SetXAxisTitle(xTitle)
    chart.SetYAxisTitle(yTitle)
    chart.SetLegendVisibility(len(series) > 1)
    return chart


# Eight that differ in brightness too (Okabe and Ito's palette, 2008), for people who see fewer colors.
_COLORS = (
    (0.0, 0.45, 0.7), (0.9, 0.6, 0.0), (0.0, 0.62, 0.45), (0.8, 0.47, 0.65),
    (0.34, 0.71, 0.91), (0.84, 0.37, 0.0), (0.94, 0.89, 0.26), (0.4, 0.4, 0.4),
)  # fmt: skip
