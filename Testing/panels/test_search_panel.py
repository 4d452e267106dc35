"""The tab "Find similar": from nothing to the slice in thirty seconds, and what it says on the way."""

from __future__ import annotations

import itertools
import json

import numpy as np
from embed_support import made_up_ct
from search_panel_support import coarse, openedTab


def test_a_person_indexes_searches_and_is_there(search):
    import slicer

    one, other = search.addCt("CT one"), search.addCt("CT other", slices=9, size=60)
    search.host.choose("searchVolumeSelector", "CT one")
    search.host.choose("indexWhatComboBox", "All loaded volumes")
    assert search.do("indexButton").state == "done"
    assert search.text("indexMessageLabel").startswith("21 slices added, 0 already in the index. ")
    assert search.text("indexInfoLabel").startswith("The index contains 21 images of 2 volumes and pictures, ")
    search.look(4)
    assert search.text("searchSliceLabel") == "This slice: axial 4 of 0 to 11, as in the Red view"
    search.host.find("queryTopSpinBox").value = 21
    search.host.click("leaveOutCheckBox")  # on by itself, as the index holds two
    assert search.do("similarButton").state == "done"
    assert search.text("hitsLabel") == "Most similar to axial slice 4 of CT one:"

    voxels = {"CT one": made_up_ct().voxels, "CT other": made_up_ct(9, 60).voxels}
    query = coarse(voxels["CT one"][4])
    shown = [(name, int(place.removeprefix("axial "))) for _similarity, name, place in search.grid()]
    truth = [float(query @ coarse(voxels[name][index])) for name, index in shown]
    assert shown[0] == ("CT one", 4) and search.grid()[0][0] == "1.00"
    assert set(shown[:3]) == {("CT one", index) for index in (3, 4, 5)}
    assert all(later <= earlier + 0.01 for earlier, later in itertools.pairwise(truth)), truth
    assert len(set(shown)) == 21

    row = next(row for row, (name, _index) in enumerate(shown) if name == "CT other")
    search.openTile(row)
    assert abs(search.offset() - 2.0 * shown[row][1]) < 1e-6  # mm
    logic = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    assert logic.GetSliceCompositeNode().GetBackgroundVolumeID() == other.GetID()
    assert search.host.find("searchVolumeSelector").currentNode() is other and one.GetID() != other.GetID()


def test_enter_on_a_tile_goes_to_its_slice_in_the_right_view(search):
    search.addCt("CT", size=24)
    search.host.choose("searchVolumeSelector", "CT")
    search.host.click("indexOptionsButton")
    search.host.choose("indexPlaneComboBox", "Coronal")
    search.do("indexButton")
    search.look(11, "Green")
    assert search.text("searchSliceLabel").startswith("This slice: coronal 11")
    search.do("similarButton")
    place = int(search.grid()[2][2].removeprefix("coronal "))
    search.host.find("hitsList").setCurrentRow(2)
    search.host.key("hitsList", "Return")
    assert abs(search.offset("Green") - 2.0 * place) < 1e-6


def test_what_is_indexed_is_not_sent_again_and_the_counts_say_so(search, double):
    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.do("indexButton")
    sent = len(double.rows)
    search.do("indexButton")
    assert len(double.rows) == sent == 12
    assert search.text("indexMessageLabel") == "0 slices added, 12 already in the index."


def test_labelmaps_and_hidden_volumes_are_not_indexed(search):
    search.addCt("CT")
    hidden = search.addCt("somebody's preview", slices=5)
    hidden.SetHideFromEditors(1)
    labels = search.host.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    labels.SetAndObserveImageData(hidden.GetImageData())
    search.host.choose("indexWhatComboBox", "All loaded volumes")
    search.do("indexButton")
    assert search.text("indexMessageLabel").startswith("12 slices added, 0 already in the index. ")


def test_this_volume_can_be_left_out(search):
    search.addCt("CT one"), search.addCt("CT other", slices=9, size=60)
    search.host.choose("searchVolumeSelector", "CT one")
    search.host.choose("indexWhatComboBox", "All loaded volumes")
    search.do("indexButton")
    assert search.host.find("leaveOutCheckBox").checked  # by itself, as the index holds two
    search.do("similarButton")
    assert {name for _similarity, name, _place in search.grid()} == {"CT other"}


def test_a_person_may_keep_this_volume_in_and_a_single_one_is_never_left_out(search):
    search.addCt("CT one")
    search.host.choose("searchVolumeSelector", "CT one")
    search.do("indexButton")
    assert not search.host.find("leaveOutCheckBox").checked
    search.addCt("CT other", slices=9, size=60)
    search.host.choose("indexWhatComboBox", "All loaded volumes")
    search.do("indexButton")
    search.host.click("leaveOutCheckBox")
    search.host.find("queryTopSpinBox").value = 21
    search.do("similarButton")
    assert {name for _similarity, name, _place in search.grid()} == {"CT one", "CT other"}


def test_a_file_that_is_indexed_but_not_loaded_is_loaded_and_a_lost_one_is_said_so(search, tmp_path):
    import nibabel as nib

    folder = tmp_path / "studies"
    folder.mkdir()
    ct = made_up_ct(10, 40)
    nib.save(nib.Nifti1Image(ct.voxels.transpose(2, 1, 0), ct.ijk_to_ras), folder / "study.nii.gz")
    search.host.choose("indexWhatComboBox", "A folder…")
    search.host.messages.answers.append(str(folder))
    assert search.do("indexButton").state == "done"
    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.look(6)
    search.do("similarButton")
    assert search.grid()[0][1:] == ("study.nii.gz", "axial 6")
    search.openTile(0)
    loaded = search.host.find("searchVolumeSelector").currentNode()
    assert loaded.GetName() != "CT" and loaded.GetImageData().GetDimensions() == (40, 40, 10)
    assert abs(search.offset() - 12.0) < 1e-4

    search.host.scene.RemoveNode(loaded)
    (folder / "study.nii.gz").unlink()
    search.host.find("searchVolumeSelector").setCurrentNode(None)
    search.openTile(1)
    sentence = '"study.nii.gz" is not in the scene, and its file is no longer where it was; load it and try again.'
    assert search.text("similarMessageLabel") == sentence


