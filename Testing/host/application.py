"""Doubles of slicer.app and what hangs on it: module manager, layout manager, settings, I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore

from . import idle, signals
from .ctk_module import qt
from .qt_classes import adopt
from .scene import ApplicationScene
from .signals import HostSignal


class Sender:
    """A plain object that has signals."""

    connect, disconnect = signals.connect, signals.disconnect


class ModuleManager(Sender):
    """Knows the loaded modules by name."""

    moduleAboutToBeUnloaded = HostSignal("moduleAboutToBeUnloaded(QString)")
    moduleLoaded = HostSignal("moduleLoaded(QString)")

    def __init__(self) -> None:
        self.modules: dict[str, Any] = {}

    def module(self, name: str) -> Any:
        return self.modules.get(name)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self.modules)

    def factoryManager(self) -> Any:
        return self

    def loadedModuleNames(self) -> tuple[str, ...]:
        return tuple(self.modules)


class SliceView:
    def __init__(self, node: Any):
        self._node = node

    def mrmlSliceNode(self) -> Any:
        return self._node

    def forceRender(self) -> None:
        pass

    scheduleRender = forceRender


class SliceWidget:
    """What layoutManager().sliceWidget("Red") gives: the real slice logic and nodes, without a window."""

    def __init__(self, logic: Any):
        self._logic = logic

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> SliceView:
        return SliceView(self._logic.GetSliceNode())

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToAll()


class ThreeDWidget:
    """A 3D view without a window."""

    def __init__(self, node: Any):
        self._node = node

    def threeDView(self) -> ThreeDWidget:
        return self

    def mrmlViewNode(self) -> Any:
        return self._node

    def resetFocalPoint(self) -> None:
        pass

    resetCamera = forceRender = scheduleRender = resetFocalPoint

    def threeDController(self) -> ThreeDWidget:
        return self


class LayoutManager(Sender):
    """The standard layout: three slice views and one 3D view."""

    layoutChanged = HostSignal("layoutChanged(int)")

    def __init__(self, scene: ApplicationScene):
        self._scene = scene
        self.layout = 3
        self.threeDViewCount = 1

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._scene.slice_logics)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        logic = self._scene.slice_logics.get(name)
        return SliceWidget(logic) if logic is not None else None

    def mrmlSliceLogics(self) -> Any:
        return self._scene.application_logic.GetSliceLogics()

    def threeDWidget(self, index: int) -> ThreeDWidget:
        return ThreeDWidget(self._scene.view)

    def setLayout(self, layout: int) -> None:
        self.layout = layout
        self.layoutChanged.emit(layout)

    def resetSliceViews(self) -> None:
        for each in self._scene.slice_logics.values():
            each.FitSliceToAll()

    def resetThreeDViews(self) -> None:
        pass


class CoreIOManager:
    """Loads and saves the file types that the tests use, by the nodes' own storage."""

    def __init__(self, scene: ApplicationScene):
        self._scene = scene

    def loadNodes(self, fileType: str, properties: dict, collection: Any = None, messages: Any = None) -> bool:
        """slicer.util.loadVolume and loadSegmentation come here."""
        path = properties["fileName"]
        name = properties.get("name") or Path(path).name.split(".")[0]
        if fileType == "VolumeFile":
            flags = 1 if properties.get("labelmap") else 0
            node = self._scene.logics["Volumes"].AddArchetypeVolume(path, name, flags)
        elif fileType == "SegmentationFile":
            storage = self._scene.scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
            storage.SetFileName(path)
            node = self._scene.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
            node.SetAndObserveStorageNodeID(storage.GetID())
            if not storage.ReadData(node):
                self._scene.scene.RemoveNode(node)
                node = None
        elif fileType == "SceneFile":
            self._scene.scene.SetURL(path)
            loaded = self._scene.scene.ReadFromMRB(path) if path.endswith(".mrb") else self._scene.scene.Import()
            return bool(loaded)
        else:
            raise NotImplementedError(f"The host does not load {fileType}.")
        if node is not None and collection is not None:
            collection.AddItem(node)
        return node is not None

    def saveNodes(self, fileType: str, properties: dict, messages: Any = None) -> bool:
        """slicer.util.saveNode and saveScene come here."""
        scene, path = self._scene.scene, properties["fileName"]
        if fileType == "SceneFile":
            return bool(scene.WriteToMRB(path)) if path.endswith(".mrb") else bool(scene.Commit(path))
        node = scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))

    def fileWriterFileType(self, node: Any) -> str:
        return node.GetClassName()

    def addDefaultStorageNodes(self) -> None:
        pass


