"""The Python examples of the page "Python API", run as they stand: in Slicer's console (the headless one), against the local endpoint."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")

from panel_support import openedPanel
from places import ROOT


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def promised(example: str) -> list[str]:
    """What the comments behind calls of print say that is printed."""
    return re.findall(r"print\(.*\)\)?  # (.*)$", example, flags=re.MULTILINE)


def test_the_pages_python_examples_run_one_after_the_other_and_print_what_they_say(tmp_path, monkeypatch):
    from MedImageParseLib.engines.classical.phantom import make_phantom
    from MedImageParseLib.imaging.nifti import encode_nifti
    from MedImageParseLib.imaging.volume import Volume
    from MedImageParseLib.local_endpoint.server import LocalEndpoint
    from MedImageParseLib.profiles.profiles import Profile, ProfileStore
    from MedImageParseLib.scene.volumes import nodeFromVolume

    phantom = make_phantom()
    voxels, matrix = np.ascontiguousarray(phantom.voxels[::2, ::2, ::2]), phantom.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    (tmp_path / "ct.nii.gz").write_bytes(encode_nifti(voxels, matrix))
    monkeypatch.chdir(tmp_path)
    found = examples()
    assert len(found) >= 4 and sum(len(promised(example)) for example in found) >= 3
    with LocalEndpoint() as endpoint, openedPanel() as opened:
        ProfileStore().add(Profile(name="Local demo", url=endpoint.url), replace=True)  # another port: the usual one may be taken
        names = {"volumeNode": nodeFromVolume(Volume(voxels, matrix, modality="CT"), "phantom", opened.host.scene)}
        for example in found:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(example, "python-api.md", "exec"), names)
            assert [line for line in out.getvalue().splitlines() if line] == promised(example), example
    assert (tmp_path / "organs.seg.nrrd").stat().st_size > 0
    assert names["result"].rows[2].state == "absent"
    assert names["job"].state == "done"
