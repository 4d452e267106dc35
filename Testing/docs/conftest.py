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
