"""Vectors of `embed` and of notebooks' lists come into an index; what is no such file is one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from search_support import SPACE, made_up, unit_vectors

from MedImageParseLib.errors import InputError
from MedImageParseLib.files.write import write_vectors
from MedImageParseLib.search.index import EmbeddingIndex


@pytest.fixture
def index(tmp_path):
    with EmbeddingIndex.open(tmp_path / "a.index") as opened:
        yield opened


def test_the_output_of_embed_is_imported_with_its_provenance(index, tmp_path):
    records = made_up(range(12))
    write_vectors(tmp_path / "v.npz", records, SPACE, 4.5)
    assert index.import_(tmp_path / "v.npz") == 12 and index.import_(tmp_path / "v.npz") == 0
    assert index.info().spaces[0].factor == 4.5 and index.spaces() == [SPACE]
    assert index.search(records[3].vector, provenance=SPACE, top=1)[0].record.source == records[3].source


def test_json_lines_are_imported_as_a_space_of_their_own(index, tmp_path):
    vectors = unit_vectors(3, 16)
    lines = [{"image": f"/x/{n}.png", "image_features": [vector.tolist()] if n else vector.tolist()} for n, vector in enumerate(vectors)]
    (tmp_path / "embeddings.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert index.import_(tmp_path / "embeddings.jsonl") == 3
    hit = index.search(vectors[2], provenance=index.spaces()[0], top=1)[0]
    assert hit.record.source == "/x/2.png" and hit.similarity == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "nonsense",
        '{"embedding": "x"}',
        '{"embedding": [NaN, 1]}',
        '{"embedding": [1, 2]}\n{"embedding": [1]}',
        '{"embedding": [1, 1' + "0" * 400 + "]}",
    ],
)
def test_lines_without_usable_vectors_are_refused_whole(index, tmp_path, text):
    (tmp_path / "odd.jsonl").write_text(text)
    with pytest.raises(InputError):
        index.import_(tmp_path / "odd.jsonl")
    assert index.info().records == 0


def test_an_embed_file_that_was_changed_is_refused(index, tmp_path):
    write_vectors(tmp_path / "v.npz", made_up(range(3)), SPACE, None)
    with np.load(tmp_path / "v.npz") as held:
        arrays = {name: held[name] for name in held.files}
    np.savez(tmp_path / "odd.npz", **(arrays | {"kind": arrays["kind"][:2]}))
    with pytest.raises(InputError, match="was not exported"):
        index.import_(tmp_path / "odd.npz")
