"""Labels without training, and outliers: probabilities and distances against numpy by hand."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from embed_support import made_up_ct, reached
from PIL import Image

from doubles.insight import FACTOR, RECORDED, Form, InsightDouble, image_vector, text_vector
from MedImageParseLib import classify, index_add, outliers
from MedImageParseLib.errors import ReplyError, UsageError
from MedImageParseLib.imaging.volume import Volume

LABELS = ["normal", "pneumonia", "pleural effusion"]


def softmax_by_hand(images: np.ndarray, texts: np.ndarray, factor: float) -> np.ndarray:
    scores = np.exp(factor) * images.astype(float) @ texts.astype(float).T
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "form", [*RECORDED.values(), Form(factor=3.0), Form(wrapped=True)], ids=[*RECORDED, "another factor", "mlflow's wrapping"]
)
def test_probabilities_equal_an_independent_computation_in_every_recorded_form(form):
    double = InsightDouble(form)
    double.keep = True
    with reached(double) as (_double, client):
        result = classify(made_up_ct(6), label=LABELS, prefix="computed tomography chest", client=client, batch=6)
    texts = np.stack([text_vector(f"computed tomography chest {label}") for label in LABELS])
    images = np.array([image_vector(png) for png in double.pictures])
    factor = FACTOR if form.factor is None else form.factor
    assert result.slices == pytest.approx(softmax_by_hand(images, texts, factor), abs=1e-6)
    mean = images.mean(axis=0) / np.linalg.norm(images.mean(axis=0))
    assert result.volume == pytest.approx(softmax_by_hand(mean[None], texts, factor)[0], abs=1e-6)
    assert result.ranked[0][0] == LABELS[int(np.argmax(result.volume))]
    assert bool([warning for warning in result.report["warnings"] if "scaling factor" in warning]) == (form.factor is None)


def test_texts_and_images_go_in_requests_of_their_own():
    with reached() as (double, client):
        classify(made_up_ct(5), label=LABELS, client=client)
    kinds = [kind for kind, _rows in double.requests]
    assert kinds[0] == "text" and kinds.count("text") == 1 and sum(rows for kind, rows in double.requests if kind == "image") == 5


def test_labels_come_from_a_file_or_a_ready_set(tmp_path):
    (tmp_path / "mine.csv").write_text("label,text\ngood,an x-ray of a hand\nbad,an x-ray of a foot\n", encoding="utf-8")
    with reached() as (double, client):
        result = classify(made_up_ct(2), labels=tmp_path / "mine.csv", client=client)
        ready = classify(made_up_ct(2), labels="CT chest", client=client)
    assert [label.name for label in result.labels] == ["good", "bad"] and double.texts[:2] == ["an x-ray of a hand", "an x-ray of a foot"]
    assert len(ready.labels) > 3


@pytest.mark.parametrize(("labels", "said"), [(["one"], "two labels"), (["a", "a"], "twice"), (["a", " "], "empty")])
def test_labels_that_compare_nothing_are_refused_before_anything_is_sent(labels, said):
    with reached() as (double, client), pytest.raises(UsageError, match=said):
        classify(made_up_ct(2), label=labels, client=client)
    assert double.requests == []


def test_the_chart_is_a_picture_and_the_report_plain_json(tmp_path):
    with reached() as (_double, client):
        result = classify(made_up_ct(6), label=LABELS, client=client, picture=tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as chart:
        pixels = np.asarray(chart.convert("RGB"))
    assert pixels.shape[1] == 1180 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    report = json.loads(json.dumps(result.report, allow_nan=False))
    assert sum(report["volume"]["probabilities"].values()) == pytest.approx(1.0, abs=1e-5) and len(report["slices"]) == 6


def test_a_reply_of_another_model_is_named():
    class Segmenting(InsightDouble):
        def _reply(self, kind, data):
            return json.dumps([{"image_features": "{}", "text_features": ["liver"]} for _ in data]).encode()

    with reached(Segmenting()) as (_double, client), pytest.raises(ReplyError, match="another model"):
        classify(made_up_ct(2), label=LABELS, client=client)


def test_a_strange_image_is_the_first_outlier_and_the_distance_is_euclidean(tmp_path):
    strange = Volume(np.random.default_rng(5).integers(0, 255, (1, 80, 80), dtype=np.uint8), is_picture=True)
    double = InsightDouble()
    double.keep = True
    with reached(double) as (_double, client):
        usual = index_add(tmp_path / "a.index", made_up_ct(10), client=client, at_once=1)
        others = index_add(tmp_path / "a.index", [made_up_ct(12), strange], client=client, at_once=1)
    result = outliers(tmp_path / "a.index", reference=usual.tallies[0].series, map=tmp_path / "map.png")
    vectors = np.array([image_vector(png) for png in double.pictures])
    by_hand = [np.linalg.norm(vectors[:10] - vector, axis=1).min() for vector in vectors[10:]]
    by_hand += [0.0] * 10  # slices of the second volume that the first shows as well
    assert [item.distance for item in result.items] == pytest.approx(sorted(by_hand, reverse=True), abs=1e-5)
    assert result.items[0].record.series == others.tallies[1].series and len(result.members) == 10
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_studies_are_ranked_by_seven_statistics_of_their_slices(tmp_path):
    volumes = [made_up_ct(count) for count in (8, 10, 9, 9)]
    volumes[3].voxels[:] = -volumes[3].voxels[:, ::-1] // 2
    with reached() as (_double, client):
        added = index_add(tmp_path / "a.index", volumes, client=client)
    series = [tally.series for tally in added.tallies]
    result = outliers(tmp_path / "a.index", reference=[series[0], series[1]], by="study")
    assert result.items[0].record.series == series[3] and result.items[0].distance > 3 * result.items[-1].distance
    assert {item.record.series for item in result.members} <= set(series[:2])


def test_a_reference_that_is_not_there_is_named_with_what_there_is(tmp_path):
    Image.fromarray(np.eye(40, dtype=np.uint8) * 255).save(tmp_path / "hand.png")
    with reached() as (_double, client):
        index_add(tmp_path / "a.index", tmp_path / "hand.png", client=client)
    with pytest.raises(UsageError, match="foot.*hand.png"):
        outliers(tmp_path / "a.index", reference="foot")


def test_the_grid_shows_the_query_each_result_and_a_missing_thumbnail():
    from MedImageParseLib.files.figures import Tile, render_result_grid

    def png(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.full((128, 128), value, np.uint8)).save(buffer, format="PNG")
        return buffer.getvalue()

    tiles = [Tile(png(50 + 20 * number), f"volume {number}", f"axial, slice {number}", 1 - number / 10) for number in range(6)]
    sheet = np.asarray(
        render_result_grid(Tile(png(30), "query"), [*tiles, Tile(b"", "no picture", "", 0.2), Tile(b"broken", "x", "", 0.1)])
    )
    for value in (30, *(50 + 20 * number for number in range(6))):
        assert (sheet == value).all(axis=2).sum() > 200 * 200  # each at its full size
