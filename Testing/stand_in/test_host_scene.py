"""The doubles of Slicer's and CTK's widgets, on the real MRML scene."""

from __future__ import annotations

import numpy as np
import pytest
from scene_support import add_shared_layer

from host import Host


@pytest.fixture()
def host():
    with Host() as running:
        yield running
        assert running.slot_errors == []


@pytest.fixture()
def selector(host):
    import slicer

    made = slicer.qMRMLNodeComboBox()
    made.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    made.addEnabled = made.removeEnabled = False
    made.noneEnabled = True
    made.setMRMLScene(slicer.mrmlScene)
    return made


def volume(host, name, kind="vtkMRMLScalarVolumeNode"):
    return host.scene.AddNewNodeByClass(kind, name)


def entries(selector):
    combo = selector.children()[1]
    return [combo.itemText(row) for row in range(combo.count)]


def test_a_node_selector_follows_nodes_that_come_go_and_change_their_names(host, selector):
    ct = volume(host, "CT")
    volume(host, "Other", "vtkMRMLModelNode")
    assert entries(selector) == ["None", "CT"] and selector.nodeCount() == 1
    ct.SetName("CT chest")
    assert entries(selector) == ["None", "CT chest"]
    host.scene.RemoveNode(ct)
    assert entries(selector) == ["None"]


def test_a_node_selector_tells_about_its_node_in_every_form(host, selector):
    heard = []
    for signature in ("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)", "currentNodeIDChanged(QString)"):
        assert selector.connect(signature, heard.append)
    ct = volume(host, "CT")
    selector.setCurrentNode(ct)
    assert heard == [ct, True, ct.GetID()] and selector.currentNode() is ct and selector.currentNodeID == ct.GetID()
    selector.setCurrentNode(ct)
    assert len(heard) == 3
    host.scene.RemoveNode(ct)
    assert heard[3:] == [None, False, ""] and selector.currentNode() is None


def test_a_node_selector_without_none_takes_the_first_node(host, selector):
    selector.noneEnabled = False
    first = volume(host, "CT")
    volume(host, "MR")
    assert selector.currentNode() is first


def test_a_node_selector_offers_derived_classes_and_no_hidden_nodes(host, selector):
    volume(host, "Labels", "vtkMRMLLabelMapVolumeNode")
    hidden = host.scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    hidden.UnRegister(None)
    hidden.SetHideFromEditors(True)
    host.scene.AddNode(hidden)
    assert entries(selector) == ["None", "Labels"]
    selector.showChildNodeTypes = False
    assert entries(selector) == ["None"]


def test_a_node_selector_makes_nodes_with_its_base_name(host, selector):
    selector.baseName = "Result"
    node = selector.addNode()
    assert node.GetName() == "Result" and selector.currentNode() is node and host.scene.GetFirstNodeByName("Result") is node


def test_a_node_selector_without_a_scene_is_empty(host):
    import slicer

    alone = slicer.qMRMLNodeComboBox()
    alone.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    volume(host, "CT")
    assert alone.nodeCount() == 0


def test_closing_the_scene_empties_the_selector(host, selector):
    selector.setCurrentNode(volume(host, "CT"))
    host.close_scene()
    assert selector.currentNode() is None and selector.nodeCount() == 0


def test_the_table_of_segments_follows_the_segmentation(host):
    import slicer

    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    reference = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.int16))
    table = slicer.qMRMLSegmentsTableView()
    table.setSegmentationNode(node)
    ids = add_shared_layer(node, reference, np.arange(60).reshape(3, 4, 5) % 3, ["liver", "spleen"])
    shown = table.tableWidget().model()
    assert table.segmentCount == 2 and shown.data(shown.index(1, 3)) == "spleen"
    assert shown.insertColumns(6, 1) and shown.setData(shown.index(1, 6), "mine")
    node.GetSegmentation().RemoveSegment(ids[0])
    assert table.segmentCount == 1 and shown.data(shown.index(0, 6)) == "mine"
    table.setSelectedSegmentIDs([ids[1]])
    assert table.selectedSegmentIDs() == (ids[1],)
    shown.setData(shown.index(0, 3), "milt")
    assert node.GetSegmentation().GetSegment(ids[1]).GetName() == "milt"


def test_a_collapsed_button_is_as_high_as_its_header_and_opens_again(host):
    import ctk

    top = host.qt.QWidget()
    host.qt.QVBoxLayout(top)
    box, label, hidden = ctk.ctkCollapsibleButton("Inputs"), host.qt.QLabel("liver"), host.qt.QLabel("never shown")
    layout = host.qt.QVBoxLayout(box)
    layout.addWidget(label)
    layout.addWidget(hidden)
    hidden.hide()
    top.layout().addWidget(box)
    top.layout().addStretch(1)
    heard = []
    box.connect("contentsCollapsed(bool)", heard.append)
    top.show()
    host.process()
    high = box.height
    box.collapsed = True
    host.process()
    assert not label.visible and box.height < high and heard == [True]
    host.click(box)
    assert label.visible and not hidden.visible and box.height == high and heard == [True, False]
    top.close()


def test_what_is_added_to_a_collapsed_button_stays_hidden_until_it_opens(host):
    import ctk

    box = ctk.ctkCollapsibleButton("Advanced")
    host.qt.QVBoxLayout(box)
    box.collapsed = True
    box.show()
    label = host.qt.QLabel("late")
    box.layout().addWidget(label)
    host.process()
    assert not label.visible
    box.collapsed = False
    host.process()
    assert label.visible
    box.close()


def test_value_widgets_keep_their_parts_in_step(host):
    import ctk

    heard = []
    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum = -10, 30
    slider.connect("valueChanged(double)", heard.append)
    slider.value = 99
    assert slider.value == 30 and heard == [30]
    window = ctk.ctkRangeWidget()
    window.minimum, window.maximum = -1000, 1000
    window.connect("valuesChanged(double,double)", lambda low, high: heard.append((low, high)))
    window.setValues(-160, 240)
    assert (window.minimumValue, window.maximumValue) == (-160, 240) and heard[-1] == (-160, 240)
    window.minimumValue = 500
    assert window.maximumValue == 500


def test_slice_views_have_real_logics_that_follow_the_volume(host):
    import slicer

    voxels = np.zeros((30, 40, 50), np.int16)
    node = slicer.util.addVolumeFromArray(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    red = slicer.app.layoutManager().sliceWidget("Red")
    assert red.sliceLogic().GetBackgroundLayer().GetVolumeNode() is node
    assert red.mrmlSliceNode().GetOrientation() == "Axial"
    red.sliceLogic().SetSliceOffset(14.0)
    assert red.mrmlSliceNode().GetSliceToRAS().GetElement(2, 3) == pytest.approx(14.0)


def test_slicer_util_saves_and_loads_through_the_application(host, tmp_path):
    import slicer

    node = slicer.util.addVolumeFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5), name="CT")
    assert slicer.util.saveNode(node, str(tmp_path / "ct.nrrd"))
    loaded = slicer.util.loadVolume(str(tmp_path / "ct.nrrd"), {"name": "Again"})
    assert loaded.GetName() == "Again" and np.array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(node))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.close_scene()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert slicer.util.getNode("CT").GetImageData().GetDimensions() == (5, 4, 3)
