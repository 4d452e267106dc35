"""Engines that were added, in the panel: they are offered with their licence, started, named, and end with the panel."""

from __future__ import annotations

import numpy as np
import pytest
from panel_support import openedPanel

from MedImageParseLib import engine_add

CODE = """
from MedImageParseLib.engines.interface import Engine


class Bright(Engine):
    name, title, version, licence = "bright", "Bright", "1.0", "MIT"
    models, wants = ("medimageparse3d",), "HU"
    finds = "what is <b>bright</b>"

    def segment_volume(self, voxels_kji, ijk_to_ras, prompts):
        return [voxels_kji > 20 for _prompt in prompts]
"""
SHOWN = "Bright 1.0 (MIT): what is <b>bright</b>"


@pytest.fixture
def added(tmp_path):
    (tmp_path / "bright.py").write_text(CODE, encoding="utf-8")
    return engine_add(f"{tmp_path / 'bright.py'}:Bright")


def test_without_engines_the_button_starts_the_demo_at_once():
    with openedPanel() as opened:
        assert opened.text("demoButton") == "Start local demo" and opened.host.find("demoButton").menu() is None


def test_an_engine_is_chosen_with_its_licence_runs_under_its_own_name_and_ends_with_the_panel(added):
    import psutil
    import slicer

    with openedPanel() as opened:
        button, demo = opened.host.find("demoButton"), opened.panel.endpoint.demo
        opened.host.choose("profileComboBox", "Local demo")
        assert opened.text("demoButton") == "Start local engine"
        offered = button.menu().actions()
        assert [action.text for action in offered] == ["Demo engine, not MedImageParse; it needs nothing", SHOWN]
        offered[1].trigger()
        opened.host.wait_until(lambda: demo.url, 30)
        assert opened.text("demoButton") == "Stop local engine" and button.menu() is None
        assert opened.text("statusLabel") == f"Running on this computer: {SHOWN}. The first request waits until the engine has loaded."
        assert opened.host.find("statusLabel").textFormat == opened.host.qt.Qt.PlainText
        server = psutil.Process(int(demo._process.processId()))
        assert "--engine" in server.cmdline()
        opened.addVolume().SetName("Scan")
        scan = slicer.util.getNode("Scan")
        slicer.util.updateVolumeFromArray(scan, slicer.util.arrayFromVolume(scan).astype(np.int16) - 500)
        opened.host.choose("volumeSelector", "Scan")
        opened.host.click("optionsButton")
        opened.panel.options.drawPreview()
        assert opened.text("previewText").startswith("Raw values, because the engine takes Hounsfield units; ")
        opened.host.click("demoButton")
        assert opened.text("demoButton") == "Start local engine" and not server.is_running()
        opened.panel.options.drawPreview()
        assert opened.text("previewText").startswith("Percentiles")
