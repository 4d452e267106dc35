"""The pictures in Italian for make_screenshots.py: the same panel, with Slicer's language set to Italian."""

from __future__ import annotations

from typing import Any


def italian(studio: Any) -> Any:
    """After a run, at the smallest width, everything open."""
    _run(studio)
    studio.host.click("optionsButton")
    return studio.picture(width=300, height=1400)


def italian_dark(studio: Any) -> Any:
    _run(studio)
    return studio.picture(height=960, theme="dark")


def italian_settings(studio: Any) -> Any:
    studio.useEndpoint("https://medimageparse3d.westeurope.inference.ml.azure.com/score", sign_in="entra", entra_method="browser")
    studio.host.click("settingsButton")
    return studio.dialog(900)


def italian_search(studio: Any) -> Any:
    _sample(studio)
    host, tabs = studio.host, studio.host.widget.tabs
    volume = host.find("volumeSelector").currentNode()
    host.find("moduleTabBar").setCurrentIndex(1)
    host.process()
    host.find("searchVolumeSelector").setCurrentNode(volume)
    if not tabs.similar.endpoint.demo.url:  # both tabs share it
        host.click("searchDemoButton")
        host.wait_until(lambda: tabs.similar.endpoint.demo.url, 30)
    for button in ("indexButton", "similarButton"):
        host.click(button)
        host.wait_until(lambda: tabs.similar.logic.isIdle, 120, every=0.02)
        host.process()
    host.panel.window.resize(300, 1400)
    for _round in range(4):
        host.process()
    return studio.picture(width=300, height=1400)


def italian_effect(studio: Any) -> Any:
    from MedImageParseLib.scene.segments import newSegmentation

    _sample(studio)
    host = studio.host
    volume = host.find("volumeSelector").currentNode()
    editor = host.open_segment_editor()
    editor.setSegmentationNode(newSegmentation(volume))
    editor.setSourceVolumeNode(volume)
    editor.setActiveEffectByName("Text prompt")
    host.process()
    widget = editor.effectByName("Text prompt").self().box.widget
    widget.resize(300, widget.sizeHint.height())
    host.process()
    return studio.grabbed(widget)


def _sample(studio: Any) -> None:
    studio.startDemo()
    studio.loadSample()


def _run(studio: Any) -> None:
    _sample(studio)
    studio.run("lungs\nbones\nunicorn")


PICTURES = (italian, italian_dark, italian_settings, italian_search, italian_effect)
for _one in PICTURES:
    _one.language = "it_IT"


if __name__ == "__main__":
    sys.exit("These pictures are made by make_screenshots.py.")
