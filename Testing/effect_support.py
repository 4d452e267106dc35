"""What the effect's tests share: the Segment Editor of the headless host with "Text prompt" active, and small volumes in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from panel_support import MODULE, phantom
from places import ROOT
from scene_support import segment_on_grid

EFFECT = ROOT / "MedImageParseExtension" / "SegmentEditorMedImageParse" / "SegmentEditorMedImageParse.py"


class Annotator:
    """A person at the Segment Editor.

    Attributes:
        host: the headless Slicer. editor: the Segment Editor's widget. volume, node: what is edited.
    """

    def __init__(self, host: Any):
        self.host = host
        self.volume = self.node = None
        self.open()

    def open(self) -> None:
        """Open the Segment Editor; one that was closed is made anew."""
        self.editor = self.host.open_segment_editor()

    def close(self) -> None:
        """The Segment Editor's widget is deleted."""
        self.host.close_segment_editor()

    @property
    def parameters(self) -> Any:
        """The Segment Editor's node."""
        return self.editor.mrmlSegmentEditorNode()

    @property
    def box(self) -> Any:
        """The effect's options, the TextPrompt."""
        return self.editor.effectByName("Text prompt").self().box

    def addEndpoint(self, url: str, name: str = "Ward 3") -> None:
        """Keep an endpoint and choose it."""
        from MedImageParseLib.profiles.profiles import Profile, ProfileStore

        ProfileStore().add(Profile(name=name, url=url), replace=True)
        self.box.endpoint.readProfiles()
        self.host.choose("profileComboBox", name)

    def load(self, voxels: np.ndarray | None = None, affine: np.ndarray | None = None) -> None:
        """A volume and an empty segmentation of it, chosen in the editor."""
        from MedImageParseLib.imaging.volume import Volume
        from MedImageParseLib.scene.volumes import nodeFromVolume

        volume = Volume(phantom() if voxels is None else voxels, np.diag([-1.0, -1.0, 2.0, 1.0]) if affine is None else affine)
        self.edit(nodeFromVolume(volume, "CT", self.host.scene))

    def edit(self, volumeNode: Any) -> None:
        """An empty segmentation of a volume, chosen in the editor with the volume and the effect."""
        from MedImageParseLib.scene.segments import newSegmentation

        self.volume, self.node = volumeNode, newSegmentation(volumeNode)
        self.editor.setSegmentationNode(self.node)
        self.editor.setSourceVolumeNode(volumeNode)
        self.editor.setActiveEffectByName("Text prompt")
        self.host.process()

    def addSegment(self, name: str) -> str:
        """What the Add button and a double click on the name do."""
        segmentId = self.node.GetSegmentation().AddEmptySegment("", name)
        self.editor.setCurrentSegmentID(segmentId)
        self.host.process()
        return segmentId

    def start(self) -> Any:
        """Press Enter in the prompt's field. Returns the job, held back until `wait`."""
        self.box._timer.stop()
        self.host.key("promptEdit", "Return")
        return self.box.job

    def wait(self, job: Any) -> Any:
        """Let it run to its end."""
        assert job is not None, self.reason or self.message
        self.box._timer.start()
        self.host.wait_until(lambda: job.has_ended, 30, every=0.02)
        self.host.process()
        return job

    def run(self, prompt: str | None = None) -> Any:
        """Type, press Enter, wait. Returns the job."""
        if prompt is not None:
            self.host.type("promptEdit", prompt)
            if self.box.completer.isOpen:  # the word as it stands is meant
                self.host.key("promptEdit", "Esc")
        return self.wait(self.start())

    @property
    def message(self) -> str:
        return self.box.ui.messageLabel.text  # the panel has one of that name too

    @property
    def reason(self) -> str:
        """Why Run is disabled."""
        self.host.process()
        return self.box.ui.reasonLabel.text

    def voxels(self, segmentId: str) -> np.ndarray:
        """A segment on the volume's grid, by VTK alone."""
        return segment_on_grid(self.node, segmentId, self.volume.GetImageData().GetDimensions()[::-1])

    def names(self) -> list[str]:
        segmentation = self.node.GetSegmentation()
        return [segmentation.GetSegment(each).GetName() for each in segmentation.GetSegmentIDs()]

    def everything(self) -> list[tuple[str, bytes]]:
        segmentation = self.node.GetSegmentation()
        return [(segmentation.GetSegment(each).GetName(), self.voxels(each).tobytes()) for each in segmentation.GetSegmentIDs()]


def labelmap(annotator: Annotator, mask: np.ndarray) -> Any:
    """A mask (kji) on the volume's grid, as the editor's tools hand it over."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = slicer.vtkOrientedImageData()
    image.SetDimensions(mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    toRas = vtk.vtkMatrix4x4()
    annotator.volume.GetIJKToRASMatrix(toRas)
    image.SetGeometryFromImageToWorldMatrix(toRas)
    return image


@contextmanager
def openedEditor() -> Iterator[Annotator]:
    """Slicer has started with both modules, and the Segment Editor is open. At the end nothing may have gone wrong in a slot."""
    from host import Host

    with Host() as host:
        host.load_module("MedImageParse", MODULE, open_it=False)
        host.load_module("SegmentEditorMedImageParse", EFFECT, open_it=False)
        host.start_up()
        yield Annotator(host)
        errors = list(host.slot_errors)
    assert errors == [] and host.slot_errors == []
    assert host.installs == []
