"""The engine made of deepbet, with its network replaced: what it is asked for, what it is not given, and what is not believed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from MedImageParseLib.engines.contract import check_engine
from MedImageParseLib.engines.hosting import InProcess
from MedImageParseLib.engines.named import engine_class

# The innermost point: the network says "inside" where the volume is brighter than half of its range.
BET = """
import nibabel
import numpy as np


class BrainExtraction:
    def __init__(self, no_gpu=False):
        assert no_gpu

    def run(self, image, threshold=0.5):
        values = np.asarray(image.dataobj)
        inside = values > values.min() + (values.max() - values.min()) * threshold
        assert inside.any(), "Not enough foreground to calculate bounding box"
        if values.max() == 777:
            raise RuntimeError("Input and output sizes should be greater than 0")
        if values.max() == 778:
            raise RuntimeError("CUDA out of memory")
        return None, nibabel.Nifti1Image(inside.astype(np.uint8), image.affine), 0.0
"""
TURNED = np.array([[0, 0, -4.0, 80], [5.0, 0, 0, -90], [0, 4.0, 0, -70], [0, 0, 0, 1]])


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    pytest.importorskip("nibabel", reason="nibabel is not installed")
    (tmp_path / "deepbet").mkdir()
    (tmp_path / "deepbet" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "deepbet" / "bet.py").write_text(BET, encoding="utf-8")
    (tmp_path / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("torch", "deepbet"):
            del sys.modules[name]


def engine() -> InProcess:
    return InProcess(engine_class("deepbet")()).start()


def head(radius_mm: float = 65.0) -> np.ndarray:
    """A ball in the middle of a volume of 160 x 180 x 160 mm, as TURNED places it."""
    k, j, i = np.indices((40, 40, 36)) - np.array([20, 20, 18]).reshape(3, 1, 1, 1)
    return np.where((4 * k) ** 2 + (4 * j) ** 2 + (5 * i) ** 2 < radius_mm**2, 900, 20).astype(np.int16)


def test_it_meets_the_contract():
    findings = check_engine(engine())
    assert len(findings) > 6 and [finding for finding in findings if not finding.is_met] == []


def test_the_brain_lies_where_it_is_on_a_turned_volume_and_nothing_else_is_answered():
    voxels = head()
    answer = engine().segment_volume(voxels.copy(), TURNED, ["liver", "brain in head MRI"])
    assert answer.masks[0] is None and answer.reasons == ["deepbet finds the brain only.", ""]
    assert np.array_equal(answer.masks[1], voxels > 460)


def test_an_image_that_the_network_cannot_take_has_no_brain_and_want_of_memory_is_not_taken_for_that():
    answer = engine().segment_volume(np.where(head() > 460, 777, 20), TURNED, ["brain"])
    assert answer.masks[0] is None and "Nothing that looks like a head" in answer.reasons[0]
    with pytest.raises(RuntimeError, match="out of memory"):
        engine().segment_volume(np.where(head() > 460, 778, 20), TURNED, ["brain"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda voxels: voxels - 1024, "looks like a CT"),
        (lambda voxels: voxels[:10], "too thin to hold a head"),
        (lambda voxels: voxels[:, :, :7], "too thin to hold a head"),
        (lambda voxels: voxels * 0, "one value everywhere"),
        (lambda voxels: head(30.0), "is not the size of a brain"),
        (lambda voxels: np.where(voxels > 460, 20, 900), "is not the size of a brain"),
    ],
)
def test_what_is_no_head_on_mr_is_not_believed_and_the_reason_is_said(change, reason):
    answer = engine().segment_volume(change(head()), TURNED, ["brain"])
    assert answer.masks[0] is None and reason in answer.reasons[0]
