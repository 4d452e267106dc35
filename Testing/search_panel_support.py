"""What the tests of the search tab share: the tab open in the headless host, a MedImageInsight double behind it, two small CTs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from embed_support import made_up_ct
from panel_support import Opened, heldBack, openedPanel

from doubles.insight import InsightDouble

PROFILE = "Image search"


class SearchOpened(Opened):
    """The open tab. `tab` is the SimilarPanel."""

    @property
    def tab(self) -> Any:
        return self.host.widget.tabs.similar

    @property
    def indexPath(self) -> str:
        return self.tab.context.choices.indexPath

    def openTab(self) -> None:
        self.host.find("moduleTabBar").setCurrentIndex(1)
        self.host.process()
        self.settle()

    def settle(self, seconds: float = 60) -> None:
        """Until every job of the tab has ended."""
        self.host.wait_until(lambda: self.tab.logic.isIdle, seconds, every=0.02)
        self.host.process()

    def useEndpoint(self, url: str, **fields: Any) -> None:
        from MedImageParseLib.profiles.profiles import Profile, ProfileStore

        ProfileStore().add(Profile(PROFILE, url, **fields), replace=True)
        self.tab.endpoint.readProfiles()
        self.host.choose("searchProfileComboBox", PROFILE)

    def addCt(self, name: str, **made: Any) -> Any:
        ct = made_up_ct(**made)
        return self.addVolume(name, ct.voxels, ct.ijk_to_ras)

    def fill(self) -> None:
        """Everything that the tab can show of one volume: an index, hits, outliers, and every section open."""
        self.addCt("CT")
        self.host.choose("searchVolumeSelector", "CT")
        self.do("indexButton")
        self.do("similarButton")
        for section in ("indexOptionsButton", "classifySection", "outliersSection"):
            self.host.click(section)
        self.do("outliersButton")

    def do(self, button: str) -> Any:
        """Press a button of the tab and wait for the end. Returns the job."""
        task = {box.task._button.objectName: box.task for box in self.tab._boxes}[button]
        with heldBack(self.tab):
            self.host.click(button)
            job = task.job
        assert job is not None, self.text(button.replace("Button", "MessageLabel"))
        self.host.wait_until(lambda: job.has_ended, 60, every=0.02)
        self.settle()
        return job

    def look(self, sliceIndex: int, view: str = "Red") -> None:
        """Scroll a slice view to a slice of the made-up CT (2 mm apart, the first at 0) and move the mouse into it."""
        import slicer

        node = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
        node.SetSliceOffset(2.0 * sliceIndex)
        self.tab.follower._viewId = node.GetID()
        self.tab.update()

    def offset(self, view: str = "Red") -> float:
        import slicer

        return slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode().GetSliceOffset()

    def grid(self) -> list[tuple[str, str, str]]:
        """(similarity, study, slice) of the tiles, in order."""
        hits = self.host.find("hitsList")
        return [tuple(hits.item(row).data(0x000B).split(", ")) for row in range(hits.count)]  # Qt::AccessibleTextRole

    def openTile(self, row: int) -> None:
        """Double-click on a tile."""
        from PySide6 import QtCore, QtTest

        hits = self.host.find("hitsList")
        middle = hits.visualItemRect(hits.item(row)).center()
        left, none = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier
        QtTest.QTest.mouseClick(hits.viewport(), left, none, middle)
        QtTest.QTest.mouseDClick(hits.viewport(), left, none, middle)
        self.host.process()


@contextmanager
def openedTab(url: str = "") -> Iterator[SearchOpened]:
    with openedPanel() as opened:
        search = SearchOpened(opened.host)
        search.openTab()
        if url:
            search.useEndpoint(url)
        yield search


@pytest.fixture
def double() -> Iterator[InsightDouble]:
    """The endpoint behind `search`."""
    yield InsightDouble()


@pytest.fixture
def search(double: InsightDouble) -> Iterator[SearchOpened]:
    """The tab open, with an endpoint chosen."""
    with double.serve() as url, openedTab(url) as opened:
        yield opened


def coarse(voxels: np.ndarray) -> np.ndarray:
    """A slice as the double sees it, worked out by hand: HU from -1000 to 1000 as 0 to 1, in 20x20 blocks, and a constant; unit length."""
    gray = np.clip((voxels.astype(float) + 1000) / 2000, 0, 1)
    size = gray.shape[0] // 20
    blocks = gray.reshape(20, size, 20, size).mean(axis=(1, 3)).ravel()
    vector = np.concatenate([blocks, [0.2]])
    return vector / np.linalg.norm(vector)
