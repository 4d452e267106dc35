"""What of the BiomedParse engine needs no torch: what it asks for, CLIP's vocabulary without a hub, pictures in squares."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from MedImageParseLib import engine_list
from MedImageParseLib.cli.main import main
from MedImageParseLib.engines import biomedparse, torches
from MedImageParseLib.errors import InputError, UsageError


@pytest.fixture(autouse=True)
def own_engines(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIMAGEPARSE_ENGINES_DIR", str(tmp_path / "engines"))


def test_it_is_listed_with_its_licence_and_what_it_needs_and_its_terms_are_asked_about(tmp_path, capsys):
    (row,) = [row for row in engine_list() if row["name"] == "biomedparse"]
    assert row["state"] == "can be added" and row["licence"] == "CC-BY-NC-SA-4.0" and {"repo", "checkpoint"} <= set(row["needs"])
    assert main(["serve", "--engine", "biomedparse", "--port", "0"]) == 2
    assert "engine add biomedparse --repo FOLDER --checkpoint FILE" in capsys.readouterr().err
    checkpoint = tmp_path / "biomedparse_v2.ckpt"
    checkpoint.write_bytes(b"PK")
    words = ["engine", "add", "biomedparse", "--repo", str(tmp_path), "--checkpoint", str(checkpoint)]
    assert main(words) == 2
    assert "non-commercial use" in capsys.readouterr().err and not (tmp_path / "engines").exists()


def test_clips_vocabulary_is_numbered_as_clip_numbers_it(tmp_path, monkeypatch):
    package = tmp_path / "open_clip"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(b'"bpe_simple_vocab_16e6.txt#version: 0.2\ni n\nt h\nth e</w>'))
    monkeypatch.syspath_prepend(str(tmp_path))
    biomedparse.write_clip_vocabulary(tmp_path)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    # Bytes first, printable ones in front, then the same at a word's end, then the merges, then the two marks.
    assert [vocabulary[token] for token in ("!", "a", "a</w>", "in", "th", "the</w>", "<|startoftext|>", "<|endoftext|>")] == [
        0, 64, 320, 512, 513, 514, 515, 516,
    ]  # fmt: skip
    assert (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()[1:] == ["i n", "t h", "th e</w>"]


def test_an_environment_without_the_vocabulary_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="open-clip-torch"):
        biomedparse.write_clip_vocabulary(tmp_path)


@pytest.mark.parametrize("shape", [(1, 5, 9), (3, 9, 4), (1, 1, 1)])
def test_a_picture_lies_in_the_middle_of_its_square_and_is_found_there_again(shape):
    picture = np.random.default_rng(0).integers(1, 255, shape).astype(np.uint8)
    square, (top, left), side = biomedparse._squared(picture)
    assert square.shape == (shape[0], side, side) and side == max(shape[1:])
    assert np.array_equal(square[:, top : top + shape[1], left : left + shape[2]], picture) and square.sum() == picture.sum()


def test_prompts_that_would_be_read_as_several_are_refused():
    assert biomedparse._texts(["liver", "spleen"]) == "liver[SEP]spleen"
    with pytest.raises(InputError, match=r"\[SEP\]"):
        biomedparse._texts(["liver [SEP] spleen"])


def test_names_of_tensors_lose_what_training_puts_before_them():
    assert torches._plain("model.backbone.weight") == torches._plain("module.backbone.weight") == "backbone.weight"


V1 = ("backbone.norm.weight", "sem_seg_head.predictor.query_feat.weight", "sem_seg_head.predictor.lang_encoder.lang_proj")
V1_RENAMED = ("backbone.norm.weight", "sem_seg_head.predictor.query_feat_.weight", "sem_seg_head.predictor.language_encoder.lang_proj")


@pytest.mark.parametrize("names", [V1, V1_RENAMED], ids=["as published", "renamed for the code of v2"])
def test_a_checkpoint_of_version_1_is_refused_with_the_one_to_give(names):
    with pytest.raises(InputError, match=r"biomedparse_v1.pt is BiomedParse v1's, .* add it again with biomedparse_v2.ckpt"):
        biomedparse.refuse_v1(names, "biomedparse_v1.pt")


def test_a_checkpoint_of_version_2_and_one_of_another_model_are_left_to_the_loader():
    biomedparse.refuse_v1([*V1_RENAMED, "sem_seg_head.predictor.classifier.weight"], "biomedparse_v2.ckpt")
    biomedparse.refuse_v1(["image_encoder.stages.0.weight"], "other.bin")
