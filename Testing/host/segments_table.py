"""Double of the table of segments, and the remaining MRML widgets that panels may use."""

from __future__ import annotations

import functools
from typing import Any

import slicer
import vtk
from PySide6 import QtCore

from .ctk_module import held, qt
from .qmrml import qMRMLNodeComboBox
from .qt_module import registerDouble
from .signals import HostSignal, call, state

_EYE, _COLOR, _OPACITY, _NAME, _LAYER, _STATUS = range(6)
_SEGMENT_ID = int(QtCore.Qt.ItemDataRole.UserRole) + 1
_NO_TERMINOLOGY = "No terminology information"


class qMRMLSegmentsModel(qt.QStandardItemModel, cxx=True):
    """The rows of the table; Slicer writes its own six columns, and passes over those that somebody appends."""

    nameColumn, opacityColumn, statusColumn = property(lambda self: _NAME), property(lambda self: _OPACITY), property(lambda self: _STATUS)


class qMRMLSortFilterSegmentsProxyModel(qt.QSortFilterProxyModel, cxx=True):
    """Passes on the segments whose name holds the text filter."""

    textFilter = property(lambda self: state(self).get("text", ""), lambda self, text: self.setTextFilter(text))

    def setTextFilter(self, text: str) -> None:
        state(self)["text"] = text
        self.setFilterKeyColumn(_NAME)
        self.setFilterFixedString(text)

    def segmentIDFromIndex(self, index: Any) -> str:
        return index.sibling(index.row(), 0).data(_SEGMENT_ID) or ""


@functools.lru_cache(maxsize=1)
def _eye() -> Any:
    """What Slicer shows for a visible segment, drawn anew."""
    pixmap = qt.QPixmap(16, 16)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setPen(qt.QColor(110, 110, 110))
    painter.setBrush(qt.QColor(255, 255, 255))
    painter.drawEllipse(1, 4, 14, 8)
    painter.setBrush(qt.QColor(60, 90, 140))
    painter.drawEllipse(5, 5, 6, 6)
    painter.end()
    return qt.QIcon(pixmap)


def _columnSwitch(column: int) -> property:
    return property(
        lambda self: not state(self)["table"].isColumnHidden(column),
        lambda self, value: state(self)["table"].setColumnHidden(column, not value),
    )


