"""A newcomer who has only the pages: every command block is run as it stands, and the tutorial is played in the headless Slicer."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import LIBRARY, ROOT

from MedImageParseLib.cli.main import main

DOCS = ROOT / "docs"
WITH_COMMANDS = ("tutorial", "pictures", "similar", "cohort", "command-line")


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def run(line: str, desk: Path) -> None:
    """One line of a block, as a person would run it in that folder."""
    words = shlex.split(line, comments=True)
    if words[0] == "curl":  # the tests stay offline: what it brings is on the desk already
        assert words[-1].startswith("https://") and (desk / words[words.index("--output") + 1]).is_file()
    elif words[:2] == ["medimageparse", "serve"]:
        served(words[2:])
    else:
        assert words[0] == "medimageparse", line
        assert main(words[1:]) == 0, line


def served(options: list[str]) -> None:
    """The local demo of a terminal of its own: its first line is its address."""
    command = [sys.executable, "-m", "MedImageParseLib", "serve", "--port", "0", *options]
    with subprocess.Popen(command, cwd=LIBRARY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/score", process.stdout.readline().strip())
        finally:
            process.kill()


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_command_of_a_page_runs_as_it_stands(page, desk, local_demo):
    if page == "cohort":  # what the page speaks of: a labelmap of ours, and one to compare it with
        main(["segment", "ct.nii.gz", "--model", "medimageparse3d", "--prompt", "liver & spleen", "--profile", "Local demo",
              "--labels", "labels.nii.gz"])  # fmt: skip
        shutil.copy("labels.nii.gz", "reference.nii.gz")
        Path("names.json").write_text(json.dumps({"1": "liver", "2": "spleen"}), encoding="utf-8")
    lines = [line for block in blocks(page, "bash") for line in block.splitlines() if line.strip()]
    assert lines
    for line in lines:
        run(line, desk)
    named = {word for line in lines for word in re.findall(r"--(?:output|labels|statistics|picture|csv|map) (\S+)", line)}
    assert all((desk / name).stat().st_size > 0 for name in named)


def test_the_tutorials_python_example_prints_what_it_says(desk, local_demo, capsys):
    (example,) = blocks("tutorial", "python")
    exec(compile(example, "tutorial.md", "exec"), {})
    assert capsys.readouterr().out.strip() == re.search(r"print\(.*\)  # (.*)$", example, re.MULTILINE)[1]


def test_all_blocks_of_the_tutorial_are_of_a_kind_that_is_played():
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^```(\w+)", text, flags=re.MULTILINE)) == {"bash", "text", "python"}
    assert len(re.findall(r"^!\[", text, flags=re.MULTILINE)) >= 8


class Newcomer:
    """Does in the open panel what a page says, and knows nothing else."""

    def __init__(self, opened, desk):
        from PySide6 import QtWidgets

        self.opened, self.host, self.desk, self.widgets = opened, opened.host, desk, QtWidgets

    def labelled(self, words: str):
        """The visible button, tab or section of this name."""
        for each in self.widgets.QWidget.findChildren(self.host.panel.window, self.widgets.QWidget):
            label = getattr(each, "text", "")
            if str(label() if callable(label) else label).replace("&", "") == words and self.widgets.QWidget.isVisible(each):
                return each
        raise LookupError(f"Nothing in the panel is called {words!r}.")

    def press(self, words: str) -> None:
        self.host.click(self.labelled(words))
        if words == "Start local demo":
            self.host.wait_until(lambda: self.opened.panel.endpoint.demo.url, 30)
        if words == "Run":
            job = self.opened.jobs[-1]
            self.host.wait_until(lambda: job.has_ended, 60)
            self.host.process()

    def drop(self, name: str) -> None:
        import slicer

        slicer.util.loadVolume(str(self.desk / name)).SetName(name.split(".")[0])
        self.host.process()


def test_the_tutorial_leads_from_nothing_to_segments_in_slicer(desk):
    pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
    pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")
    from panel_support import openedPanel

    folder = re.search(r"Drag the folder `(.+?)` into \*\*Additional module paths\*\*", (DOCS / "install.md").read_text(encoding="utf-8"))[
        1
    ]
    assert (ROOT / folder / "MedImageParse.py").is_file()
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8").partition("## In 3D Slicer")[2].partition("## On the command line")[0]
    step = re.compile(
        r"(?:[Pp]ress|Open) \*\*(?P<press>[^*]+)\*\*(?! in the)|Drag `(?P<drop>[^`]+)`|choose `(?P<choose>\w+)` as the volume"
        r"|```text\n(?P<type>.*?)```|Type `(?P<more>\w+)` among",
        re.DOTALL,
    )
    asked = ""
    with openedPanel() as opened:
        person = Newcomer(opened, desk)
        for found in step.finditer(text):
            kind, words = found.lastgroup, found[found.lastgroup]
            if kind in ("type", "more"):
                asked = words.strip() if kind == "type" else f"{asked}\n{words}"
                opened.host.type("promptsEdit", asked)
            elif kind == "choose":
                opened.host.choose("volumeSelector", words)
            else:
                {"press": person.press, "drop": person.drop}[kind](words)
        results = dict(row[:2] for row in opened.results())
        assert results["unicorn"] == "not found" and results["liver"] == results["bones"] == "found"
        assert opened.segmentations() and "local demo engine" in opened.text("reportLabel")


def test_every_button_that_the_pages_name_is_in_the_panel():
    pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
    pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")
    named = set()
    for page in ("tutorial", "panel", "similar", "segment-editor"):
        text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
        named |= set(re.findall(r"\*\*([A-Z][^*.]+?…?)\*\*", text))
    texts = "\n".join(path.read_text(encoding="utf-8") for path in (LIBRARY / "Resources" / "UI").glob("*.ui"))
    code = "\n".join(path.read_text(encoding="utf-8") for path in (LIBRARY / "MedImageParseLib" / "panels").glob("*.py"))
    strangers = {name for name in named if f">{name}<" not in texts.replace("&amp;", "") and f'"{name}"' not in code}
    slicers_own = {"Show 3D", "Sample Data"}
    assert strangers <= slicers_own | {"MedImageParse", "It is not MedImageParse"}, strangers
