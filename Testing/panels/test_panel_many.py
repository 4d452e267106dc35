"""The panel: several images with one list of states, results saved for other programs, separate structures."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from panel_support import PROMPTS, SHAPE, Gate, heldBack, namesOf, phantom


def entries(opened, button: str) -> dict:
    return {str(action.text): action for action in opened.host.find(button).menu().actions()}


def states(opened) -> list[tuple[str, str]]:
    table = opened.host.find("manyTable")
    return [tuple(table.item(row, column).text() for column in (0, 1)) for row in range(table.rowCount)]


def finish(opened) -> None:
    opened.host.wait_until(lambda: not opened.panel.manyBox.isRunning, 60, every=0.02)
    opened.host.process()


def test_all_loaded_volumes_get_segments_of_their_own_and_a_click_goes_there(opened, endpoint):
    opened.makeReady(endpoint[0])
    assert list(entries(opened, "manyButton")) == ["This volume"]
    empty = opened.addVolume("empty", np.full(SHAPE, 10, np.uint8))
    assert list(entries(opened, "manyButton")) == ["This volume", "All 2 loaded volumes"]
    with heldBack(opened.panel):
        entries(opened, "manyButton")["All 2 loaded volumes"].trigger()
        assert states(opened) == [("CT", "running"), ("empty", "waiting")] and not opened.host.find("manyButton").enabled
    finish(opened)
    assert states(opened) == [("CT", "2 of 3 found"), ("empty", "0 of 3 found")]
    assert opened.text("messageLabel") == "2 of 2 images are done." and opened.host.find("manyButton").enabled
    (node,) = opened.segmentations()
    assert namesOf(node) == ["cube", "bar"]
    opened.panel.manyBox._clicked(1, 0)
    assert opened.panel.inputs.volumeNode is empty
    opened.panel.manyBox._clicked(0, 0)
    assert opened.panel.parameters.nodeFor("Segmentation") is node and [row[0] for row in opened.results()] == PROMPTS.split(" & ")


def test_cancel_stops_the_whole_list_and_keeps_what_is_done(opened, endpoint):
    url, double = endpoint
    opened.makeReady(url, "cube")
    for number in range(3):
        opened.addVolume(f"more {number}")
    entries(opened, "manyButton")["All 4 loaded volumes"].trigger()
    opened.host.wait_until(lambda: opened.panel.manyBox.runs.count("done") == 1, 60)
    double.pause = gate = Gate()
    opened.host.click("cancelButton")
    gate.open()
    finish(opened)
    done = opened.panel.manyBox.runs.count("done")
    assert {state for _name, state in states(opened)[done:]} == {"cancelled"} and len(opened.segmentations()) == done < 4
    opened.host.scene.Clear(0)
    opened.host.process()
    assert states(opened) == [] and opened.jobs == []


def test_frames_of_a_sequence_are_offered_and_become_a_sequence(opened, endpoint):
    opened.makeReady(endpoint[0], "cube")
    sequence = opened.host.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "heart")
    for number in range(2):
        sequence.SetDataNodeAtValue(opened.panel.inputs.volumeNode, str(number))
    opened.panel.update()
    entries(opened, "manyButton")["All 2 frames of heart"].trigger()
    finish(opened)
    results = opened.host.scene.GetFirstNodeByName("heart segmentation")
    assert [results.GetNthDataNode(number).GetSegmentation().GetNumberOfSegments() for number in range(2)] == [1, 1]
    assert opened.segmentations() == []


def test_a_list_says_why_it_cannot_start(opened, endpoint):
    opened.makeReady(endpoint[0], "")
    assert "There is no prompt" in opened.host.find("manyButton").toolTip and not opened.host.find("manyButton").enabled
    opened.host.type("promptsEdit", "cube")
    opened.host.choose("modeComboBox", "This slice (2D)")
    assert "Volume (3D) or All slices" in opened.host.find("manyButton").toolTip


def test_a_list_for_an_endpoint_that_cannot_be_used_is_told_why(opened, monkeypatch):
    from MedImageParseLib.errors import UsageError

    def refuse(*_asked):
        raise UsageError("The URL has no host.")

    opened.makeReady("https://ward3.example/score", "cube")
    opened.addVolume("more")
    monkeypatch.setattr("MedImageParseLib.panels.segment_panel.mayBeSent", refuse)
    entries(opened, "manyButton")["All 2 loaded volumes"].trigger()
    assert opened.text("messageLabel") == "The URL has no host." and not opened.host.find("messageIcon").isHidden() and states(opened) == []


def test_results_are_saved_and_measured_from_the_menu(opened, endpoint, tmp_path):
    opened.makeReady(endpoint[0])
    assert not opened.host.find("saveResultsButton").enabled
    opened.run()
    menu = entries(opened, "saveResultsButton")
    opened.host.messages.answers.append(str(tmp_path / "labels.nii.gz"))
    menu["Labelmap…"].trigger()
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "labels.nii.gz")))
    assert np.array_equal(labels, (phantom() == 100) + 2 * (phantom() == 200))
    assert opened.text("messageLabel") == f"Saved {tmp_path / 'labels.nii.gz'}."
    opened.host.messages.answers.append(str(tmp_path / "seg.dcm"))
    menu["DICOM segmentation…"].trigger()
    assert "save labelmaps instead" in opened.text("messageLabel") and not (tmp_path / "seg.dcm").exists()
    opened.host.messages.answers.append(str(tmp_path))
    menu["One labelmap per segment…"].trigger()
    assert opened.text("messageLabel") == "Saved 2 files." and (tmp_path / "cube.nii.gz").exists()
    menu["Show statistics as table"].trigger()
    (table,) = [
        node for node in map(opened.host.scene.GetNthNode, range(opened.host.scene.GetNumberOfNodes())) if node.IsA("vtkMRMLTableNode")
    ]
    assert table.GetTable().GetNumberOfRows() == 2


def test_separate_structures_are_chosen_in_the_options_and_travel_with_the_scene(opened, endpoint):
    opened.makeReady(endpoint[0], "cube & bar")
    opened.host.click("optionsButton")
    opened.host.choose("instancesComboBox", "Separate, from 10 ml")
    assert opened.panel.parameters["Instances"] == "10"
    opened.run()
    assert [row[:2] for row in opened.results()] == [("cube", "too small"), ("bar", "too small")] and opened.segmentations() == []
    opened.host.choose("instancesComboBox", "Separate structures")
    opened.run()
    assert [row[0] for row in opened.results()] == ["cube 1", "bar 1"]


def test_presets_of_the_mode_are_offered_and_ones_own_are_kept(opened):
    menu = entries(opened, "presetsButton")
    assert "abdomen-15 (15)" in menu and not any(name.startswith("2d-") for name in menu)
    menu["lungs (2)"].trigger()
    assert opened.panel.parameters["Prompts"] == "left lung\nright lung"
    opened.host.messages.answers.append("my/lungs")
    menu["Save as preset…"].trigger()
    assert any("one word" in text for text in opened.host.messages.texts())
    opened.host.messages.answers.append("my own lungs")
    entries(opened, "presetsButton")["Save as preset…"].trigger()
    assert "my-own-lungs (2)" in entries(opened, "presetsButton")
    opened.host.choose("modeComboBox", "All slices (2D)")
    assert "2d-fundus (2)" in entries(opened, "presetsButton") and "lungs (2)" not in entries(opened, "presetsButton")
