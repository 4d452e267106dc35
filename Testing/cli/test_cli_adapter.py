"""`adapter train`, `evaluate` and `apply` as a person types them, on a made-up index with known answers."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from search_support import hash_of, unit_vectors

from doubles.insight import InsightDouble
from MedImageParseLib.cli.main import main
from MedImageParseLib.search.heads import load_head
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.labels import PlaceLabel
from MedImageParseLib.search.records import Provenance, Record
from MedImageParseLib.tasks.preprocessing import Preprocessing

SPACE = Provenance("medimageinsight", "", "", Preprocessing().text)
KINDS = ("bone", "brain", "lung")


def write_index(path, space: Provenance = SPACE, studies: int = 45, noise: float = 0.7) -> None:
    """Studies of four slices round the center of their kind; two studies a patient."""
    centers, rng = unit_vectors(3, 32, seed=3), np.random.default_rng(4)
    with EmbeddingIndex.open(path) as index:
        for study in range(studies):
            kind = study % 3
            own = [centers[kind] + rng.normal(size=32) * noise / np.sqrt(32) for _ in range(4)]
            index.add(
                [
                    Record(hash_of(10 * study + n), series=f"series-{study:03d}", plane="axial", slice_index=n, vector=v)
                    for n, v in enumerate(own)
                ],
                space,
            )
            index.add_labels(
                [
                    PlaceLabel("part", KINDS[kind], f"series-{study:03d}"),
                    PlaceLabel("patient", f"patient {study // 2}", f"series-{study:03d}"),
                    PlaceLabel("hospital", "ours", f"series-{study:03d}"),
                ]
            )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    write_index(folder / "a.index")
    words = ["--labels", "part", "--patients", "patient", "--output", str(folder / "head.npz"), "--picture", str(folder / "chart.png")]
    assert main(["adapter", "train", str(folder / "a.index"), *words, "--report", str(folder / "train.json"), "--quiet"]) == 0
    return folder


def test_training_finds_the_known_answers_and_keeps_patients_apart(made):
    report = json.loads((made / "train.json").read_text())
    assert report["figures"]["overall"]["accuracy"] > 0.95 and report["parts"]["train"] > report["parts"]["test"] > 0
    parts = load_head(made / "head.npz").split
    patients = [{int(series[-3:]) // 2 for series in part} for part in parts.values()]
    assert not patients[0] & patients[1] and not patients[0] & patients[2] and not patients[1] & patients[2]
    with Image.open(made / "chart.png") as chart:
        assert chart.width > 1000


def test_evaluating_on_the_kept_part_gives_the_figures_of_training(made, capsys):
    words = ["adapter", "evaluate", str(made / "head.npz"), str(made / "a.index")]  # patients told apart as in training
    assert main([*words, "--report", str(made / "again.json"), "--quiet"]) == 0
    again, first = json.loads((made / "again.json").read_text()), json.loads((made / "train.json").read_text())
    assert again["figures"] == first["figures"] and "balanced_accuracy\t" in capsys.readouterr().out
    assert main([*words, "--part", "new"]) == 2
    assert "No image of the new part" in capsys.readouterr().err


def test_other_images_of_patients_that_an_adapter_has_met_are_not_measured_on(made, tmp_path, capsys):
    (tmp_path / "a.index").write_bytes((made / "a.index").read_bytes())
    parts = load_head(made / "head.npz").split
    met, kept = parts["train"][0], parts["test"][0]
    with EmbeddingIndex.open(tmp_path / "a.index", create=False) as index:
        vectors, owner = unit_vectors(3, 32, seed=9), f"patient {int(met[-3:]) // 2}"
        for number, series in enumerate(("later", "stranger", "shared")):
            index.add([Record(hash_of(9000 + number), kind="picture", series=series, vector=vectors[number])], SPACE)
            index.add_labels([PlaceLabel("part", "lung", series)])
        index.add_labels([PlaceLabel("patient", owner, "later")])
        index.add_labels([PlaceLabel("doubtful", owner, series) for series in (kept, met)])
    words = ["adapter", "evaluate", str(made / "head.npz"), str(tmp_path / "a.index"), "--report", str(tmp_path / "r.json")]
    assert main([*words, "--part", "new"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["figures"]["items"] == 2
    assert "1 of these images were left out" in capsys.readouterr().err
    assert main([*words, "--patients", "doubtful"]) == 0  # by which a series of the test part is of a patient who was learned from
    assert json.loads((tmp_path / "r.json").read_text())["figures"]["items"] == 4 * len(parts["test"]) - 4


def test_applying_to_an_index_keeps_the_answers_in_a_set_of_their_own(made, capsys):
    words = ["adapter", "apply", str(made / "head.npz"), str(made / "a.index")]
    assert main([*words, "--write", "part by adapter", "--csv", str(made / "answers.csv"), "--quiet"]) == 0
    with open(made / "answers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 180 and np.mean([row["best"] == KINDS[int(row["series"][-3:]) % 3] for row in rows]) > 0.95
    with EmbeddingIndex.open(made / "a.index", create=False) as index:
        assert {"part by adapter", "part"} <= {one.set for one in index.label_sets()}
    capsys.readouterr()
    assert main([*words, "--write", "part"]) == 2
    assert "a set of their own" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["mean", "statistics"])
def test_a_head_on_whole_series_and_the_network_learn_too(made, tmp_path, by, capsys):
    words = ["--by", by, "--kind", "network" if by == "mean" else "linear", "--epochs", "5", "--width", "16", "--test", "0.3"]
    assert (
        main(["adapter", "train", str(made / "a.index"), "--labels", "part", "--output", str(tmp_path / "h.npz"), *words, "--quiet"]) == 0
    )
    assert load_head(tmp_path / "h.npz").figures["overall"]["auroc"] > 0.95
    assert main(["adapter", "apply", str(tmp_path / "h.npz"), str(made / "a.index"), "--quiet"]) == 0
    assert capsys.readouterr().out.count("\n") >= 45


def test_findings_that_stand_beside_one_another_are_learned_as_such(made, tmp_path):
    with EmbeddingIndex.open(made / "a.index", create=False) as index:
        index.add_labels([PlaceLabel("finding", "any", f"series-{n:03d}") for n in range(45) if n % 3], replace=False)
        index.add_labels([PlaceLabel("finding", "lung", f"series-{n:03d}") for n in range(45) if n % 3 == 2], replace=False)
        index.add_labels([PlaceLabel("finding", "none", f"series-{n:03d}") for n in range(45) if n % 3 == 0], replace=False)
    assert main(["adapter", "train", str(made / "a.index"), "--labels", "finding", "--output", str(tmp_path / "f.npz"), "--quiet"]) == 0
    head = load_head(tmp_path / "f.npz")
    assert not head.exclusive and head.labels == ("any", "lung", "none") and head.figures["overall"]["auroc"] > 0.95
    words = ["--only", "lung", "--several", "many", "--output", str(tmp_path / "g.npz"), "--quiet"]
    assert main(["adapter", "train", str(made / "a.index"), "--labels", "finding", *words]) == 0
    alone = load_head(tmp_path / "g.npz").figures  # told from the images that have other labels
    assert 0 < alone["support"][0] < alone["items"] and alone["overall"]["auroc"] > 0.95


def test_pictures_are_embedded_by_the_heads_own_recipe_and_another_model_is_refused(made, tmp_path, capsys):
    random = np.random.default_rng(5)
    folder = tmp_path / "pictures"
    for number in range(12):
        (folder / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((32, 32), np.uint8)
        pixels[: 16 if number % 2 else 32, : 32 if number % 2 else 16] = 200
        Image.fromarray(pixels + random.integers(0, 40, (32, 32), dtype=np.uint8)).save(folder / f"{number % 2}" / f"{number}.png")
    with InsightDouble().serve() as url:
        assert main(["index", "add", str(tmp_path / "p.index"), str(folder), "--endpoint", url, "--fit", "stretch", "--quiet"]) == 0
        assert main(["index", "label", str(tmp_path / "p.index"), "--set", "side", "--folders", "--quiet"]) == 0
        assert (
            main(["adapter", "train", str(tmp_path / "p.index"), "--labels", "side", "--output", str(tmp_path / "p.npz"), "--quiet"]) == 0
        )
        capsys.readouterr()
        assert main(["adapter", "apply", str(tmp_path / "p.npz"), str(folder / "1" / "1.png"), "--endpoint", url, "--quiet"]) == 0
        assert capsys.readouterr().out.split("\t")[2].startswith("1 ")
        assert main(["adapter", "apply", str(tmp_path / "p.npz"), str(folder / "1"), "--endpoint", url, "--deployment", "other"]) == 2
        assert "was trained on vectors of" in capsys.readouterr().err
    assert main(["adapter", "apply", str(tmp_path / "p.npz"), str(made / "a.index")]) == 2
    assert "was trained on vectors of" in capsys.readouterr().err
    assert main(["adapter", "apply", str(tmp_path / "p.npz"), str(folder)]) == 2
    assert "--endpoint URL or --profile NAME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--labels", "nothing"], "no set of labels 'nothing'; it has"),
        (["--labels", "part", "--only", "heart"], "No image has the label 'heart'"),
        (["--labels", "part", "--only", "lung"], "Only the label lung was named"),
        (["--labels", "hospital"], "the same label (ours)"),
        (["--labels", "part", "--seed", "-1"], "The seed must be a whole number of 0 or more"),
        (["--labels", "part", "--test", "0.9"], "together at most 0.8"),
        (["--labels", "part", "--epochs", "0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_learned_is_one_sentence_and_nothing_is_written(made, tmp_path, capsys, words, sentence):
    assert main(["adapter", "train", str(made / "a.index"), *words, "--output", str(tmp_path / "x.npz")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["adapter", "train", "INDEX", "--labels", "part", "--output", "INDEX.npz"],
        ["adapter", "train", "INDEX", "--labels", "part", "--output", "new.npz", "--picture", "INDEX.png"],
        ["adapter", "evaluate", "HEAD", "INDEX", "--picture", "INDEX.png"],
        ["adapter", "apply", "HEAD", "INDEX", "--csv", "HEAD.csv"],
        ["index", "evaluate", "INDEX", "--labels", "part", "--picture", "INDEX.png"],
        ["index", "label", "INDEX", "--set", "x", "--folders", "--report", "INDEX.json"],
        ["exam", "apply", "EXAM", "INDEX", "--csv", "INDEX.csv"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_no_output_replaces_an_index_or_an_adapter_that_is_read(made, tmp_path, words, capsys):
    (tmp_path / "a.index").write_bytes((made / "a.index").read_bytes())
    (tmp_path / "head.npz").write_bytes((made / "head.npz").read_bytes())
    (tmp_path / "exam").mkdir()
    for ending in ("npz", "png", "json", "csv"):
        (tmp_path / f"index.{ending}").symlink_to(tmp_path / "a.index")
    (tmp_path / "head.csv").symlink_to(tmp_path / "head.npz")
    named = {"INDEX": "a.index", "HEAD": "head.npz", "EXAM": "exam", "HEAD.csv": "head.csv"} | {
        f"INDEX.{end}": f"index.{end}" for end in ("npz", "png", "json", "csv")
    }
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert (
        main([str(tmp_path / named[word]) if word in named else word.replace("new.npz", str(tmp_path / "new.npz")) for word in words]) == 2
    )
    assert "would replace" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
