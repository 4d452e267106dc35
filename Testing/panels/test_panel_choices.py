"""What was chosen stays chosen, whatever is opened, loaded or reloaded around it."""

from __future__ import annotations

import numpy as np
import pytest
from panel_support import MODULE, Opened
from search_panel_support import SearchOpened

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")

ROLES = {"InputVolume": "CT", "Segmentation": "Mine", "Region": "Here", "SearchRegion": "There"}


def sceneWithChoices():
    """A scene as another session left it. Returns what is chosen in it, by role."""
    from MedImageParseLib.panels.parameters import PanelParameters

    kinds = {"CT": "vtkMRMLScalarVolumeNode", "Mine": "vtkMRMLSegmentationNode"}
    for name in ("Another", *ROLES.values()):
        slicer.mrmlScene.AddNewNodeByClass(kinds.get(name, "vtkMRMLMarkupsROINode"), name)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Not this one")
    parameters = PanelParameters(slicer.mrmlScene)
    for role, name in ROLES.items():
        parameters.setNodeFor(role, slicer.util.getNode(name))
    return chosen()


def chosen():
    node = slicer.mrmlScene.GetSingletonNode("MedImageParse", "vtkMRMLScriptedModuleNode")
    nodes = {role: node.GetNodeReference(role) for role in ROLES}
    return {role: each.GetName() if each is not None else None for role, each in nodes.items()}


@pytest.fixture
def hosted():
    from host import Host

    with Host() as host:
        host.load_module("MedImageParse", MODULE, open_it=False)
        yield host
        assert host.slot_errors == []


def test_opening_the_module_its_second_tab_and_reload_keep_every_choice(hosted):
    assert sceneWithChoices() == ROLES
    hosted.open_module("MedImageParse")
    assert chosen() == ROLES
    search = SearchOpened(hosted)
    search.openTab()
    assert chosen() == ROLES
    hosted.reload_module()
    assert chosen() == ROLES
    SearchOpened(hosted).openTab()
    assert chosen() == ROLES
    assert hosted.find("searchVolumeSelector").currentNode().GetName() == "CT"
    assert hosted.find("queryRegionSelector").currentNode().GetName() == "There"


def test_a_scene_that_is_loaded_keeps_its_choices_in_both_tabs(hosted, tmp_path):
    hosted.open_module("MedImageParse")
    SearchOpened(hosted).openTab()
    sceneWithChoices()
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    hosted.close_scene()
    assert slicer.mrmlScene.ReadFromMRB(path)
    hosted.process()
    assert chosen() == ROLES


def test_both_tabs_share_the_volume(hosted):
    hosted.open_module("MedImageParse")
    opened, search = Opened(hosted), SearchOpened(hosted)
    opened.addVolume("First")
    opened.addVolume("Second")
    hosted.choose("volumeSelector", "First")
    search.openTab()
    assert hosted.find("searchVolumeSelector").currentNode().GetName() == "First"
    hosted.choose("searchVolumeSelector", "Second")
    hosted.find("moduleTabBar").setCurrentIndex(0)
    hosted.process()
    assert hosted.find("volumeSelector").currentNode().GetName() == "Second"


def test_a_person_can_still_choose_no_segmentation(hosted):
    sceneWithChoices()
    hosted.open_module("MedImageParse")
    hosted.find("segmentationSelector").setCurrentNode(None)
    assert chosen() == {**ROLES, "Segmentation": None}


def test_the_contents_keep_slicers_usual_margins_to_the_panels_edge(hosted):
    hosted.open_module("MedImageParse")
    usual = hosted.widget.panel.widget.style().pixelMetric(hosted.qt.QStyle.PM_LayoutLeftMargin)
    left = hosted.find("profileComboBox").parent().mapTo(hosted.panel.window, hosted.qt.QPoint(0, 0)).x()
    assert usual > 0 and left >= usual


@pytest.mark.parametrize("missing", ["qMRMLSegmentsTableView", "ctkCollapsibleButton", "qMRMLNodeComboBox"])
def test_a_panel_that_cannot_be_built_says_so_in_one_sentence(monkeypatch, missing):
    from host import Host, qt_module

    monkeypatch.delitem(qt_module._doubles, missing)
    with Host() as host:
        host.load_module("MedImageParse", MODULE)
        text = host.find("panelFaultLabel").text
        assert missing in text and text.count(". ") == 0 and text.endswith(".")
        assert not host.find("panelFaultLabel").isHidden()
        told = ("The host has no class", "which does not exist: QWidget has no attribute")  # what Qt says of such a file
        assert [each for each in host.slot_errors if not any(text in each for text in told)] == []
        host.slot_errors.clear()


