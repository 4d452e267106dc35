"""The tab "Find similar": what it says when something is missing or wrong, and how it looks."""

from __future__ import annotations

import os

from search_panel_support import PROFILE, openedTab


def test_buttons_say_why_they_are_disabled(search):
    tip = lambda name: search.host.find(name).toolTip  # noqa: E731
    assert tip("indexButton") == "Select a volume." and tip("similarButton") == "Select a volume."
    search.host.choose("indexWhatComboBox", "All loaded volumes")
    assert tip("indexButton") == "No volume is loaded yet."
    search.host.choose("indexWhatComboBox", "DICOM database")
    assert tip("indexButton") == "There is no DICOM database open in Slicer; open one in the DICOM module."
    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.host.choose("indexWhatComboBox", "This volume")
    assert search.host.find("indexButton").enabled and not search.host.find("similarButton").enabled
    assert tip("similarButton") == "The index is empty. Press Index first."
    assert search.text("indexInfoLabel") == "The index is empty."
    for section in ("classifySection", "outliersSection"):
        search.host.click(section)
    assert tip("classifyButton") == "Type at least two labels, one per line. They are compared with each other."
    assert tip("outliersButton") == "The index is empty. Press Index first."
    assert tip("labelsTableButton") == "Nothing has been classified yet."
    search.host.choose("searchProfileComboBox", "Local demo")
    assert tip("indexButton") == "Start the local demo, or choose another endpoint."


def test_a_damaged_index_and_a_file_that_is_none_are_said_and_left_as_they_are(search, tmp_path):
    other = tmp_path / "letter.index"
    other.write_text("Dear colleague")
    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.do("indexButton")
    search.tab.indexBox.useIndex(str(other))
    search.settle()
    assert "is not an index" in search.text("indexInfoLabel") and not search.host.find("indexButton").enabled
    assert search.host.find("similarButton").toolTip == search.text("indexInfoLabel")
    assert other.read_text() == "Dear colleague"

    search.tab.indexBox.useIndex("")
    search.settle()
    whole = open(search.indexPath, "rb").read()
    with open(search.indexPath, "r+b") as file:
        file.seek(len(whole) // 3)
        file.write(b"\xff" * (len(whole) // 2))
    damaged = open(search.indexPath, "rb").read()
    search.tab.context.readIndex()
    search.settle()
    if search.host.find("similarButton").enabled:
        search.do("similarButton")
        assert "damaged" in search.text("similarMessageLabel")
    else:
        assert "damaged" in search.text("indexInfoLabel")
    assert open(search.indexPath, "rb").read() == damaged


def test_only_profiles_that_may_run_the_model_are_offered_and_the_choice_is_kept_apart(search):
    from MedImageParseLib.profiles.profiles import Profile, ProfileStore

    for name, model in (("Slices", "medimageparse"), ("Volumes", "medimageparse3d"), ("Vectors", "medimageinsight"), ("Any", "")):
        ProfileStore().add(Profile(name, "https://example.invalid/score", model=model))
    search.tab.endpoint.readProfiles()
    box = search.host.find("searchProfileComboBox")
    assert [box.itemText(row) for row in range(box.count)] == ["Local demo", PROFILE, "Vectors", "Any"]
    search.host.choose("searchProfileComboBox", "Vectors")
    search.host.find("moduleTabBar").setCurrentIndex(0)
    search.host.process()
    assert search.host.find("profileComboBox").currentText == "Local demo"


def test_image_data_stays_here_until_the_person_agrees(double):
    with double.serve() as url, openedTab() as search:
        search.useEndpoint(url.replace("127.0.0.1", "elsewhere.invalid"), allow_plain_http=True, connect_timeout_s=0.5, tries=1)
        search.addCt("CT")
        search.host.choose("searchVolumeSelector", "CT")
        search.host.click("indexButton")
        assert search.text("indexMessageLabel") == "Nothing was sent." and search.tab.logic.jobs == []
        assert "elsewhere.invalid" in search.host.messages.texts()[-1]
        assert not os.path.exists(search.indexPath)


def test_two_tabs_share_the_local_demo():
    with openedTab() as search:
        search.host.find("moduleTabBar").setCurrentIndex(0)
        search.host.click("demoButton")
        demo = search.panel.endpoint.demo
        search.host.wait_until(lambda: demo.url, 60)
        search.host.find("moduleTabBar").setCurrentIndex(1)
        search.host.process()
        assert search.text("searchStatusLabel") == "Running on this computer. This is a demo engine, not MedImageInsight."
        assert search.tab.endpoint.profile().url == demo.url
        search.host.click("searchDemoButton")
        assert not demo.isStarted and search.text("searchDemoButton") == "Start local demo"


def test_nothing_that_needs_texts_is_offered_on_the_demo(search):
    """The demo engine cannot read text: classifying with a label set would fail only after the image was sent."""
    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    search.do("indexButton")
    search.host.click("classifySection")
    box = search.host.find("labelSetComboBox")
    sets = [box.itemText(row) for row in range(box.count)]
    search.host.choose("labelSetComboBox", sets[-1])
    assert search.host.find("classifyButton").enabled
    demo = search.panel.endpoint.demo
    search.host.choose("searchProfileComboBox", "Local demo")
    search.host.click("searchDemoButton")
    search.host.wait_until(lambda: demo.url, 60)
    search.host.process()
    assert search.host.find("indexButton").enabled
    for each in sets:
        search.host.choose("labelSetComboBox", each)
        assert not search.host.find("classifyButton").enabled
        assert "does not support text" in search.text("classifyReasonLabel")
    search.host.choose("queryModeComboBox", "This text")
    search.host.type("queryTextEdit", "computed tomography chest")
    assert not search.host.find("similarButton").enabled and "does not support text" in search.text("similarReasonLabel")
    search.host.choose("queryModeComboBox", "This slice")
    assert search.host.find("similarButton").enabled


def test_nothing_is_cut_off_in_a_narrow_tab_or_with_large_fonts(search):
    search.fill()
    search.host.choose("queryModeComboBox", "This region")
    for width, scale in ((300, 1.0), (420, 1.5)):
        search.host.panel.window.resize(width, 1200)  # the grid is as high as its rows: it takes a moment to come to rest
        for _round in range(4):
            search.host.process()
        assert scale > 1 or search.host.panel.needed_width() <= 300
        assert search.host.layout_faults(width, 1200, scale) == []
    assert not search.host.screenshot(width=300, height=1200, theme="dark").isNull()


def test_an_error_has_an_icon_a_copy_button_and_the_button_that_helps(search, double):
    import qt

    search.addCt("CT")
    search.host.choose("searchVolumeSelector", "CT")
    double.fail_after = 0
    assert search.host.find("similarMessageIcon").isHidden()
    search.do("indexButton")
    search.settle()
    search.do("similarButton") if search.host.find("similarButton").enabled else None
    message = search.text("indexMessageLabel")
    assert message and not search.host.find("indexMessageIcon").isHidden()
    search.host.click("indexMessageCopyButton")
    assert message in str(qt.QApplication.clipboard().text())
    assert search.text("indexMessageHelpButton") == "Open endpoint settings"
    search.host.click("indexMessageHelpButton")
    assert search.tab.settings.dialog.visible
    double.fail_after = None
    search.do("indexButton")
    assert search.host.find("indexMessageIcon").isHidden() and search.host.find("indexMessageCopyButton").isHidden()
