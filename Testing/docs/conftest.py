"""The pages, and the local endpoint under the name that they use."""

from __future__ import annotations

import sys

import pytest
from places import ROOT

sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture
def local_demo():
    """The local demo engine, kept as the profile "Local demo": on another port, as the usual one may be taken."""
    from MedImageParseLib.local_endpoint.server import LocalEndpoint
    from MedImageParseLib.profiles.profiles import Profile, ProfileStore

    with LocalEndpoint() as endpoint:
        ProfileStore().add(Profile(name="Local demo", url=endpoint.url), replace=True)
        yield endpoint


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty working folder with the images that the pages speak of: a real CT and X-ray, or synthetic ones where those are absent."""
    import numpy as np
    import SimpleITK as sitk
    from PIL import Image
    from places import SHARED_DATA

    from MedImageParseLib.engines.classical.phantom import make_phantom
    from MedImageParseLib.imaging.nifti import encode_nifti

    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    ct, xray = SHARED_DATA / "ct_abdomen_3mm.nii.gz", SHARED_DATA / "demo2d" / "15_X-Ray_chest.png"
    if ct.is_file():  # the real one, with half as many rows and columns: quicker, and all organs are there
        image = sitk.ReadImage(str(ct))[::2, ::2, :]
        sitk.WriteImage(image, str(folder / "ct.nii.gz"))
        Image.open(xray).convert("L").resize((256, 256)).save(folder / "xray.png")
    else:
        phantom = make_phantom()
        halved = np.ascontiguousarray(phantom.voxels[::2, ::2, ::2])
        (folder / "ct.nii.gz").write_bytes(encode_nifti(halved, phantom.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])))
        Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).save(folder / "xray.png")
    return folder
