"""The MRML scene that everything here works in: Slicer's own, or a session of ours where no Slicer application runs.

Outside Slicer (command line, notebook, tests) the slicer-core package brings the real MRML classes but no application, so
the logics that Slicer starts with have to be started here. The order matters: a logic needs the application logic before it
gets the scene, the colors logic must be known by the name "Colors" because the volumes logic asks for it, and the
segmentations logic registers the conversion rules without which no segment can be made.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import MedImageParseError

# (name that other logics look it up by, class), in the order in which they are started.
_LOGICS = (
    ("Colors", "vtkSlicerColorLogic"),
    ("Terminologies", "vtkSlicerTerminologiesModuleLogic"),
    ("SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
    ("Volumes", "vtkSlicerVolumesLogic"),
    ("Segmentations", "vtkSlicerSegmentationsModuleLogic"),
)


@dataclass(slots=True)
class _Session:
    """What has to stay alive together as long as the scene is used outside Slicer."""

    scene: Any
    applicationLogic: Any
    removeCacheFolder: Callable[[], object]
    cacheManager: Any
    dataManager: Any
    logics: dict[str, Any] = field(default_factory=dict)


_session: _Session | None = None

# What VTK may call while an object lives and as it is deleted, by the object's address.
_callbacks: dict[str, list[Callable[..., object]]] = {}


def importSlicer() -> Any:
    """The slicer package, or one sentence on how to get it.

    Raises:
        MedImageParseError: neither Slicer's Python nor slicer-core is there.
    """
    try:
        import slicer
    except ImportError as error:
        raise MedImageParseError(
            "Segmentations need the MRML library, which is not installed; run this in Slicer's Python or pip install slicer-core."
        ) from error
    return slicer


def ensureScene() -> Any:
    """The scene to work in: the running application's, else this process's own, made on the first call and reused.

    Returns:
        a vtkMRMLScene.

    Examples:
        >>> scene = ensureScene()
        >>> scene is ensureScene()
        True
    """
    slicer = importSlicer()
    if getattr(slicer, "app", None) is not None:
        return slicer.mrmlScene
    session = _openSession(slicer) if _session is None else _session
    return session.scene


def newScene() -> Any:
    """A scene without anything in it. Outside Slicer the previous one is closed first.

    Inside Slicer this is a private scene beside the application's: it is shown nowhere, and the person's scene is not touched.
    """
    slicer = importSlicer()
    if getattr(slicer, "app", None) is not None:
        return slicer.vtkMRMLScene()
    closeScene()
    return ensureScene()


def closeScene() -> None:
    """Let go of the scene made outside Slicer, with every node, logic and temporary file of it. Harmless in Slicer or when none is open."""
    global _session
    session, _session = _session, None
    if session is None:
        return
    slicer = importSlicer()
    if getattr(slicer, "mrmlScene", None) is session.scene:
        del slicer.mrmlScene
    with libraryMessagesOff():
        session.scene.Clear(1)
        for name, logic in reversed(session.logics.items()):
            logic.SetMRMLScene(None)
            session.applicationLogic.SetModuleLogic(name, None)
        session.applicationLogic.SetMRMLScene(None)
    session.scene.SetCacheManager(None)
    session.scene.SetDataIOManager(None)
    session.removeCacheFolder()


@contextmanager
def freshScene() -> Iterator[Any]:
    """A scene for one run, gone afterwards: nothing is left for the next run in the same process.

    Examples:
        >>> with freshScene() as scene:
        ...     scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT").GetName()
        'CT'
    """
    scene = newScene()
    try:
        yield scene
    finally:
        if _session is not None and scene is _session.scene:
            closeScene()
        else:
            scene.Clear(1)


@contextmanager
def libraryMessagesOff() -> Iterator[None]:
    """Keep VTK's own warnings off stderr while doing something whose failure is checked for and told in a sentence."""
    import vtk

    before = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.SetGlobalWarningDisplay(0)
    try:
        yield
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(before)


