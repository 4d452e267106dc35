"""The pictures of the tab "Find similar" for make_screenshots.py: real images of ../shared/data on the local demo engine.

Labels need a text encoder, which the demo engine has not: that picture is made with the test double of Testing/doubles, whose numbers
mean nothing, and a line below it says so.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_CT = "ct_abdomen_3mm"
_NOTE = "The module in the headless Slicer of Testing/host, with the local demo engine (classical descriptors, not MedImageInsight)."
_DOUBLE_NOTE = (
    "The module in the headless Slicer of Testing/host. The shares come from a made-up test endpoint, not from MedImageInsight: "
    "they mean nothing."
)


def search_results(studio: Any) -> Any:
    """The whole path, beside the views."""
    _indexed(studio)
    _search(studio, 9)
    return _withViews(studio, (380, 1290))


def search_narrow(studio: Any) -> Any:
    _indexed(studio)
    _search(studio, 6)
    return _picture(studio, 300, 1400)


def search_classify(studio: Any) -> Any:
    from doubles.insight import InsightDouble

    _loaded(studio)
    with InsightDouble().serve() as url:
        _useEndpoint(studio, url)
        _collapse(studio, "indexSection", "searchSection")
        studio.host.click("classifySection")
        studio.host.choose("labelSetComboBox", "CT body region")
        studio.host.choose("classifyOfComboBox", "Every fifth slice of this volume")
        _do(studio, "classify")
        return _picture(studio, 380, 900)


def search_outliers(studio: Any) -> Any:
    _indexed(studio)
    _collapse(studio, "indexSection", "searchSection")
    studio.host.click("outliersSection")
    studio.host.choose("outliersReferenceComboBox", "The studies selected below")
    studies = studio.host.find("studiesList")
    for row in range(studies.count):
        if studies.item(row).text().startswith(_CT):
            studies.item(row).setCheckState(studio.host.qt.Qt.Checked)
    _do(studio, "outliers")
    return _picture(studio, 380, 1080)


def adapter_labels(studio: Any) -> Any:
    """Thumbnails, two of which are selected, and what is said of them."""
    _indexed(studio)
    _collapse(studio, "indexSection", "searchSection")
    studio.host.click("labelSection")
    studio.host.find("tagSetComboBox").setEditText("kind of picture")
    studio.host.find("tagLabelComboBox").setEditText("abdomen")
    _do(studio, "tag")
    for row in (10, 11):
        studio.host.find("tagList").item(row).setSelected(True)
    return _picture(studio, 380, 1400)


def adapter_train(studio: Any) -> Any:
    _trained(studio)
    return _picture(studio, 380, 1150)


def adapter_evaluate(studio: Any) -> Any:
    _trained(studio)
    studio.host.choose("evaluatePartComboBox", "All labeled images")
    _do(studio, "evaluate")
    studio.host.click("rocPlotButton")
    return _picture(studio, 380, 1150)


def adapter_apply(studio: Any) -> Any:
    _trained(studio)
    studio.host.type("applyWriteEdit", "region by adapter")
    _do(studio, "apply")
    return _picture(studio, 380, 1400)


def adapter_narrow(studio: Any) -> Any:
    _trained(studio)
    _do(studio, "apply")
    return _picture(studio, 300, 1400)


def _trained(studio: Any) -> None:
    """The CT in parts of three slices, each a patient's volume, with labels by their height; an adapter learned from them; the section open."""
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.scene.volumes import nodeFromVolume, volumeFromNode
    from MedImageParseLib.search.index import EmbeddingIndex
    from MedImageParseLib.search.labels import label_of_record
    from MedImageParseLib.tasks.find_similar import name_of

    volume = volumeFromNode(_loaded(studio))
    _startDemo(studio)
    tab = _tab(studio)
    for number in range(10):
        part = Volume(volume.voxels[3 * number : 3 * number + 3], volume.ijk_to_ras, modality="CT")
        nodeFromVolume(part, f"patient {number + 1:02}", studio.host.scene)
        studio.host.process()
        studio.host.choose("searchVolumeSelector", f"patient {number + 1:02}")
        _do(studio, "index")
    with EmbeddingIndex.open(tab.context.choices.indexPath, create=False) as index:
        records = list(index.records().values())
        index.add_labels(
            label_of_record("region", f"{'upper' if name_of(one) > 'patient 05' else 'lower'} abdomen", one) for one in records
        )
        index.add_labels(label_of_record("patient", name_of(one), one) for one in records)
    tab.context.readIndex()
    studio.host.wait_until(lambda: tab.logic.isIdle, 30)
    _collapse(studio, "indexSection", "searchSection")
    studio.host.click("adapterSection")
    studio.host.choose("trainSetComboBox", next(iter(_texts(studio, "trainSetComboBox", "region"))))
    studio.host.choose("trainPatientsComboBox", "patient")
    studio.host.messages.answers.append(str(Path(tempfile.mkdtemp()) / "region.npz"))
    _do(studio, "train")


