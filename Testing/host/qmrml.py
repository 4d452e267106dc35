"""Doubles of Slicer's MRML widgets, on the real scene of slicer-core."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from .ctk_module import held, qt, setters
from .qt_module import registerDouble
from .signals import HostSignal, call, state


class SceneFollower:
    """Observes a scene and calls back on the main thread; used by the widgets below, which cannot inherit plain Python."""

    def __init__(self, changed: Any):
        self._changed, self._tags = changed, []
        self.scene = None

    def follow(self, scene: Any) -> None:
        """Observe this scene instead of the one before; None observes nothing."""
        self.stop()
        self.scene = scene
        if scene is None:
            return
        kinds = slicer.vtkMRMLScene

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def node_event(caller: Any, event: str, node: Any) -> None:
            call(self._changed, (node, event == "NodeAddedEvent"))

        for event in (kinds.NodeAddedEvent, kinds.NodeRemovedEvent):
            self._observe(scene, event, node_event)
        for event in (kinds.EndCloseEvent, kinds.EndImportEvent, kinds.EndRestoreEvent, kinds.EndBatchProcessEvent):
            self._observe(scene, event, lambda caller, event: call(self._changed, (None, False)))

    def stop(self) -> None:
        """Observe nothing any more."""
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()

    def _observe(self, subject: Any, event: int, callback: Any) -> None:
        self._tags.append((subject, subject.AddObserver(event, callback)))


@registerDouble
class qMRMLWidget(qt.QWidget, cxx=True):
    """A widget that passes the scene on to whatever its .ui file connects to mrmlSceneChanged."""

    mrmlSceneChanged = HostSignal("mrmlSceneChanged(vtkMRMLScene*)")

    def mrmlScene(self) -> Any:
        return state(self).get("scene")

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not state(self).get("scene"):
            state(self)["scene"] = scene
            self.mrmlSceneChanged.emit(scene)


@registerDouble
class qMRMLNodeComboBox(qt.QWidget, cxx=True):
    """Chooses one node of some classes, and follows the scene: nodes that come, go and get other names."""

    currentNodeChanged = HostSignal("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)")
    currentNodeIDChanged = HostSignal("currentNodeIDChanged(QString)")
    currentNodeRenamed = HostSignal("currentNodeRenamed(QString)")
    nodeActivated = HostSignal("nodeActivated(vtkMRMLNode*)")
    nodeAddedByUser = HostSignal("nodeAddedByUser(vtkMRMLNode*)")
    nodeAdded = HostSignal("nodeAdded(vtkMRMLNode*)")
    mrmlSceneChanged = HostSignal("mrmlSceneChanged(vtkMRMLScene*)")

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        combo = qt.QComboBox()
        combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        layout.addWidget(combo)
        state(self).update(combo=combo, layout=layout, current=None, nodes=[], names={}, follower=SceneFollower(self._sceneChanged))
        self.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self.setFocusProxy(combo)
        combo.connect("activated(int)", self._chosen)
        self.connect("destroyed()", state(self)["follower"].stop)

    nodeTypes, hideChildNodeTypes = held("nodeTypes", (), "_refresh"), held("hideChildNodeTypes", (), "_refresh")
    noneEnabled, showHidden = held("noneEnabled", False, "_refresh"), held("showHidden", False, "_refresh")
    showChildNodeTypes, noneDisplay = held("showChildNodeTypes", True, "_refresh"), held("noneDisplay", "None", "_refresh")
    addEnabled, removeEnabled = held("addEnabled", True, "_refresh"), held("removeEnabled", True, "_refresh")
    renameEnabled, editEnabled = held("renameEnabled", False, "_refresh"), held("editEnabled", False, "_refresh")
    selectNodeUponCreation, baseName = held("selectNodeUponCreation", True), held("baseName", "")
    interactionNodeSingletonTag = held("interactionNodeSingletonTag", "")
    currentNodeID = property(
        lambda self: state(self)["current"].GetID() if state(self)["current"] is not None else "",
        lambda self, value: self.setCurrentNodeID(value),
    )

    def mrmlScene(self) -> Any:
        return state(self)["follower"].scene

    def setMRMLScene(self, scene: Any) -> None:
        """Follow this scene. As in Slicer, another scene begins with a signal that no node is chosen, whoever is connected by then."""
        isAnother = scene is not state(self)["follower"].scene
        state(self)["follower"].follow(scene)
        self._refresh()
        if isAnother and state(self)["current"] is None:
            self.currentNodeChanged.emitAs("currentNodeChanged(vtkMRMLNode*)", None)
            self.currentNodeChanged.emitAs("currentNodeChanged(bool)", False)
            self.currentNodeIDChanged.emit("")
        self.mrmlSceneChanged.emit(scene)

    def currentNode(self) -> Any:
        return state(self)["current"]

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node; one that is not among those offered counts as none, as in Slicer."""
        self._select(self._offered(node))

    def setCurrentNodeID(self, nodeId: str | None) -> None:
        scene = self.mrmlScene()
        self.setCurrentNode(scene.GetNodeByID(nodeId) if scene is not None and nodeId else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def nodeCount(self) -> int:
        return len(state(self)["nodes"])

    def nodeFromIndex(self, index: int) -> Any:
        nodes = state(self)["nodes"]
        return nodes[index] if 0 <= index < len(nodes) else None

    def addAttribute(self, nodeType: str, name: str, value: Any = None) -> None:
        """Offer nodes of this class only with this attribute."""
        state(self).setdefault("attributes", []).append((nodeType, name, value))
        self._refresh()

    def addNode(self, nodeType: str | None = None) -> Any:
        """Make a node, as the entry "Create new ..." does."""
        nodeType = nodeType or self.nodeTypes[0]
        scene = self.mrmlScene()
        name = self.baseName or scene.CreateNodeByClass(nodeType).GetNodeTagName()
        node = scene.AddNewNodeByClass(nodeType, scene.GenerateUniqueName(name))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """Remove the chosen node from the scene, as the entry "Delete current ..." does."""
        if state(self)["current"] is not None:
            self.mrmlScene().RemoveNode(state(self)["current"])

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        """What nodes of this class are called in the entries that make or delete one."""
        state(self).setdefault("labels", {})[nodeType] = label
        self._refresh()

    def _accepts(self, node: Any) -> bool:
        kinds = [self.nodeTypes] if isinstance(self.nodeTypes, str) else list(self.nodeTypes or ())
        if not any(node.GetClassName() == kind or (self.showChildNodeTypes and node.IsA(kind)) for kind in kinds):
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes or ()) or (node.GetHideFromEditors() and not self.showHidden):
            return False
        wanted = [(node.GetAttribute(name), value) for kind, name, value in state(self).get("attributes", ()) if node.IsA(kind)]
        return all(found is not None and value in (None, found) for found, value in wanted)

    def _offered(self, node: Any) -> Any:
        return next((each for each in state(self)["nodes"] if each is node), None)

    def _sceneChanged(self, node: Any, added: bool) -> None:
        scene = self.mrmlScene()
        if scene is None or scene.IsBatchProcessing():
            return
        self._refresh()
        if added and self._offered(node) is not None:
            self.nodeAdded.emit(node)

    def _refresh(self) -> None:
        own, scene = state(self), self.mrmlScene()
        everything = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())] if scene is not None else []
        own["nodes"] = [each for each in everything if each is not None and self._accepts(each)]
        for each in [each for each in own["names"] if each not in own["nodes"]]:
            each.RemoveObserver(own["names"].pop(each))
        for each in own["nodes"]:
            if each not in own["names"]:
                own["names"][each] = each.AddObserver(vtk.vtkCommand.ModifiedEvent, self._nodeModified)
        current = self._offered(own["current"])
        if current is None and not self.noneEnabled and own["nodes"]:
            current = own["nodes"][0]
        self._fill()
        self._select(current)

    def _fill(self) -> None:
        own = state(self)
        combo, kind = own["combo"], self._kindName()
        combo.clear()
        if self.noneEnabled:
            combo.addItem(self.noneDisplay)
        for each in own["nodes"]:
            combo.addItem(each.GetName() or "")
        offers = {"addEnabled": f"Create new {kind}", "renameEnabled": f"Rename current {kind}", "removeEnabled": f"Delete current {kind}"}
        for name, text in offers.items():
            if getattr(self, name) and self.nodeTypes:
                combo.addItem(text)

    def _kindName(self) -> str:
        kinds = [self.nodeTypes] if isinstance(self.nodeTypes, str) else list(self.nodeTypes or ())
        if kinds and kinds[0] in state(self).get("labels", {}):
            return state(self)["labels"][kinds[0]]
        node = self.mrmlScene().CreateNodeByClass(kinds[0]) if kinds and self.mrmlScene() is not None else None
        return node.GetNodeTagName() if node is not None else "node"

    def _select(self, node: Any) -> None:
        own = state(self)
        first = 1 if self.noneEnabled else 0
        own["combo"].currentIndex = first + own["nodes"].index(node) if node is not None else first - 1
        if node is not own["current"]:
            own["current"] = node
            self.currentNodeChanged.emitAs("currentNodeChanged(vtkMRMLNode*)", node)
            self.currentNodeChanged.emitAs("currentNodeChanged(bool)", node is not None)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _chosen(self, row: int) -> None:
        own = state(self)
        first = 1 if self.noneEnabled else 0
        if row < first + len(own["nodes"]):
            self._select(own["nodes"][row - first] if row >= first else None)
            self.nodeActivated.emit(own["current"])
            return
        text = own["combo"].itemText(row)
        self._select(own["current"])
        if text.startswith("Create"):
            self.addNode()
        elif text.startswith("Delete"):
            self.removeCurrentNode()

    def _nodeModified(self, node: Any, event: str) -> None:
        own = state(self)
        if node not in own["nodes"]:
            return
        row = own["nodes"].index(node) + (1 if self.noneEnabled else 0)
        if own["combo"].itemText(row) != (node.GetName() or ""):
            own["combo"].setItemText(row, node.GetName() or "")
            if node is own["current"]:
                self.currentNodeRenamed.emit(node.GetName())


setters(
    qMRMLNodeComboBox, "nodeTypes", "noneEnabled", "addEnabled", "removeEnabled", "renameEnabled", "editEnabled", "showHidden",
    "showChildNodeTypes", "noneDisplay", "baseName", "selectNodeUponCreation", "hideChildNodeTypes",
)  # fmt: skip
