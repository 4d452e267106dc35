"""What is installed is pinned and checked by its hashes, and what is shipped is listed."""

from __future__ import annotations

import hashlib
import json
import re

import environment
import lock_requirements
import make_sbom
import pytest

LOCK = lock_requirements.read_lock(lock_requirements.LOCK.read_text(encoding="utf-8"))


def test_every_pin_has_hashes_and_nothing_of_this_machine_is_in_the_lock():
    text = lock_requirements.LOCK.read_text(encoding="utf-8")
    assert len(LOCK) > 50 and all(hashes for pins in LOCK.values() for _, hashes in pins)
    assert not re.search(r"://|--index|--find-links|^-e|^/", text, re.MULTILINE)


def test_the_lock_covers_what_the_package_itself_needs():
    missing = [line for line in lock_requirements.problems() if any(line.startswith(text) for text in environment.dependencies())]
    assert missing == []


@pytest.mark.parametrize(
    ("requirement", "said"), [("numpy>=99", "does not allow"), ("not-in-the-lock>=1", "is not in the lock"), ("requests>=2.31,<3", "")]
)
def test_a_lock_that_no_longer_fits_is_told(tmp_path, requirement, said):
    (tmp_path / "pyproject.toml").write_text(f'[project]\ndependencies = [\n  "{requirement}",\n]\n\n[project.optional-dependencies]\n')
    (tmp_path / "requirements-lock.txt").write_text(lock_requirements.LOCK.read_text(encoding="utf-8"))
    found = lock_requirements.problems(tmp_path)
    assert (said in found[0] and requirement in found[0]) if said else found == []


def test_a_pin_without_a_hash_is_told(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    (tmp_path / "requirements-lock.txt").write_text("requests==2.34.2\n")
    assert lock_requirements.problems(tmp_path) == ["requests 2.34.2 has no hash"]


@pytest.mark.parametrize("is_locked", [True, False])
def test_a_locked_installation_takes_pins_and_hashes_only(tmp_path, monkeypatch, is_locked):
    commands = []
    monkeypatch.setattr(environment, "_run", lambda command, **_: commands.append(command) or (0, ""))
    monkeypatch.setenv(environment.LOCKED, "1" if is_locked else "")
    lock = tmp_path / "requirements-lock.txt"
    lock.write_text("")
    environment._install(tmp_path / "python", ["requests>=2"], lock)
    assert commands[0][-3:] == ["--require-hashes", "-r", str(lock)] if is_locked else commands[0][-1] == "requests>=2"


@pytest.fixture(scope="module")
def bom() -> dict:
    return json.loads(make_sbom.to_json(make_sbom.make_bom()))


def test_the_list_of_what_is_shipped_is_valid_cyclonedx(bom):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None


def test_it_names_every_installed_file_with_its_hash_and_every_package_that_is_needed(bom):
    files = {entry["name"]: entry["hashes"][0]["content"] for entry in bom["components"] if entry["type"] == "file"}
    module = environment.ROOT / "MedImageParseExtension" / "MedImageParse" / "MedImageParse.py"
    assert files["MedImageParseExtension/MedImageParse/MedImageParse.py"] == hashlib.sha256(module.read_bytes()).hexdigest()
    listed = (module.parent / "CMakeLists.txt").read_text(encoding="utf-8")
    assert {f"MedImageParseExtension/MedImageParse/{name}" for name in re.findall(r"MedImageParseLib/[\w/]+\.py", listed)} <= set(files)
    packages = {entry["name"]: entry for entry in bom["components"] if entry["type"] == "library"}
    assert {"numpy", "requests", "urllib3", "certifi", "simpleitk"} <= set(packages) and "pytest" not in packages
    assert all(entry["purl"].startswith("pkg:pypi/") and entry["version"] for entry in packages.values())


def test_the_same_sources_give_the_same_list(bom):
    assert json.loads(make_sbom.to_json(make_sbom.make_bom())) == bom
    assert "timestamp" not in bom["metadata"] and "serialNumber" not in bom