def _texts(studio: Any, comboBox: str, begin: str) -> list[str]:
    combo = studio.host.find(comboBox)
    return [text for text in (combo.itemText(row) for row in range(combo.count)) if text.startswith(begin)]


search_results.note = _NOTE + " The views are drawn off screen by Slicer's own view classes (slicer-core)."
search_narrow.note = search_outliers.note = _NOTE
search_classify.note = _DOUBLE_NOTE
for _one in (adapter_labels, adapter_train, adapter_evaluate, adapter_apply, adapter_narrow):
    _one.note = _NOTE + " The labels say which slices lie high and low, and the patients are made up; the figures say nothing of the model."
PICTURES = (
    search_results, search_narrow, search_classify, search_outliers, adapter_labels, adapter_train, adapter_evaluate, adapter_apply, adapter_narrow,
)  # fmt: skip


def _loaded(studio: Any) -> Any:
    """The CT in the scene, the tab open. Returns its node."""
    import slicer

    if not DATA.is_dir():
        raise SystemExit(f"The real images are absent: {DATA.name} is not there.")
    node = slicer.util.loadVolume(str(DATA / f"{_CT}.nii.gz"))
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(400, 40)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    studio.host.find("moduleTabBar").setCurrentIndex(1)
    studio.host.process()
    studio.host.choose("searchVolumeSelector", node.GetName())
    return node


def _startDemo(studio: Any) -> None:
    studio.host.click("searchDemoButton")
    studio.host.wait_until(lambda: _tab(studio).endpoint.demo.url, 30)


def _indexed(studio: Any) -> None:
    node = _loaded(studio)
    _startDemo(studio)
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((DATA / "demo2d").glob("??_*_*.png")):
            if path.stem.count("_") == 2:  # a third one begins the name of a mask
                shutil.copy(path, folder)
        studio.host.choose("indexWhatComboBox", "A folder…")
        studio.host.messages.answers.append(folder)
        _do(studio, "index")
    studio.host.choose("indexWhatComboBox", "This volume")
    _do(studio, "index")
    from MedImageParseLib.scene.volumes import showSlice

    showSlice(node, "axial", 17)
    studio.host.process()


def _search(studio: Any, count: int) -> None:
    studio.host.find("queryTopSpinBox").value = count
    _do(studio, "similar")


def _do(studio: Any, kind: str) -> None:
    tab = _tab(studio)
    studio.host.click(f"{kind}Button")
    studio.host.wait_until(lambda: tab.logic.isIdle, 120, every=0.02)
    studio.host.process()


def _tab(studio: Any) -> Any:
    return studio.host.widget.tabs.similar


def _collapse(studio: Any, *sections: str) -> None:
    for section in sections:
        studio.host.find(section).collapsed = True


def _useEndpoint(studio: Any, url: str) -> None:
    from MedImageParseLib.profiles.profiles import Profile, ProfileStore

    ProfileStore().add(Profile("Made-up test endpoint", url), replace=True)
    _tab(studio).endpoint.readProfiles()
    studio.host.choose("searchProfileComboBox", "Made-up test endpoint")


def _picture(studio: Any, width: int, height: int) -> Any:
    """The panel in this size; the grid is as high as its rows, which takes a moment to come to rest."""
    studio.host.panel.window.resize(width, height)
    for _round in range(4):
        studio.host.process()
    return studio.picture(width, height)


def _withViews(studio: Any, size: tuple[int, int]) -> Any:
    """The panel beside the axial view, the other two below that."""
    import slicer
    from PIL import Image
    from slice_views import slice_picture

    panel, gap, wide = _picture(studio, *size), 2, 900
    tall, low = panel.height * 2 // 3, panel.height - panel.height * 2 // 3 - gap
    half, left = (wide - gap) // 2, panel.width + gap
    sheet = Image.new("RGB", (left + wide, panel.height), (60, 60, 60))
    sheet.paste(panel, (0, 0))
    below = tall + gap
    places = {"Red": ((left, 0), (wide, tall)), "Green": ((left, below), (half, low)), "Yellow": ((left + half + gap, below), (half, low))}
    for name, (place, view) in places.items():
        sheet.paste(Image.fromarray(slice_picture(slicer.app.layoutManager().sliceWidget(name).sliceLogic(), view)), place)
    return sheet


if __name__ == "__main__":
    sys.exit("These pictures are made by make_screenshots.py.")
