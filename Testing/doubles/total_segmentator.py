"""A package that looks like TotalSegmentator to whoever imports it: its tables of classes, and a network that cuts the volume into layers.

The names are those of its task `total`, as its README lists them; the network is the innermost point, replaced because its weights cannot
be had here. Class k fills the voxels whose value is 1000 + k, so that a test can place every class where it likes.
"""

from __future__ import annotations

from pathlib import Path

_FIRST = (
    "spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right adrenal_gland_left lung_upper_lobe_left "
    "lung_lower_lobe_left lung_upper_lobe_right lung_middle_lobe_right lung_lower_lobe_right esophagus trachea thyroid_gland small_bowel "
    "duodenum colon urinary_bladder prostate kidney_cyst_left kidney_cyst_right sacrum vertebrae_S1"
)
_VESSELS = (
    "heart aorta pulmonary_vein brachiocephalic_trunk subclavian_artery_right subclavian_artery_left common_carotid_artery_right "
    "common_carotid_artery_left brachiocephalic_vein_left brachiocephalic_vein_right atrial_appendage_left superior_vena_cava "
    "inferior_vena_cava portal_vein_and_splenic_vein iliac_artery_left iliac_artery_right iliac_vena_left iliac_vena_right"
)
_BONES, _MUSCLES = "humerus scapula clavicula femur hip", "gluteus_maximus gluteus_medius gluteus_minimus autochthon iliopsoas"


def _both(names: str) -> list[str]:
    return [f"{name}_{side}" for name in names.split() for side in ("left", "right")]


TOTAL = [
    *_FIRST.split(),
    *(f"vertebrae_{letter}{number}" for letter, most in (("L", 5), ("T", 12), ("C", 7)) for number in range(most, 0, -1)),
    *_VESSELS.split(),
    *_both(_BONES),
    "spinal_cord",
    *_both(_MUSCLES),
    "brain",
    "skull",
    *(f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, 13)),
    "sternum",
    "costal_cartilages",
]

_CONFIG = """
import json, os
from pathlib import Path


def _file():
    return Path(os.environ["TOTALSEG_HOME_DIR"]) / "config.json"


def setup_totalseg():
    if not _file().exists():
        _file().write_text(json.dumps({"send_usage_stats": True}))


def get_config_key(key):
    return json.loads(_file().read_text()).get(key) if _file().exists() else None


def set_config_key(key, value):
    if _file().exists():  # otherwise the real one prints a warning and does nothing
        _file().write_text(json.dumps({**json.loads(_file().read_text()), key: value}))
"""

_API = """
import json, os
import nibabel
import numpy as np
from .map_to_binary import class_map


def totalsegmentator(input, output=None, ml=False, fast=False, task="total", roi_subset=None, device="gpu", quiet=False, skip_saving=False):
    from .config import get_config_key

    assert get_config_key("send_usage_stats") is False, "statistics would be sent"
    assert device in ("cpu", "gpu") and ml and skip_saving and not set(roi_subset) - set(class_map[task].values())
    values = np.asarray(input.dataobj)
    labels = np.zeros(values.shape, np.uint8)
    for number, name in class_map[task].items():
        if name in roi_subset:
            labels[values == 1000 + number] = number
    return nibabel.Nifti1Image(labels, input.affine)
"""


def make_package(folder: Path) -> Path:
    """Write the package, and as much of torch as the engine asks for. Returns the folder to put on the path."""
    package = folder / "totalsegmentator"
    package.mkdir(parents=True)
    total = {number: name for number, name in enumerate(TOTAL, start=1)}
    tables = {"total": total, "total_mr": {1: "spleen", 2: "brain"}}
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "map_to_binary.py").write_text(f"class_map = {tables!r}\n", encoding="utf-8")
    (package / "config.py").write_text(_CONFIG, encoding="utf-8")
    (package / "python_api.py").write_text(_API, encoding="utf-8")
    (folder / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n", encoding="utf-8")
    return folder