def test_a_scene_of_an_earlier_version_or_of_another_hand_keeps_what_makes_sense(hosted):
    """Slicer's parameterNodeWrapper takes a reference without a parameter of its name for no choice, and would write None."""
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "No segmentation")
    node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
    node.UnRegister(None)
    node.SetSingletonTag("MedImageParse")
    node = slicer.mrmlScene.AddNode(node)
    node.SetNodeReferenceID("InputVolume", volume.GetID())
    node.SetNodeReferenceID("Segmentation", model.GetID())
    for name, value in (("Prompts", "liver"), ("Mode", ""), ("FirstSlice", "many"), ("Orient", "sideways"), ("NoSuchThing", "x")):
        node.SetParameter(name, value)
    hosted.open_module("MedImageParse")
    parameters = hosted.widget.panel.parameters
    assert parameters.node is node and parameters.nodeFor("InputVolume") is volume
    assert parameters.nodeFor("Segmentation") is None, "a model is no segmentation"
    assert (parameters["Prompts"], parameters["Mode"], parameters["Existing"]) == ("liver", "volume", "add")
    assert parameters.wholeNumber("FirstSlice") == 0
    assert hosted.find("promptsEdit").toPlainText() == "liver"


def test_a_removed_volume_is_let_go_of(hosted):
    hosted.open_module("MedImageParse")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    hosted.widget.panel.parameters.setNodeFor("InputVolume", volume)
    hosted.process()
    slicer.mrmlScene.RemoveNode(volume)
    hosted.process()
    assert hosted.widget.panel.parameters.nodeFor("InputVolume") is None
    assert volume.GetReferenceCount() == 1, "only this test still holds it"


def emptyVolume():
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "odd")


def vectors():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "odd")
    node.SetAndObserveImageData(imageOf(np.zeros((120, 3), np.float32)))
    return node


def flat():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "odd")
    node.SetAndObserveImageData(imageOf(np.zeros(120, np.int16)))
    matrix = slicer.util.vtkMatrixFromArray(np.diag([1.0, 0.0, 1.0, 1.0]))
    node.SetIJKToRASMatrix(matrix)
    return node


def imageOf(values):
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(6, 5, 4)
    image.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
    return image


@pytest.mark.parametrize(
    ("make", "why"), [(emptyVolume, "This volume is empty"), (vectors, "they are no colors"), (flat, "two of its axes coincide")]
)
def test_a_volume_that_cannot_be_sent_says_why_in_every_mode_and_in_both_tabs(opened, make, why):
    host = opened.host
    opened.addProfile("Ward 3", "http://127.0.0.1:9/score")
    host.type("promptsEdit", "cube")
    host.click("optionsButton")
    opened.panel.chooseNode("InputVolume", make())
    for mode in ("Volume (3D)", "This slice (2D)", "Slices from–to (2D)", "All slices (2D)"):
        host.choose("modeComboBox", mode)
        opened.panel.options.drawPreview()
        assert why in opened.text("reasonLabel") and not host.find("runButton").enabled
    host.find("moduleTabBar").setCurrentIndex(1)
    host.process()
    assert host.find("searchVolumeSelector").currentNode().GetName() == "odd" and not host.find("similarButton").enabled


def test_the_preview_says_what_is_wrong_with_values_that_are_no_numbers(opened):
    values = np.zeros((4, 5, 6), np.float32)
    node = opened.addVolume("CT", values)
    slicer.util.arrayFromVolume(node)[:, 0, 0] = np.nan
    opened.host.choose("volumeSelector", "CT")
    opened.host.click("optionsButton")
    opened.panel.options.drawPreview()
    assert opened.text("previewText").startswith("The image has 4 voxels that are not finite numbers")


def test_an_endpoint_that_is_gone_is_shown_as_missing_and_nothing_is_sent_elsewhere(opened, endpoint):
    from MedImageParseLib.profiles.profiles import ProfileStore

    opened.makeReady(endpoint[0])
    opened.run()
    box = opened.host.find("profileComboBox")
    ProfileStore().remove("Ward 3")
    opened.panel.enter()
    assert box.currentText == "Ward 3 (not found)" and not opened.host.find("runButton").enabled
    assert "Ward 3 was not found on this computer" in opened.text("reasonLabel") and opened.text("reasonButton") == "Open endpoint settings"
    opened.host.choose("profileComboBox", "Local demo")
    assert [box.itemText(row) for row in range(box.count)] == ["Local demo"]
    opened.host.find("runsButton").menu().actions()[0].trigger()
    assert box.currentText == "Ward 3 (not found)" and "was not found" in opened.text("messageLabel") and opened.jobs == []


def test_a_run_that_ends_with_the_scene_says_so(opened, endpoint):
    from panel_support import Gate

    opened.makeReady(endpoint[0])
    endpoint[1].pause = gate = Gate()
    opened.host.click("runButton")
    opened.host.wait_until(gate.reached.is_set, 30)
    opened.host.close_scene()
    gate.open()
    assert opened.text("messageLabel") == "The scene was closed, so the run was cancelled."
