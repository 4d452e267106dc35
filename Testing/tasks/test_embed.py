"""Embedding: what is sent, how it is spread over requests, and what comes of the vectors."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from embed_support import made_up_ct, reached
from PIL import Image

from doubles.insight import InsightDouble, image_vector, text_vector
from MedImageParseLib.errors import Cancelled, EndpointError, UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.tasks.embed import Embedder, Picture, Selection, embed_volume, pictures_of, pool_vectors
from MedImageParseLib.tasks.preprocessing import PictureMaker, Preprocessing, encode_square, has_content, hash_of
from MedImageParseLib.tasks.run import RunLog


def embedder_of(client, **options) -> Embedder:
    return Embedder(client, RunLog("medimageinsight", cancellation=options.pop("cancellation", Cancellation())), **options)


def distinct_pictures(count: int) -> list[Picture]:
    squares = [np.full((512, 512), number % 250, np.uint8) for number in range(count)]
    return [Picture(square, f"{number:064x}", number) for number, square in enumerate(squares)]


@pytest.mark.parametrize("shape", [(512, 512), (128, 128), (7, 3)])
def test_a_gray_picture_is_sent_as_a_one_channel_png_of_the_same_pixels(shape):
    pixels = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(encode_square(pixels))) as picture:
        picture.verify()
    with Image.open(io.BytesIO(encode_square(pixels))) as picture:
        assert picture.mode == "L" and np.array_equal(np.asarray(picture), pixels)


def test_a_color_picture_keeps_its_three_channels():
    pixels = np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_square(pixels))) as picture:
        assert np.array_equal(np.asarray(picture), pixels)


def test_a_ct_slice_is_sent_in_radiological_view_from_minus_to_plus_thousand_hu():
    volume = made_up_ct(size=512)
    square = PictureMaker(volume, Preprocessing()).square(PictureMaker(volume, Preprocessing()).slice_pixels(3))
    # Axes RAS: columns run to the patient's right and rows to the front, so the radiological view turns both round.
    by_hand = np.floor(np.clip((volume.voxels[3].astype(float) + 1000) / 2000 * 255, 0, 255)).astype(np.uint8)[::-1, ::-1]
    assert np.array_equal(square, by_hand)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32, ">i2"])
def test_every_type_of_voxel_gives_the_same_picture(kind):
    volume = made_up_ct()
    shifted = Volume((volume.voxels.astype(np.int32) + 1000).astype(kind), volume.ijk_to_ras, "MR")
    plain = Volume((volume.voxels + 1000).astype(np.int16), volume.ijk_to_ras, "MR")
    recipe = Preprocessing("0,2000")
    assert np.array_equal(PictureMaker(shifted, recipe).slice_pixels(2), PictureMaker(plain, recipe).slice_pixels(2))


def test_a_wide_picture_is_padded_in_the_middle_and_not_stretched():
    picture = Volume(np.full((1, 100, 200), 200, np.uint8), is_picture=True)
    maker = PictureMaker(picture, Preprocessing())
    square = maker.square(maker.slice_pixels(0))
    assert square.shape == (512, 512)
    assert not square[:128].any() and not square[384:].any() and (square[128:384] == 200).all()
    stretched = PictureMaker(picture, Preprocessing(fit="stretch"))
    assert (stretched.square(stretched.slice_pixels(0)) == 200).all()


def test_unequal_spacing_is_made_square_in_millimeters():
    volume = Volume(np.full((1, 50, 100), 100, np.uint8), np.diag([1.0, 2.0, 1.0, 1.0]))
    maker = PictureMaker(volume, Preprocessing())
    assert (maker.square(maker.slice_pixels(0)) == 100).all()  # 50 rows of 2 mm and 100 columns of 1 mm: a square


@pytest.mark.parametrize("settings", [{}, {"window": "lung"}, {"window": " -160 , 240 "}, {"fit": "stretch", "pool": "mean"}])
def test_a_recipe_reads_itself_back_and_differs_from_the_others(settings):
    recipe = Preprocessing(**settings)
    assert Preprocessing.parse(recipe.text) == recipe
    assert (recipe.text == Preprocessing().text) == (not settings)


@pytest.mark.parametrize("text", ["", "something else", "v0 window=auto view=radiological fit=pad size=512 pool=none", "v1 window=auto"])
def test_a_recipe_of_another_program_is_not_understood(text):
    assert Preprocessing.parse(text) is None


@pytest.mark.parametrize("settings", [{"window": "raw"}, {"window": "5,1"}, {"fit": "crop"}, {"pool": "max"}])
def test_an_unknown_setting_is_refused_with_what_there_is(settings):
    with pytest.raises(UsageError, match="give "):
        Preprocessing(**settings)


def test_the_hash_follows_the_pixels_and_the_recipe():
    square = np.zeros((512, 512), np.uint8)
    other = square.copy()
    other[5, 5] = 1
    names = {hash_of(square, Preprocessing()), hash_of(other, Preprocessing()), hash_of(square, Preprocessing("lung"))}
    assert len(names) == 3 and hash_of(square.copy(), Preprocessing()) in names


def test_only_slices_that_show_something_are_chosen():
    volume = made_up_ct()
    volume.voxels[4:] = -1000
    seen, skipped = [], []
    for picture in pictures_of(PictureMaker(volume, Preprocessing()), Selection(only_content=True), skipped.append):
        seen.append(picture.index)
    assert seen == [0, 1, 2, 3] and skipped == list(range(4, 12))
    assert not has_content(np.full((50, 50), 255, np.uint8))  # bright, and all alike


@pytest.mark.parametrize(
    ("selection", "expected"), [(Selection(), 12), (Selection(every=5), 3), (Selection("2:9", 3), 3), (Selection([7, 1, 7]), 2)]
)
def test_slices_are_chosen_by_range_and_step(selection, expected):
    assert len(selection.indices(12)) == expected


@pytest.mark.parametrize("selection", [Selection("12"), Selection([-1]), Selection(every=0), Selection("5:2")])
def test_slices_that_are_not_there_are_refused(selection):
    with pytest.raises(UsageError):
        selection.indices(12)


def test_vectors_belong_to_their_pictures_whatever_the_order_of_the_replies():
    pictures = distinct_pictures(23)
    with reached() as (double, client):
        found = [one for some in embedder_of(client, at_once=5, batch=3).images(iter(pictures)) for one in some]
    assert sorted(one.picture.index for one in found) == list(range(23))
    for one in found:
        assert one.vector == pytest.approx(image_vector(encode_square(one.picture.pixels)), abs=1e-6)
    assert sum(rows for _kind, rows in double.requests) == 23 and max(rows for _kind, rows in double.requests) == 3


def test_no_more_requests_are_on_their_way_than_allowed_and_429_costs_nothing():
    with reached(InsightDouble(latency_s=0.02, fast=True)) as (double, client):
        assert sum(len(some) for some in embedder_of(client, at_once=6, batch=1).images(distinct_pictures(60))) == 60
    assert 2 <= double.peak <= 6
    with reached(InsightDouble(latency_s=0.01, capacity=2, fast=True), retries=8) as (double, client):
        assert sum(len(some) for some in embedder_of(client, at_once=6, batch=1).images(distinct_pictures(12))) == 12
    assert len(double.rows) == 12


def test_pictures_are_made_only_as_far_ahead_as_needed():
    made = []

    def pictures():
        for picture in distinct_pictures(60):
            made.append(picture.index)
            yield picture

    with reached() as (_double, client):
        run = embedder_of(client, at_once=2, batch=2).images(pictures())
        next(run)
        assert len(made) <= 24
        run.close()


def test_what_came_before_a_failure_is_handed_on_and_nothing_new_is_sent():
    double = InsightDouble(fast=True)
    double.fail_after = 10
    got = []
    with reached(double) as (_double, client), pytest.raises(EndpointError, match="the model failed"):
        for some in embedder_of(client, at_once=2, batch=1).images(distinct_pictures(200)):
            got += some
    assert len(got) == 10 and double.peak <= 2 and len(double.rows) == 10


def test_a_cancelled_run_hands_on_what_had_come_and_stops():
    cancellation = Cancellation()
    got = []
    with reached(InsightDouble(latency_s=0.01, fast=True)) as (double, client), pytest.raises(Cancelled):
        for some in embedder_of(client, at_once=2, batch=1, cancellation=cancellation).images(distinct_pictures(500)):
            got += some
            if len(got) >= 5:
                cancellation.cancel()
    assert 5 <= len(got) < 20 and len(double.rows) < 30


def test_texts_go_in_requests_of_their_own_and_long_ones_are_warned_of():
    with reached() as (double, client):
        embedder = embedder_of(client)
        long = " ".join(["bronchopneumonia"] * 40)
        vectors = embedder.texts(["x-ray chest  pneumonia ", long])
        list(embedder.images(distinct_pictures(2)))
        warnings = embedder._log.warnings
    assert vectors[0] == pytest.approx(text_vector("x-ray chest pneumonia"), abs=1e-6)
    assert double.requests == [("text", 2), ("image", 2)]
    assert len(warnings) == 1 and "77" in warnings[0]


def test_an_empty_text_is_refused_before_anything_is_sent():
    with reached() as (double, client), pytest.raises(UsageError, match="empty"):
        embedder_of(client).texts(["pneumonia", "  "])
    assert double.requests == []


def test_a_volume_is_pooled_as_documented():
    volume = made_up_ct(5)
    with reached() as (double, client):
        _pictures, slices = embed_volume(volume, embedder_of(client))
        _pictures, mean = embed_volume(volume, embedder_of(client), Preprocessing(pool="mean"))
        _pictures, statistics = embed_volume(volume, embedder_of(client), Preprocessing(pool="statistics"))
    by_hand = slices.astype(float).mean(axis=0)
    assert mean[0] == pytest.approx(by_hand / np.linalg.norm(by_hand), abs=1e-6)
    table = [
        slices.mean(0),
        slices.std(0, ddof=1),
        slices.min(0),
        *(np.quantile(slices, q, axis=0) for q in (0.25, 0.5, 0.75)),
        slices.max(0),
    ]
    assert statistics.shape == (1, 7168) and statistics[0] == pytest.approx(np.concatenate(table), abs=1e-6)
    assert len(pool_vectors(slices[:1], "statistics")) == 7168


def test_the_picture_compresses_with_a_checksum_that_zlib_accepts():
    data = encode_square(np.eye(16, dtype=np.uint8) * 255)
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at], "big")
    assert int.from_bytes(data[at + 4 + size : at + 8 + size], "big") == zlib.crc32(data[at : at + 4 + size])
    assert len(zlib.decompress(data[at + 4 : at + 4 + size])) == 16 * 17
