"""Shared set-up of the test suites: the import path, the reference data, and a home folder of its own for every run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Arrays are small here and the processes as many as the cores: threads of BLAS and OpenMP would only wait for one another.
for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

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

# Suites that are long, or each of whose tests waits for long; `run_tests.py --quick` leaves them out. `--durations=0` tells how long each test takes.
SLOW_SUITES = {
    "test_adapter_sections", "test_batch_azure", "test_bench", "test_cli_adapter", "test_cli_batch", "test_cli_embedding",
    "test_cli_segment", "test_cli_serve", "test_cohort_batch", "test_cohort_dask", "test_deploy", "test_deploy_dialog", "test_discovery",
    "test_effect", "test_effect_history", "test_effect_package", "test_effect_path", "test_effect_refusals", "test_effect_sizes",
    "test_embed_classify", "test_embed_faults", "test_embed_index", "test_engine_contract", "test_engines_described",
    "test_engines_targets", "test_engines_windows", "test_exactness_2d", "test_exactness_3d", "test_files_picture", "test_foreign_text",
    "test_fuzz_replies", "test_heads", "test_host_idle", "test_host_modules", "test_images_in_memory", "test_imaging_squares",
    "test_index_many", "test_installed_package", "test_key_stays_secret", "test_labels_in_an_index", "test_local_endpoint_engine",
    "test_local_endpoint_hosts", "test_logic_console", "test_logic_jobs", "test_logic_slices", "test_logic_volume", "test_mcp",
    "test_newcomer", "test_pages", "test_panel_choices", "test_panel_click_path", "test_panel_editor", "test_panel_endings",
    "test_panel_foreign_words", "test_panel_history", "test_panel_many", "test_panel_names", "test_panel_package", "test_panel_presets",
    "test_panel_prompts", "test_panel_results", "test_panel_run", "test_panel_settings", "test_panel_sizes",
    "test_plane_of_a_single_slice", "test_progress", "test_python_api_examples", "test_real_servers", "test_recipes",
    "test_results_and_calls", "test_scene_session", "test_scene_storage", "test_search_endings", "test_search_exchange",
    "test_search_foreign", "test_search_labels", "test_search_logic", "test_search_messages", "test_search_panel", "test_search_safety",
    "test_search_sections", "test_setup_environment", "test_setup_phantom", "test_signin", "test_supply", "test_translations",
    "test_transport_faults", "test_transport_foreign_replies", "test_transport_throughput", "test_trust", "test_unusual",
}  # fmt: skip


def pytest_ignore_collect(collection_path, config):
    """Do not even read the slow suites where they are not wanted: reading takes as long as running many a quick one."""
    return True if collection_path.stem in SLOW_SUITES and "not slow" in config.option.markexpr else None


def pytest_collection_modifyitems(items):
    """Mark the slow suites as such, in one place."""
    for item in items:
        if Path(item.path).stem in SLOW_SUITES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images with reference masks; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("reference images are absent: ../shared/data is not there")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def own_configuration_folder(tmp_path, monkeypatch):
    """No test reads or writes the user's own configuration, engines, key or proxy settings."""
    monkeypatch.setenv("MEDIMAGEPARSE_CONFIG_DIR", str(tmp_path / "configuration"))
    monkeypatch.setenv("MEDIMAGEPARSE_ENGINES_DIR", str(tmp_path / "engines"))
    for name in list(os.environ):
        if name == "MEDIMAGEPARSE_KEY" or name.lower() in ("http_proxy", "https_proxy", "all_proxy", "requests_ca_bundle", "ssl_cert_file"):
            monkeypatch.delenv(name)