class Application(Sender):
    """slicer.app, as far as scripted modules ask it."""

    startupCompleted = HostSignal("startupCompleted()")
    aboutToQuit = HostSignal("aboutToQuit()")
    lastWindowClosed = HostSignal("lastWindowClosed()")
    mrmlSceneChanged = HostSignal("mrmlSceneChanged(vtkMRMLScene*)")
    applicationName, mainApplicationName = "Slicer", "Slicer"
    majorVersion, minorVersion, applicationVersion, revision, platform, os, arch = 5, 12, "5.12.3", "34000", "linux-amd64", "linux", "amd64"
    documentationBaseUrl = "https://slicer.readthedocs.io/en/5.12/"
    errorLogModel = staticmethod(lambda: None)

    def __init__(self, folder: Path, scene: ApplicationScene):
        self._scene = scene
        self._settings = qt.QSettings(str(folder / "Slicer.ini"), qt.QSettings.IniFormat)
        self.temporaryPath, self.slicerHome = str(folder / "temporary"), str(folder / "home")
        for each in (self.temporaryPath, self.slicerHome):
            Path(each).mkdir(parents=True, exist_ok=True)
        self.defaultScenePath = self.slicerHome
        self.slicerUserSettingsFilePath = str(folder / "Slicer.ini")
        self.slicerRevisionUserSettingsFilePath = str(folder / "Slicer-34000.ini")
        self.commandOptions = lambda: CommandOptions()
        self._manager, self._layout, self._io = ModuleManager(), LayoutManager(scene), CoreIOManager(scene)
        self._properties: dict[str, Any] = {}
        self._translators: list[QtCore.QTranslator] = []
        self.pauses = 0

    def processEvents(self, *flags: Any) -> None:
        """Handle what waits, with the GIL held."""
        idle.process_events()

    def settings(self) -> Any:
        return self._settings

    userSettings = revisionUserSettings = settings

    def testingEnabled(self) -> bool:
        """False: the module has to behave as it does for a person."""
        return False

    def translate(self, context: str, text: str, *rest: Any) -> str:
        return QtCore.QCoreApplication.translate(context, text, *rest)

    @property
    def applicationLocaleName(self) -> str:
        """The language that the person has chosen in Slicer's settings."""
        return str(self._settings.value("language") or "en_US")

    def loadTranslations(self, folder: str) -> None:
        """By Slicer's rules: every .qm file whose name ends with the language and region, else with the language."""
        language = self.applicationLocaleName
        for ending in (language, language.replace("_", "-"), language.split("_")[0]):
            files = sorted(Path(folder).glob(f"*{ending}.qm"))
            for file in files:
                translator = QtCore.QTranslator()
                if translator.load(str(file)):
                    QtCore.QCoreApplication.installTranslator(translator)
                    self._translators.append(translator)
            if files:
                return

    def forgetTranslations(self) -> None:
        """For the host's end: the QApplication outlives it."""
        while self._translators:
            QtCore.QCoreApplication.removeTranslator(self._translators.pop())

    def property(self, name: str) -> Any:
        return self._properties.get(name)

    def setProperty(self, name: str, value: Any) -> None:
        self._properties[name] = value

    def mrmlScene(self) -> Any:
        return self._scene.scene

    def applicationLogic(self) -> Any:
        return self._scene.application_logic

    def moduleManager(self) -> ModuleManager:
        return self._manager

    def moduleLogic(self, name: str) -> Any:
        return self._scene.logics.get(name)

    def layoutManager(self) -> LayoutManager:
        return self._layout

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    ioManager = coreIOManager

    def topLevelWidgets(self) -> list:
        return [each for each in qt.QApplication.topLevelWidgets() if each.parent() is None]

    def mainWindow(self) -> Any:
        return None

    def pauseRender(self) -> None:
        self.pauses += 1

    def resumeRender(self) -> None:
        self.pauses -= 1

    setRenderPaused = staticmethod(lambda paused: None)

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def pythonConsole(self) -> None:
        return None

    def sendDelayedEvents(self) -> None:
        idle.process_events()

    def applicationPid(self) -> int:
        import os

        return os.getpid()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the QApplication's: palette, clipboard, cursors, fonts, focusWidget."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(adopt(qt.QApplication.instance()), name)


class CommandOptions:
    """Slicer's command line: none of its flags given."""

    def __getattr__(self, name: str) -> bool:
        return False
