"""The headless host loads, drives and unloads scripted modules as Slicer does. The module is Testing/host_example."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from host import Host
from host.module_files import ModuleFilesError, listed, unlisted
from host.slicer_module import RefusedInstall

EXAMPLE = Path(__file__).resolve().parents[1] / "host_example"


@pytest.fixture()
def folder(tmp_path):
    copy = tmp_path / "module"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    yield copy
    for name in [each for each in sys.modules if each.startswith("ExampleLib")]:
        del sys.modules[name]


@pytest.fixture()
def host(folder):
    with Host() as running:
        running.module = running.load_module("Example", folder / "Example.py")
        yield running


def run(host, words):
    host.type("promptEdit", words)
    host.click("runButton")
    return host.find("status").text


def test_a_module_is_registered_set_up_and_entered(host):
    import slicer

    assert slicer.modules.example.title == "Example" and slicer.modules.ExampleWidget is host.widget
    assert slicer.util.getModuleWidget("Example") is host.widget and slicer.util.modulePath("Example").endswith("Example.py")
    assert host.widget.parent.isEntered
    host.start_up()
    host.leave_module()
    assert not host.widget.parent.isEntered
    assert host.module.events == ["entered", "started", "left"]


def test_typing_and_clicking_reach_the_module(host):
    import slicer

    assert run(host, "liver\nspleen") == "LIVER\nSPLEEN"
    node = slicer.mrmlScene.GetSingletonNode("Example", "vtkMRMLScriptedModuleNode")
    assert node.GetParameter("Words") == "liver\nspleen" and host.widget.logic.getParameterNode() is node
    assert host.slot_errors == []


def test_keys_reach_the_modules_shortcuts(host):
    host.type("promptEdit", "kidney")
    host.key("promptEdit", "Ctrl+Return")
    assert host.find("status").text == "KIDNEY"


def test_a_widget_that_a_person_cannot_use_is_refused(host):
    host.find("runButton").enabled = False
    with pytest.raises(AssertionError, match="runButton: it is disabled"):
        host.click("runButton")
    host.click("box")
    with pytest.raises(AssertionError, match="promptEdit: it is hidden"):
        host.type("promptEdit", "x")
    with pytest.raises(LookupError, match="'nothing'"):
        host.click("nothing")


def test_properties_and_connections_of_the_ui_file_are_made(host):
    assert host.widget.ui.slider.value == 3 and host.widget.ui.volumeSelector.noneEnabled
    assert host.widget.ui.volumeSelector.SlicerParameterName == "vol"
    host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    host.choose("volumeSelector", "CT")
    assert host.widget.ui.volumeSelector.currentNode().GetName() == "CT"


def test_a_selector_that_the_ui_file_does_not_connect_stays_empty(folder):
    path = folder / "Resources" / "UI" / "Example.ui"
    path.write_text(path.read_text().replace("<connections>", "<!--").replace("</connections>", "-->"))
    with Host() as host:
        host.load_module("Example", folder / "Example.py")
        host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        assert host.widget.ui.volumeSelector.nodeCount() == 0


def test_errors_and_questions_are_recorded_and_answered(host):
    assert run(host, "ask") == "declined"
    host.messages.answers.append(True)
    assert run(host, "ask") == "granted"
    run(host, "fail")
    assert host.messages.texts() == ["May I?", "May I?", "It failed.\n\nbecause"] and "ValueError" in host.messages.shown[-1].details
    assert len(host.slot_errors) == 1 and "ValueError: because" in host.slot_errors[0]


def test_installing_a_package_is_refused(host):
    run(host, "install")
    assert host.installs == ["something"] and RefusedInstall.__name__ in host.slot_errors[0]


def test_reloading_makes_the_panel_anew(host):
    run(host, "liver")
    before, widget = host.module, host.widget
    again = host.reload_module()
    assert again is not before and host.widget is not widget and before.events[-1] == "cleaned up"
    assert host.find("status").text == "idle" and run(host, "spleen") == "SPLEEN" and host.slot_errors == []


def test_closing_the_scene_is_told_to_the_module(host):
    host.close_scene()
    assert "scene closed" in host.module.events


def test_quitting_cleans_up_and_leaves_slicer_core_as_it_was(folder):
    import slicer

    before = (set(vars(slicer)), {name for name in sys.modules if name.startswith(("qt", "ctk", "slicer."))}, list(sys.path))
    with Host() as host:
        events = host.load_module("Example", folder / "Example.py").events
        place = host.folder
    assert events[-1] == "cleaned up" and not place.exists()
    assert (set(vars(slicer)), {name for name in sys.modules if name.startswith(("qt", "ctk", "slicer."))}, list(sys.path)) == before
    assert "Example" not in sys.modules


def test_a_second_application_starts_from_nothing(folder):
    for _ in range(2):
        with Host() as host:
            host.load_module("Example", folder / "Example.py")
            assert host.qt.QSettings().value("Example/Seen") is None and host.scene.GetFirstNodeByName("CT") is None
            host.qt.QSettings().setValue("Example/Seen", 1)
            host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
            assert host.slot_errors == []


def test_screenshots_have_the_size_asked_for_and_show_text(host, tmp_path):
    image = host.screenshot(tmp_path / "panel.png", 400, 500)
    assert (image.width(), image.height()) == (400, 500) and (tmp_path / "panel.png").stat().st_size > 1000
    dark = host.screenshot(None, 400, 500, theme="dark")
    assert dark.pixelColor(200, 490).lightness() < 80 < 200 < image.pixelColor(200, 490).lightness()
    assert host.screenshot(None, 400, 500, font_scale=2.0) != image
    assert host.screenshot(None, 400, 500) == image


def test_texts_that_are_cut_off_are_found(host):
    assert host.layout_faults(400) == []
    host.find("runButton").setFixedWidth(12)
    assert any(each.startswith("runButton") for each in host.layout_faults(400))


def test_widgets_that_overlap_are_found(host):
    status = host.find("status")
    status.text = "wide enough to be seen"
    stray = host.qt.QLabel("stray", status.parent())
    stray.show()
    stray.setGeometry(status.geometry)
    assert any("overlaps" in each for each in host.layout_faults(420))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [("  ExampleLib/words.py\n", "ExampleLib/words.py"), ("  Resources/UI/${MODULE_NAME}.ui\n", "Resources/UI/Example.ui")],
)
def test_a_file_that_cmake_does_not_list_is_refused(folder, line, complaint):
    source = folder / "CMakeLists.txt"
    source.write_text(source.read_text().replace(line, ""))
    assert unlisted(folder, listed(folder)) == [complaint]
    with Host() as host, pytest.raises(ModuleFilesError, match=complaint):
        host.load_module("Example", folder / "Example.py")


def test_a_listed_file_that_does_not_exist_is_refused(folder):
    (folder / "ExampleLib" / "words.py").unlink()
    with pytest.raises(ModuleFilesError, match="do not exist: ExampleLib/words.py"):
        listed(folder)
