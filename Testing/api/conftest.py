"""Fixtures that the suites of this folder share: the endpoint double, and a phantom in an oblique place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from cli_support import AFFINE, served
from exactness_support import TILT, phantom_labels, phantom_voxels

from doubles.forms import Form

__all__ = ["phantom", "served", "url"]


@dataclass
class Phantom:
    """Gray levels and labels in ijk order, and where they lie (RAS, mm)."""

    voxels: np.ndarray
    labels: np.ndarray
    affine: np.ndarray


@pytest.fixture
def phantom() -> Phantom:
    labels = phantom_labels((13, 11, 9))
    affine = AFFINE.copy()
    affine[:3, :3] = np.linalg.qr(TILT)[0] @ affine[:3, :3]
    return Phantom(phantom_voxels(labels), labels, affine)


@pytest.fixture
def url(served) -> str:
    double, address = served
    double.seen.clear()
    double.form, double.tamper, double.pause = Form(), None, None
    return address
