"""What the tests of embedding share: a made-up CT of which no two slices are alike, and the double behind a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from doubles.insight import Form, InsightDouble
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.profiles.connection import connect
from MedImageParseLib.transport.client import EndpointClient


def made_up_ct(slices: int = 12, size: int = 40) -> Volume:
    """HU, axes RAS, 2 mm: a body with a dense block that moves from slice to slice."""
    voxels = np.full((slices, size, size), -1000, np.int16)
    voxels[:, 6:-6, 6:-6] = 40
    for k in range(slices):
        voxels[k, 8 + k : 12 + k, 10:16] = 500
    return Volume(voxels, np.diag([2.0, 2.0, 2.0, 1.0]), "CT")


@contextmanager
def reached(double: InsightDouble | Form | None = None, **options: object) -> Iterator[tuple[InsightDouble, EndpointClient]]:
    """The double over HTTP and a connection to it; one try a request unless told otherwise."""
    double = double if isinstance(double, InsightDouble) else InsightDouble(double or Form())
    with double.serve() as url:
        client = connect(url, **{"retries": 1, **options})
        try:
            yield double, client
        finally:
            client.close()
