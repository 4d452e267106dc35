"""deepbrain as an engine: the brain on T1-weighted MR of the head, by a network of 171,465 numbers that lies in its own wheel (MIT).

Its package needs TensorFlow of 2018; only its file of weights is taken, and run with numpy. The demo engine asks the same network for the
brain where it was added (`head_finder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...errors import MedImageParseError
from ...imaging.geometry import AxisMap
from ...imaging.volume import three
from ...progress import Progress
from ...prompts import catalogue
from ..interface import Answer, Carried, Engine, Need
from .brain import Found, find_brain, no_head
from .graph import read_graph
from .network import Network

NAME = "deepbrain"
_WEIGHTS = "checkpoint"


class Deepbrain(Engine):
    """The brain on MR, by deepbrain's network."""

    name = NAME
    title = NAME
    version = "0.1"
    licence = "MIT"
    models = ("medimageparse3d",)
    finds = "the brain on T1-weighted MR of the head"
    needs = {  # noqa: RUF012 (a mapping that nobody changes)
        _WEIGHTS: Need("graph.pb of its wheel, for a computer without a network; it is downloaded otherwise", "file", is_weights=True)
    }
    carried = {  # noqa: RUF012
        _WEIGHTS: Carried("deepbrain==0.1", "deepbrain/models/graph.pb", "6be50752ff151808dc7f8059fef39852759de8502d831949b40e991502225a2a")
    }

    def load(self, progress: Progress) -> None:
        """See Engine."""
        from scipy import ndimage  # noqa: F401

        progress("loading weights", 0, 1)
        self._network = Network(read_graph(self.options.get(_WEIGHTS, "")))
        self.device = "cpu"
        progress("loading weights", 1, 1)

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine."""
        asked = [target is not None and target.name == "brain" for target in map(catalogue.lookup, prompts)]
        found = _in_any_order(voxels_kji, ijk_to_ras, self._network) if any(asked) else Found()
        return Answer(
            [found.mask if brain else None for brain in asked],
            reasons=[found.reason if brain else "deepbrain finds the brain only." for brain in asked],
        )


class HeadFinder:
    """The network as the demo engine asks it, for one volume.

    Args:
        network: deepbrain's; None where it was not added on this computer, so that nothing is looked at.
        who: what a person is told of it.

    Attributes:
        found: what it found; None where it was not asked.
    """

    def __init__(self, network: Network | None = None, who: str = ""):
        self.network, self.who = network, who
        self.found: Found | None = None

    def find(self, voxels: np.ndarray, spacing: tuple[float, float, float]) -> Found:
        """See brain.find_brain; without a network only why the volume would be nothing for it. A second call for the same volume costs nothing."""
        if self.found is None:
            self.found = Found(reason=no_head(voxels, spacing)) if self.network is None else find_brain(voxels, spacing, self.network)
        return self.found


def head_finder() -> HeadFinder:
    """For one volume; without a network where deepbrain was not added, or its weights cannot be read."""
    from ..store import Added, engines_folder

    record = engines_folder() / NAME / "engine.json"
    if not record.is_file():
        return HeadFinder()
    try:
        added = Added.read(record)
        path = Path(added.options.get(_WEIGHTS, ""))
        network = _network(str(path), path.stat().st_mtime_ns)
    except (MedImageParseError, OSError):
        return HeadFinder()
    return HeadFinder(network, f"{added.title} {added.version} (licence {added.licence}, on cpu, weights {added.weights})")


@lru_cache(maxsize=1)
def _network(path: str, _changed_ns: int) -> Network:
    return Network(read_graph(path))


def _in_any_order(voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, network: Network) -> Found:
    """The brain in a volume whose axes point anywhere."""
    axes = AxisMap.towards(ijk_to_ras, ("S", "A", "R"))
    steps = np.linalg.norm(np.asarray(ijk_to_ras, float)[:3, :3], axis=0)[::-1]
    found = find_brain(axes.apply(voxels_kji), three(float(steps[axis]) for axis in axes.order), network)
    if found.mask is not None:
        found.mask = np.ascontiguousarray(axes.undo(found.mask))
    return found
