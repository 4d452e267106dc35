"""MedImageParse in 3D Slicer: registration, and the shell of the panel. Everything else is in MedImageParseLib."""

from __future__ import annotations

import os
import sys

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest, ScriptedLoadableModuleWidget


class MedImageParse(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        _loadTranslations(os.path.join(os.path.dirname(__file__), "Resources", "Translations"))
        self.parent.title = _("MedImageParse")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations"]  # whose widgets the panel has: the table of segments, Show 3D
        self.parent.contributors = ["The MedImageParse for 3D Slicer authors"]
        self.parent.helpText = _(
            "Type what you want to see, for example <i>liver &amp; spleen</i>, and get segments. The image goes to the MedImageParse or"
            " MedImageParse 3D endpoint that you choose, or to a demo engine on this computer. The second tab finds similar images with"
            " MedImageInsight. Not for clinical use."
        )
        self.parent.acknowledgementText = _(
            'The models are Microsoft\'s: <a href="https://doi.org/10.1038/s41592-024-02499-w">MedImageParse</a> (Zhao et al., Nature Methods 2025),'
            ' <a href="https://arxiv.org/abs/2410.06542">MedImageInsight</a> (Codella et al., 2024).'
        )
        slicer.app.connect("startupCompleted()", _registerSample)
        _useSlicerFolder()


def _useSlicerFolder():
    """Profiles, consents and the audit file lie beside Slicer's own settings."""
    from MedImageParseLib.configuration import use_configuration_folder

    use_configuration_folder(os.path.join(os.path.dirname(slicer.app.slicerUserSettingsFilePath), "MedImageParse"))


def _loadTranslations(folder):
    from MedImageParseLib.panels.language import loadTranslations

    loadTranslations(folder)


def _registerSample():
    from MedImageParseLib.panels.local_demo import registerInSampleData

    registerInSampleData()


class MedImageParseWidget(ScriptedLoadableModuleWidget):
    """Holds the panel."""

    def __init__(self, parent=None):
        self.tabs = None
        ScriptedLoadableModuleWidget.__init__(self, parent)

    @property
    def panel(self):
        """The tab that segments; None when the module is closed."""
        return self.tabs.segment if self.tabs is not None else None

    @property
    def logic(self):
        """The logic behind the panel, for the Python console."""
        return self.panel.logic if self.panel is not None else None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        _useSlicerFolder()  # once more, for a package that Reload has loaded anew
        from MedImageParseLib.errors import MedImageParseError
        from MedImageParseLib.panels.module_panel import ModulePanel

        try:
            self.tabs = ModulePanel(self.resourcePath)
        except MedImageParseError as error:  # this Slicer lacks widgets; the sentence says which
            label = qt.QLabel(str(error))
            label.setTextFormat(qt.Qt.PlainText)
            label.setWordWrap(True)
            label.setObjectName("panelFaultLabel")
            self.layout.addWidget(label)
            return
        self.layout.addWidget(self.tabs.widget)

    def enter(self):
        if self.tabs is not None:
            self.tabs.enter()

    def cleanup(self):
        tabs, self.tabs = self.tabs, None
        if tabs is not None:
            tabs.close()

    def onReload(self):
        """The Reload button: the whole package is loaded anew, not only this file."""
        self.cleanup()
        for name in [name for name in sys.modules if name.split(".")[0] == "MedImageParseLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


def __getattr__(name):
    """`MedImageParse.MedImageParseLogic()`, `MedImageParse.MedImageInsightLogic()` in Slicer's Python console, imported when asked for."""
    if name == "MedImageParseLogic":
        from MedImageParseLib.logic.segmentation import MedImageParseLogic

        return MedImageParseLogic
    if name == "MedImageInsightLogic":
        from MedImageParseLib.logic.similarity import MedImageInsightLogic

        return MedImageInsightLogic
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class MedImageParseTest(ScriptedLoadableModuleTest):
    """The short test that Slicer runs itself: the sample, through the demo engine, to segments."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_sample_goes_through_the_demo_engine_and_absent_structures_add_no_segment()

    def test_sample_goes_through_the_demo_engine_and_absent_structures_add_no_segment(self):
        from MedImageParseLib.local_endpoint.server import LocalEndpoint
        from MedImageParseLib.logic.segmentation import MedImageParseLogic
        from MedImageParseLib.panels.local_demo import loadSample

        logic = MedImageParseLogic()
        try:
            with LocalEndpoint() as endpoint:
                result = logic.segmentVolume(loadSample(), "lungs & unicorn", endpoint=endpoint.url)
        finally:
            logic.close()
        self.assertEqual([row.state for row in result.rows], ["found", "absent"])
        self.assertEqual(result.segmentationNode.GetSegmentation().GetNumberOfSegments(), 1)
        self.assertGreater(result.rows[0].volumeMl, 1000)
