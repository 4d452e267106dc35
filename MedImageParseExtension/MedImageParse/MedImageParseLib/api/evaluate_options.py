"""The options of measuring segmentations, written once: API, command and pages are made from them."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Path_, option

PROTOCOLS = ("plain", "cvpr25", "amos")
_OUTPUTS = "outputs"


@dataclass(frozen=True)
class EvaluateOptions:
    """How segmentations are measured, and what is written."""

    names: Path_ | None = option(
        None,
        help='which label is which: {"1": "spleen", "2": "liver"}, {"spleen": 1}, or one such for "reference" and "prediction"',
        metavar="MAP.json",
    )
    protocol: str = option("plain", help="whose rules", choices=PROTOCOLS)
    tolerance: float = option(2.0, help="mm, of the surface Dice", metavar="MM")
    instances: bool = option(False, help="the reference's labels are objects of one kind: F1 and Dice of the hits")
    resample: bool = option(False, help="bring predictions onto the reference's grid (nearest neighbour)")
    csv: Path_ | None = option(None, help="one row a case and structure", metavar="FILE", group=_OUTPUTS)
    table: Path_ | None = option(None, help="means beside the model card's published numbers", metavar="FILE.md", group=_OUTPUTS)
    picture: Path_ | None = option(None, help="the three cases that fit worst, with both outlines", metavar="FILE.png", group=_OUTPUTS)
    images: Path_ | None = option(
        None, help="the cases' images, for the picture (those of a batch are known)", metavar="DIR", group=_OUTPUTS
    )
