"""A newcomer who has only the pages: every block of commands (bash) is run as it stands, and the tutorial is played in the headless Slicer.

Blocks marked sh speak of files that a reader has and a test has not: their commands are parsed, as those of all pages are.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from places import LIBRARY, ROOT, SHARED_DATA

from MedImageParseLib.cli.main import build_parser, main
from MedImageParseLib.errors import UsageError

DOCS = ROOT / "docs"
WITH_COMMANDS = ("tutorial", "pictures", "similar", "command-line")  # "cohort" has a test of its own


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


def lay_out_cases(desk: Path) -> bool:
    """What the page on many cases begins with: images, and a reference for each under the same name. Whether they are real ones."""
    for folder in ("cases", "references"):
        (desk / folder).mkdir()
    real = SHARED_DATA / "ct_abdomen_3mm_labels.nii.gz"
    if not real.is_file():  # then the demo's own result is the reference
        main(["segment", "ct.nii.gz", "--model", "medimageparse3d", "--prompt", "spleen & liver", "--profile", "Local demo",
              "--labels", "labels.nii.gz"])  # fmt: skip
    shutil.copy(SHARED_DATA / "ct_abdomen_3mm.nii.gz" if real.is_file() else "ct.nii.gz", desk / "cases" / "patient1.nii.gz")
    shutil.copy(real if real.is_file() else "labels.nii.gz", desk / "references" / "patient1.nii.gz")
    (names,) = blocks("cohort", "json")
    (desk / "names.json").write_text(names if real.is_file() else '{"1": "spleen", "2": "liver"}', encoding="utf-8")
    return real.is_file()


def test_a_folder_is_segmented_and_measured_by_the_page_on_many_cases_and_its_scores_are_true(desk, local_demo):
    is_real = lay_out_cases(desk)
    for block in blocks("cohort", "bash"):
        for line in block.splitlines():
            run(line, desk)
    rows = [line.split(",") for line in (desk / "scores.csv").read_text(encoding="utf-8").splitlines()[1:]]
    told = re.search(r"Dice of ([\d.]+) for the liver and ([\d.]+) for the spleen", (DOCS / "cohort.md").read_text(encoding="utf-8"))
    for name, said in (("liver", told[1]), ("spleen", told[2])):
        measured = [float(row[2]) for row in rows if row[1] == name]
        assert len(measured) == 1
        assert not is_real or all(abs(value - float(said)) < 0.01 for value in measured)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_command_of_a_page_runs_as_it_stands(page, desk, local_demo):
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


def commands_of(path: Path) -> list[str]:
    """Every command line that a page shows, in blocks and within sentences; without those that leave something out."""
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"^\s*medimageparse (.+)$", text, flags=re.MULTILINE) + re.findall(r"`medimageparse ([^`]+)`", text)
    return [line for line in lines if "…" not in line and "COMMAND" not in line and " > " not in line]


def test_every_command_that_any_page_shows_is_one_that_the_program_takes():
    parser = build_parser("medimageparse")
    shown = [(path.name, line) for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] for line in commands_of(path)]
    assert len(shown) > 30
    refused = []
    for page, line in shown:
        try:
            parser.parse_args(shlex.split(re.sub(r"^batch (\w+)-azure ", r"batch-azure \1 ", line), comments=True))
        except UsageError as error:
            refused.append(f"{page}: {line}: {error}")
        except SystemExit:  # --help, --version
            pass
    assert not refused


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


def test_the_tutorial_leads_from_nothing_to_segments_in_slicer_and_its_sample_is_offered_there(desk, monkeypatch):
    pytest.importorskip("slicer", reason="slicer-core is not installed: there is no MRML to test against")
    pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")
    from panel_support import openedPanel

    registered = samples_offered(monkeypatch)
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
        opened.host.start_up()
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
        assert opened.segmentations() and "local demo engine" in opened.text("resultsLabel")
    assert [each["sampleName"] for each in registered] == ["SampleCT", "AbdomenCT"]
    assert all(Path(each["thumbnailFileName"]).stat().st_size > 1000 for each in registered)
    address = re.search(r"https://\S+\.nii\.gz", (DOCS / "tutorial.md").read_text(encoding="utf-8"))[0]
    assert registered[1]["uris"] == address and callable(registered[0]["customDownloader"])
    if (SHARED_DATA / "ct_abdomen_3mm.nii.gz").is_file():
        real = hashlib.sha256((SHARED_DATA / "ct_abdomen_3mm.nii.gz").read_bytes()).hexdigest()
        assert registered[1]["checksums"] == f"SHA256:{real}"


def samples_offered(monkeypatch) -> list[dict]:
    """What the module offers to Slicer's Sample Data module, whose parameters are those of Slicer 5.12's SampleData.py."""
    registered = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(
            category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None, thumbnailFileName=None,
            loadFileType=None, loadFiles=None, loadFileProperties=None, checksums=None, sampleDescription=None,
        ):  # fmt: skip
            registered.append(dict(locals()))

    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=SampleDataLogic))
    return registered


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
