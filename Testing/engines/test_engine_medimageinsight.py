"""The engine made of MedImageInsight's open mirror, with the mirror's module replaced: adding, loading, vectors, and every wrong checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest

from doubles.open_mirror import make_open_mirror, write_safetensors
from MedImageParseLib import embed, engine_add, engine_check
from MedImageParseLib.cli.main import main
from MedImageParseLib.engines.store import find_engine
from MedImageParseLib.errors import MedImageParseError, UsageError
from MedImageParseLib.local_endpoint.server import LocalEndpoint


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIMAGEPARSE_ENGINES_DIR", str(tmp_path / "engines"))
    return make_open_mirror(tmp_path / "mirror")


def add(mirror, name: str = "insight", **options: str):
    """With this Python, which has what the double needs."""
    import sys

    return engine_add("medimageinsight", name=name, options={"repo": str(mirror), **options}, python=sys.executable)


def test_the_mirror_becomes_an_engine_that_meets_the_contract_and_embeds_pictures_and_texts(mirror, tmp_path):
    from PIL import Image

    added = add(mirror)
    assert (added.licence, added.version, added.models) == ("MIT", "2024.09.27", ["medimageinsight"])
    findings = engine_check("insight")
    assert len(findings) == 3 and all(finding.is_met for finding in findings), findings
    pictures = []
    for number, shape in enumerate(((20, 30), (30, 20, 3))):
        pictures.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.random.default_rng(number).integers(0, 255, shape).astype(np.uint8)).save(pictures[-1])
    with LocalEndpoint(engine=find_engine("insight")) as endpoint:
        address = endpoint.url_of("medimageinsight")
        result = embed(pictures, endpoint=address)
        assert result.vectors.shape == (2, 16) and np.allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-5)
        assert "MedImageInsight 2024.09.27 (licence MIT" in result.provenance.engine and "cpu" not in result.provenance.engine
        index, report = tmp_path / "a.index", tmp_path / "report.json"
        assert main(["index", "add", str(index), *pictures, "--endpoint", address, "--quiet"]) == 0
        assert (
            main(["index", "search", str(index), "--text", "chest x-ray", "--endpoint", address, "--report", str(report), "--quiet"]) == 0
        )
    assert len(json.loads(report.read_text())["hits"]) == 2


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("another model", "is not one of MedImageInsight: 3 of its 3 tensors are missing"),
        ("another size", "is not one of MedImageInsight: 0 of its 3 tensors are missing and 1 have another shape"),
        ("truncated", "is damaged, truncated or no .safetensors"),
        ("no weights at all", "is damaged, truncated or no .safetensors"),
    ],
)
def test_a_checkpoint_that_is_not_the_models_is_told_in_a_sentence(mirror, tmp_path, what, sentence):
    path = tmp_path / "weights.safetensors"
    stem = np.zeros((5, 3) if what == "another size" else (4, 3))
    tensors = {"visual.stem": stem, "text.table": np.zeros((8, 4)), "vision_projection": np.zeros((4, 16))}
    write_safetensors(path, {"other": stem} if what == "another model" else tensors)
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:-8])
    if what == "no weights at all":
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    add(mirror, checkpoint=str(path))
    engine = find_engine("insight").start()
    try:
        with pytest.raises(MedImageParseError, match=sentence):
            engine.wait()
        assert engine.health().state == "gone"
    finally:
        engine.stop()


def test_weights_that_were_moved_since_are_told_before_anything_is_started(mirror, tmp_path):
    path = write_safetensors(tmp_path / "weights.safetensors", {"visual.stem": np.zeros((4, 3))})
    add(mirror, checkpoint=str(path))
    path.unlink()
    assert main(["serve", "--engine", "insight", "--port", "0"]) == 2
    with pytest.raises(UsageError, match="given for --checkpoint is not there any more"):
        find_engine("insight")


def test_a_checkout_without_weights_or_code_is_told_what_is_missing(mirror, tmp_path):
    for weights in (mirror / "2024.09.27" / "vision_model").iterdir():
        weights.unlink()
    add(mirror)
    engine = find_engine("insight").start()
    with pytest.raises(MedImageParseError, match="add the engine again with --checkpoint FILE"):
        engine.wait()
    engine.stop()
    (tmp_path / "nothing").mkdir()
    add(tmp_path / "nothing", name="empty")
    engine = find_engine("empty").start()
    with pytest.raises(MedImageParseError, match="bring it whole"):
        engine.wait()
    engine.stop()
