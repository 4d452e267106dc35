"""No output of any command replaces what the command reads: exit 2, every byte as it was, nothing sent."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from cli_support import assert_one_error_line
from PIL import Image

from MedImageParseLib.errors import UsageError
from MedImageParseLib.files.collisions import check_outputs

KINDS = ("the file itself", "symbolic link", "hard link", "another spelling")


def fingerprints(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def same_file(kind: str, path: Path, name: str) -> Path:
    """Another way to the same file, ending as the output has to."""
    if kind == "the file itself":
        return path
    if kind == "another spelling":
        return path.parent / "." / ".." / path.parent.name / path.name
    link = path.with_name(name)
    (os.symlink if kind == "symbolic link" else os.link)(path, link)
    return link


def refused_as_it_was(bench, words: list[str]) -> str:
    before = fingerprints(bench.folder)
    assert bench.run(*words, "--endpoint", bench.url) == 2
    assert fingerprints(bench.folder) == before and not bench.double.seen
    return assert_one_error_line(bench)


@pytest.mark.parametrize("kind", KINDS)
def test_a_labelmap_never_replaces_the_volume_that_is_read(bench, kind):
    volume = Path(bench.path("phantom.nii.gz"))
    output = same_file(kind, volume, "labels.nii.gz")
    words = ["segment", str(volume), "--model", "medimageparse3d", "--prompt", "liver", "--labels", str(output)]
    assert "--labels would replace" in refused_as_it_was(bench, words)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "command",
    [
        ["segment", "IMAGE", "--model", "medimageparse", "--prompt", "liver", "--picture", "OUTPUT"],
        ["classify", "IMAGE", "--label", "a", "--label", "b", "--picture", "OUTPUT"],
        ["index", "search", "INDEX", "--image", "IMAGE", "--picture", "OUTPUT"],
        ["index", "add", "OUTPUT", "IMAGE"],
        ["index", "add", "OUTPUT", "IMAGE", "--work-dir", "WORK"],
        ["index", "merge", "OUTPUT", "IMAGE"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_no_picture_and_no_index_replaces_the_picture_that_is_read(bench, kind, command):
    image = bench.folder / "xray.png"
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(image)
    (bench.folder / "a.index").write_bytes(b"")
    named = {"IMAGE": str(image), "OUTPUT": str(same_file(kind, image, "other.png")), "INDEX": bench.path("a.index")}
    named["WORK"] = bench.path("work")
    words = [named.get(word, word) for word in command]
    if command[1] == "merge":  # it asks no endpoint
        before = fingerprints(bench.folder)
        assert bench.run(*words) == 2 and fingerprints(bench.folder) == before
        assert "would replace" in assert_one_error_line(bench)
    else:
        assert "would replace" in refused_as_it_was(bench, words)


@pytest.mark.parametrize("kind", KINDS[1:3])
@pytest.mark.parametrize("method", ["sketches", "faiss"])
def test_what_index_prepare_writes_beside_an_index_replaces_no_file_that_its_name_leads_to(bench, kind, method):
    from MedImageParseLib.search.index import EmbeddingIndex
    from MedImageParseLib.search.records import Provenance, Record

    if method == "faiss":
        pytest.importorskip("faiss", reason="the extra [faiss] is not installed")
    path, image = bench.folder / "a.index", bench.folder / "xray.png"
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(image)
    rows = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    with EmbeddingIndex.open(path) as index:
        index.add((Record(f"{number:064x}", vector=row) for number, row in enumerate(rows)), Provenance("made up"))
    same_file(kind, image, "a.index.1.sketch")
    other = bench.folder / "a.index.notes.sketch"
    other.write_text("a file of the person's own")
    read = {str(one): fingerprints(bench.folder)[str(one)] for one in (path, image, other)}
    assert bench.run("index", "prepare", str(path), "--method", method, "--quiet") == 0
    assert read.items() <= fingerprints(bench.folder).items()
    ending = "sketch" if method == "sketches" else "faiss"
    assert len(list(bench.folder.glob(f"a.index.1.*{ending}"))) == 1


@pytest.mark.parametrize("name", ["phantom.nii.gz", "-", "key.txt", "report"])
@pytest.mark.parametrize(
    "command",
    [
        ["segment", "IMAGE", "--model", "medimageparse3d", "--prompt", "liver"],
        ["batch", "IMAGE", "--model", "medimageparse3d", "--prompt", "liver", "--output-dir", "out"],
        ["embed", "IMAGE", "--output", "OUTPUT"],
        ["index", "add", "INDEX", "IMAGE"],
        ["index", "add", "INDEX", "IMAGE", "--work-dir", "work"],
        ["classify", "IMAGE", "--label", "a", "--label", "b"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_report_ends_in_json_and_so_replaces_no_image_and_no_key(bench, monkeypatch, name, command):
    monkeypatch.chdir(bench.folder)
    (bench.folder / "key.txt").write_text("a-key-of-a-person")
    named = {"IMAGE": "phantom.nii.gz", "OUTPUT": "vectors.npz", "INDEX": "a.index"}
    words = [named.get(word, word) for word in command]
    assert ".json" in refused_as_it_was(bench, [*words, "--report", name])


def test_a_report_never_replaces_a_key_file_or_certificates_that_go_by_its_ending(bench):
    secret = bench.folder / "key.json"
    secret.write_text("a-key-of-a-person")
    for option in ("--key-file", "--ca-bundle"):
        words = ["segment", bench.path("phantom.nii.gz"), "--model", "medimageparse3d", "--prompt", "liver", option, str(secret)]
        assert "--report would replace" in refused_as_it_was(bench, [*words, "--report", str(secret)])


def test_two_outputs_of_one_name_are_refused_whatever_their_spelling(bench):
    words = ["segment", bench.path("phantom.nii.gz"), "--model", "medimageparse3d", "--prompt", "liver"]
    outputs = ["--labels", bench.path("A.nrrd"), "--output", bench.path("a.seg.nrrd")]
    assert bench.run(*words, *outputs, "--endpoint", bench.url, "--quiet") == 0
    with pytest.raises(UsageError, match="same name"):
        check_outputs({"--labels": bench.path("B.png"), "--picture": bench.path("b.png")}, [])


def test_a_file_and_a_folder_of_results_have_names_of_their_own(bench):
    for words in (
        ["--labels", bench.path("m.nii.gz"), "--masks", bench.path("m.nii.gz")],
        ["--report", bench.path("m.json"), "--masks", bench.path("m.json")],
    ):
        assert bench.segment("--prompt", "cube", *words) == 2
        assert "the same name" in bench.err and not bench.double.seen and not bench.new_files()


@pytest.mark.parametrize("command", ["segment", "batch"])
def test_a_mask_of_a_separate_structure_never_replaces_the_volume_of_its_name(bench, command):
    folder = bench.folder / "c_masks"
    folder.mkdir()
    before = (bench.folder / "phantom.nii.gz").read_bytes()
    image = folder / "Cube 1.nii.gz"
    image.write_bytes(before)
    (bench.folder / "cases.csv").write_text(f"image,id\nc_masks/{image.name},c\n")
    words = {
        "segment": ["segment", str(image), "--masks", str(folder)],
        "batch": ["batch", bench.path("cases.csv"), "--output-dir", str(bench.folder), "--write", "masks"],
    }
    options = ["--model", "medimageparse3d", "--prompt", "Cube", "--instances", "0", "--endpoint", bench.url]
    assert bench.run(*words[command], *options) == 2
    assert "would replace" in bench.err and not bench.double.seen and image.read_bytes() == before


def test_a_probability_volume_never_replaces_the_volume_of_its_name(bench):
    folder = bench.folder / "volumes"
    folder.mkdir()
    volume = folder / "liver.nii.gz"
    volume.write_bytes(Path(bench.path("phantom.nii.gz")).read_bytes())
    words = ["segment", str(volume), "--model", "medimageparse3d", "--prompt", "liver", "--probability", str(folder)]
    assert "would replace" in refused_as_it_was(bench, words)


def test_a_file_of_a_folder_that_is_read_is_protected_and_a_new_name_in_it_is_not(tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    (series / "1.dcm").write_bytes(b"one")
    os.link(series / "1.dcm", tmp_path / "outside.dcm")
    for path in (series / "1.dcm", tmp_path / "outside.dcm"):
        with pytest.raises(UsageError, match="a file of the folder"):
            check_outputs({"--labels": path}, [series])
    check_outputs({"--labels": series / "labels.nii.gz"}, [series])
    assert (series / "1.dcm").read_bytes() == b"one"


@pytest.mark.parametrize(
    ("header", "text"),
    [("v.mhd", "ElementDataFile = w.raw\n"), ("v.mhd", "ElementDataFile = LIST\nw.raw\n"), ("v.nhdr", "NRRD0004\ndata file: w.raw\n\n"), ("w.mhd", "")],
)  # fmt: skip
def test_the_voxels_beside_a_header_are_read_too(tmp_path, header, text):
    (tmp_path / header).write_text(text)
    (tmp_path / "w.raw").write_bytes(b"voxels")
    with pytest.raises(UsageError, match="w.raw"):
        check_outputs({"--output": tmp_path / "w.raw"}, [tmp_path / header])


def test_a_name_that_no_file_system_takes_is_told_before_anything_is_sent(bench):
    volume = bench.path("phantom.nii.gz")
    words = ["segment", volume, "--model", "medimageparse3d", "--prompt", "cube"]
    for option, ending in (
        ("--labels", ".nrrd"),
        ("--output", ".seg.nrrd"),
        ("--picture", ".png"),
        ("--report", ".json"),
        ("--probability", ""),
    ):
        assert "255 bytes" in refused_as_it_was(bench, [*words, option, bench.path("ä" * 130 + ending)])


def test_settings_of_the_program_are_never_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIMAGEPARSE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "profiles.json").write_text("{}")
    with pytest.raises(UsageError, match="settings"):
        check_outputs({"--report": tmp_path / "profiles.json"}, [])
