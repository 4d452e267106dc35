"""The sample: a made-up CT, made on this computer. Nothing is downloaded and no patient is in it."""

from __future__ import annotations

from typing import Any

import slicer

from ..imaging.volume import Volume
from ..local_endpoint.phantom import make_phantom
from ..scene.volumes import nodeFromVolume

NAME = "SampleCT"
PROMPTS = "lungs\nbones\nunicorn"  # the last is not in it: that is a result too


def makeSample() -> Volume:
    """The sample's voxels. Takes some seconds and touches no scene: good for a worker."""
    phantom = make_phantom()
    return Volume(phantom.voxels, phantom.ijk_to_ras, modality="CT")


def showSample(volume: Volume) -> Any:
    """Put the sample into the scene and into the slice views.

    Returns:
        the volume node.
    """
    node = nodeFromVolume(volume, slicer.mrmlScene.GenerateUniqueName(NAME))
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(400, 40)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def loadSample(*_source: object) -> Any:
    """Both at once, for the Sample Data module and for scripts. Returns the volume node."""
    return showSample(makeSample())


def registerInSampleData() -> None:
    """Offer the sample in Slicer's Sample Data module."""
    try:
        import SampleData
    except ImportError:
        return  # a Slicer built without that module
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MedImageParse",
        sampleName=NAME,
        uris=[],
        fileNames=[],
        nodeNames=[],
        customDownloader=loadSample,
    )
