"""What was chosen in the panel, kept in the scene, so that a scene that is saved and loaded again brings it back.

A parameter node is plain text that travels with the scene (as does the whole .mrb): it holds the name of the endpoint's profile,
never its URL, and no key, token or path. `PanelParameters` is the only writer.
"""

from __future__ import annotations

from typing import Any

MODULE_NAME = "MedImageParse"
# What a choice is where nobody has made it yet.
DEFAULTS = {
    "Endpoint": "Local demo",
    "Mode": "volume",
    "FirstSlice": "0",
    "LastSlice": "0",
    "Prompts": "",
    "Window": "auto",
    "Slabs": "auto",
    "Orient": "trained",
    "Group": "together",
    "Overlap": "allow",
    "Existing": "add",
    "SearchEndpoint": "Local demo",
}
NODES = ("InputVolume", "Segmentation", "Region", "SearchRegion")


class PanelParameters:
    """The choices, in the scene's one parameter node of this module.

    Args:
        scene: the vtkMRMLScene; the node is made in it where it is not there yet.

    Attributes:
        node: the parameter node.
    """

    def __init__(self, scene: Any):
        self._scene = scene
        self.attach()

    def attach(self) -> None:
        """Find the node again, or make it: the scene has been closed or loaded."""
        self.node = self._scene.GetSingletonNode(MODULE_NAME, "vtkMRMLScriptedModuleNode") or self._make()
        self.node.SetAttribute("ModuleName", MODULE_NAME)  # closing a scene takes it off

    def __getitem__(self, name: str) -> str:
        return self.node.GetParameter(name) or DEFAULTS[name]

    def __setitem__(self, name: str, value: str) -> None:
        if name not in DEFAULTS:
            raise KeyError(name)
        if self[name] != value:
            self.node.SetParameter(name, value)

    def nodeFor(self, role: str) -> Any:
        """The node chosen for one of NODES, None where there is none."""
        return self.node.GetNodeReference(role)

    def setNodeFor(self, role: str, node: Any) -> None:
        """Choose a node (or None) for one of NODES."""
        if role not in NODES:
            raise KeyError(role)
        if self.node.GetNodeReference(role) is not node:
            self.node.SetNodeReferenceID(role, node.GetID() if node is not None else None)

    def snapshot(self) -> dict[str, str]:
        """Every choice as text, nodes by their IDs."""
        values = {name: self[name] for name in DEFAULTS}
        return values | {role: self.node.GetNodeReferenceID(role) or "" for role in NODES}

    def restore(self, choices: dict[str, str]) -> None:
        """Choose as `snapshot` found it; a node that is gone is not chosen."""
        wasModifying = self.node.StartModify()
        try:
            for name in DEFAULTS:
                if name in choices:
                    self[name] = choices[name]
            for role in NODES:
                if role in choices:
                    self.setNodeFor(role, self._scene.GetNodeByID(choices[role]) if choices[role] else None)
        finally:
            self.node.EndModify(wasModifying)

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
