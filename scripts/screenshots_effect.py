"""The pictures of the Segment Editor's effect "Text prompt" for make_screenshots.py: the effect itself, in the headless Slicer of Testing/host.

The path of an annotator is the one that Testing/effect/test_effect_path.py judges (Testing/effect_path.py), on the module's sample CT and
with the local demo engine.
"""

from __future__ import annotations

from typing import Any

WIDTH, _HEIGHT, _GAP, _VIEW = 300, 760, 10, (400, 356)  # pixels
_NOTE = "The effect's options in the headless Slicer of Testing/host, with the local demo engine (not MedImageParse)."
_BACKGROUND = (128, 128, 128)


def effect(studio: Any) -> Any:
    """Four states, light above and dark below: a segment is selected, suggestions, a run, what came of a run under a masking."""
    import slicer

    person = _opened(studio)
    person.addSegment("liver")
    host, box = studio.host, person.box
    rows: dict[str, list] = {"light": [], "dark": []}

    def take(suggestions: Any = None) -> None:
        for theme, pictures in rows.items():
            pictures.append(_options(studio, person, theme, suggestions))

    take()
    host.type("promptEdit", "adr")
    take(box.completer.list)
    host.key("promptEdit", "Esc")
    host.type("promptEdit", "")
    host.key("promptEdit", "Return")
    job = box.job
    host.wait_until(lambda: job.stage == "model working", 60, every=0.02)
    box._timer.stop()
    box._showJob()
    take()
    person.wait(job)
    person.parameters.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    host.choose("intoComboBox", "New segments")
    person.run("liver & spleen & unicorn")
    take()
    return _sheet([_row(pictures) for pictures in rows.values()], across=False)


def effect_path(studio: Any) -> Any:
    """Four steps: the liver is found, corrected with Paint, the spleen found outside of it, and both taken back."""
    import numpy as np
    from effect_path import annotate, strokeAt

    from MedImageParseLib.engines.classical.phantom import make_phantom
    from MedImageParseLib.panels.local_demo import loadSample
    from MedImageParseLib.prompts import catalogue

    person, volumeNode = _editor(studio), loadSample()
    phantom = make_phantom()
    spleen = np.argwhere(phantom.references["spleen"])
    middle, edge = ((phantom.ijk_to_ras @ [*each[::-1], 1.0])[:3] for each in (spleen.mean(axis=0), _nearest(phantom, spleen)))
    cells = []
    for step in annotate(person, volumeNode, strokeAt(volumeNode, edge)):
        if step == "ready":
            _startDemo(studio, person)
            # Slicer gives a new segment a color of its own choice; the same one in each picture.
            person.node.GetSegmentation().GetNthSegment(0).SetColor(*catalogue.color_for("liver"))
        elif step != "redone":
            cells.append(_row([_options(studio, person, "light"), _view(middle)]))
    return _sheet([_row(cells[:2]), _row(cells[2:])], across=False)


def _nearest(phantom: Any, spleen: Any) -> Any:
    """The voxel of the spleen, in the slice of its middle, that is nearest to the liver."""
    import numpy as np

    k = round(spleen[:, 0].mean())
    liver = np.argwhere(phantom.references["liver"][k]).mean(axis=0)
    inSlice = spleen[spleen[:, 0] == k]
    return inSlice[np.argmin(((inSlice[:, 1:] - liver) ** 2).sum(axis=1))]


def _editor(studio: Any) -> Any:
    """The Segment Editor, open in front."""
    from effect_support import Annotator

    return Annotator(studio.host)


def _opened(studio: Any) -> Any:
    """The effect on the module's sample, with the local demo running."""
    from MedImageParseLib.panels.local_demo import loadSample

    person = _editor(studio)
    person.edit(loadSample())
    _startDemo(studio, person)
    return person


def _startDemo(studio: Any, person: Any) -> None:
    studio.host.click("demoButton")
    studio.host.wait_until(lambda: person.box.endpoint.demo.url, 60)


def _options(studio: Any, person: Any, theme: str, suggestions: Any = None) -> Any:
    """The effect's options as a Pillow image, with the list of suggestions below the field where it is open."""
    from PIL import Image

    host, widget = studio.host, person.box.widget
    with host.panel.dressed(WIDTH, _HEIGHT, 1.0, theme):
        host.process()
        bottom = widget.mapTo(host.panel.window, host.qt.QPoint(0, 0)).y() + widget.height
        edit = host.find("promptEdit")
        corner = edit.mapTo(host.panel.window, host.qt.QPoint(0, 0))
        shown = studio.grabbed(suggestions) if suggestions is not None else None
    picture = studio.picture(WIDTH, _HEIGHT, theme=theme)
    if shown is None:
        return picture.crop((0, 0, picture.width, bottom + 8))
    sheet = Image.new("RGB", (max(picture.width, corner.x() + shown.width), bottom + 8), _BACKGROUND)
    sheet.paste(picture, (0, 0))
    sheet.paste(shown, (corner.x(), corner.y() + edit.height))
    return sheet


def _view(ras: Any) -> Any:
    """The axial slice through a place, as a Pillow image."""
    import slicer
    from PIL import Image
    from slice_views import slice_picture

    logic = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    logic.FitSliceToAll()
    logic.GetSliceNode().JumpSlice(*ras)
    return Image.fromarray(slice_picture(logic, _VIEW))


def _row(pictures: list) -> Any:
    return _sheet(pictures, across=True)


def _sheet(pictures: list, *, across: bool) -> Any:
    """Pictures side by side, or below one another."""
    from PIL import Image

    gaps = _GAP * (len(pictures) - 1)
    widths, heights = [each.width for each in pictures], [each.height for each in pictures]
    size = (sum(widths) + gaps, max(heights)) if across else (max(widths), sum(heights) + gaps)
    sheet = Image.new("RGB", size, _BACKGROUND)
    place = 0
    for each in pictures:
        sheet.paste(each, (place, 0) if across else (0, place))
        place += (each.width if across else each.height) + _GAP
    return sheet


for _make in (effect, effect_path):
    _make.note = _NOTE  # type: ignore[attr-defined]
effect_path.note += " The views are drawn off screen by Slicer's own view classes (slicer-core)."  # type: ignore[attr-defined]

PICTURES = (effect, effect_path)
