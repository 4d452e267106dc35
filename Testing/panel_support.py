"""What the panel's tests share: the module open in the headless host, an endpoint that knows the truth, small volumes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from places import LIBRARY

from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges

MODULE = LIBRARY / "MedImageParse.py"
GRAYS = {"cube": (90, 110), "bar": (190, 210)}
PROMPTS = "cube & bar & unicorn"
SHAPE = (12, 40, 48)
WIDEST = 300  # pixels that a widget may ask for, with Slicer's own font


class Opened:
    """The open panel.

    Attributes:
        host: the headless Slicer; panel: the SegmentPanel in it.
    """

    def __init__(self, host: Any):
        self.host = host

    @property
    def panel(self) -> Any:
        return self.host.widget.panel

    @property
    def jobs(self) -> list:
        return self.panel.logic.jobs

    def text(self, name: str) -> str:
        return self.host.find(name).text

    def addProfile(self, name: str, url: str, **fields: Any) -> None:
        """Keep an endpoint and choose it, as another program and then the person would."""
        from MedImageParseLib.profiles.profiles import Profile, ProfileStore

        ProfileStore().add(Profile(name=name, url=url, **fields), replace=True)
        self.panel.endpoint.readProfiles()
        self.host.choose("profileComboBox", name)

    def addVolume(self, name: str = "CT", voxels: np.ndarray | None = None, affine: np.ndarray | None = None) -> Any:
        from MedImageParseLib.imaging.volume import Volume
        from MedImageParseLib.scene.volumes import nodeFromVolume

        volume = Volume(phantom() if voxels is None else voxels, np.diag([-1.0, -1.0, 2.0, 1.0]) if affine is None else affine)
        node = nodeFromVolume(volume, name, self.host.scene)
        self.host.process()
        return node

    def makeReady(self, url: str, prompts: str = PROMPTS, **fields: Any) -> Any:
        """Volume, endpoint and prompts: all that a run needs. Returns the volume node."""
        node = self.addVolume()
        self.addProfile("Ward 3", url, **fields)
        self.host.choose("volumeSelector", "CT")
        self.host.type("promptsEdit", prompts)
        return node

    def run(self) -> Any:
        """Press Run and wait for the end. Returns the job."""
        with heldBack(self.panel):
            self.host.click("runButton")
            job = self.jobs[-1]
        self.host.wait_until(lambda: job.has_ended, 60, every=0.02)
        self.host.process()
        return job

    def segmentations(self) -> list:
        import slicer

        return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")

    def clickResult(self, row: int) -> None:
        """Click on the name of a segment, or of a prompt without one, with the mouse."""
        from PySide6 import QtCore, QtTest

        table = self.host.find("segmentsTable").tableWidget()
        shown = table.model()
        if row < shown.rowCount():
            middle = table.visualRect(shown.index(row, 3)).center()
        else:
            number = row - shown.rowCount()
            table = self.host.find("resultsTable")
            middle = table.visualItemRect(table.item(number, 0)).center()
        QtTest.QTest.mouseClick(table.viewport(), QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, middle)
        self.host.process()

    def besides(self) -> list[dict[str, str]]:
        """What stands beside each segment in Slicer's table."""
        from PySide6.QtCore import Qt

        self.host.process()
        shown = self.host.find("segmentsTable").tableWidget().model()
        roles = {"name": (3, Qt.ItemDataRole.DisplayRole), "state": (6, Qt.ItemDataRole.AccessibleTextRole),
                 "volume": (7, Qt.ItemDataRole.DisplayRole), "agreement": (8, Qt.ItemDataRole.DisplayRole),
                 "tip": (7, Qt.ItemDataRole.ToolTipRole)}  # fmt: skip
        return [
            {name: shown.data(shown.index(row, column), role) or "" for name, (column, role) in roles.items()}
            for row in range(shown.rowCount())
        ]

    def results(self) -> list[tuple[str, ...]]:
        """(name, state, volume) of the segments, and then of the prompts without one."""
        rows = [(row["name"], row["state"], row["volume"] and row["volume"] + " ml") for row in self.besides()]
        table = self.host.find("resultsTable")
        return rows + [tuple(table.item(row, column).text() for column in range(3)) for row in range(table.rowCount)]


