"""The table of models, and that nothing beside it compares their names."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import MedImageParseLib
from MedImageParseLib import models
from MedImageParseLib.models import MODELS, SEGMENTING, does_not_segment, guess_model
from MedImageParseLib.tasks.run import segmenter

PACKAGE = Path(MedImageParseLib.__file__).parent


def _compared_names(tree: ast.AST) -> list[str]:
    """Names of models that stand in a comparison."""
    texts = [node for each in ast.walk(tree) if isinstance(each, ast.Compare) for node in ast.walk(each) if isinstance(node, ast.Constant)]
    return [node.value for node in texts if node.value in MODELS]


def test_no_file_compares_the_names_of_models():
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if path.name != "models.py" and (names := _compared_names(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {}


def test_each_row_has_a_codec_of_its_name():
    for name in MODELS:
        codec = importlib.import_module(f"MedImageParseLib.wire.{name}")
        assert callable(codec.build_probe) and callable(codec.recognize_probe)


def test_each_model_that_segments_has_a_task_of_the_name_that_its_row_gives():
    for name in SEGMENTING:
        assert segmenter(name).__name__ == MODELS[name].task


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        ("https://ward3.example/score parse3d-v6", "medimageparse3d"),
        ("MI2-embeddings", "medimageinsight"),
        ("http://127.0.0.1:5001/score", "medimageparse"),
    ],
)
def test_an_address_is_guessed_at_by_the_rows_hints(hint, name):
    assert guess_model(hint).name == name


def test_what_does_not_segment_is_told_what_does():
    assert not any(does_not_segment(name) for name in SEGMENTING)
    listed = " or ".join(f"{name} ({MODELS[name].takes})" for name in SEGMENTING)
    assert does_not_segment("medimageinsight") == f"The model 'medimageinsight' does not segment; give {listed}."
    assert "medimageparse3d (volumes)" in listed and "medimageparse (slices and 2D pictures)" in listed


def test_the_example_of_the_docstring_runs():
    assert doctest.testmod(models).failed == 0
