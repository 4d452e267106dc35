"""Makes the pictures of the pages: `python3 scripts/make_docs_pictures.py [NAME ...]`, into docs/pictures/ (make_screenshots.py: docs/pictures/panel/).

The panel runs in the headless Slicer of Testing/host (see make_screenshots.py) on a real CT with the local demo engine; the pictures of
the command line are those that it writes itself. Needs the real images beside the repository (../shared/data); a page says which they are.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
MODULE = ROOT / "MedImageParseExtension" / "MedImageParse"
PICTURES = ROOT / "docs" / "pictures"
sys.path[:0] = [str(SCRIPTS), str(MODULE), str(ROOT / "Testing")]

import environment
import make_screenshots
import rooms
import screenshots_search

_NOTE = "The module in the headless Slicer of Testing/host, with the local demo engine (not MedImageParse)."
_VIEWS = _NOTE + " The views are drawn off screen by Slicer's own view classes (slicer-core)."
CT = screenshots_search.DATA / "ct_abdomen_3mm.nii.gz"
XRAY = screenshots_search.DATA / "demo2d" / "15_X-Ray_chest.png"
ORGANS = "lungs\nliver\nspleen\nkidneys\nbones"
_SHOWN = (86, 35, 27)  # the voxel (i, j, k) through which the views go: most of the organs are seen


def _loaded(studio: Any) -> None:
    """The CT in the scene and in the views, as a person loads it."""
    import slicer

    if not CT.is_file():
        raise SystemExit("The real images are absent: ../shared/data is not there.")
    node = slicer.util.loadVolume(str(CT))
    node.SetName("ct")
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(400, 40)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    studio.host.process()
    studio.host.choose("volumeSelector", "ct")


def _show(node: Any) -> None:
    """Each view at its slice of _SHOWN."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ras = matrix.MultiplyPoint((*_SHOWN, 1))[:3]
    for name in ("Red", "Green", "Yellow"):
        logic = slicer.app.layoutManager().sliceWidget(name).sliceLogic()
        logic.FitSliceToAll()
        logic.GetSliceNode().JumpSlice(*ras)


def _with_views(studio: Any, height: int = 960) -> Any:
    """The panel beside a large axial view, with the coronal and the sagittal view below it."""
    import slicer
    from PIL import Image
    from slice_views import slice_picture

    panel, gap, wide = studio.picture(height=height), 2, 900
    _show(slicer.util.getNode("ct"))
    low, left = 290, panel.width + gap
    tall, across = height - low - gap, 520
    places = {
        "Red": ((left, 0), (wide, tall)), "Green": ((left, tall + gap), (across, low)),
        "Yellow": ((left + across + gap, tall + gap), (wide - across - gap, low)),
    }  # fmt: skip
    sheet = Image.new("RGB", (left + wide, height), (60, 60, 60))
    sheet.paste(panel, (0, 0))
    for name, (place, size) in places.items():
        sheet.paste(Image.fromarray(slice_picture(slicer.app.layoutManager().sliceWidget(name).sliceLogic(), size)), place)
    return sheet


def _segmented(studio: Any) -> None:
    studio.startDemo()
    _loaded(studio)
    studio.run(ORGANS)


def hero(studio: Any) -> Any:
    _segmented(studio)
    return _with_views(studio)


def tutorial_1(studio: Any) -> Any:
    return studio.picture(height=720)


def tutorial_2(studio: Any) -> Any:
    studio.startDemo()
    return studio.picture(height=720)


def tutorial_3(studio: Any) -> Any:
    studio.startDemo()
    _loaded(studio)
    return _with_views(studio, 800)


def tutorial_4(studio: Any) -> Any:
    studio.startDemo()
    _loaded(studio)
    studio.host.type("promptsEdit", ORGANS)
    studio.host.click("optionsButton")
    studio.host.wait_until(lambda: studio.host.find("previewText").text, 10)
    return studio.picture(height=990)


def tutorial_5(studio: Any) -> Any:
    studio.startDemo()
    _loaded(studio)
    studio.run(ORGANS, until=lambda job: job.stage == "model working")
    return _with_views(studio, 800)


def tutorial_6(studio: Any) -> Any:
    studio.startDemo()
    _loaded(studio)
    studio.run("liver\nspleen\nunicorn")
    return studio.picture(height=960)