@registerDouble
class qMRMLSegmentsTableView(qt.QWidget, cxx=True):
    """Lists the segments of one segmentation, with visibility, color, opacity and name, and follows it."""

    selectionChanged = HostSignal("selectionChanged(QItemSelection,QItemSelection)")
    segmentAboutToBeModified = HostSignal("segmentAboutToBeModified(QString)")
    mrmlSceneChanged = HostSignal("mrmlSceneChanged(vtkMRMLScene*)")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        table, model, proxy = qt.QTableView(), qMRMLSegmentsModel(0, 6), qMRMLSortFilterSegmentsProxyModel()
        model.setHorizontalHeaderLabels(["", "", "Opacity", "Name", "Layer", ""])
        proxy.setSourceModel(model)
        table.setModel(proxy)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(_NAME, qt.QHeaderView.Stretch)
        header.setStretchLastSection(False)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.verticalHeader().visible = False
        table.selectionBehavior = qt.QAbstractItemView.SelectRows
        table.setMinimumHeight(75)
        table.setColumnHidden(_LAYER, True)
        layout.addWidget(table)
        state(self).update(table=table, model=model, proxy=proxy, layout=layout, node=None, tags=[])
        table.selectionModel().connect("selectionChanged(QItemSelection,QItemSelection)", lambda *_: self.selectionChanged.emit(None, None))
        model.connect("itemChanged(QStandardItem*)", self._edited)
        self.connect("destroyed()", self._stop)

    headerVisible = property(
        lambda self: state(self)["table"].horizontalHeader().visible,
        lambda self, value: setattr(state(self)["table"].horizontalHeader(), "visible", value),
    )
    visibilityColumnVisible, colorColumnVisible = _columnSwitch(_EYE), _columnSwitch(_COLOR)
    opacityColumnVisible, statusColumnVisible, layerColumnVisible = _columnSwitch(_OPACITY), _columnSwitch(_STATUS), _columnSwitch(_LAYER)
    readOnly, filterBarVisible = held("readOnly", False), held("filterBarVisible", False)
    jumpToSelectedSegmentEnabled = held("jump", False)
    segmentCount = property(lambda self: state(self)["proxy"].rowCount())
    textFilter = property(lambda self: state(self)["proxy"].textFilter, lambda self, text: state(self)["proxy"].setTextFilter(text))
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

    def segmentIDForRow(self, row: int) -> str:
        return state(self)["proxy"].segmentIDFromIndex(state(self)["proxy"].index(row, 0))

    def rowForSegmentID(self, segmentId: str) -> int:
        return next((row for row in range(self.segmentCount) if self.segmentIDForRow(row) == segmentId), -1)

    def displayedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self.segmentIDForRow(row) for row in range(self.segmentCount))

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        rows = sorted({index.row() for index in state(self)["table"].selectionModel().selectedRows()})
        return tuple(self.segmentIDForRow(row) for row in rows)

    def setSelectedSegmentIDs(self, ids: Any) -> None:
        state(self)["table"].clearSelection()
        for each in ids:
            if self.rowForSegmentID(each) >= 0:
                state(self)["table"].selectRow(self.rowForSegmentID(each))

    def clearSelection(self) -> None:
        state(self)["table"].clearSelection()

    def jumpSlices(self) -> None:
        """Go to the middle of the selected segment."""
        for each in self.selectedSegmentIDs()[:1]:
            center = state(self)["node"].GetSegmentCenterRAS(each)
            if center is not None:
                slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *center)

    def model(self) -> Any:
        return state(self)["model"]

    def sortFilterProxyModel(self) -> Any:
        return state(self)["proxy"]

    def tableWidget(self) -> Any:
        return state(self)["table"]

    def _stop(self) -> None:
        for subject, tag in state(self)["tags"]:
            subject.RemoveObserver(tag)
        state(self)["tags"].clear()

    def _edited(self, item: Any) -> None:
        if state(self).get("filling") or not item.data(_SEGMENT_ID) or item.column() != _NAME:
            return
        segment = state(self)["node"].GetSegmentation().GetSegment(item.data(_SEGMENT_ID))
        segment.SetName(item.text())
        if item.toolTip() != _NO_TERMINOLOGY:
            item.setToolTip(_NO_TERMINOLOGY)  # as Slicer does: a tip of somebody else does not stay

    def _fill(self) -> None:
        """Rows are kept by their segment's ID, whatever else is in them; their order is that of the segmentation."""
        own = state(self)
        model, node = own["model"], own["node"]
        wanted = list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []
        own["filling"] = True
        for row in reversed(range(model.rowCount())):
            if model.item(row, 0).data(_SEGMENT_ID) not in wanted:
                model.removeRow(row)
        for row, segmentId in enumerate(wanted):
            at = next((each for each in range(model.rowCount()) if model.item(each, 0).data(_SEGMENT_ID) == segmentId), None)
            if at is None:
                items = [qt.QStandardItem() for _column in range(model.columnCount())]
                for item in items:
                    item.setData(segmentId, _SEGMENT_ID)
                model.insertRow(row, items)
            elif at != row:
                model.insertRow(row, model.takeRow(at))
            segment = node.GetSegmentation().GetSegment(segmentId)
            model.item(row, _EYE).setIcon(_eye())
            model.item(row, _COLOR).setBackground(qt.QColor.fromRgbF(*segment.GetColor()))
            model.item(row, _OPACITY).setText("1.00")
            model.item(row, _NAME).setText(segment.GetName())
            model.item(row, _NAME).setToolTip(_NO_TERMINOLOGY)
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
