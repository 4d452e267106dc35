"""What is installed, and what the module needs: every file is listed, nothing but Slicer's own packages is imported."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest
from places import LIBRARY, ROOT

PANELS = sorted((LIBRARY / "MedImageParseLib" / "panels").glob("*.py"))
BUNDLED = "numpy scipy requests SimpleITK PIL pydicom vtk vtkmodules slicer slicer_core"


def listed() -> set[str]:
    """Files named in the module's CMakeLists.txt, by plain text."""
    text = re.sub(r"#.*", "", (LIBRARY / "CMakeLists.txt").read_text()).replace("${MODULE_NAME}", "MedImageParse")
    return {word for word in re.split(r"[\s()]+", text) if re.search(r"\.(py|ui|json|png|typed|ts|qm)$", word)}


def test_every_file_of_the_module_is_listed_for_installation():
    files = {path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert listed() == files - {"CMakeLists.txt"}, "python3 scripts/update_file_list.py brings the list up to date"


def test_extension_is_described_as_the_extensions_index_wants_it():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    entry = json.loads((ROOT / "MedImageParse.json").read_text())
    assert re.search(r"project\((\w+)\)", cmake)[1] == "MedImageParse"
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert entry["category"] == "Segmentation" and entry["scm_url"].startswith("https://")
    known = {"$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory", "enabled", "tier"}
    assert set(entry) <= known
    for name in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        assert re.search(rf'set\(EXTENSION_{name} "[^"]+"\)', cmake), name
    for url in re.findall(r'https://raw\.githubusercontent\.com/[^/]+/[^/]+/main/([^"\s]+)', cmake):
        assert (ROOT / url).is_file()
    assert (ROOT / "LICENSE.txt").is_file()


def test_registration_is_short_and_the_panels_are_the_only_room_that_imports_qt():
    assert len((LIBRARY / "MedImageParse.py").read_text().splitlines()) < 150
    users = [
        path.relative_to(LIBRARY).as_posix()
        for path in (LIBRARY / "MedImageParseLib").rglob("*.py")
        if re.search(r"^\s*(import|from) (qt|ctk)\b", path.read_text(), re.MULTILINE)
    ]
    assert users and all(user.startswith("MedImageParseLib/panels/") for user in users)


@pytest.mark.parametrize("path", [*PANELS, LIBRARY / "MedImageParse.py"], ids=lambda path: path.name)
def test_texts_can_be_translated(path):
    """Only literal texts in _(), placeholders with names, and `_` for nothing else (it would become a local name)."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            (text,) = node.args
            assert isinstance(text, ast.Constant) and isinstance(text.value, str), f"line {node.lineno}"
            assert not re.search(r"\{\d*\}|%[sd]", text.value), f"line {node.lineno}"
        assert not (isinstance(node, ast.Name) and node.id == "_" and isinstance(node.ctx, ast.Store)), f"line {node.lineno}"
        assert not (isinstance(node, ast.arg) and node.arg == "_"), f"line {node.lineno}"


def test_whole_path_with_a_key_needs_only_what_slicer_brings(tmp_path):
    """In a Python in which nothing else can be imported: the panel's module, a run with a key, segments."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folders = [str(LIBRARY), str(ROOT / "Testing"), str(tmp_path)]
    outcome = subprocess.run(
        [sys.executable, str(script), BUNDLED, *folders], capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    assert outcome.stdout.split() == ["done", "lungs", "found", "unicorn", "absent"]


SCRIPT = """
import os, sys, sysconfig
bundled, folders = set(sys.argv[1].split()), sys.argv[2:]
os.environ["MEDIMAGEPARSE_CONFIG_DIR"] = folders[-1]
sys.path[:0] = folders[:2]
# What those packages need themselves: requests brings four, and vtk's and slicer-core's compiled parts go by many names.
helpers = {"urllib3", "certifi", "idna", "charset_normalizer", "chardet", "brotli", "brotlicffi", "h2", "socks", "zstandard"}
own = {"MedImageParseLib", "host"}


class OnlyBundled:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in bundled | helpers | own or top in sys.stdlib_module_names or top.startswith(("vtk", "_")):
            return None
        raise ModuleNotFoundError(f"No module named {name!r} (not in Slicer)", name=name)


sys.meta_path.insert(0, OnlyBundled())
import slicer
from MedImageParseLib.engines.classical.phantom import make_phantom
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.local_endpoint.server import LocalEndpoint
from MedImageParseLib.logic.segmentation import MedImageParseLogic
from MedImageParseLib.scene.session import ensureScene
from MedImageParseLib.scene.volumes import nodeFromVolume
from MedImageParseLib.profiles.profiles import Profile, ProfileStore
from MedImageParseLib.signin.auth import session_keys

ensureScene()
phantom = make_phantom()
node = nodeFromVolume(Volume(phantom.voxels, phantom.ijk_to_ras, modality="CT"), "CT")
logic = MedImageParseLogic()
with LocalEndpoint() as endpoint:
    profile = Profile("Ward 3", endpoint.url, sign_in="key")
    ProfileStore().add(profile)
    session_keys.remember(profile.name, profile.url, "k3y")
    job = logic.segmentVolume(node, "lungs & unicorn", profile=profile, callback=lambda job: None)
    while not logic.isIdle:
        logic.poll()
print(job.state, *(word for row in job.result.rows for word in (row.name, row.state)))
logic.close()
"""


def test_smoke_test_for_a_real_slicer_runs_in_the_headless_one_too():
    """It cannot be run in a real Slicer here; its steps at least are right."""
    import runpy

    from effect_support import EFFECT
    from panel_support import openedPanel

    with openedPanel() as opened:
        opened.host.load_module("SegmentEditorMedImageParse", EFFECT, open_it=False)
        opened.host.start_up()
        steps = runpy.run_path(str(ROOT / "Testing" / "slicer" / "smoke_test.py"), run_name="steps")
        steps["smoke"]()
        assert opened.host.find("messageLabel").text == "The last run was undone."


def test_module_test_of_slicer_runs_in_the_headless_one_too():
    from panel_support import openedPanel

    with openedPanel() as opened:
        test = sys.modules["MedImageParse"].MedImageParseTest()
        test.runTest()
        assert len(opened.segmentations()) == 1
