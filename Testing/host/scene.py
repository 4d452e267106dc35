"""The application's scene and logics, started in the order in which Slicer starts them, on slicer-core's real MRML."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import slicer
import vtk

_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}
_SLICES = {
    "Red": ("R", "Axial", (0.95, 0.29, 0.24)),
    "Yellow": ("Y", "Sagittal", (0.93, 0.84, 0.3)),
    "Green": ("G", "Coronal", (0.43, 0.69, 0.29)),
}


class ApplicationScene:
    """The scene, the application logic, the modules' logics and the three slice logics."""

    def __init__(self, folder: Path):
        warnings = vtk.vtkObject.GetGlobalWarningDisplay()
        vtk.vtkObject.SetGlobalWarningDisplay(0)  # the logics miss files that a Slicer installation has and slicer-core has not
        try:
            self.scene = slicer.vtkMRMLScene()
            self._cache, self._data = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
            (folder / "cache").mkdir(parents=True, exist_ok=True)
            self._cache.SetRemoteCacheDirectory(str(folder / "cache"))
            self._data.SetCacheManager(self._cache)
            self.scene.SetCacheManager(self._cache)
            self.scene.SetDataIOManager(self._data)
            self.application_logic = slicer.vtkMRMLApplicationLogic()
            self.application_logic.SetMRMLScene(self.scene)
            self.logics = {name: self._start(name, kind) for name, kind in _LOGICS.items()}
            self._add_singletons()
            self.slice_logics = {name: self._slice(name, *about) for name, about in _SLICES.items()}
            collection = vtk.vtkCollection()
            for each in self.slice_logics.values():
                collection.AddItem(each)
            self._collection = collection
            self.application_logic.SetSliceLogics(collection)
        finally:
            vtk.vtkObject.SetGlobalWarningDisplay(warnings)
        self._folder = folder

    def close(self) -> None:
        """Empty the scene and let go of the logics."""
        warnings = vtk.vtkObject.GetGlobalWarningDisplay()
        vtk.vtkObject.SetGlobalWarningDisplay(0)
        for each in self.slice_logics.values():
            each.SetMRMLScene(None)
        self.scene.Clear(1)
        for name, logic in reversed(self.logics.items()):
            logic.SetMRMLScene(None)
            self.application_logic.SetModuleLogic(name, None)
        self.application_logic.SetMRMLScene(None)
        self.scene.SetCacheManager(None)
        self.scene.SetDataIOManager(None)
        vtk.vtkObject.SetGlobalWarningDisplay(warnings)
        shutil.rmtree(self._folder / "cache", ignore_errors=True)

    def _start(self, name: str, kind: str) -> Any:
        logic = getattr(slicer, kind)()
        logic.SetMRMLApplicationLogic(self.application_logic)
        self.application_logic.SetModuleLogic(name, logic)
        logic.SetMRMLScene(self.scene)
        return logic

    def _add_singletons(self) -> None:
        for kind, tag in (("Selection", "Singleton"), ("Interaction", "Singleton"), ("Crosshair", "default")):
            node = self.scene.CreateNodeByClass(f"vtkMRML{kind}Node")
            node.UnRegister(None)
            node.SetSingletonTag(tag)
            self.scene.AddNode(node)
        view = self.scene.CreateNodeByClass("vtkMRMLViewNode")
        view.UnRegister(None)
        view.SetLayoutName("1")
        view.SetName("View1")
        view.SetSingletonTag("1")
        self.view = self.scene.AddNode(view)

    def _slice(self, name: str, label: str, orientation: str, color: tuple) -> Any:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.application_logic)
        logic.SetMRMLScene(self.scene)
        node = self.scene.CreateNodeByClass("vtkMRMLSliceNode")
        node.UnRegister(None)
        node.SetName(name)
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        node.SetLayoutLabel(label)
        node.SetLayoutColor(*color)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene)
        node = self.scene.AddNode(node)
        node.SetOrientation(orientation)
        node.SetDimensions(256, 256, 1)
        node.SetMappedInLayout(True)
        composite = self.scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
        composite.UnRegister(None)
        composite.SetLayoutName(name)
        composite.SetName(name)
        composite.SetSingletonTag(name)
        composite = self.scene.AddNode(composite)
        logic.SetSliceNode(node)
        logic.SetSliceCompositeNode(composite)
        return logic
