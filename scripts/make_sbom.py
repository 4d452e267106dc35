"""Write what is shipped as a CycloneDX list (SBOM): `python3 scripts/make_sbom.py [FILE.json]` (default sbom.json).

In it: this extension with its version and licence, every file that it installs with its SHA-256, and the packages that it needs at run time
with those that they need in turn, as they are installed here: version, licence, and the hashes of requirements-lock.txt where it pins
the same version. No time and no random number, so that the same sources and packages give the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

import environment
import lock_requirements

EXTENSION = environment.ROOT / "MedImageParseExtension"
_PASSED_OVER = ("__pycache__", ".pyc", ".part")


def shipped_files(folder: Path = EXTENSION) -> list[Path]:
    """The files of the extension, sorted."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not any(part.endswith(_PASSED_OVER) for part in path.parts))


def needed_packages(requirements: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """The installed packages behind some requirements, and those that they need in turn, by normalized name.

    Raises:
        SystemExit: one is not installed.
    """
    from packaging.requirements import Requirement

    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [(Requirement(text), frozenset({""})) for text in requirements]
    seen = set()
    while waiting:
        wanted, wanted_by = waiting.pop()
        key = (lock_requirements.normalized(wanted.name), frozenset(wanted.extras))
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": extra}) for extra in wanted_by):
            continue
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            sys.exit(f"error: The package {wanted.name} is not installed; run python3 scripts/run_tests.py once.")
        found[key[0]] = distribution
        waiting += [(Requirement(text), frozenset({"", *wanted.extras})) for text in distribution.requires or ()]
    return found


def make_bom() -> Any:
    """The list as a cyclonedx Bom."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense

    text = (environment.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    name, version = (re.search(rf'^{key} = "([^"]+)"', text, re.MULTILINE)[1] for key in ("name", "version"))
    licence = (environment.ROOT / "LICENSE.txt").read_text(encoding="utf-8").strip().splitlines()[0]
    root = Component(
        name=name, version=version, type=ComponentType.APPLICATION, bom_ref="extension", licenses=[DisjunctiveLicense(name=licence)]
    )
    bom = Bom()
    bom.metadata.component = root
    for path in shipped_files():
        where = path.relative_to(environment.ROOT).as_posix()
        digest = HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(path.read_bytes()).hexdigest())
        bom.components.add(Component(name=where, type=ComponentType.FILE, bom_ref=f"file:{where}", hashes=[digest]))
    packages = [_package(*item) for item in sorted(needed_packages(environment.dependencies(extras=environment.CHECKOUT)).items())]
    bom.components.update(packages)
    bom.register_dependency(root, packages)
    return bom


def _package(name: str, distribution: importlib.metadata.Distribution) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from packageurl import PackageURL

    version = distribution.version
    pins = lock_requirements.read_lock(lock_requirements.LOCK.read_text(encoding="utf-8")).get(name, [])
    hashes = [digest.partition(":")[2] for pinned, digests in pins if pinned == version for digest in digests]
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"pkg:pypi/{name}@{version}", purl=PackageURL("pypi", name=name, version=version),
        licenses=[DisjunctiveLicense(name=licence)] if (licence := _licence(distribution)) else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in hashes],
    )  # fmt: skip


def _licence(distribution: importlib.metadata.Distribution) -> str:
    """The licence as a package names it: the expression, else its classifier, else the first line of its text."""
    said = distribution.metadata
    if said.get("License-Expression"):
        return said["License-Expression"]
    named = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier") or () if line.startswith("License :: ")]
    first = (said.get("License") or "").strip().splitlines()
    return " / ".join(named) or (first[0][:80] if first else "")


def to_json(bom: Any) -> str:
    """The list as CycloneDX 1.6 JSON, without the time and the serial number that the library would make up."""
    import json

    from cyclonedx.output.json import JsonV1Dot6

    content = json.loads(JsonV1Dot6(bom).output_as_string())
    content.pop("serialNumber", None)
    content["metadata"].pop("timestamp", None)
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write the file; returns 0."""
    parser = argparse.ArgumentParser(description="List what is shipped.")
    parser.add_argument("file", nargs="?", default="sbom.json", help="where to (default sbom.json)")
    arguments = parser.parse_args()
    environment.ensure(("test",))
    bom = make_bom()
    Path(arguments.file).write_text(to_json(bom), encoding="utf-8", newline="\n")
    files = sum(component.type.value == "file" for component in bom.components)
    print(f"{files} files and {len(bom.components) - files} packages are listed in {arguments.file}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
