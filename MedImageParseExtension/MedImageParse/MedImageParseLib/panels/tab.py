"""What the module's tabs share: jobs that are polled while there are any, keys, and a scene that is followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.util import VTKObservationMixin

from ..logic.jobs import POLL_MS, JobQueue
from .parameters import PanelParameters


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
        self.widget = slicer.util.loadUI(uiPath)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.logic = logic
        self.parameters = PanelParameters(slicer.mrmlScene)
        self._chores = JobQueue()  # what need not wait for a run: the sample, finding endpoints
        self._isClosed = self._isUpdating = self._isPolling = False
        self._shortcuts: list[Any] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)

    def _begin(self, onRun: Callable[[], object], onCancel: Callable[[], object]) -> None:
        keys = (("Ctrl+Return", onRun), ("Ctrl+Enter", onRun), ("Esc", onCancel))
        self._shortcuts = [self._shortcut(*each) for each in keys]
        self.widget.setMRMLScene(slicer.mrmlScene)
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


def volumeInView() -> Any:
    """The volume that the slice views show, None where there is none."""
    selection = slicer.app.applicationLogic().GetSelectionNode()
    return slicer.mrmlScene.GetNodeByID(selection.GetActiveVolumeID() or "") if selection is not None else None
