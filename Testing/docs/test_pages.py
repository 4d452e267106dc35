"""The pages: they build without a warning, their generated parts are current, their links lead somewhere, and they name no outside document."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from places import LIBRARY, ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SKIPPED = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "try_it_output", "build", "dist"}


def files_of_the_repository():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.endswith(".egg-info")]
        for name in names:
            if name.endswith((".md", ".py", ".yml", ".yaml", ".toml", ".json", ".txt", ".cff", ".ui")) or name == "run":
                yield ROOT / os.path.relpath(os.path.join(folder, name), ROOT)


def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: the pages are not built")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: the pages are not built")
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert ended.returncode == 0 and "WARNING" not in ended.stderr, ended.stderr[-3000:]
    api = (tmp_path / "site" / "python-api" / "index.html").read_text(encoding="utf-8")
    assert "MedImageParseLib.api.segment.segment" in api and "kji" in api
    assert "Added" in (tmp_path / "site" / "changelog" / "index.html").read_text(encoding="utf-8")


def test_the_table_of_contents_names_every_page_once():
    listed = re.findall(r":\s*([\w/-]+\.md)\s*$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == [page.relative_to(DOCS).as_posix() for page in PAGES]


@pytest.mark.parametrize("name", ["targets", "options", "faults", "api"])
def test_what_is_generated_is_current(name):
    import make_docs

    page, make = make_docs.PARTS[name]
    text = (DOCS / page).read_text(encoding="utf-8")
    assert make_docs.with_part(text, name, make()) == text, "run python3 scripts/make_docs.py"


def test_every_option_of_every_command_says_what_it_does():
    rows = [line for line in (DOCS / "options.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) > 300 and [row for row in rows if re.search(r"\|\s*\|$", row)] == []


def test_the_troubleshooting_page_speaks_of_every_endpoint_and_not_of_the_run_that_made_it():
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8").partition("| what happens |")[2]
    assert text.count("\n| ") > 35
    assert not re.findall(r"localhost|127\.0\.0\.1|endpoint\.\w+:\d+|[0-9a-f]{8}-[0-9a-f]{4}-|scripted|Testing|\b20\d\d-", text)


def test_every_link_and_picture_of_the_repository_leads_to_a_file_and_a_heading():
    missing = []
    for page in [*PAGES, *ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md")]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            wanted = (page.parent / path).resolve() if path else page
            if not wanted.exists() or (
                anchor
                and anchor not in {_slug(line) for line in re.findall(r"^#+ (.*)$", wanted.read_text(encoding="utf-8"), re.MULTILINE)}
            ):
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert not missing


def _slug(heading: str) -> str:
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-")


def test_every_picture_of_the_pages_is_made_by_a_script_and_used():
    import make_docs_pictures
    import make_screenshots

    there = {path.relative_to(DOCS / "pictures").as_posix() for path in (DOCS / "pictures").rglob("*.png")}
    made = {f"{name}.png" for name in make_docs_pictures.NAMES} | {f"panel/{make.__name__}.png" for make in make_screenshots.PICTURES}
    used = {name for page in PAGES for name in re.findall(r"pictures/([\w/]+\.png)", page.read_text(encoding="utf-8"))}
    assert there == made == used


def test_no_file_names_a_document_that_is_not_in_the_repository():
    outside = re.compile(
        r"shared/(?:contract|design|cases)|\b(?:cli|endpoints|targets3d|insight|evaluation|house|words|peers|platform)\.md\b"
    )
    here = {path.name for path in ROOT.rglob("docs/**/*.md")}
    named = []
    for path in files_of_the_repository():
        if path.name == "test_pages.py":
            continue
        for word in outside.findall(path.read_text(encoding="utf-8", errors="replace")):
            if word not in here:
                named.append(f"{path.relative_to(ROOT)}: {word}")
    assert not named


def test_the_readme_is_at_most_120_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


PLACES = re.findall(
    r"^### (.+?)\n((?:.*\n)*?)(?=^#)", (DOCS / "developers.md").read_text(encoding="utf-8").partition("## Where do I add")[2], re.MULTILINE
)


def test_the_developers_page_answers_the_six_questions():
    asked = ("model", "window", "box", "sign in", "engine", "command")
    assert all(any(word in title for title, _ in PLACES) for word in asked)


@pytest.mark.parametrize(("title", "text"), [place for place in PLACES if "|" in place[1]], ids=lambda value: value[:30].replace(" ", "-"))
def test_each_place_that_the_developers_page_names_is_there(title, text):
    rows = re.findall(r"^\| `([\w/.]+)` \| `(\w+)` \|", text, flags=re.MULTILINE)
    assert rows, title
    for file, name in rows:
        source = (LIBRARY / "MedImageParseLib" / file).read_text(encoding="utf-8")
        assert re.search(rf"^(?:def|class) {name}\b|^{name}\b\s*[:=]", source, re.MULTILINE), f"{file} has no {name}"


def test_the_picture_of_the_packages_shows_each_of_them_and_imports_point_down():
    import ast

    import rooms

    library = LIBRARY / "MedImageParseLib"
    folders = {path.name for path in library.iterdir() if path.is_dir() and path.name not in ("__pycache__", "Resources")}
    assert set(rooms.names()) == folders
    level = {name: number for number, (_title, row) in enumerate(rooms.ROWS) for name, _duty in row}
    upward = set()
    for path in library.rglob("*.py"):
        inside = path.relative_to(library).parts[:-1]
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if inside and isinstance(node, ast.ImportFrom) and node.level:
                target = [*inside[: len(inside) - node.level + 1], *(node.module or "").split(".")]
                for word in [target[0]] if target[0] else [alias.name for alias in node.names]:
                    if word in level and level[word] < level[inside[0]]:
                        upward.add(f"{path.relative_to(library)} imports {word}")
    assert not upward


def test_no_files_of_the_library_import_each_other_in_a_circle_not_even_for_their_types():
    import ast
    from graphlib import TopologicalSorter

    library = LIBRARY / "MedImageParseLib"
    files = {path.relative_to(library).with_suffix("").parts: path for path in library.rglob("*.py")}
    imports = {}
    for own, path in files.items():
        imports[own] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = (*own[: len(own) - node.level], *(node.module.split(".") if node.module else ()))
                imports[own] |= {found for alias in node.names for found in ((*base, alias.name), base) if found in files}
    assert sum(map(len, imports.values())) > 500
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle
