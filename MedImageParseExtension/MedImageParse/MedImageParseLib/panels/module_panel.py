"""The module's panel: a tab bar, and below it the tab that is chosen. The second tab is made when it is opened for the first time."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from .segment_panel import SegmentPanel

SEGMENT, SIMILAR = 0, 1


class ModulePanel:
    """Both tabs.

    A bar and two widgets of which one is hidden, rather than a QTabWidget: that one is as tall as its tallest tab.

    Args:
        resourcePath: gives the full path of a resource.

    Attributes:
        widget: the root widget, to be put into the module's layout.
        segment: the SegmentPanel. similar: the SimilarPanel, None before it was opened.
    """

    def __init__(self, resourcePath: Any):
        self._resourcePath = resourcePath
        self.segment = SegmentPanel(resourcePath)
        self.similar: Any = None
        self.widget = qt.QWidget()
        self._layout = qt.QVBoxLayout(self.widget)  # with the style's margins: Slicer's panel takes them off the module's own layout
        self.tabBar = qt.QTabBar()
        self.tabBar.setObjectName("moduleTabBar")
        self.tabBar.setExpanding(False)
        self.tabBar.setDrawBase(True)
        for text, tip in (
            (_("Segment"), _("Type the names of structures to get them as segments.")),
            (_("Find similar"), _("Find similar images, compare images with labels, find outliers.")),
        ):
            self.tabBar.setTabToolTip(self.tabBar.addTab(text), tip)
        self._layout.addWidget(self.tabBar)
        self._layout.addWidget(self.segment.widget)
        self.tabBar.connect("currentChanged(int)", self._chosen)

    def enter(self) -> None:
        """The person opens the module."""
        if self.tabBar.currentIndex == SIMILAR:
            self.similar.enter()
        else:
            self.segment.enter()

    def close(self) -> None:
        """The module is closed, reloaded, or Slicer ends. Safe to call twice."""
        if self.similar is not None:
            self.similar.close()
        self.segment.close()

    def choose(self, tab: int) -> None:
        """Show a tab, SEGMENT or SIMILAR."""
        self.tabBar.setCurrentIndex(tab)

    def _chosen(self, tab: int) -> None:
        if tab == SIMILAR and self.similar is None:
            from .similar_panel import SimilarPanel

            self.similar = SimilarPanel(self._resourcePath, self.segment.endpoint.demo)
            self._layout.addWidget(self.similar.widget)
        self.segment.widget.setVisible(tab == SEGMENT)
        if self.similar is not None:
            self.similar.widget.setVisible(tab == SIMILAR)
        if tab == SIMILAR:
            self.similar.enter()
        else:
            self.similar.leave()
            self.segment.enter()
