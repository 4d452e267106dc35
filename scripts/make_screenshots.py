"""Takes the pictures of the panel in docs/pictures/panel/: `python3 scripts/make_screenshots.py [--output FOLDER] [NAME ...]`.

The panel runs in the headless Slicer of Testing/host with the local demo engine and with endpoints that fail on purpose; the views
beside it are drawn by the view classes of slicer-core (scripts/slice_views.py). No Slicer window is involved, and a line below each
picture says so.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
MODULE = ROOT / "MedImageParseExtension" / "MedImageParse"
EFFECT = MODULE.parent / "SegmentEditorMedImageParse" / "SegmentEditorMedImageParse.py"
sys.path[:0] = [str(SCRIPTS), str(MODULE), str(ROOT / "Testing")]

import environment
import screenshots_effect
import screenshots_italian
import screenshots_search

PANEL = (380, 800)  # pixels
_NOTE = "The module in the headless Slicer of Testing/host."
_VIEWS_NOTE = " The views are drawn off screen by Slicer's own view classes (slicer-core)."


class Studio:
    """The open module, and what to do before a picture is taken.

    Attributes:
        host: the headless Slicer.
    """

    def __init__(self, host: Any, folder: Path):
        self.host, self._folder = host, folder

    @property
    def panel(self) -> Any:
        return self.host.widget.panel

    def startDemo(self) -> None:
        self.host.click("demoButton")
        self.host.wait_until(lambda: self.panel.endpoint.demo.url, 30)

    def loadSample(self) -> None:
        self.host.click("sampleButton")
        self.host.wait_until(lambda: self.host.find("volumeSelector").currentNode() is not None, 60)

    def run(self, prompts: str, until: Any = None) -> None:
        self.host.type("promptsEdit", prompts)
        self.host.click("runButton")
        job = self.panel.logic.jobs[-1]
        self.host.wait_until((lambda: until(job)) if until else (lambda: job.has_ended), 120, every=0.02)

    def useEndpoint(self, url: str, **fields: Any) -> None:
        from MedImageParseLib.profiles.profiles import Profile, ProfileStore

        ProfileStore().add(Profile("Radiology", url, **fields), replace=True)
        self.panel.endpoint.forget("Radiology")
        self.panel.endpoint.readProfiles()
        self.host.choose("profileComboBox", "Radiology")

    def picture(self, width: int = PANEL[0], height: int = PANEL[1], font_scale: float = 1.0, theme: str = "light") -> Any:
        """The panel as a Pillow image."""
        from PIL import Image

        faults = self.host.layout_faults(width, height, font_scale)
        if faults:
            print("layout:", *faults, sep="\n  ", file=sys.stderr)
        path = self._folder / "panel.png"
        self.host.screenshot(path, width, height, font_scale, theme)
        return Image.open(path).convert("RGB").copy()

    def grabbed(self, widget: Any) -> Any:
        """A window of its own as a Pillow image."""
        from PIL import Image

        path = self._folder / "window.png"
        widget.grab().save(str(path))
        return Image.open(path).convert("RGB").copy()

    def dialog(self, height: int) -> Any:
        """The settings, in a dialog of their own, as a Pillow image."""
        from PIL import Image

        dialog = self.panel.settings.dialog
        dialog.resize(PANEL[0] + 40, height)
        self.host.process()
        path = self._folder / "dialog.png"
        dialog.grab().save(str(path))
        return Image.open(path).convert("RGB").copy()

    def withViews(self, height: int = PANEL[1]) -> Any:
        """The panel beside three slice views and the 3D view."""
        import slicer
        from PIL import Image
        from slice_views import slice_picture, view_picture

        panel = self.picture(height=height)
        size, gap = (440, height // 2 - 1), 2
        views = [slice_picture(slicer.app.layoutManager().sliceWidget(name).sliceLogic(), size) for name in ("Red", "Green", "Yellow")]
        node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLViewNode") or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLViewNode")
        views.insert(1, view_picture(node, size))
        sheet = Image.new("RGB", (panel.width + 2 * (size[0] + gap), height), (60, 60, 60))
        sheet.paste(panel, (0, 0))
        for number, view in enumerate(views):
            sheet.paste(Image.fromarray(view), (panel.width + gap + (number % 2) * (size[0] + gap), (number // 2) * (size[1] + gap)))
        return sheet


def empty(studio: Studio) -> Any:
    return studio.picture()


def ready(studio: Studio) -> Any:
    studio.startDemo()
    studio.loadSample()
    studio.host.type("promptsEdit", "lungs\nbones\nliver\nunicorn")
    return studio.withViews()


def suggestions(studio: Studio) -> Any:
    """Three letters of a target, the list below them, and the dialog in which targets are browsed."""
    from PIL import Image

    studio.startDemo()
    studio.loadSample()
    studio.host.type("promptsEdit", "liver\nadr")
    shown = studio.panel.prompts.completer.list
    panel = studio.picture(height=640)
    edit = studio.host.find("promptsEdit")
    with studio.host.panel.dressed(PANEL[0], 640, 1.0, "light"):
        studio.host.process()
        corner = edit.mapTo(studio.host.panel.window, studio.host.qt.QPoint(0, 0))
        row = edit.cursorRect().bottom()
    suggestions = studio.grabbed(shown)
    left, top = corner.x() + 4, corner.y() + row + 4
    studio.host.key("promptsEdit", "Esc")
    studio.host.click("browseButton")
    studio.host.type("browseFilterEdit", "gland")
    dialog = studio.grabbed(studio.panel.prompts._browser.dialog)
    beside = max(panel.width, left + suggestions.width) + 16
    sheet = Image.new("RGB", (beside + dialog.width, max(panel.height, dialog.height)), (239, 239, 239))
    for picture, place in ((panel, (0, 0)), (suggestions, (left, top)), (dialog, (beside, 0))):
        sheet.paste(picture, place)
    return sheet


def engines(studio: Studio) -> Any:
    """Engines that were added, under the button that starts one, in a panel of 300 pixels; nothing of them is installed."""
    from PIL import Image

    panel = _engineAdded(studio).picture(width=300).crop((0, 0, 300, 330))
    button = studio.host.find("demoButton")
    with studio.host.panel.dressed(300, PANEL[1], 1.0, "light"):
        studio.host.process()
        corner = button.mapTo(studio.host.panel.window, studio.host.qt.QPoint(0, 0))
    menu = button.menu()
    menu.ensurePolished()
    menu.resize(menu.sizeHint)
    shown = studio.grabbed(menu)
    left, top = corner.x(), corner.y() + button.height + 2
    sheet = Image.new("RGB", (max(panel.width, left + shown.width + 8), max(panel.height, top + shown.height + 8)), (239, 239, 239))
    sheet.paste(panel, (0, 0))
    sheet.paste(shown, (left, top))
    return sheet


def engine_running(studio: Studio) -> Any:
    """An engine that takes Hounsfield units, in a panel of 300 pixels: its name, its licence, what it finds, and what is sent to it."""
    _engineAdded(studio)
    studio.loadSample()
    studio.host.type("promptsEdit", "liver")
    for action in studio.host.find("demoButton").menu().actions():
        if "TotalSegmentator" in str(action.text):
            action.trigger()
    studio.host.wait_until(lambda: studio.panel.endpoint.demo.url, 30)
    studio.host.click("optionsButton")
    studio.host.wait_until(lambda: "Hounsfield" in studio.host.find("previewText").text, 20)
    return studio.picture(width=300, height=1060)


def _engineAdded(studio: Studio) -> Studio:
    """Two engines are added, with this Python for their environment."""
    from MedImageParseLib import engine_add

    for name in ("deepbet", "totalsegmentator"):
        engine_add(name, python=sys.executable)
    studio.panel.endpoint.readProfiles()
    return studio


def running(studio: Studio) -> Any:
    studio.startDemo()
    studio.loadSample()
    studio.run("lungs\nbones\nliver\nunicorn", until=lambda job: job.stage == "model working" and job.done >= 1)
    return studio.withViews()


def finished(studio: Studio) -> Any:
    studio.startDemo()
    studio.loadSample()
    studio.run("lungs\nbones\nliver\nspleen\nkidneys")
    studio.host.click("show3DButton")
    return studio.withViews(height=960)


def several(studio: Studio) -> Any:
    """All loaded volumes, one after the other: two are done, one is at work, one waits."""
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.scene.volumes import nodeFromVolume, volumeFromNode

    studio.startDemo()
    studio.loadSample()
    sample = studio.host.find("volumeSelector").currentNode()
    volume = volumeFromNode(sample)
    for day in (2, 3, 4):
        nodeFromVolume(Volume(volume.voxels, volume.ijk_to_ras, modality="CT"), f"Phantom CT, day {day}", studio.host.scene)
    studio.host.type("promptsEdit", "lungs\nliver\nunicorn")
    for action in studio.host.find("manyButton").menu().actions():
        if "loaded volumes" in str(action.text):
            action.trigger()
    runs = studio.panel.manyBox.runs
    studio.host.wait_until(lambda: runs.count("done") == 2 and studio.panel.logic.jobs[0].stage == "model working", 120, every=0.02)
    return studio.picture(height=1080)


def absent(studio: Studio) -> Any:
    studio.startDemo()
    studio.loadSample()
    studio.run("lungs\nunicorn\nlung tumor")
    return studio.picture(height=1050)


def slices(studio: Studio) -> Any:
    studio.startDemo()
    studio.loadSample()
    studio.host.choose("modeComboBox", "Slices from–to (2D)")
    studio.host.type("firstSliceSpinBox", "30")
    studio.host.type("lastSliceSpinBox", "34")
    studio.host.type("promptsEdit", "liver")
    studio.host.click("optionsButton")
    studio.host.wait_until(lambda: studio.host.find("previewText").text, 10)
    return studio.picture(height=1080)


def options(studio: Studio) -> Any:
    studio.startDemo()
    studio.loadSample()
    studio.host.type("promptsEdit", "liver")
    studio.host.click("optionsButton")
    studio.host.wait_until(lambda: studio.host.find("previewText").text, 10)
    return studio.picture(height=1030)


def settings(studio: Studio) -> Any:
    studio.useEndpoint("https://medimageparse3d.westeurope.inference.ml.azure.com/score", model="medimageparse3d", sign_in="key")
    for name in ("settingsButton", "moreButton", "privacySection", "findSection"):
        studio.host.click(name)
    studio.host.find("keyEdit").text = "not a real key"
    return studio.dialog(height=1060)


def sign_in(studio: Studio) -> Any:
    import datetime

    studio.useEndpoint("https://medimageparse3d.westeurope.inference.ml.azure.com/score", sign_in="entra", entra_method="device-code")
    expires = datetime.datetime(2030, 5, 17, 10, 15, tzinfo=datetime.timezone.utc)
    studio.panel.endpoint.showDeviceCode("https://microsoft.com/devicelogin", "EXAMPLE-CODE", expires)
    studio.panel.endpoint.poll()
    return studio.picture()


def narrow(studio: Studio) -> Any:
    _everythingOpen(studio)
    return studio.picture(width=300, height=1370)


def large_fonts(studio: Studio) -> Any:
    """The working panel at the least width, in a font half as large again, on light and on dark."""
    studio.startDemo()
    studio.loadSample()
    studio.run("lungs\nbones\nunicorn")
    return beside([studio.picture(width=300, height=1330, font_scale=1.5, theme=theme) for theme in ("light", "dark")])


def beside(pictures: list[Any], gap: int = 12) -> Any:
    """Pillow images side by side."""
    from PIL import Image

    size = sum(each.width for each in pictures) + gap * (len(pictures) - 1), max(each.height for each in pictures)
    sheet, x = Image.new("RGB", size, (239, 239, 239)), 0
    for each in pictures:
        sheet.paste(each, (x, 0))
        x += each.width + gap
    return sheet


def dark(studio: Studio) -> Any:
    studio.startDemo()
    studio.loadSample()
    studio.run("lungs\nbones\nunicorn")
    return studio.picture(height=960, theme="dark")


def errors(studio: Studio) -> Any:
    """One picture an error class: what stands in the panel after Run."""
    from PIL import Image

    studio.loadSample()
    pictures = []
    with ExitStack() as stack:
        for url, fields in _failures(stack, Path(tempfile.gettempdir())):
            studio.useEndpoint(url, connect_timeout_s=1.0, reply_timeout_s=1.5, tries=1, **fields)
            studio.host.messages.answers.append(True)  # yes, the image may go there
            studio.run("liver")
            pictures.append(_messagePart(studio))
    columns, gap = 3, 8
    wide, tall = max(each.width for each in pictures), max(each.height for each in pictures)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (wide + gap) - gap, rows * (tall + gap) - gap), (239, 239, 239))
    for number, each in enumerate(pictures):
        sheet.paste(each, ((number % columns) * (wide + gap), (number // columns) * (tall + gap)))
    return sheet


def _messagePart(studio: Studio) -> Any:
    """The panel from Run to the end of the message."""
    host, room = studio.host, 6
    with host.panel.dressed(380, PANEL[1], 1.0, "light"):
        host.process()
        top, bottom = (host.find(name).mapTo(host.panel.window, host.qt.QPoint(0, 0)).y() for name in ("runButton", "show3DButton"))
    picture = studio.picture()
    return picture.crop((0, top - room, picture.width, bottom - room // 2))


def _failures(stack: ExitStack, folder: Path) -> Any:
    """(URL, profile fields) of an endpoint for each class of error, each served by a real server on this computer."""
    from doubles import fault_server as f
    from doubles.certificates import self_signed_context

    def serve(*behaviors: Any, tls: Any = None) -> str:
        return stack.enter_context(f.FaultServer(list(behaviors) * 3, tls=tls)).url

    yield "https://no-such-endpoint.invalid/score", {}
    yield "http://127.0.0.1:9/score", {}
    yield serve(f.ok(), tls=self_signed_context()), {}
    yield serve(f.hang_before_headers), {}
    yield serve(f.close_without_reply), {}
    for code in (401, 403, 404, 408, 413, 424, 429, 500):
        yield serve(f.status(code, "an unexpected error occurred in scoring script")), {}
    yield serve(f.raw(b"<html><title>Sign in</title></html>", headers={"Content-Type": "text/html"})), {}
    yield serve(f.ok([{"something": "else"}])), {}


def _everythingOpen(studio: Studio) -> None:
    studio.startDemo()
    studio.loadSample()
    studio.host.choose("modeComboBox", "Slices from–to (2D)")
    studio.host.find("lastSliceSpinBox").value = 2
    studio.run("lungs\nbones\nunicorn")
    studio.useEndpoint("https://medimageparse3d.westeurope.inference.ml.azure.com/score", sign_in="key")
    studio.host.click("optionsButton")
    studio.host.choose("windowComboBox", "Custom range")
    studio.host.wait_until(lambda: studio.host.find("previewText").text.startswith("Range"), 10)


PICTURES = (
    empty,
    ready,
    suggestions,
    engines,
    engine_running,
    running,
    finished,
    several,
    absent,
    slices,
    options,
    settings,
    sign_in,
    narrow,
    large_fonts,
    dark,
    errors,
    *screenshots_effect.PICTURES,
    *screenshots_search.PICTURES,
    *screenshots_italian.PICTURES,
)


@contextmanager
def studio(language: str = "") -> Any:
    """A fresh headless Slicer with the module open, and a configuration of its own.

    Args:
        language: of Slicer, such as "it_IT"; "" for English.
    """
    from host import Host

    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDIMAGEPARSE_CONFIG_DIR"] = str(Path(folder) / "configuration")
        os.environ["MEDIMAGEPARSE_ENGINES_DIR"] = str(Path(folder) / "engines")
        with Host(language) as host:
            host.load_module("MedImageParse", MODULE / "MedImageParse.py")
            host.load_module("SegmentEditorMedImageParse", EFFECT, open_it=False)
            host.start_up()
            host.open_segment_editor()  # which a person's Slicer has
            host.open_module("MedImageParse")
            yield Studio(host, Path(folder))
            if host.slot_errors:
                print("slots:", *host.slot_errors, sep="\n", file=sys.stderr)


def captioned(picture: Any, note: str) -> Any:
    """The picture with a line below that says how it was made."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(12)
    lines, words = [""], note.split()
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > picture.width - 16:
            lines.append(word)
        else:
            lines[-1] = longer
    sheet = Image.new("RGB", (picture.width, picture.height + 8 + 16 * len(lines)), (255, 255, 255))
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((8, picture.height + 4 + 16 * number), line, (90, 90, 90), font)
    return sheet


def main() -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which pictures (default all): {', '.join(each.__name__ for each in PICTURES)}"
    )
    parser.add_argument("--output", metavar="FOLDER", default=str(ROOT / "docs" / "pictures" / "panel"))
    arguments = parser.parse_args()
    environment.ensure(("test",))
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    for make in PICTURES:
        if not arguments.names or make.__name__ in arguments.names:
            with studio(getattr(make, "language", "")) as stage:
                note = getattr(make, "note", _NOTE + (_VIEWS_NOTE if make in (ready, running, finished) else ""))
                picture = captioned(make(stage), note)
            picture.save(folder / f"{make.__name__}.png", optimize=True)
            print(folder / f"{make.__name__}.png", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
