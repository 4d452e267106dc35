"""A scripted module as small as can be, for the tests of the headless host."""

from __future__ import annotations

import qt
import slicer
from ExampleLib.words import shout
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

events: list[str] = []


class Example(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Example")
        parent.categories = ["Examples"]
        slicer.app.connect("startupCompleted()", lambda: events.append("started"))


class ExampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/Example.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = ExampleLogic()
        self.ui.runButton.connect("clicked(bool)", self.onRun)
        self.shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+Return"), self.parent)
        self.shortcut.connect("activated()", self.onRun)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneClosed)
        self.layout.addStretch(1)

    def enter(self):
        events.append("entered")

    def exit(self):
        events.append("left")

    def cleanup(self):
        self.removeObservers()
        events.append("cleaned up")

    def onSceneClosed(self, caller, event):
        events.append("scene closed")

    def onRun(self):
        words = self.ui.promptEdit.plainText
        self.ui.status.text = shout(words)
        self.logic.getParameterNode().SetParameter("Words", words)
        if words == "divide":
            1 / 0
        if words == "ask":
            self.ui.status.text = "granted" if slicer.util.confirmOkCancelDisplay("May I?") else "declined"
        if words == "fail":
            with slicer.util.tryWithErrorDisplay("It failed."):
                raise ValueError("because")
        if words == "install":
            slicer.util.pip_install("something")


class ExampleLogic(ScriptedLoadableModuleLogic):
    pass


class ExampleTest(ScriptedLoadableModuleTest):
    pass
