"""What the module's tabs share: jobs that are polled while there are any, keys, and a scene that is followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..errors import MedImageParseError
from ..logic.jobs import POLL_MS, JobQueue
from .parameters import PanelParameters
from .widgets import Timer, signalsBlocked

_LEAST_WIDTH = 320  # pixels of what a dialog holds


class Tab(VTKObservationMixin):
    """One tab. What is derived has `update()`, `settings`, `endpoint`, `follower` and `_sceneIsAnother()`, and calls `_begin` at the end of its
    constructor.

    Args:
        uiPath: full path of the .ui file.
        logic: what runs the jobs; it belongs to the tab from now on.

    Attributes:
        widget: the root widget, to be put into the module's layout. ui: its children by name.
        parameters: choices that travel with the scene.
    """

    settings: Any
    endpoint: Any
    follower: Any

    def __init__(self, uiPath: str, logic: Any):
        VTKObservationMixin.__init__(self)
        self.widget = loadWidgets(uiPath)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.logic = logic
        # The scene first: a node selector that is given one says that no node is chosen, and nobody may take that for a choice.
        self._selectors = [each for each in vars(self.ui).values() if hasattr(each, "currentNodeChanged")]
        with signalsBlocked(*self._selectors):
            self.widget.setMRMLScene(slicer.mrmlScene)
        self.parameters = PanelParameters(slicer.mrmlScene)
        self._chores = JobQueue()  # what need not wait for a run: the sample, finding endpoints
        self._isClosed = self._isUpdating = self._isPolling = False
        self._shortcuts: list[Any] = []
        self._timer = Timer(self._poll, POLL_MS, isOnce=False)

    def _begin(self, onRun: Callable[[], object], onCancel: Callable[[], object]) -> None:
        keys = (("Ctrl+Return", onRun), ("Ctrl+Enter", onRun), ("Esc", onCancel))
        self._shortcuts = [self._shortcut(*each) for each in keys]
        self._observeScene()

    def update(self) -> None:
        """Show everything as it is now."""
        raise NotImplementedError

    def close(self) -> None:
        """The module is closed, reloaded, or Slicer ends: nothing of the tab runs on. Safe to call twice."""
        if not self._isClosed:
            self._isClosed = True
            self._end()

    def _end(self) -> None:
        self._timer.stop()
        self.removeObservers()
        self.follower.stop()
        self.settings.close()
        self.logic.close()
        self._chores.close()

    # --- the scene ---------------------------------------------------------------------------------------------------

    def _observeScene(self) -> None:
        self.removeObservers()
        scene = slicer.mrmlScene
        self.parameters.attach()
        for event, slot in (
            (scene.StartCloseEvent, self._sceneCloses),
            (scene.EndCloseEvent, self._sceneIsAnother),
            (scene.EndImportEvent, self._sceneIsAnother),
            (scene.EndRestoreEvent, self._sceneIsAnother),
            (scene.NodeRemovedEvent, self._sceneChanged),
            (scene.NodeAddedEvent, self._sceneChanged),
        ):
            self.addObserver(scene, event, slot)
        self.addObserver(self.parameters.node, vtk.vtkCommand.ModifiedEvent, self._sceneChanged)
        self.follower.start()

    def _sceneCloses(self, _caller: object, _event: object) -> None:
        """The scene is about to be closed; jobs about its nodes notice by themselves."""

    def _sceneIsAnother(self, _caller: object, _event: object) -> None:
        self._observeScene()
        self.update()

    def _sceneChanged(self, _caller: object, _event: object) -> None:
        if not slicer.mrmlScene.IsBatchProcessing() and not slicer.mrmlScene.IsClosing():
            self.update()

    def chooseNode(self, role: str, node: Any) -> None:
        """What a node selector tells. While a scene is opened or closed its nodes come and go, and that is nobody's choice."""
        scene = slicer.mrmlScene
        if not (self._isClosed or self._isUpdating or scene.IsBatchProcessing() or scene.IsClosing() or scene.IsImporting()):
            self.parameters.setNodeFor(role, node)

    def _endpointChanged(self) -> None:
        self.update()
        self._wake()

    # --- time --------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Poll from now on, until there is nothing left to do."""
        if not self._isClosed and not self._isPolling:
            self._isPolling = True
            self._timer.start()

    def _poll(self) -> None:
        self.logic.poll()
        self._chores.poll()
        self.settings.poll()
        self.endpoint.poll()
        if self.logic.isIdle and self._chores.is_idle:
            self._isPolling = False
            self._timer.stop()

    def _shortcut(self, keys: str, slot: Callable[[], object]) -> Any:
        shortcut = qt.QShortcut(qt.QKeySequence(keys), self.widget)
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        shortcut.connect("activated()", slot)
        return shortcut


class PanelFault(MedImageParseError):
    """The panel cannot be built in this Slicer."""


def loadWidgets(uiPath: str) -> Any:
    """The widget of a .ui file.

    Raises:
        PanelFault: this Slicer lacks some of the widgets: Qt then puts plain ones in their place, which can do nothing.
    """
    widget = slicer.util.loadUI(uiPath)
    tree = ElementTree.parse(uiPath)
    custom = {each.text or "" for each in tree.iterfind("customwidgets/customwidget/class")}
    # One walk through the widgets: a search by name goes through all of them in Python each time.
    found: dict[str, str] = {}
    for each in (widget, *slicer.util.findChildren(widget)):
        found.setdefault(getattr(each, "name", ""), each.className())
    wanted = ((each.get("class"), each.get("name")) for each in tree.iter("widget"))
    missing = {kind for kind, name in wanted if kind in custom and found.get(name or "") != kind}
    if missing:
        raise PanelFault(
            _(
                "The panel cannot be shown, because this Slicer lacks the widgets {widgets}; install the extension again for this version of"
                " Slicer, or Slicer itself."
            ).format(widgets=", ".join(sorted(missing)))
        )
    return widget


def scrollingDialog(widget: Any, title: str, size: tuple[int, int]) -> Any:
    """A window of its own with a widget that may be taller than the screen, and Close. It does not wait.

    Args:
        widget: what it holds.
        title: of the window.
        size: width and height in pixels.
    """
    dialog = qt.QDialog(slicer.util.mainWindow())
    dialog.setWindowTitle(title)
    layout = qt.QVBoxLayout(dialog)
    area = qt.QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(qt.QFrame.NoFrame)
    area.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    area.setWidget(widget)
    area.setMinimumWidth(_LEAST_WIDTH)
    layout.addWidget(area)
    buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Close)
    buttons.connect("rejected()", dialog.hide)
    layout.addWidget(buttons)
    dialog.resize(*size)
    return dialog


def volumeInView() -> Any:
    """The volume that the slice views show, None where there is none."""
    selection = slicer.app.applicationLogic().GetSelectionNode()
    return slicer.mrmlScene.GetNodeByID(selection.GetActiveVolumeID() or "") if selection is not None else None
