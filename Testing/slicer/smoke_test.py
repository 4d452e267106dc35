"""The whole path in a real Slicer: the panel, the local demo endpoint in Slicer's own Python, segments in the scene, the editor's effect.

    Slicer --no-splash --no-main-window --testing --additional-module-paths FOLDERS --python-script Testing/slicer/smoke_test.py

with FOLDERS the full paths of the two folders in MedImageParseExtension (not needed where the extension is installed). Ends with exit status 0
where all is well, else with 1 and the reason in the log. Nothing is installed and nothing leaves the computer.
"""

from __future__ import annotations

import os
import tempfile
import time
import traceback

import slicer

_TIMEOUT_S = 120


def waitFor(condition, what):
    """Let Slicer handle its events until something holds."""
    end = time.monotonic() + _TIMEOUT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} took longer than {_TIMEOUT_S} s")
        slicer.app.processEvents()
        time.sleep(0.01)


def check(holds, sentence):
    """Raises AssertionError with a sentence, also where Python runs with -O."""
    if not holds:
        raise AssertionError(sentence)


def smoke():
    """Sample, demo endpoint, a run, a cancelled run, undo, the Segment Editor's effect."""
    panel = slicer.modules.medimageparse.widgetRepresentation().self().panel
    ui = panel.ui
    ui.sampleButton.click()
    waitFor(lambda: ui.volumeSelector.currentNode() is not None, "making the sample")
    ui.demoButton.click()
    waitFor(lambda: panel.endpoint.demo.url, "starting the local demo")
    ui.promptsEdit.setPlainText("lungs & bones & unicorn")
    check(ui.runButton.enabled, f"Run is disabled: {ui.runButton.toolTip}")

    ui.runButton.click()
    waitFor(lambda: panel.logic.jobs and panel.logic.jobs[0].state == "running", "the first run's start")
    ui.cancelButton.click()
    check(not slicer.util.getNodesByClass("vtkMRMLSegmentationNode"), "a cancelled run left a segmentation")

    ui.runButton.click()
    job = panel.logic.jobs[-1]
    waitFor(lambda: job.has_ended, "the run")
    check(job.state == "done", f"the run {job.state}: {job.sentence}")
    states = [(row.name, row.state) for row in job.result.rows]
    check(states == [("lungs", "found"), ("bones", "found"), ("unicorn", "absent")], f"the results are {states}")
    segmentation = job.result.segmentationNode.GetSegmentation()
    names = [segmentation.GetNthSegment(number).GetName() for number in range(segmentation.GetNumberOfSegments())]
    check(names == ["lungs", "bones"], f"the segments are {names}")
    check(job.result.rows[0].volumeMl > 1000, f"the lungs have {job.result.rows[0].volumeMl} ml")

    ui.undoButton.click()
    check(segmentation.GetNumberOfSegments() == 0, "undo left segments")
    effect(ui.volumeSelector.currentNode())
    panel.close()
    check(not panel.endpoint.demo.isStarted, "the local demo was left running")


def effect(volumeNode):
    """The effect "Text prompt" in a Segment Editor: a run into the selected segment, undo, redo, and the run in the panel's history."""
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setMaximumNumberOfUndoStates(10)
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentationNode.CreateDefaultDisplayNodes()
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    editor.setSegmentationNode(segmentationNode)
    choose = getattr(editor, "setSourceVolumeNode", None) or editor.setMasterVolumeNode  # its name before Slicer 5.2
    choose(volumeNode)
    segmentId = segmentationNode.GetSegmentation().AddEmptySegment("", "bones")
    editor.setCurrentSegmentID(segmentId)
    editor.setActiveEffectByName("Text prompt")
    check(editor.activeEffect() is not None, "the Segment Editor has no effect Text prompt")
    box = editor.activeEffect().self().box
    box.ui.extentComboBox.setCurrentIndex(1)  # this slice
    check(box.ui.runButton.enabled, f"Run is disabled in the effect: {box.ui.runButton.toolTip}")
    box.ui.runButton.click()
    waitFor(lambda: box.job is None, "the effect's run")

    def voxels():
        return int(slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode).sum())

    found = voxels()
    check(found > 0, f"the effect found nothing: {box.ui.messageLabel.text}")
    editor.undo()
    check(voxels() == 0, "undo in the Segment Editor left voxels")
    editor.redo()
    check(voxels() == found, "redo in the Segment Editor brought other voxels")
    runs = slicer.modules.medimageparse.widgetRepresentation().self().panel.history.all()
    check(runs[0].isFromEditor and runs[0].title == "bones", "the effect's run is not in the panel's history of runs")
    editor.setActiveEffectByName("")
    editor.setMRMLSegmentEditorNode(None)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDIMAGEPARSE_CONFIG_DIR"] = folder  # the person's own endpoints and consents are left alone
        try:
            smoke()
        except Exception:  # whatever it is, Slicer has to end with a status that says so
            traceback.print_exc()
            return 1
    print("MedImageParse smoke test: all is well.")
    return 0


if __name__ == "__main__":
    slicer.util.exit(main())
