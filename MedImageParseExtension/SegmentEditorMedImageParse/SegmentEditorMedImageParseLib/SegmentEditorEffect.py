"""The Segment Editor effect "Text prompt": what Slicer asks of an effect, passed on to MedImageParseLib.panels.text_prompt."""

from __future__ import annotations

import os

import qt
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """One a Segment Editor widget; the one that is registered is only cloned and never shown."""

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Text prompt"  # not translated: modules find effects by name
        if hasattr(scriptedEffect, "title"):  # before Slicer 5.4 the name is the title
            scriptedEffect.title = _("Text prompt")
        scriptedEffect.perSegment = True
        if hasattr(scriptedEffect, "requireSegments"):
            scriptedEffect.requireSegments = False  # it can make them
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.box = None

    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        clonedEffect = effects.qSlicerSegmentEditorScriptedEffect(None)
        clonedEffect.setPythonSource(__file__.replace("\\", "/"))
        return clonedEffect

    def icon(self):
        return qt.QIcon(os.path.join(os.path.dirname(__file__), "SegmentEditorEffect.png"))

    def helpText(self):
        return _(
            "Type what you want to see, for example <i>liver</i>, and press Enter. The structure goes into the selected segment or into new"
            " ones. The image is sent to the endpoint that you choose, or to a demo engine on this computer. Not for clinical use."
        )

    def createCursor(self, widget):
        return qt.QCursor(qt.Qt.ArrowCursor)

    def setMRMLDefaults(self):
        from MedImageParseLib.panels.text_prompt import setDefaults

        setDefaults(self.scriptedEffect)

    def setupOptionsFrame(self):
        from MedImageParseLib.panels.text_prompt import TextPrompt

        self.box = TextPrompt(self.scriptedEffect)
        self.scriptedEffect.addOptionsWidget(self.box.widget)

    def activate(self):
        if self.box is not None:
            self.box.activate()

    def deactivate(self):
        if self.box is not None:
            self.box.deactivate()

    def updateGUIFromMRML(self):
        if self.box is not None:
            self.box.update()

    def updateMRMLFromGUI(self):
        """Every widget writes its own choice as it is made."""

    def sourceVolumeNodeChanged(self):
        self.updateGUIFromMRML()

    def masterVolumeNodeChanged(self):  # its name before Slicer 5.2
        self.updateGUIFromMRML()

    def cleanup(self):
        box, self.box = self.box, None
        if box is not None:
            box.close()