def deploy(studio: Any) -> Any:
    """The dialog that makes an endpoint, with a look-alike of Azure behind it."""
    from unittest import mock

    from PIL import Image

    from doubles.azure_control_plane import WORKSPACE, ControlPlane
    from MedImageParseLib.api.deploy import Azure
    from MedImageParseLib.azure.resource_manager import ResourceManager
    from MedImageParseLib.panels import deploy_dialog
    from MedImageParseLib.signin.auth import StaticKey

    host = studio.host
    with tempfile.TemporaryDirectory() as folder, ControlPlane(Path(folder)) as plane:

        def signed_in(*, cancellation: Any, **_options: Any) -> Azure:
            manager = ResourceManager(StaticKey(plane.token), plane.url, ca_bundle=str(plane.ca_file), cancellation=cancellation)
            return Azure(manager, arm_url=plane.url, prices_url=plane.prices_url)

        with (
            mock.patch.object(deploy_dialog, "sign_in_to_azure", signed_in),
            mock.patch.dict("os.environ", {"REQUESTS_CA_BUNDLE": str(plane.ca_file)}),
        ):
            for button in ("settingsButton", "findSection", "deployButton"):
                host.click(button)
            host.choose("deployModelComboBox", "MedImageParse 3D")
            host.type("deployWorkspaceEdit", WORKSPACE)
            host.click("deployPlanButton")
            host.wait_until(lambda: host.find("deployPlanButton").enabled, 20)
            host.process()
            path = Path(folder) / "dialog.png"
            studio.panel.settings._deploy.dialog.resize(460, 780)
            host.process()
            studio.panel.settings._deploy.dialog.grab().save(str(path))
            return Image.open(path).convert("RGB").copy()


def _by_command_line(*command: str) -> Callable[[], Any]:
    """A picture that the command line writes, with the local endpoint behind it."""

    def make() -> Any:
        from PIL import Image

        from MedImageParseLib.cli.main import main as command_line
        from MedImageParseLib.local_endpoint.server import LocalEndpoint

        with tempfile.TemporaryDirectory() as folder, LocalEndpoint(port=0) as endpoint:
            path = Path(folder) / "picture.png"
            with contextlib.redirect_stdout(io.StringIO()):
                status = command_line([*command, "--endpoint", endpoint.url, "--picture", str(path)])
            if status:
                raise SystemExit(f"The command ended with status {status}: {' '.join(command)}")
            return Image.open(path).convert("RGB").copy()

    return make


_IN_SLICER = {
    "hero": (hero, _VIEWS), "tutorial_1": (tutorial_1, _NOTE), "tutorial_2": (tutorial_2, _NOTE), "tutorial_3": (tutorial_3, _VIEWS),
    "tutorial_4": (tutorial_4, _NOTE), "tutorial_5": (tutorial_5, _VIEWS), "tutorial_6": (tutorial_6, _NOTE),
    
    "deploy": (deploy, "The dialog in the headless Slicer of Testing/host. Behind it is a look-alike of Azure: quota and price are made up."),
}  # fmt: skip


def try_it() -> Any:
    """What `medimageparse try-it` writes."""
    from PIL import Image

    from MedImageParseLib.cli.main import main as command_line

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        if command_line(["try-it", "--output", folder]):
            raise SystemExit("try-it did not end well.")
        return Image.open(Path(folder) / "phantom.png").convert("RGB").copy()


_BY_COMMAND = {
    "try_it": try_it,
    "tutorial_7": _by_command_line("segment", str(CT), "--model", "medimageparse3d", "--prompt", ORGANS.replace("\n", " & ")),
    "xray": _by_command_line("segment", str(XRAY), "--model", "medimageparse", "--prompt", "left lung & right lung"),
    "rooms": rooms.draw,
}
NAMES = (*_IN_SLICER, *_BY_COMMAND)


def make_picture(name: str) -> Any:
    """One picture, as a Pillow image.

    Args:
        name: one of NAMES.
    """
    if name in _BY_COMMAND:
        return _BY_COMMAND[name]()
    make, note = _IN_SLICER[name]
    with make_screenshots.studio() as stage:
        return make_screenshots.captioned(make(stage), note)


def main() -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which pictures (default all): {', '.join(NAMES)}")
    parser.add_argument("--output", metavar="FOLDER", default=str(PICTURES))
    arguments = parser.parse_args()
    environment.ensure(("test",))
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or NAMES:
        if name not in NAMES:
            parser.error(f"There is no picture '{name}': choose of {', '.join(NAMES)}.")
        path = folder / f"{name}.png"
        make_picture(name).save(path, optimize=True)
        print(path, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