@contextmanager
def renderingPaused() -> Iterator[None]:
    """No view is redrawn in between, so that many changes cost one redraw. Does nothing where no application runs."""
    application: Any = getattr(importSlicer(), "app", None)
    pause = getattr(application, "pauseRender", None)
    if pause is None:
        yield
        return
    pause()
    try:
        yield
    finally:
        application.resumeRender()


def nodesOfClass(scene: Any, kind: str) -> list[Any]:
    """The nodes of a scene of a class or one derived from it, in the scene's order; slicer.util's function looks into Slicer's scene only."""
    return [scene.GetNthNodeByClass(number, kind) for number in range(scene.GetNumberOfNodesByClass(kind))]


def hierarchyItem(node: Any) -> tuple[Any, int]:
    """The subject hierarchy of a node's scene, None where there is none, and the node's item in it, 0 for none."""
    scene = node.GetScene()
    hierarchy = importSlicer().vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene) if scene is not None else None
    return hierarchy, hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0


def observe(thing: Any, event: int | str, callback: Callable[..., object]) -> None:
    """Have VTK call something at an object's event, as long as the object lives; "DeleteEvent" is the last of them.

    The callback is held here until then. Where only the object held it, Python's garbage collector could empty it together with the
    object's Python half, and VTK would call a function without its variables, which ends the whole process.

    Args:
        thing: a vtkObject.
        event: its number, or its name.
        callback: called with the object and the event; at its deletion the object is None.
    """
    callbacks, key = _callbacks, thing.GetAddressAsString("")
    if key not in callbacks:
        callbacks[key] = [lambda *_callerAndEvent: callbacks.pop(key, None)]
        thing.AddObserver("DeleteEvent", callbacks[key][0], -1.0)  # after all others
    callbacks[key].append(callback)
    thing.AddObserver(event, callback)


def removeNode(node: Any) -> None:
    """Take a node with its display node, and its item in the subject hierarchy, out of its scene. Does nothing where it is in none."""
    scene = node.GetScene()
    if scene is None or not scene.IsNodePresent(node):
        return
    hierarchy, item = hierarchyItem(node)
    if item and getattr(importSlicer(), "app", None) is None:  # the application removes the item with the node; outside of it nobody does
        hierarchy.RemoveItem(item, False, True)
    for each in (node.GetDisplayNode(), node):
        if each is not None and scene.IsNodePresent(each):
            scene.RemoveNode(each)


def _openSession(slicer: Any) -> _Session:
    global _session
    scene = slicer.vtkMRMLScene()
    applicationLogic = slicer.vtkMRMLApplicationLogic()
    cacheFolder = tempfile.mkdtemp(prefix="MedImageParse-scene-")
    # A scene without these two crashes or fails on reading an .mrb bundle.
    cacheManager = slicer.vtkCacheManager()
    cacheManager.SetRemoteCacheDirectory(cacheFolder)
    dataManager = slicer.vtkDataIOManager()
    dataManager.SetCacheManager(cacheManager)
    scene.SetCacheManager(cacheManager)
    scene.SetDataIOManager(dataManager)
    # Runs on closing, or at the end of the process where nobody closes.
    removeCacheFolder = weakref.finalize(applicationLogic, shutil.rmtree, cacheFolder, True)
    session = _Session(scene, applicationLogic, removeCacheFolder, cacheManager, dataManager)
    # The color tables and terminology files that Slicer installs are not part of slicer-core. The logics say so on stderr
    # when they start; nothing here needs those files.
    with libraryMessagesOff():
        applicationLogic.SetMRMLScene(scene)
        for name, className in _LOGICS:
            logic = getattr(slicer, className)()
            logic.SetMRMLApplicationLogic(applicationLogic)
            applicationLogic.SetModuleLogic(name, logic)
            logic.SetMRMLScene(scene)
            session.logics[name] = logic
    # slicer.util's functions look for the scene there.
    slicer.mrmlScene = scene
    _session = session
    return session