def test_nothing_of_name_path_or_picture_is_stored_where_that_is_not_wanted(search, tmp_path):
    import slicer
    from PySide6 import QtCore

    node = search.addCt("Doe Jane CT")
    path = str(tmp_path / "Doe_Jane.nrrd")
    assert slicer.util.saveNode(node, path) and node.GetStorageNode().GetFileName() == path
    search.host.choose("searchVolumeSelector", "Doe Jane CT")
    search.host.click("indexOptionsButton")
    search.host.click("indexThumbnailsCheckBox")
    search.host.click("indexPathsCheckBox")
    search.do("indexButton")
    content = open(search.indexPath, "rb").read()
    assert b"Doe" not in content and b"PNG" not in content and str(tmp_path).encode() + b"/Doe" not in content
    assert "Doe" not in json.dumps(QtCore.QSettings().value("MedImageParse/Search"))
    search.do("similarButton")
    assert search.grid()[0][1].startswith("series ")
    color = search.host.find("hitsList").item(0).icon().pixmap(128, 128).toImage().pixelColor(3, 3)
    assert (color.red(), color.green(), color.blue()) == (128, 128, 128)  # the neutral one
    search.openTile(2)  # found again by its voxels
    assert abs(search.offset() - 2.0 * int(search.grid()[2][2].removeprefix("axial "))) < 1e-6
    search.host.scene.RemoveNode(node)
    search.openTile(2)
    assert search.text("similarMessageLabel").endswith("where it was is not kept in the index; load it and try again.")


def test_what_is_stored_is_remembered_for_the_next_session_and_not_in_the_scene(search):
    search.host.click("indexOptionsButton")
    search.host.click("indexThumbnailsCheckBox")
    search.host.reload_module()
    search.openTab()
    assert not search.host.find("indexThumbnailsCheckBox").checked and search.host.find("indexPathsCheckBox").checked
    node = search.tab.parameters.node
    assert not [name for name in node.GetParameterNames() if "humbnail" in name or "index" in name.lower()]


def test_results_follow_the_slice_that_is_looked_at_where_that_is_wanted(search, double):
    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.do("indexButton")
    search.look(2)
    search.do("similarButton")
    search.look(8)
    search.host.process()
    assert search.grid()[0][2] == "axial 2"  # not wanted yet
    search.host.click("followCheckBox")
    search.host.wait_until(lambda: search.grid() and search.grid()[0][2] == "axial 8", 60)
    search.settle()
    asked = len(double.requests)
    search.openTile(3)  # going to a result is no new question
    search.host.run_idle(0.5)
    assert len(double.requests) == asked and search.grid()[0][2] == "axial 8"


def test_a_region_of_interest_cuts_its_part_out_of_the_slice(search, double):
    import io

    import slicer
    from PIL import Image

    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.do("indexButton")
    # In slice 4 rows 12 to 15 and columns 10 to 15 hold the block of 500 HU.
    roi = search.host.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    roi.SetCenter(2 * 12.5, 2 * 13.5, 2 * 4.0)
    roi.SetSize(11.0, 7.0, 3.0)
    double.keep = True
    search.host.choose("queryModeComboBox", "This region")
    assert search.host.find("similarButton").toolTip == "Choose a region of interest, or a segment."
    search.host.choose("queryRegionSelector", "R")
    search.look(4)
    assert search.do("similarButton").state == "done"
    picture = np.asarray(Image.open(io.BytesIO(double.pictures[-1])).convert("L"))
    used = picture[picture > 0]
    assert set(np.unique(used)) <= {190, 191, 192}  # (500 + 1000) / 2000 of 255
    assert abs(used.size / picture.size - 4 / 6) < 0.02  # 6 by 4 voxels, padded to a square
    search.look(7)
    search.do("similarButton")
    assert search.text("similarMessageLabel") == "The region does not reach slice 7: it spans slices 4 to 4; go to one of these."
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsROINode") == [roi]


def test_a_text_finds_what_the_endpoint_says_is_near_it(search, double):
    from doubles.insight import text_vector

    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.do("indexButton")
    search.host.choose("queryModeComboBox", "This text")
    assert search.host.find("similarButton").toolTip == "Type what to search for."
    search.host.type("queryTextEdit", "computed tomography liver")
    search.host.key("queryTextEdit", "Return")
    search.settle()
    assert double.texts == ["computed tomography liver"] and len(search.grid()) == 12
    similarities = [hit.similarity for hit in search.tab.query.grid.hits]
    assert similarities == sorted(similarities, reverse=True)
    assert max(abs(each) for each in similarities) < 0.2  # random texts are near nothing
    assert text_vector("computed tomography liver").shape == (1024,)


def test_the_local_demo_refuses_a_text_in_one_sentence():
    from MedImageParseLib.local_endpoint.server import LocalEndpoint

    with LocalEndpoint() as endpoint, openedTab(endpoint.url) as search:
        search.addCt("CT")
        search.host.choose("searchVolumeSelector", "CT")
        search.do("indexButton")
        search.host.choose("queryModeComboBox", "This text")
        search.host.type("queryTextEdit", "liver")
        assert search.do("similarButton").state == "failed"
        sentence = search.text("similarMessageLabel")
        assert "has no text encoder" in sentence and "\n" not in sentence and sentence.endswith(".")
        assert search.grid() == []
