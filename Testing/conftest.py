"""Shared set-up of the test suites: the import path, the reference data, and a home folder of its own for every run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine, so that a change is judged by its own doing; EXPLORE=1 looks at new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
if not os.environ.get("EXPLORE"):
    settings.load_profile("repeatable")

sys.path.insert(0, str(Path(__file__).resolve().parent))

from places import LIBRARY, ROOT, SHARED_DATA

for folder in (LIBRARY, ROOT / "Testing", ROOT / "scripts"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images with reference masks; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("reference images are absent: ../shared/data is not there")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def own_configuration_folder(tmp_path, monkeypatch):
    """No test reads or writes the user's own configuration, key or proxy settings."""
    monkeypatch.setenv("MEDIMAGEPARSE_CONFIG_DIR", str(tmp_path / "configuration"))
    for name in list(os.environ):
        if name == "MEDIMAGEPARSE_KEY" or name.lower() in ("http_proxy", "https_proxy", "all_proxy", "requests_ca_bundle", "ssl_cert_file"):
            monkeypatch.delenv(name)
