"""What was chosen in the panel, kept in the scene, so that a scene that is saved and loaded again brings it back.

Slicer's own parameterNodeWrapper reads and writes it. A parameter node is plain text that travels with the scene (as does the whole
.mrb): it holds the name of the endpoint's profile, never its URL, and no key, token or path. `PanelParameters` is the only writer.
"""

from __future__ import annotations

from typing import Any, get_type_hints

import slicer
from slicer.parameterNodeWrapper import parameterNodeWrapper

MODULE_NAME = "MedImageParse"


@parameterNodeWrapper
class PanelState:
    """Every choice with its kind and what it is where nobody has made it yet; a node is None then.

    Numbers are texts: a scene that somebody else made may hold anything, and Slicer's wrapper would raise while it is made.
    """

    Endpoint: str = "Local demo"
    Mode: str = "volume"
    FirstSlice: str = "0"
    LastSlice: str = "0"
    Prompts: str = ""
    Window: str = "auto"
    Slabs: str = "auto"
    Orient: str = "trained"
    Group: str = "auto"
    Instances: str = ""
    Overlap: str = "allow"
    Existing: str = "add"
    SearchEndpoint: str = "Local demo"
    InputVolume: slicer.vtkMRMLVolumeNode
    Segmentation: slicer.vtkMRMLSegmentationNode
    Region: slicer.vtkMRMLMarkupsROINode
    SearchRegion: slicer.vtkMRMLDisplayableNode  # a region of interest or a segmentation


_KINDS = get_type_hints(PanelState)
TEXTS = tuple(name for name, kind in _KINDS.items() if kind is str)
NODES = tuple(name for name in _KINDS if name not in TEXTS)


class PanelParameters:
    """The choices, in the scene's one parameter node of this module.

    Args:
        scene: the vtkMRMLScene; the node is made in it where it is not there yet.

    Attributes:
        node: the parameter node. state: the same as a PanelState.
    """

    def __init__(self, scene: Any):
        self._scene = scene
        self.attach()

    def attach(self) -> None:
        """Find the node again, or make it: the scene has been closed or loaded."""
        self.node = self._scene.GetSingletonNode(MODULE_NAME, "vtkMRMLScriptedModuleNode") or self._make()
        self.node.SetAttribute("ModuleName", MODULE_NAME)  # closing a scene takes it off
        for role in NODES:
            # A reference without a parameter beside it (older scenes, scripts) is no choice to Slicer's wrapper, which would write None.
            if self.node.GetNodeReferenceID(role) and not self.node.HasParameter(role):
                self.node.SetParameter(role, "")
        wrap: Any = PanelState  # the decorator gives it another constructor
        self.state: Any = wrap(self.node)

    def __getitem__(self, name: str) -> str:
        return getattr(self.state, name) or self.state.default(name).value

    def __setitem__(self, name: str, value: str) -> None:
        if name not in TEXTS:
            raise KeyError(name)
        if self[name] != value:
            setattr(self.state, name, value)

    def nodeFor(self, role: str) -> Any:
        """The node chosen for one of NODES, None where there is none, or one of another kind."""
        node = getattr(self.state, role)
        return node if isinstance(node, _KINDS[role]) else None

    def setNodeFor(self, role: str, node: Any) -> None:
        """Choose a node (or None) for one of NODES."""
        if role not in NODES:
            raise KeyError(role)
        if getattr(self.state, role) is not node:
            setattr(self.state, role, node)

    def snapshot(self) -> dict[str, str]:
        """Every choice as text, nodes by their IDs."""
        values = {name: self[name] for name in TEXTS}
        return values | {role: self.node.GetNodeReferenceID(role) or "" for role in NODES}

    def restore(self, choices: dict[str, str]) -> None:
        """Choose as `snapshot` found it; a node that is gone is not chosen."""
        with slicer.util.NodeModify(self.state):
            for name in TEXTS:
                if name in choices:
                    self[name] = choices[name]
            for role in NODES:
                if role in choices:
                    self.setNodeFor(role, self._scene.GetNodeByID(choices[role]) if choices[role] else None)

    def wholeNumber(self, name: str) -> int:
        """A choice as a whole number, 0 where a scene holds something else."""
        try:
            return int(self[name])
        except ValueError:
            return 0

    def _make(self) -> Any:
        node = self._scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)  # Python holds it, and so will the scene
        node.SetSingletonTag(MODULE_NAME)
        node.SetName(MODULE_NAME)
        return self._scene.AddNode(node)
