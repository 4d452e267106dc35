"""Registers the Segment Editor effect "Text prompt". The effect is in SegmentEditorMedImageParseLib, what it does in MedImageParseLib."""

from __future__ import annotations

import os

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule


class SegmentEditorMedImageParse(ScriptedLoadableModule):
    """A module without a panel: Slicer shows the effect in the Segment Editor."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "SegmentEditorMedImageParse"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "MedImageParse"]
        self.parent.contributors = ["The MedImageParse for 3D Slicer authors"]
        self.parent.hidden = True
        self.parent.helpText = _("This hidden module registers the Segment Editor effect Text prompt of MedImageParse.")
        self.parent.acknowledgementText = ""
        slicer.app.connect("startupCompleted()", registerEffect)


def registerEffect():
    """Tell Slicer's factory of effects; each Segment Editor clones what is registered."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    path = os.path.join(os.path.dirname(__file__), "SegmentEditorMedImageParseLib", "SegmentEditorEffect.py")
    effect.setPythonSource(path.replace("\\", "/"))
    effect.self().register()
