"""From slices to the 1024 square and back: scikit-image is the oracle forward, geometry written out by hand backward."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.geometry import SliceView, SquareFit, parse_slices
from MedImageParseLib.imaging.volume import Volume

SIZES = [(17, 33), (33, 17), (101, 122), (256, 256), (512, 400), (511, 512), (700, 650), (1024, 800), (1024, 1024), (1500, 2000)]


def textured(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A smooth uint8 picture over the whole range, with a few sharp edges."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), min(12, max(1, min(shape) / 15)))
    noise = (noise - noise.min()) / (noise.max() - noise.min()) * 255
    noise[: shape[0] // 3, : shape[1] // 4] = 230
    return noise.astype(np.uint8)


def padded(image: np.ndarray) -> np.ndarray:
    """Exactly S x S, S the longer side, (S - side) // 2 before."""
    side = max(image.shape)
    square = np.zeros((side, side), image.dtype)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_forward_is_centred_padding_and_scikit_images_resize(shape):
    from skimage.transform import resize

    image = textured(shape)
    expected = resize(padded(image).astype(float), (1024, 1024), order=3, mode="reflect", anti_aliasing=True, clip=True)
    got = SquareFit.fit(shape).forward(image).astype(float)
    # One gray level of rounding; at the borders scikit-image mirrors a little differently.
    inside = (slice(8, -8), slice(8, -8))
    assert np.abs(got - expected)[inside].max() <= 1.01
    assert np.abs(got - expected).mean() < 0.6


@pytest.mark.parametrize("shape", [(17, 33), (16, 16), (512, 512), (300, 511)], ids=str)
def test_padding_is_black_and_the_odd_pixel_goes_after(shape):
    fit = SquareFit.fit(shape)
    assert fit.side == max(shape) and fit.before == tuple((max(shape) - size) // 2 for size in shape)
    square = fit.forward(np.full(shape, 200, np.uint8))
    scale = 1024 / max(shape)
    rows = np.flatnonzero(square.max(axis=1) > 100)
    columns = np.flatnonzero(square.max(axis=0) > 100)
    for found, before, size in ((rows, fit.before[0], shape[0]), (columns, fit.before[1], shape[1])):
        assert abs(found[0] - before * scale) <= 1 and abs(found[-1] + 1 - (before + size) * scale) <= 1


def test_color_channels_are_resized_one_by_one():
    image = np.stack([textured((60, 80), seed) for seed in range(3)], axis=-1)
    fit = SquareFit.fit((60, 80))
    square = fit.forward(image)
    assert square.shape == (1024, 1024, 3)
    for channel in range(3):
        np.testing.assert_array_equal(square[..., channel], fit.forward(image[..., channel]))


def test_a_picture_of_1024_squared_is_sent_pixel_by_pixel():
    image = textured((1024, 1024))
    np.testing.assert_array_equal(SquareFit.fit((1024, 1024)).forward(image), image)


@pytest.mark.parametrize("value", [0, 1, 37, 255])
@pytest.mark.parametrize("shape", [(40, 40), (300, 300), (1500, 1500)], ids=str)
def test_a_uniform_square_stays_uniform(value, shape):
    assert np.unique(SquareFit.fit(shape).forward(np.full(shape, value, np.uint8))).tolist() == [value]


@pytest.mark.parametrize(
    "shape,spacing",
    [((30, 101), (3.0, 3.0)), ((40, 100), (5.0, 0.75)), ((100, 40), (0.7, 2.1)), ((64, 64), (1.0, 1.5)), ((7, 300), (8.0, 0.5))],
    ids=str,
)
def test_backward_samples_at_the_centres_of_the_slices_pixels(shape, spacing):
    """Ramps along rows and columns of the square tell where each native pixel was sampled."""
    fit = SquareFit.fit(shape, spacing)
    finest = min(spacing)
    square_shape = [round(size * step / finest) for size, step in zip(shape, spacing)]
    side = max(square_shape)
    assert fit.square_shape == tuple(square_shape) and fit.side == side
    ramp = np.arange(1024, dtype=np.float32) + 0.5
    rows = fit.backward(np.repeat(ramp[:, None], 1024, axis=1))
    columns = fit.backward(np.repeat(ramp[None], 1024, axis=0))
    for axis, got in ((0, rows[:, 0]), (1, columns[0])):
        centres = (np.arange(shape[axis]) + 0.5) * square_shape[axis] / shape[axis] + (side - square_shape[axis]) // 2
        np.testing.assert_allclose(got, np.clip(centres * 1024 / side, 0.5, 1023.5), atol=2e-3)
    assert rows.dtype == np.float32 and rows.shape == shape


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 600), st.integers(5, 600), st.integers(0, 99))
def test_forward_and_backward_agree_on_where_things_are(rows, columns, seed):
    """The centroid of a blob that went forward and came back is where it was, to a twentieth of a pixel."""
    fit = SquareFit.fit((rows, columns))
    random = np.random.default_rng(seed)
    centre = np.array([rows, columns]) * random.uniform(0.35, 0.65, 2)
    width = max(1.2, min(rows, columns) / 12)
    grid = np.indices((rows, columns)) + 0.5
    blob = np.exp(-((grid - centre[:, None, None]) ** 2).sum(axis=0) / (2 * width**2)) * 250
    image = np.rint(blob).astype(np.uint8)
    back = fit.backward(fit.forward(image))
    for axis in range(2):
        assert abs((grid[axis] * back).sum() / back.sum() - (grid[axis] * image).sum() / image.sum()) < 0.05


@pytest.mark.parametrize("turns", range(4))
def test_a_turned_square_comes_back_straight(turns):
    volume = Volume(textured((90, 70))[np.newaxis], np.diag([-1.0, -1, 1, 1]))
    view = SliceView.of(volume, turns=turns)
    straight = SliceView.of(volume)
    sent = view.picture(volume.voxels, 0)
    np.testing.assert_array_equal(sent, np.rot90(straight.picture(volume.voxels, 0), turns))
    np.testing.assert_allclose(view.slice_map(sent), straight.slice_map(straight.picture(volume.voxels, 0)), atol=1e-3)


def test_pixels_become_square_in_mm():
    """A circle in mm on 5 mm x 0.5 mm pixels is a circle on the square."""
    shape, spacing = (40, 400), (5.0, 0.5)
    rows, columns = np.indices(shape)
    inside = ((rows + 0.5) * 5 - 100) ** 2 + ((columns + 0.5) * 0.5 - 100) ** 2 < 60**2
    square = SquareFit.fit(shape, spacing).forward((inside * 255).astype(np.uint8)) > 127
    height, width = (np.ptp(np.flatnonzero(square.any(axis=axis))) + 1 for axis in (1, 0))
    assert width == pytest.approx(120 / 200 * 1024, abs=4) and height == pytest.approx(width, abs=2 * 5 / 200 * 1024)
    assert abs(height - width) < 30


@pytest.mark.parametrize(
    "text,expected",
    [("15", [15]), ("10:13", [10, 11, 12]), ("all", list(range(20))), (" 0 ", [0]), ("19", [19]), ("0:20", list(range(20)))],
)
def test_slices_are_indices_ranges_without_their_end_or_all(text, expected):
    assert parse_slices(text, 20) == expected


@pytest.mark.parametrize("text", ["", "20", "-1", "3:3", "5:2", "10:21", "a", "1:2:3", "1.5", ":", "all of them", "-3:2"])
def test_slices_that_are_not_there_are_bad_usage(text):
    with pytest.raises(UsageError):
        parse_slices(text, 20)
