"""What in the index is unlike the rest: a ranking, and a map on which a click opens a slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from ..files.figures import MapPoint, render_small_map
from ..logic.jobs import Job
from ..tasks.outliers import OutlierResult, RankedItem
from .hits_grid import nameText, placeText
from .pixmaps import Watcher, pixmapFromImage
from .search_context import SearchContext
from .task_box import TaskBox
from .widgets import Choice, fillTable, plain, setUpTable, showSentence, signalsBlocked

ALL, CHOSEN = "all", "chosen"
_MOST_ROWS, _MOST_POINTS = 10, 4000  # in the table, on the map
_REACH, _LARGEST_MAP = 12, 520  # pixels: from a point at which a click still counts; wide


class OutliersBox:
    """The Outliers section. Nothing is sent anywhere: the index holds all that is needed.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.
        onOpen: onOpen(item, task) brings the person to a slice.
    """

    def __init__(self, ui: Any, context: SearchContext, onOpen: Callable[..., object]):
        self._ui, self._context, self._onOpen = ui, context, onOpen
        tip = _("Rank the images of the index by how unusual they are. Nothing is sent.")
        self.task = TaskBox(context, ui, "outliers", self._start, tip)
        self.result: OutlierResult | None = None
        self._shown: list[RankedItem] = []  # the points of the map
        self._places: list[tuple[float, float]] = []
        self._studies: list[str] = []
        self._drawn: tuple = ()
        self._reference = Choice(
            ui.outliersReferenceComboBox,
            ((ALL, _("All studies of the index")), (CHOSEN, _("The studies selected below"))),
            lambda _key: context.changed(),
        )
        self._by = Choice(ui.outliersByComboBox, (("slice", _("Slices")), ("study", _("Studies"))))
        ui.studiesList.connect("itemChanged(QListWidgetItem*)", lambda _item: context.changed())
        self._watcher = Watcher(onResize=self.drawMap)
        ui.SimilarImages.installEventFilter(self._watcher)
        self._clicks = Watcher(onClick=self._clicked)
        ui.mapLabel.installEventFilter(self._clicks)
        table = ui.outliersTable
        setUpTable(table, [_("#"), _("Distance"), _("Image")], widest=2)
        table.connect("cellActivated(int,int)", lambda row, _column: self._openRow(row))

    def show(self) -> None:
        """Show everything as it is now."""
        self._ui.studiesList.setVisible(self._reference.key == CHOSEN)
        self._showStudies()
        self.task.showReady(self.whyNot())

    def whyNot(self) -> str:
        """Why this cannot start, "" where it can."""
        why = self._context.whyNoIndex()
        if not why and self._reference.key == CHOSEN and not self._ticked():
            why = _("Select the reference studies.")
        return why

    def drawMap(self) -> None:
        """Draw the map as wide as there is room for."""
        label = self._ui.mapLabel
        side = max(120, min(_LARGEST_MAP, label.parentWidget().width - 12))
        if self.result is None or self._drawn == (side, id(self.result)):
            return
        self._drawn = (side, id(self.result))
        outside = [item for item in self.result.items if not item.in_reference]
        # The most unusual ones in full, of the others as many as a map can show.
        outside, members = outside[:_MOST_POINTS], self.result.members if outside else self.result.items[_MOST_ROWS:]
        members = members[:: max(1, len(members) // _MOST_POINTS)]
        self._shown = [*members, *(outside or self.result.items[:_MOST_ROWS])]
        points = []
        for item in self._shown:
            distance = item.distance if not outside or not item.in_reference else None
            points.append(MapPoint(*item.point, "", distance, item.distance if item.in_reference else None))
        image, self._places = render_small_map(points, side)
        label.setPixmap(pixmapFromImage(image))
        label.setFixedHeight(side)

    def itemAt(self, x: int, y: int) -> RankedItem | None:
        """The point of the map that a click at these pixels means."""
        if not self._places:
            return None
        distances = np.hypot(*(np.array(self._places) - (x, y)).T)
        nearest = int(np.argmin(distances))
        return self._shown[nearest] if distances[nearest] <= _REACH else None

    def _start(self) -> Job | None:
        context = self._context
        reference = self._ticked() if self._reference.key == CHOSEN else None
        return context.begin(
            self.task,
            lambda **how: context.logic.findOutliers(reference=reference, by=self._by.key, index=context.choices.indexPath, **how),
            self._take,
            sends=False,
        )

    def _take(self, result: OutlierResult) -> None:
        self.result = result
        items = result.items[:_MOST_ROWS]
        rows = (((str(rank), f"{item.distance:.3f}", _called(item)), _tip(item)) for rank, item in enumerate(items, start=1))
        fillTable(self._ui.outliersTable, rows)
        self._ui.mapLabel.setVisible(True)
        self._drawn = ()
        self.drawMap()
        more = len(result.items) - len(items)
        what = _("Every image is compared with all others.") if result.items[0].in_reference else _("Gray points are the reference images.")
        rest = _("{count} more images are less unusual.").format(count=f"{more:,}") if more else ""
        texts = (rest, what, _("Similar images lie close together."))
        showSentence(self._ui.outliersNoteLabel, " ".join(text for text in texts if text))

    def _openRow(self, row: int) -> None:
        if self.result is not None and 0 <= row < len(self.result.items):
            self._onOpen(self.result.items[row], self.task)

    def _clicked(self, x: int, y: int) -> None:
        item = self.itemAt(x, y)
        if item is not None:
            self._onOpen(item, self.task)

    def _ticked(self) -> list[str]:
        """Series of the ticked studies."""
        rows = range(min(self._ui.studiesList.count, len(self._studies)))
        return [self._studies[row] for row in rows if self._ui.studiesList.item(row).checkState() == qt.Qt.Checked]

    def _showStudies(self) -> None:
        studies = self._context.studies()
        if [study.series for study, _name in studies] == self._studies:
            return
        ticked = set(self._ticked())
        self._studies = [study.series for study, _name in studies]
        with signalsBlocked(self._ui.studiesList):
            self._ui.studiesList.clear()
            for study, name in studies:
                text = _("{name} (1 image)") if study.images == 1 else _("{name} ({images} images)")
                item = qt.QListWidgetItem(plain(text.format(name=name, images=study.images)))
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsSelectable)
                item.setCheckState(qt.Qt.Checked if study.series in ticked else qt.Qt.Unchecked)
                self._ui.studiesList.addItem(item)


def _called(item: RankedItem) -> str:
    place = placeText(item.record) if item.slices == 1 else _("{count} slices").format(count=item.slices)
    return _("{place}, {name}").format(place=place, name=nameText(item.record))


def _tip(item: RankedItem) -> str:
    lines = [_called(item), _("Distance {distance}").format(distance=f"{item.distance:.4f}")]
    if not np.isnan(item.percentile):
        lines.append(_("More unusual than {percent} % of the reference images.").format(percent=f"{item.percentile:.0f}"))
    return "\n".join(
        [
            *lines,
            item.record.source or _("The index does not store the location of this image."),
            _("Double-click to open that image at that slice."),
        ]
    )
