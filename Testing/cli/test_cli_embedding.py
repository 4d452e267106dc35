"""The commands embed, index, classify and outliers, as a person types them; the local endpoint on real images."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from doubles.insight import Form, InsightDouble
from MedImageParseLib.cli.main import main

PICTURES = ("06_CT_abdomen.png", "15_X-Ray_chest.png", "20_ultrasound_breast.png", "09_MRI-FLAIR_brain.png")


@pytest.fixture(scope="module")
def local_endpoint():
    """The real local endpoint on a free port."""
    from MedImageParseLib.local_endpoint.server import LocalEndpoint

    with LocalEndpoint() as endpoint:
        yield endpoint.url


@pytest.fixture
def double_url():
    with InsightDouble().serve() as url:
        yield url


@pytest.fixture
def pictures(tmp_path) -> list[str]:
    random = np.random.default_rng(1)
    names = []
    for number in range(4):
        names.append(str(tmp_path / f"picture{number}.png"))
        Image.fromarray(random.integers(0, 256, (60, 80), dtype=np.uint8)).save(names[-1])
    return names


@pytest.fixture(scope="module")
def real_index(local_endpoint, shared_data, tmp_path_factory):
    """The four pictures and all slices of the CT, indexed by the command."""
    path = str(tmp_path_factory.mktemp("real") / "real.index")
    inputs = [str(shared_data / "ct_abdomen_3mm.nii.gz"), *(str(shared_data / "demo2d" / name) for name in PICTURES)]
    assert main(["index", "add", path, *inputs, "--endpoint", local_endpoint, "--quiet"]) == 0
    return path


def test_a_second_run_over_the_real_images_adds_nothing(real_index, local_endpoint, shared_data, capsys):
    inputs = [str(shared_data / "demo2d" / PICTURES[0]), str(shared_data / "ct_abdomen_3mm.nii.gz")]
    assert main(["index", "add", real_index, *inputs, "--endpoint", local_endpoint, "--quiet"]) == 0
    assert capsys.readouterr().out == "0 added, 31 already there\n"


def found_lines(capsys) -> list[list[str]]:
    return [line.split("\t") for line in capsys.readouterr().out.splitlines() if "\t" in line]


@pytest.mark.parametrize("k", [3, 15, 24])
def test_the_nearest_to_a_ct_slice_are_its_neighbors(real_index, local_endpoint, shared_data, capsys, tmp_path, k):
    ct = str(shared_data / "ct_abdomen_3mm.nii.gz")
    grid = tmp_path / "grid.png"
    command = [
        "index",
        "search",
        real_index,
        "--image",
        ct,
        "--slices",
        str(k),
        "--top",
        "6",
        "--picture",
        str(grid),
        "--endpoint",
        local_endpoint,
    ]
    assert main(command) == 0
    found = found_lines(capsys)
    slices = [int(line[3].removeprefix("axial, slice ")) for line in found]
    assert slices[0] == k and float(found[0][1]) == pytest.approx(1.0, abs=1e-4)
    assert sorted(abs(index - k) for index in slices) in ([0, 1, 1, 2, 2, 3], [0, 1, 1, 2, 3, 4], [0, 1, 1, 2, 2, 4], [0, 1, 1, 2, 3, 3])
    with Image.open(grid) as picture:
        assert picture.width > 1500


@pytest.mark.parametrize("name", PICTURES)
def test_a_turned_and_noisy_copy_finds_its_original_first(real_index, local_endpoint, shared_data, capsys, tmp_path, name):
    with Image.open(shared_data / "demo2d" / name) as picture:
        turned = np.asarray(picture.convert("L").rotate(4, Image.Resampling.BICUBIC), float)
    noisy = np.clip(turned + np.random.default_rng(2).normal(0, 12, turned.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "copy.png")
    words = ["index", "search", real_index, "--image", str(tmp_path / "copy.png"), "--endpoint", local_endpoint]
    assert main([*words, "--least", "1.5"]) == 0
    assert "warning: Nothing was found" in (said := capsys.readouterr()).err and not said.out
    assert main(words) == 0
    assert found_lines(capsys)[0][2] == name


def test_the_local_endpoint_says_itself_that_it_takes_no_text(real_index, local_endpoint, shared_data, capsys):
    assert main(["index", "search", real_index, "--text", "chest x-ray", "--endpoint", local_endpoint, "--quiet"]) == 3
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and "no text encoder" in captured.err and captured.err.count("\n") == 1
    picture = str(shared_data / "demo2d" / PICTURES[1])
    assert main(["classify", picture, "--label", "a", "--label", "b", "--endpoint", local_endpoint, "--quiet"]) == 3
    assert "no text encoder" in capsys.readouterr().err


def test_the_odd_pictures_are_the_outliers_of_a_ct(real_index, capsys, tmp_path):
    report = tmp_path / "r.json"
    assert main(["outliers", real_index, "--reference", "ct_abdomen*", "--map", str(tmp_path / "map.png"), "--report", str(report)]) == 0
    said = capsys.readouterr()
    assert {line.split("\t")[3] for line in said.out.splitlines()[:-1]} == set(PICTURES)
    assert "note: 4 of 4 are beyond 0." in said.err and "the threshold for 5 % false alarms" in said.err
    assert len(json.loads(report.read_text())["outliers"]) == 4 and (tmp_path / "map.png").exists()


def test_embed_writes_a_csv_of_vectors_and_a_report(double_url, pictures, capsys, tmp_path):
    output, report = tmp_path / "v.csv", tmp_path / "r.json"
    assert main(["embed", *pictures, "--output", str(output), "--endpoint", double_url, "--report", str(report), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "" and captured.out.splitlines() == ["4 vectors of 1024", str(output)]
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"picture{number}.png" for number in range(4)]
    assert np.linalg.norm([float(rows[0][f"v{number}"]) for number in range(1024)]) == pytest.approx(1.0, abs=1e-5)
    written = json.loads(report.read_text())
    assert (
        written["model"] == "medimageinsight"
        and written["embedded"] == 4
        and len(written["inputs"]) == 4
        and written["endpoint"] == double_url
    )
    assert {"dialect", "reply_form", "request_ids", "input", "window", "bytes_sent", "bytes_received", "tries", "timings_s"} <= set(written)


def test_classify_prints_a_line_a_slice_and_one_for_all(double_url, pictures, capsys):
    assert main(["classify", pictures[0], "--label", "one", "--label", "two", "--endpoint", double_url, "--quiet"]) == 0
    head, line, total = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert head == ["slice", "one", "two"] and line[0] == "0" and total[0] == "all"
    assert sum(map(float, total[1:])) == pytest.approx(1.0, abs=2e-4)


def test_a_run_that_stops_half_way_ends_with_4_and_a_sentence(pictures, capsys, tmp_path):
    double = InsightDouble()
    double.fail_after = 2
    index = str(tmp_path / "a.index")
    with double.serve() as url:
        options = ["--endpoint", url, "--retries", "1", "--at-once", "1", "--batch", "1", "--quiet"]
        assert main(["index", "add", index, *pictures, *options, "--report", str(tmp_path / "r.json")]) == 4
        captured = capsys.readouterr()
        assert captured.out == "2 added, 0 already there\n"
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["outputs"] == [index] and report["kind"] == "endpoint" and report["exit_status"] == 4
        assert captured.err == f"error: {report['error']}\n"
        assert captured.err.startswith("error: Only a part was done and is kept") and "the model failed" in captured.err
        output = tmp_path / "v.npz"
        assert main(["embed", *pictures, "--output", str(output), *options]) == 3  # nothing at all came
        assert not output.exists() and capsys.readouterr().out == ""


def test_info_remove_compact_check_export_and_import(double_url, pictures, capsys, tmp_path):
    index = str(tmp_path / "a.index")
    assert main(["index", "add", index, *pictures, "--endpoint", double_url, "--quiet"]) == 0
    assert main(["index", "export", index, str(tmp_path / "all.npz")]) == 0
    assert main(["index", "remove", index, "--source", pictures[2]]) == 0
    assert main(["index", "compact", index]) == 0
    assert main(["index", "check", index]) == 0
    capsys.readouterr()
    assert main(["index", "info", index]) == 0
    assert capsys.readouterr().out.startswith("3 records (3 pictures)")
    assert main(["index", "import", index, str(tmp_path / "all.npz")]) == 0
    assert capsys.readouterr().out == "1 records added\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["index", "search", "INDEX"], "--image"),
        (["index", "search", "INDEX", "--image", "a.png", "--text", "b"], "one of the two"),
        (["index", "info", "ABSENT"], "no index"),
        (["index", "import", "ABSENT", "odd.jsonl"], "line 2 holds a vector of another length than the first"),
        (["index", "remove", "INDEX", "--id", "77"], "no such records"),
        (["index", "remove", "INDEX"], "required"),
        (["embed", "PICTURE"], "--output"),
        (["embed", "PICTURE", "--output", "v.txt"], ".npz"),
        (["embed", "PICTURE", "--output", "v.npz", "--at-once", "0"], "at once"),
        (["embed", "PICTURE", "--output", "v.npz", "--window", "raw"], "window"),
        (["index", "add", "INDEX", "absent.png"], "no file"),
        (["index", "add", "PICTURE", "PICTURE"], "would replace"),
        (["classify", "PICTURE", "--label", "one"], "two labels"),
        (["classify", "PICTURE", "--labels", "Nothing like it"], "no ready label set"),
        (["outliers", "INDEX", "--reference", "nobody"], "nobody"),
        (["outliers", "INDEX", "--reference", "*", "--top", "-1"], "results must be at least 1"),
        (["outliers", "INDEX", "--reference", "*", "--neighbors", "0"], "neighbors must be at least 1"),
    ],
)
def test_bad_usage_ends_with_2_and_one_sentence_and_writes_nothing(double_url, pictures, capsys, tmp_path, monkeypatch, command, said):
    monkeypatch.chdir(tmp_path)
    index = str(tmp_path / "a.index")
    assert main(["index", "add", index, pictures[0], "--endpoint", double_url, "--quiet"]) == 0
    (tmp_path / "odd.jsonl").write_text('{"embedding": [1, 2]}\n{"embedding": [1]}\n')
    capsys.readouterr()
    before = sorted(tmp_path.iterdir())
    words = [{"INDEX": index, "ABSENT": str(tmp_path / "b.index"), "PICTURE": pictures[1]}.get(word, word) for word in command]
    needs_endpoint = words[0] in ("embed", "classify") or words[1] in ("add", "search")
    assert main([*words, *(["--endpoint", double_url] if needs_endpoint else []), "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and said in captured.err and captured.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_image_data_needs_consent_before_it_leaves_for_another_host(pictures, capsys, tmp_path):
    assert main(["index", "add", str(tmp_path / "a.index"), pictures[0], "--endpoint", "https://scoring.example.org/score", "--quiet"]) == 2
    assert "--consent" in capsys.readouterr().err and not (tmp_path / "a.index").exists()


def test_mlflows_dialect_is_spoken_too(pictures, capsys, tmp_path):
    with InsightDouble(Form(wrapped=True)).serve("/invocations") as url:
        assert main(["embed", pictures[0], "--output", str(tmp_path / "v.npz"), "--endpoint", url, "--quiet"]) == 0
