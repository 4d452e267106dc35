"""What the local demo engine finds, on a phantom with known truth, on a real CT and on real pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from MedImageParseLib.engines.classical.calibration import WINDOWS, calibrate
from MedImageParseLib.engines.classical.engine import describe_image, segment_image, segment_volume
from MedImageParseLib.engines.classical.grid import closed, dilate, erode
from MedImageParseLib.engines.classical.targets import read_prompt

SPACING = 3.0
RAS = np.diag([SPACING, SPACING, SPACING, 1.0])
LUNGS, LIVER, SPLEEN, KIDNEY_RIGHT, KIDNEY_LEFT, SPINE, TRACHEA = range(1, 8)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(one & other) / max(1, np.count_nonzero(one) + np.count_nonzero(other))


def make_phantom(kidney_hu: float = 150.0, noise: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """(HU, truth), kji in RAS order: an elliptic trunk with a fat ring, and organs as ellipsoids in their usual places."""
    shape = (64, 92, 120)
    k, j, i = np.indices(shape)
    s, a, r = ((index - (size - 1) / 2) * SPACING for index, size in zip((k, j, i), shape))
    hu = np.full(shape, -1000.0)
    hu[(r / 160) ** 2 + (a / 115) ** 2 < 1] = -100.0
    inner = (r / 145) ** 2 + (a / 100) ** 2 < 1
    hu[inner] = 40.0
    truth = np.zeros(shape, np.uint8)

    def put(label, center, radii, value):
        inside = sum(((axis - c) / radius) ** 2 for axis, c, radius in zip((r, a, s), center, radii)) < 1
        where = inside & inner & (truth == 0)
        hu[where], truth[where] = value, label

    for side in (1, -1):
        put(LUNGS, (75 * side, 0, 60), (48, 70, 70), -850.0)
    put(LIVER, (70, 20, -20), (60, 60, 45), 60.0)
    put(SPLEEN, (-95, -30, -5), (28, 40, 35), 50.0)
    put(KIDNEY_RIGHT, (60, -55, -50), (22, 25, 40), kidney_hu)
    put(KIDNEY_LEFT, (-60, -55, -50), (22, 25, 40), kidney_hu)
    hu[(np.hypot(r, a + 70) < 20)], truth[np.hypot(r, a + 70) < 20] = 400.0, SPINE
    windpipe = (np.hypot(r, a) < 9) & (s > 20)
    hu[windpipe], truth[windpipe] = -1000.0, TRACHEA
    return hu + np.random.default_rng(1).normal(0, noise, shape), truth


def through_window(hu: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((hu - low) / (high - low) * 255.0, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("spacing", [(3.0, 2.6, 2.6), (0.25, 0.5, 1.0), (1e3, 0.1, 0.1), (1.0, 1.0)], ids=str)
@pytest.mark.parametrize("mm", [1.0, 3.0, 7.0])
def test_masks_grow_shrink_and_close_as_distances_in_millimetres_say(spacing, mm):
    """Balls that are painted row by row, and one (7 mm at 0.25 mm) of too many rows."""
    from scipy import ndimage

    mask = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(12, 22, 31)[-len(spacing) :]), 1.5) > 0.05
    outside, inside = (ndimage.distance_transform_edt(part, spacing) for part in (~mask, mask))
    np.testing.assert_array_equal(dilate(mask, mm, spacing), outside <= mm)
    np.testing.assert_array_equal(erode(mask, mm, spacing), inside > mm)
    grown = outside <= mm
    np.testing.assert_array_equal(closed(mask, mm, spacing), grown if grown.all() else ndimage.distance_transform_edt(grown, spacing) > mm)
    for all_or_nothing in (np.ones_like(mask), np.zeros_like(mask)):
        for change in (dilate, erode, closed):
            np.testing.assert_array_equal(change(all_or_nothing, mm, spacing), all_or_nothing)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom()


@pytest.mark.parametrize("window", ["raw", "abdomen", "lung"])
def test_structures_of_a_phantom_are_found_behind_any_window_that_shows_fat(phantom, window):
    hu, truth = phantom
    voxels = hu.astype(np.int16) if window == "raw" else through_window(hu, *WINDOWS[window])
    prompts = ["lungs", "bones", "liver in abdomen CT", "spleen", "left kidney", "right kidney", "unicorn", "airways"]
    labels = segment_volume(voxels, RAS, prompts)
    expected = [LUNGS, SPINE, LIVER, SPLEEN, KIDNEY_LEFT, KIDNEY_RIGHT, None, TRACHEA]
    scores = {prompt: dice(labels == k, truth == label) for k, (prompt, label) in enumerate(zip(prompts, expected), 1) if label}
    assert all(score > 0.75 for score in scores.values()), scores
    assert not (labels == prompts.index("unicorn") + 1).any()


def test_left_and_right_follow_the_patient_in_any_axis_order(phantom):
    hu, truth = phantom
    # Rows towards posterior, columns towards the patient's left, slices first along i: a sagittal stack, left-handed.
    turned, turned_truth = (np.transpose(array[:, ::-1, ::-1], (2, 0, 1)) for array in (hu.astype(np.int16), truth))
    matrix = np.zeros((4, 4))
    matrix[0, 2], matrix[1, 0], matrix[2, 1], matrix[3, 3] = -SPACING, -SPACING, SPACING, 1.0
    labels = segment_volume(turned, matrix, ["left kidney", "right kidney", "liver"])
    assert labels.shape == turned.shape
    for value, label in enumerate((KIDNEY_LEFT, KIDNEY_RIGHT, LIVER), 1):
        assert dice(labels == value, turned_truth == label) > 0.75


def test_an_oblique_volume_is_treated_along_its_nearest_axes(phantom):
    hu, truth = phantom
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0, 0], [0, np.cos(angle), -np.sin(angle), 0], [0, np.sin(angle), np.cos(angle), 0], [0, 0, 0, 1]])
    labels = segment_volume(hu.astype(np.float32), tilt @ RAS, ["left lung", "right lung"])
    columns = np.arange(hu.shape[2]) > hu.shape[2] / 2
    assert dice(labels == 1, (truth == LUNGS) & ~columns) > 0.9
    assert dice(labels == 2, (truth == LUNGS) & columns) > 0.9


def test_body_fat_and_soft_tissue_agree_with_density(phantom):
    hu, truth = phantom
    clean, _truth = make_phantom(noise=0.0)
    for prompt, expected in (("body", clean > -900), ("fat", clean == -100), ("soft tissue", (clean > 0) & (truth != SPINE))):
        mask = segment_volume(hu.astype(np.int16), RAS, [prompt]) == 1
        reference = expected | (truth == LUNGS) | (truth == TRACHEA) if prompt == "body" else expected
        assert dice(mask, reference) > 0.93, prompt


def test_fine_voxels_get_masks_on_their_own_grid(phantom):
    hu, truth = phantom
    fine, fine_truth = (np.repeat(np.repeat(array[28:], 2, axis=1), 2, axis=2) for array in (hu.astype(np.int16), truth))
    labels = segment_volume(fine, np.diag([1.5, 1.5, 3.0, 1.0]), ["lungs", "bones"])
    assert labels.shape == fine.shape
    assert dice(labels == 1, fine_truth == LUNGS) > 0.93 and dice(labels == 2, fine_truth == SPINE) > 0.85


@pytest.mark.parametrize("prompts", [["bones", "body"], ["body", "bones"], ["body", "bones", "spine"], ["spine", "body", "lungs", "bones"]])
def test_the_smaller_structure_wins_where_structures_overlap_in_any_order(phantom, prompts):
    voxels = phantom[0].astype(np.int16)
    alone = [segment_volume(voxels, RAS, [prompt]) == 1 for prompt in prompts]
    together = segment_volume(voxels, RAS, prompts)
    assert np.array_equal(together > 0, np.logical_or.reduce(alone))
    for value, mask in enumerate(alone, 1):
        over = [
            other
            for number, other in enumerate(alone, 1)
            if np.count_nonzero(other) < np.count_nonzero(mask) or (number > value and np.array_equal(other, mask))
        ]
        assert np.array_equal(together == value, mask & ~np.logical_or.reduce([*over, np.zeros_like(mask)]))


@pytest.mark.parametrize("prompts, dtype", [(1, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_labels_fit_the_number_of_prompts(prompts, dtype):
    assert segment_volume(np.zeros((2, 2, 2), np.int16), np.eye(4), ["unicorn"] * prompts).dtype == dtype


EVERYTHING = [
    "body", "lungs", "left lung", "bones", "spine", "airways", "fat", "soft tissue", "liver", "spleen", "kidneys", "brain", "head", "skin"
]  # fmt: skip


@pytest.mark.parametrize(
    "voxels",
    [
        np.zeros((1, 1, 1), np.uint8),
        np.full((3, 3, 3), 40, np.int16),
        np.full((20, 64, 64), -1000, np.int16),
        np.full((4, 5, 6), np.nan, np.float32),
        np.full((4, 30, 30), np.inf),
        np.random.default_rng(0).normal(0, 1, (3, 4, 5)),
        np.random.default_rng(0).integers(0, 65535, (7, 50, 60)).astype(np.uint16),
        np.zeros((0, 5, 5), np.int16),
        np.zeros((6, 40, 40), bool),
    ],
    ids=lambda voxels: f"{voxels.dtype}-{'x'.join(map(str, voxels.shape))}",
)
def test_volumes_without_a_patient_get_a_labelmap_of_their_shape_and_no_failure(voxels):
    labels = segment_volume(voxels, np.eye(4), EVERYTHING)
    assert labels.shape == voxels.shape and labels.max(initial=0) <= len(EVERYTHING)
    if voxels.size and voxels.min() == voxels.max():
        assert not labels.any()


@pytest.mark.parametrize("slices", [1, 2])
def test_a_single_slice_of_a_ct_still_has_lungs_and_bones(phantom, slices):
    hu, truth = phantom
    part = slice(50, 50 + slices)
    for prompt, label in (("lungs", LUNGS), ("bones", SPINE)):
        mask = segment_volume(hu[part].astype(np.int16), RAS, [prompt]) == 1
        assert dice(mask, truth[part] == label) > 0.85, prompt


def test_a_head_on_mr_has_a_brain_and_no_lungs():
    k, j, i = np.indices((40, 80, 70))
    ball = lambda radius: ((k - 20) / 22) ** 2 + ((j - 40) / radius) ** 2 + ((i - 35) / (radius * 0.85)) ** 2 < 1  # noqa: E731
    voxels = np.where(ball(36), 300.0, 0.0)
    voxels[ball(33)] = 30.0
    voxels[ball(30)] = 200.0
    voxels += np.abs(np.random.default_rng(2).normal(0, 8, voxels.shape))
    matrix = np.diag([2.6, 2.6, 4.0, 1.0])
    found = [segment_volume(voxels.astype(np.uint16), matrix, [prompt]) == 1 for prompt in ("brain", "head", "lungs", "liver")]
    assert dice(found[0], ball(30)) > 0.8 and dice(found[1], ball(36)) > 0.9
    assert not found[2].any() and not found[3].any()


def test_a_head_on_ct_has_a_brain_inside_its_skull(phantom):
    k, j, i = np.indices((40, 80, 70))
    ball = lambda radius: ((j - 40) / radius) ** 2 + ((i - 35) / (radius * 0.85)) ** 2 < 1  # noqa: E731
    hu = np.where(ball(37), -90.0, -1000.0)
    hu[ball(36)], hu[ball(34)], hu[ball(31)] = 40.0, 900.0, 35.0
    hu += np.random.default_rng(2).normal(0, 5, hu.shape)
    labels = segment_volume(hu.astype(np.int16), np.diag([2.6, 2.6, 3.0, 1.0]), ["brain"])
    assert dice(labels == 1, ball(31)) > 0.85
    assert not segment_volume(phantom[0].astype(np.int16), RAS, ["brain & head", "brain", "head"]).any()


@pytest.mark.parametrize("name", [name for name, (low, _high) in WINDOWS.items() if low < -125])
def test_a_window_that_shows_fat_is_read_back_to_hounsfield_units(phantom, name):
    low, high = WINDOWS[name]
    reading = calibrate(through_window(phantom[0], low, high))
    assert reading.is_ct
    for hu in (-100.0, 40.0):
        value = (hu - low) / (high - low) * 255.0
        assert reading.hu(np.array([value]))[0] == pytest.approx(hu, abs=25)


def test_unsigned_hounsfield_units_with_an_offset_are_recognized(phantom):
    assert calibrate((phantom[0] + 1024).clip(0).astype(np.uint16)).intercept == -1024


@pytest.mark.parametrize(
    "prompt, kind, side",
    [
        ("lung", "lung", ""), ("Lungs", "lung", ""), ("left lung", "lung", "left"), ("right lungs in chest CT", "lung", "right"),
        ("bone", "bone", ""), ("the bones", "bone", ""), ("skeleton", "bone", ""), ("vertebrae", "spine", ""), ("airways", "airway", ""),
        ("trachea", "trachea", ""), ("adipose tissue", "fat", ""), ("soft tissues", "soft tissue", ""), ("whole body", "body", ""),
        ("kidneys", "kidney", ""), ("Left Kidney", "kidney", "left"), ("kidney, right", "kidney", "right"),
        ("liver in abdomen CT", "liver", ""),
        ("Visualization of the liver in abdominal CT imaging", "liver", ""), ("CT imaging of the spleen within the abdomen", "spleen", ""),
        ("Segmentation of left kidney observed in CT", "kidney", "left"), ("left and right kidneys", "kidney", ""),
        ("breast tumor", "lesion", ""),
        ("lower-grade glioma in brain MRI-FLAIR", "bright lesion", ""), ("unicorn", "", ""), ("liver tumor", "", ""),
        ("kidney cyst", "", ""),
        ("left liver", "", ""), ("lung opacity", "", ""), ("COVID-19 infection in lung CT", "", ""), ("", "", ""), ("???", "", ""),
    ],
)  # fmt: skip
def test_a_prompt_names_a_known_structure_as_a_whole_or_nothing(prompt, kind, side):
    target = read_prompt(prompt)
    assert (target.kind, target.side) == (kind, side)


def reference_ct(shared_data):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    image = nibabel.load(shared_data / "ct_abdomen_3mm.nii.gz")
    labels = np.asarray(nibabel.load(shared_data / "ct_abdomen_3mm_labels.nii.gz").dataobj).T
    names = json.loads((shared_data / "ct_abdomen_3mm_labels.json").read_text())
    named = lambda *starts: np.isin(labels, [int(k) for k, name in names.items() if name.startswith(starts)])  # noqa: E731
    return np.asarray(image.dataobj).T, image.affine, named


@pytest.mark.parametrize("window", [None, "abdomen"])
def test_organs_of_a_real_ct_overlap_their_reference(shared_data, window):
    voxels, affine, named = reference_ct(shared_data)
    voxels = voxels if window is None else through_window(voxels, *WINDOWS[window])
    expected = {
        "lungs": (("lung_",), 0.88), "left lung": (("lung_upper_lobe_left", "lung_lower_lobe_left"), 0.85),
        "bones": (("vertebrae", "rib"), 0.75), "liver": (("liver",), 0.7), "spleen": (("spleen",), 0.7),
        "left kidney": (("kidney_left",), 0.7), "right kidney": (("kidney_right",), 0.7),
    }  # fmt: skip
    together = [prompt for prompt in expected if prompt != "left lung"]
    for prompts in (together, ["left lung"]):
        labels = segment_volume(voxels, affine, prompts)
        for value, prompt in enumerate(prompts, 1):
            starts, least = expected[prompt]
            assert dice(labels == value, named(*starts)) > least, prompt


def open_picture(path, mode: str = "RGB") -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert(mode))


@pytest.mark.parametrize(
    "image, prompt, reference, least",
    [
        ("15_X-Ray_chest", "lung", "lung", 0.8), ("15_X-Ray_chest", "left lung", "left+lung", 0.8),
        ("15_X-Ray_chest", "right lung in chest X-Ray", "right+lung", 0.8), ("20_ultrasound_breast", "tumor", "tumor", 0.8),
        ("09_MRI-FLAIR_brain", "lower-grade glioma", "lower-grade+glioma", 0.6), ("06_CT_abdomen", "liver", "liver", 0.85),
        ("06_CT_abdomen", "spleen", "spleen", 0.85), ("06_CT_abdomen", "left kidney", "left+kidney", 0.7),
    ],
)  # fmt: skip
def test_structures_on_real_pictures_overlap_their_reference(shared_data, image, prompt, reference, least):
    masks = segment_image(open_picture(shared_data / "demo2d" / f"{image}.png"), [prompt, "unicorn"])
    assert masks.shape == (2, 1024, 1024) and masks.dtype == np.uint8 and set(np.unique(masks)) <= {0, 255}
    assert dice(masks[0] > 0, open_picture(shared_data / "demo2d" / f"{image}_{reference}.png", "L") > 127) > least
    assert not masks[1].any()


@pytest.mark.parametrize("turns, mirrored", [(1, False), (2, True)])
def test_a_ct_slice_may_lie_any_way_round(shared_data, turns, mirrored):
    turn = lambda pixels: np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)  # noqa: E731
    pixels = open_picture(shared_data / "demo2d" / "06_CT_abdomen.png")
    liver = open_picture(shared_data / "demo2d" / "06_CT_abdomen_liver.png", "L") > 127
    assert dice(segment_image(np.ascontiguousarray(turn(pixels)), ["liver"])[0] > 0, turn(liver)) > 0.85


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (17, 33), (40, 40, 3), (300, 20)])
def test_pictures_without_content_get_masks_of_their_shape_and_no_failure(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for pixels in (np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), noise):
        masks = segment_image(pixels, ["lung", "object", "liver", "tumor", "brain", "bones", "unicorn"])
        assert masks.shape == (7, *shape[:2]) and not masks[6].any()
        if pixels is not noise:
            assert not masks.any()


def test_a_lesion_is_the_dark_compact_spot_of_a_color_photograph():
    row, column = np.indices((256, 256))
    spot = np.hypot(row - 140, column - 110) < 35
    pixels = np.full((256, 256, 3), (225, 170, 150), np.uint8)
    pixels[spot] = (95, 60, 50)
    noisy = np.clip(pixels + np.random.default_rng(3).normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    assert dice(segment_image(noisy, ["melanoma"])[0] > 0, spot) > 0.85


def some_pictures() -> list[np.ndarray]:
    """Twelve pictures that differ: blobs of several sizes and places."""
    row, column = np.indices((200, 200))
    pictures = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        image = np.zeros((200, 200))
        for _ in range(6):
            center, radius = random.uniform(40, 160, 2), random.uniform(8, 40)
            image[np.hypot(row - center[0], column - center[1]) < radius] = random.uniform(60, 250)
        pictures.append(image.astype(np.uint8))
    return pictures


def test_descriptors_have_1024_values_and_unit_length():
    for pixels in (*some_pictures(), np.zeros((5, 9), np.uint8), np.full((64, 64, 3), 200, np.uint8)):
        vector = describe_image(pixels)
        assert vector.shape == (1024,) and np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "least"),
    [("turned by 12 degrees", 11), ("turned by a quarter", 12), ("noisy", 10), ("smaller", 12), ("moved", 11), ("brighter", 11), ("in a wider frame", 10)],
)  # fmt: skip
def test_a_changed_copy_is_nearest_to_its_original(change, least):
    """Of twelve. Which of several blobs is the largest may change by noise or a turn, so a picture of blobs alone may be missed."""
    from scipy import ndimage

    pictures = some_pictures()
    known = np.array([describe_image(pixels) for pixels in pictures])
    found = 0
    for index, pixels in enumerate(pictures):
        copy = {
            "turned by 12 degrees": lambda: ndimage.rotate(pixels, 12, reshape=False, order=1),
            "turned by a quarter": lambda: np.rot90(pixels),
            "noisy": lambda: np.clip(pixels + np.random.default_rng(9).normal(0, 20, pixels.shape), 0, 255).astype(np.uint8),
            "smaller": lambda: pixels[::2, ::2],
            "moved": lambda: np.roll(np.pad(pixels, 30), (25, -20), (0, 1)),
            "brighter": lambda: (255 * (pixels / 255.0) ** 0.7).astype(np.uint8),
            "in a wider frame": lambda: np.pad(pixels, 60),
        }[change]()
        found += int(np.argmax(known @ describe_image(copy))) == index
    assert found >= least