def wideOnes(root: Any) -> list[str]:
    """Every visible widget that asks for more than it may, where its layout heeds what it asks for."""
    from PySide6 import QtWidgets

    from host.qt_classes import raw

    root = raw(root)
    faults = []
    for widget in [root, *map(raw, QtWidgets.QWidget.findChildren(root, QtWidgets.QWidget))]:
        if not QtWidgets.QWidget.isVisible(widget) or QtWidgets.QWidget.isWindow(widget):
            continue
        if QtWidgets.QWidget.sizePolicy(widget).horizontalPolicy() == QtWidgets.QSizePolicy.Policy.Ignored:
            continue
        least, wanted = QtWidgets.QWidget.minimumSizeHint(widget).width(), QtWidgets.QWidget.sizeHint(widget).width()
        if max(least, wanted, QtWidgets.QWidget.minimumWidth(widget)) > WIDEST:
            faults.append(f"{type(widget).__name__} {QtWidgets.QWidget.objectName(widget)}: at least {least}, asks for {wanted}")
    return faults


def settled(opened: Any) -> Any:
    """What the module panel holds, after as many passes of the layout as Slicer makes in the first second."""
    for _pass in range(10):
        opened.host.process()
    return opened.host.panel.scroll.widget()


@contextmanager
def heldBack(panel: Any) -> Iterator[None]:
    """No job of a panel moves on in the block: on a busy machine it would be over before the test has seen it."""
    panel._timer.stop()
    panel._isPolling = True
    try:
        yield
    finally:
        panel._timer.start()


@contextmanager
def openedPanel() -> Iterator[Opened]:
    """The module, loaded as Slicer loads it and open. At the end nothing may have gone wrong in a slot."""
    from host import Host

    with Host() as host:
        host.load_module("MedImageParse", MODULE)
        yield Opened(host)
        errors = list(host.slot_errors)
    assert errors == [] and host.slot_errors == []
    assert host.installs == []


@pytest.fixture
def opened() -> Iterator[Opened]:
    with openedPanel() as panel:
        yield panel


@pytest.fixture
def endpoint() -> Iterator[tuple[str, EndpointDouble]]:
    """(URL, double): an endpoint over HTTP that finds structures by their gray values."""
    double = EndpointDouble(GrayRanges(GRAYS))
    with double.serve() as url:
        yield url, double


class Gate:
    """Holds an endpoint's answers until it is opened."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        self._open.wait(60)

    def open(self) -> None:
        self._open.set()


def phantom() -> np.ndarray:
    """uint8, background 10, a cube of 100 and a bar of 200, without symmetry."""
    voxels = np.full(SHAPE, 10, np.uint8)
    voxels[2:8, 5:17, 8:24] = 100
    voxels[5:11, 24:36, 4:44] = 200
    return voxels


def voxelsOf(segmentationNode: Any, name: str) -> bytes:
    """A segment's voxels on the phantom's grid, read by VTK alone."""
    from scene_support import segment_on_grid

    segmentation = segmentationNode.GetSegmentation()
    return segment_on_grid(segmentationNode, segmentation.GetSegmentIdBySegmentName(name), SHAPE).tobytes()


def namesOf(segmentationNode: Any) -> list[str]:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegment(number).GetName() for number in range(segmentation.GetNumberOfSegments())]


def destroyQtObjects(*objects: Any) -> None:
    """Destroy widgets, timers and the like, as Qt may when Slicer ends, before those who hold them are closed."""
    import shiboken6

    for each in objects:
        if shiboken6.isValid(each):
            shiboken6.delete(each)


def timers() -> list[Any]:
    """Every timer that somebody holds."""
    import gc

    from PySide6 import QtCore

    return [each for each in gc.get_objects() if isinstance(each, QtCore.QTimer)]
