"""Adapters: small heads on the index's vectors. Train one on a set of labels, see what it achieves, and ask it."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from ..files.head_chart import render_confusion
from ..logic.jobs import Job
from ..scene import tables
from . import adapter_plots
from .hits_grid import nameText, placeText
from .pixmaps import Watcher, pixmapFromImage
from .search_context import SearchContext
from .sentences import worded
from .task_box import TaskBox
from .widgets import Choice, fillTable, plain, setTip, setUpTable, showSentence

if TYPE_CHECKING:
    from ..api.adapters import AppliedResult
    from ..search.measures import Figures
    from ..tasks.adapters import AdapterResult, Told

INDEX, VOLUME = "index", "volume"
_EACH = ""  # each series is a patient of its own
_MOST_ROWS = 10
_ENDING = ".npz"


class AdapterFile:
    """Which adapter is used, and what it achieves.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.

    Attributes:
        figures: of the last training or evaluation, None before.
    """

    def __init__(self, ui: Any, context: SearchContext):
        self._ui, self._context = ui, context
        self.figures: Figures | None = None
        self._drawn: tuple = ()
        setUpTable(ui.figuresTable, [_("Measure"), _("Value"), _("95 %")], widest=0)
        ui.adapterOpenButton.connect("clicked()", self._open)
        ui.rocPlotButton.connect("clicked()", lambda: self._chart(adapter_plots.rocChart))
        ui.reliabilityPlotButton.connect("clicked()", lambda: self._chart(adapter_plots.reliabilityChart))
        ui.confusionTableButton.connect("clicked()", self._confusion)
        self._watcher = Watcher(onResize=self.draw)
        ui.SimilarImages.installEventFilter(self._watcher)

    @property
    def path(self) -> str:
        """Of the file, "" where none was chosen."""
        return str(self._context.choices["adapter"])

    def use(self, path: str) -> None:
        """Evaluate and apply this one from now on; what another achieves is shown no longer."""
        self._context.choices["adapter"] = path
        self.figures, self._drawn = None, ()
        for widget in (self._ui.figuresTable, self._ui.confusionLabel):
            widget.setVisible(False)
        showSentence(self._ui.figuresNoteLabel, "")
        self._context.changed()

    def show(self) -> None:
        """Show everything as it is now."""
        ui = self._ui
        name = plain(os.path.basename(self.path))  # the whole path is its tool tip: the panel is narrow
        if ui.adapterPathEdit.text != name:
            ui.adapterPathEdit.setText(name)
        if self.path:
            setTip(ui.adapterPathEdit, self.path)
        for button in (ui.rocPlotButton, ui.reliabilityPlotButton, ui.confusionTableButton):
            button.setVisible(self.figures is not None)
        ui.rocPlotButton.setEnabled(self.figures is not None and bool(self.figures.curves))

    def whyNot(self) -> str:
        """Why there is nothing to ask, "" where there may be."""
        if not self.path:
            return _("Train an adapter, or open one.")
        return "" if os.path.isfile(self.path) else _("The adapter's file was not found. Open another.")

    def take(self, result: AdapterResult) -> None:
        """Show what an adapter achieves."""
        self.figures, self._drawn = result.figures, ()
        found = result.figures
        notes = [worded(note) for note in result.report.get("warnings", ())]
        if found is not None:
            what = _("Measured on {items} images of {groups} patients.").format(items=f"{found.items:,}", groups=f"{found.groups:,}")
            notes.insert(0, what)
        fillTable(self._ui.figuresTable, _figureRows(found) if found is not None else ())
        self._ui.confusionLabel.setVisible(found is not None)
        self.draw()
        showSentence(self._ui.figuresNoteLabel, "\n".join(notes))

    def draw(self) -> None:
        """Draw the confusion matrix as wide as there is room for."""
        label = self._ui.confusionLabel
        room = max(120, label.parentWidget().width - 12)
        if self.figures is None or self._drawn == (room, id(self.figures)):
            return
        self._drawn = (room, id(self.figures))
        picture = render_confusion(self.figures)
        if picture.width > room:
            picture = picture.resize((room, round(picture.height * room / picture.width)))
        label.setPixmap(pixmapFromImage(picture))
        label.setFixedHeight(picture.height)

    def folder(self) -> str:
        """Where to begin to look for a file."""
        folder = os.path.dirname(self.path or self._context.choices.indexPath)
        return folder if os.path.isdir(folder) else ""

    def _open(self) -> None:
        path = qt.QFileDialog.getOpenFileName(self._context.widget, _("Open an adapter"), self.folder(), _("Adapters (*.npz)"))
        if path:
            self.use(path)

    def _chart(self, make: Callable[[Figures], Any]) -> None:
        if self.figures is not None:
            tables.showChart(make(self.figures))

    def _confusion(self) -> None:
        if self.figures is not None:
            tables.showTable(adapter_plots.confusionTable(self.figures))


class TrainBox:
    """Train: a set of labels becomes an adapter. Nothing is sent anywhere.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.
        adapter: what is made goes there.
    """

    def __init__(self, ui: Any, context: SearchContext, adapter: AdapterFile):
        self._context, self._adapter = context, adapter
        self.task = TaskBox(context, ui, "train", self._start, _("Train an adapter on these labels. Nothing is sent."))
        self._set = Choice(ui.trainSetComboBox, (), lambda _key: context.changed())
        self._patients = Choice(ui.trainPatientsComboBox, ((_EACH, _("One per volume")),))
        self._kind = Choice(ui.trainKindComboBox, (("linear", _("Logistic regression")), ("network", _("Published network"))))
        self._by = Choice(
            ui.trainByComboBox, (("slice", _("Each slice")), ("mean", _("Volumes, mean")), ("statistics", _("Volumes, 7 statistics")))
        )
        self._asked = ""

    def show(self) -> None:
        """Show everything as it is now."""
        sets = self._context.summary.label_sets if self._context.summary is not None else ()
        text = _("{set} ({places} images)")
        self._set.fill([(one.set, text.format(set=one.set, places=f"{sum(one.counts.values()):,}")) for one in sets])
        self._patients.fill([(_EACH, _("One per volume")), *((one.set, one.set) for one in sets)])
        self.task.showReady(self.whyNot())

    def whyNot(self) -> str:
        """Why this cannot start, "" where it can."""
        why = self._context.whyNoIndex()
        if why or self._set.key:
            return why
        return _("The index has no labels. Label images first.")

    def _start(self) -> Job | None:
        context = self._context
        path = qt.QFileDialog.getSaveFileName(context.widget, _("Save the adapter"), self._adapter.folder(), _("Adapters (*.npz)"))
        if not path:
            return None
        self._asked = path if os.path.splitext(path)[1] else path + _ENDING
        return context.begin(
            self.task,
            lambda **how: context.logic.trainAdapter(
                self._set.key, self._asked, index=context.choices.indexPath, kind=self._kind.key, by=self._by.key,
                patients=self._patients.key, **how,
            ),
            self._take,
            sends=False,
            cancelled=_("Cancelled. No adapter was written."),
        )  # fmt: skip

    def _take(self, result: AdapterResult) -> None:
        self._adapter.use(self._asked)
        self._adapter.take(result)
        self.task.message.say(_("The adapter is trained."))


class EvaluateBox:
    """Evaluate: how good an adapter is on labelled images. Nothing is sent anywhere. Arguments as for TrainBox."""

    def __init__(self, ui: Any, context: SearchContext, adapter: AdapterFile):
        self._context, self._adapter = context, adapter
        self.task = TaskBox(context, ui, "evaluate", self._start, _("Evaluate the adapter on images of the index. Nothing is sent."))
        self._part = Choice(
            ui.evaluatePartComboBox,
            (
                ("test", _("Held-out test images")),
                ("new", _("New images")),
                ("all", _("All labeled images")),
            ),
        )

    def show(self) -> None:
        """Show everything as it is now."""
        self._adapter.show()
        self.task.showReady(self._context.whyNoIndex() or self._adapter.whyNot())

    def _start(self) -> Job | None:
        context, path = self._context, self._adapter.path
        return context.begin(
            self.task,
            lambda **how: context.logic.evaluateAdapter(path, index=context.choices.indexPath, part=self._part.key, **how),
            self._adapter.take,
            sends=False,
        )


class ApplyBox:
    """Apply: what an adapter says of the index's images, or of a volume's slices, which are sent.

    Args:
        ui: the tab's widgets.
        context: what the boxes share.
        adapter: the one to ask.
        onOpen: onOpen(answer, task) brings the person to an image.
    """

    def __init__(self, ui: Any, context: SearchContext, adapter: AdapterFile, onOpen: Callable[..., object]):
        self._ui, self._context, self._adapter, self._onOpen = ui, context, adapter, onOpen
        self.task = TaskBox(context, ui, "apply", self._start, _("Classify these images with the adapter."))
        self.result: AppliedResult | None = None
        self._to = Choice(ui.applyToComboBox, ((INDEX, _("The index")), (VOLUME, _("This volume"))), lambda _key: context.changed())
        setUpTable(ui.answersTable, [_("Image"), _("Label"), _("%")], widest=0)
        ui.answersTable.horizontalHeaderItem(2).setToolTip(_("Probability"))
        ui.answersTable.connect("cellDoubleClicked(int,int)", lambda row, _column: self._openRow(row))
        ui.answersTableButton.connect("clicked()", self._showTable)

    def show(self) -> None:
        """Show everything as it is now."""
        ofIndex = self._to.key == INDEX
        for widget in (self._ui.applyWriteLabel, self._ui.applyWriteEdit):
            widget.setVisible(ofIndex)
        self._ui.answersTableButton.setVisible(self.result is not None)
        self.task.showReady(self.whyNot())

    def whyNot(self) -> str:
        """Why this cannot start, "" where it can."""
        context = self._context
        if self._to.key == INDEX:
            return self._adapter.whyNot() or context.whyNoIndex()
        return self._adapter.whyNot() or context.whyNoVolume() or context.whyNoEndpoint()

    def _start(self) -> Job | None:
        context, path = self._context, self._adapter.path
        logic, index, node = context.logic, context.choices.indexPath, context.volumeNode
        if self._to.key == INDEX:
            write = str(self._ui.applyWriteEdit.text).strip()
            return context.begin(
                self.task, lambda **how: logic.applyAdapter(path, index=index, write=write, **how), self._take, sends=False
            )
        return context.begin(self.task, lambda **how: logic.applyAdapter(path, node, **how), self._take)

    def _take(self, result: AppliedResult) -> None:
        self._context.readIndex()  # which may have got labels
        self.result = result
        rows = []
        for answer in result.answers[:_MOST_ROWS]:
            ranked = answer.ranked(result.labels)[:_MOST_ROWS]
            best, share = ranked[0]
            tip = "\n".join([_called(answer), *(f"{label}: {100 * own:.1f} %" for label, own in ranked)])
            rows.append(((_called(answer), best, f"{100 * share:.0f}"), tip))
        fillTable(self._ui.answersTable, rows)
        counts = Counter(answer.ranked(result.labels)[0][0] for answer in result.answers)
        told = ", ".join(f"{label} {count:,}" for label, count in counts.most_common(_MOST_ROWS))
        notes = [_("{count} images: {told}.").format(count=f"{len(result.answers):,}", told=told), worded(result.failure)]
        showSentence(self._ui.answersNoteLabel, "\n".join(note for note in notes if note))

    def _openRow(self, row: int) -> None:
        if self.result is not None and 0 <= row < len(self.result.answers):
            self._onOpen(self.result.answers[row], self.task)

    def _showTable(self) -> None:
        if self.result is None or not self.result.answers:
            return
        answers, labels = self.result.answers, self.result.labels
        columns: list[tables.Column] = [
            (_("Image"), [nameText(answer.record) for answer in answers]),
            (_("Place"), [placeText(answer.record) for answer in answers]),
            (_("Label"), [answer.ranked(labels)[0][0] for answer in answers]),
            *((label, [float(answer.probabilities[place]) for answer in answers]) for place, label in enumerate(labels)),
        ]
        tables.showTable(tables.tableFromColumns(_("Adapter predictions"), columns))


def _called(answer: Told) -> str:
    return _("{place}, {name}").format(place=placeText(answer.record), name=nameText(answer.record))


def _figureRows(figures: Figures) -> Iterator[tuple[tuple[str, str, str], str]]:
    titles = {
        "accuracy": _("Accuracy"), "balanced_accuracy": _("Balanced accuracy"), "auroc": _("AUROC (mean)"),
        "average_precision": _("Average precision"), "ece": _("Calibration error"),
    }  # fmt: skip
    for name, title in titles.items():
        (low, high), value = figures.intervals[name], figures.overall[name]
        interval = f"{low:.2f}–{high:.2f}" if math.isfinite(low) else "–"
        yield (title, f"{value:.3f}" if math.isfinite(value) else "–", interval), ""
