"""Double of the table of segments, and the remaining MRML widgets that panels may use."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from .ctk_module import held, qt
from .qmrml import qMRMLNodeComboBox
from .qt_module import registerDouble
from .signals import HostSignal, call, state


@registerDouble
class qMRMLSegmentsTableView(qt.QWidget, cxx=True):
    """Lists the segments of one segmentation, with visibility and color, and follows it."""

    selectionChanged = HostSignal("selectionChanged(QItemSelection,QItemSelection)")
    segmentVisibilityChanged = HostSignal("segmentVisibilityChanged(QStringList)")
    mrmlSceneChanged = HostSignal("mrmlSceneChanged(vtkMRMLScene*)")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        table = qt.QTableWidget(0, 3)
        table.setHorizontalHeaderLabels(["", "", "Name"])
        table.horizontalHeader().stretchLastSection = True
        table.verticalHeader().visible = False
        table.selectionBehavior = qt.QAbstractItemView.SelectRows
        layout.addWidget(table)
        state(self).update(table=table, layout=layout, node=None, tags=[], ids=[])
        table.connect("itemSelectionChanged()", lambda: self.selectionChanged.emit(None, None))
        table.connect("itemChanged(QTableWidgetItem*)", self._edited)
        self.connect("destroyed()", self._stop)

    headerVisible = property(
        lambda self: state(self)["table"].horizontalHeader().visible,
        lambda self, value: setattr(state(self)["table"].horizontalHeader(), "visible", value),
    )
    visibilityColumnVisible, colorColumnVisible, opacityColumnVisible = held("v", True), held("c", True), held("o", True)
    statusColumnVisible, readOnly, filterBarVisible = held("s", False), held("readOnly", False), held("filterBarVisible", False)
    selectionMode = property(
        lambda self: state(self)["table"].selectionMode, lambda self, value: setattr(state(self)["table"], "selectionMode", value)
    )

    def setMRMLScene(self, scene: Any) -> None:
        self.mrmlSceneChanged.emit(scene)

    def segmentationNode(self) -> Any:
        return state(self)["node"]

    def setSegmentationNode(self, node: Any) -> None:
        """Show the segments of this node; None shows nothing."""
        self._stop()
        state(self)["node"] = node
        if node is not None:
            kinds = slicer.vtkSegmentation
            for event in (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified, kinds.SegmentsOrderModified):
                tag = node.GetSegmentation().AddObserver(event, lambda caller, event: call(self._fill, ()))
                state(self)["tags"].append((node.GetSegmentation(), tag))
            state(self)["tags"].append((node, node.AddObserver(vtk.vtkCommand.DeleteEvent, lambda *_: self.setSegmentationNode(None))))
        self._fill()

    def segmentCount(self) -> int:
        return len(state(self)["ids"])

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        rows = sorted({index.row() for index in state(self)["table"].selectionModel().selectedRows()})
        return tuple(state(self)["ids"][row] for row in rows)

    def setSelectedSegmentIDs(self, ids: Any) -> None:
        state(self)["table"].clearSelection()
        for each in ids:
            if each in state(self)["ids"]:
                state(self)["table"].selectRow(state(self)["ids"].index(each))

    def clearSelection(self) -> None:
        state(self)["table"].clearSelection()

    def tableWidget(self) -> Any:
        return state(self)["table"]

    def _stop(self) -> None:
        for subject, tag in state(self)["tags"]:
            subject.RemoveObserver(tag)
        state(self)["tags"].clear()

    def _edited(self, item: Any) -> None:
        if item.column() == 2 and not state(self).get("filling"):
            segment = state(self)["node"].GetSegmentation().GetSegment(state(self)["ids"][item.row()])
            segment.SetName(item.text())

    def _fill(self) -> None:
        own = state(self)
        table, node = own["table"], own["node"]
        own["filling"] = True
        own["ids"] = list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []
        table.setRowCount(len(own["ids"]))
        for row, segmentId in enumerate(own["ids"]):
            segment = node.GetSegmentation().GetSegment(segmentId)
            color = qt.QTableWidgetItem()
            color.setBackground(qt.QColor.fromRgbF(*segment.GetColor()))
            table.setItem(row, 1, color)
            table.setItem(row, 2, qt.QTableWidgetItem(segment.GetName()))
        table.resizeColumnsToContents()
        own["filling"] = False


@registerDouble
class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox, cxx=True):
    """Chooses several nodes; a test checks them with setCheckState()."""

    checkedNodesChanged = HostSignal("checkedNodesChanged()")

    def checkedNodes(self) -> tuple:
        return tuple(each for each in state(self)["nodes"] if each in state(self).setdefault("checked", []))

    def uncheckedNodes(self) -> tuple:
        return tuple(each for each in state(self)["nodes"] if each not in state(self).setdefault("checked", []))

    def setCheckState(self, node: Any, value: Any) -> None:
        checked = state(self).setdefault("checked", [])
        if (node in checked) != bool(int(value)):
            checked.append(node) if int(value) else checked.remove(node)
            self.checkedNodesChanged.emit()
