"""What the Slicer Extensions Index asks for, and the one place where the owner is set."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from places import ROOT

CHECKED = ("CMakeLists.txt", "MedImageParse.json", "CITATION.cff", "LICENSE.txt", "README.md", "pyproject.toml",
           "MedImageParseExtension/MedImageParse/MedImageParse.py", "Resources/Icons/MedImageParse.png", "docs/pictures/hero.png",
           "docs/pictures/panel/search_results.png")  # fmt: skip


@pytest.fixture
def copy(tmp_path):
    """The files that the index looks at, to be spoiled."""
    for name in CHECKED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for path in (ROOT / "MedImageParseExtension").glob("*/*.py"):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_the_repository_keeps_the_rules_of_the_index():
    import check_index

    assert check_index.faults() == []


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("MedImageParse.json", '"tier": 1', '"tier": 2', "tier"), ("MedImageParse.json", "\n", "\r\n", "line ends"),
        ("MedImageParse.json", '"category": "Segmentation"', '"category": "Sorcery"', "category"),
        ("MedImageParse.json", '"enabled": true', '"enabled": "yes"', "enabled"), ("MedImageParse.json", '"tier"', '"teir"', "unknown field"),
        ("MedImageParse.json", "/SlicerMedImageParse", "/MedImageParse", "scm_url"),
        ("CMakeLists.txt", "project(MedImageParse)", "project(Slicer)", "project"), ("CMakeLists.txt", "hero.png", "gone.png", "no picture"),
        ("CMakeLists.txt", '"NA"', '"PyTorch"', "build_dependencies"), ("README.md", "| MedImageParse |", "| Other |", "module MedImageParse"),
        ("README.md", "patents", "trees", "patents"), ("CITATION.cff", "github.com/", "github.com/x", "another owner"),
    ],
)  # fmt: skip
def test_each_broken_rule_is_named(copy, file, old, new, said):
    import check_index

    before = check_index.faults(copy)
    path = copy / file
    assert old.encode() in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    found = [fault for fault in check_index.faults(copy) if fault not in before]
    assert any(said in fault for fault in found), found


def test_the_owner_is_set_in_one_place_and_stands_everywhere(copy, capsys):
    import check_index
    import set_owner

    assert set_owner.main(["SomeLab", "Ada Example (Some University)", "Bo Example (Some Hospital)"], copy) == 0
    assert set_owner.main(["--check"], copy) == 0
    texts = {path.name: path.read_text(encoding="utf-8") for path in set_owner.files(copy)}
    assert all("Ada Example" in text for name, text in texts.items() if name != "MedImageParse.json")
    assert json.loads(texts["MedImageParse.json"])["scm_url"] == "https://github.com/SomeLab/SlicerMedImageParse.git"
    assert not any("OWNER" in text for text in texts.values())
    assert not [fault for fault in check_index.faults(copy) if "owner" in fault]
    compile(texts["MedImageParse.py"], "MedImageParse.py", "exec")
    with pytest.raises(SystemExit, match="not the name of a GitHub account"):
        set_owner.main(["some lab"], copy)
