"""Windows: which one is chosen, and the 8-bit values, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.imaging.windows import (
    Window,
    apply_window,
    choose_window,
    is_constant,
    looks_like_ct,
    percentile_window,
    to_eight_bit,
)

SITES = {
    "abdomen": (-150, 250),
    "lung": (-1000, 1000),
    "pelvis": (-55, 200),
    "liver": (-25, 230),
    "colon": (-68, 187),
    "pancreas": (-100, 200),
}


def ct(dtype=np.int16) -> np.ndarray:
    random = np.random.default_rng(0)
    voxels = random.normal(40, 30, (12, 20, 20))
    voxels[:, :6] = -1000
    voxels[:, 10:12, :4] = 900
    return voxels.astype(dtype)


def mr() -> np.ndarray:
    voxels = np.random.default_rng(0).gamma(2, 150, (12, 20, 20)).astype(np.uint16) + 1
    voxels[:, :8] = 0
    return voxels


@pytest.mark.parametrize("site", SITES)
def test_each_site_of_the_contract_has_its_window(site):
    window = choose_window(Volume(ct(), modality="CT"), "auto", [site])
    assert (window.low, window.high) == SITES[site] == (choose_window(Volume(mr()), site).low, choose_window(Volume(mr()), site).high)
    assert site in window.describe()


def test_several_sites_share_the_range_that_holds_them_all():
    window = choose_window(Volume(ct(), modality="CT"), "auto", ["liver", "pelvis", "liver"])
    assert (window.low, window.high) == (-55, 230)


# The 3D model card's width and level.
CARD_3D = {"soft": (400, 40), "lung": (1500, -160), "brain": (80, 40), "bone": (1800, 400)}


@pytest.mark.parametrize(
    ("named", "card"),
    [(["abdomen"], "soft"), (["liver"], "soft"), (["colon", "pelvis"], "soft"), (["pancreas"], "soft"), (["soft"], "soft"), (["lung"], "lung"),
     (["brain"], "brain"), (["bone"], "bone"), (["lung", "liver"], "lung"), (["bone", "lung"], "lung"), (["bone", "abdomen"], "soft"),
     (["soft", "bone"], "soft"), (["brain", "lung"], "lung"), (["brain", "bone"], "brain"), (["brain", "pelvis"], "soft")],
)  # fmt: skip
def test_the_3d_model_gets_one_of_the_four_windows_of_its_own_training(named, card):
    width, level = CARD_3D[card]
    for order in (named, named[::-1]):
        window = choose_window(Volume(ct(), modality="CT"), "auto", order, "medimageparse3d")
        assert (window.low, window.high) == (level - width / 2, level + width / 2)


def test_sites_by_name_and_unknown_values_are_the_same_for_both_models():
    for model in ("medimageparse", "medimageparse3d"):
        assert choose_window(Volume(ct(), modality="CT"), "liver", ["lung"], model).describe() == "liver: -25 to 230"
        assert choose_window(Volume(mr()), "auto", ["liver"], model).kind == "percentile"


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_hounsfield_units_are_recognised_where_nobody_said_ct(dtype):
    volume = Volume(ct(dtype))
    assert looks_like_ct(volume)
    assert choose_window(volume, "auto", ["abdomen"]).describe() == "abdomen: -150 to 250"


@pytest.mark.parametrize(
    "voxels",
    [mr(), (mr() / 7).astype(np.float32), np.full((3, 3, 3), -1000, np.int16), ct().clip(0).astype(np.uint16)],
    ids=["MR", "float MR", "air", "no air"],
)
def test_other_values_are_not_taken_for_ct_and_get_percentiles_even_where_a_site_is_named(voxels):
    assert not looks_like_ct(Volume(voxels))
    assert choose_window(Volume(voxels), "auto", ["abdomen"]).kind == "percentile"


def test_the_stated_modality_counts_more_than_the_values():
    assert not looks_like_ct(Volume(ct(), modality="MR")) and looks_like_ct(Volume(mr(), modality="CT"))


def test_percentiles_are_those_of_the_positive_voxels_of_the_whole_volume():
    voxels = mr()
    window = percentile_window(Volume(voxels))
    low, high = np.percentile(voxels[voxels > 0], [0.5, 99.5])
    assert (window.low, window.high) == (low, high)
    result = apply_window(voxels, window)
    assert (result[voxels == 0] == 0).all() and result.max() == 255


def test_percentiles_of_a_large_volume_are_close_to_the_exact_ones():
    voxels = np.random.default_rng(1).gamma(2, 150, (60, 320, 300)).astype(np.uint16)
    window = percentile_window(Volume(voxels))
    low, high = np.percentile(voxels[voxels > 0], [0.5, 99.5])
    assert abs(window.low - low) < (high - low) / 255 and abs(window.high - high) < (high - low) / 100


def test_eight_bit_input_is_left_alone_by_auto():
    voxels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    window = choose_window(Volume(voxels), "auto", ["abdomen"])
    assert window.kind == "untouched" and apply_window(voxels, window) is voxels


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i2", ">i2", ">u2", "u4", "i4", "u8", "i8", "f2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("low,high", [(-150, 250), (0, 1), (-3.5, 91.25), (100, 30000)])
def test_eight_bit_values_are_the_formula_for_every_type(dtype, low, high):
    random = np.random.default_rng(2)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        voxels = random.integers(max(limits.min, -40000), min(limits.max, 40000), (4, 5, 6), endpoint=True).astype(dtype)
        voxels.flat[:2] = max(limits.min, -40000), min(limits.max, 40000)
    else:
        voxels = random.uniform(-300, 300, (4, 5, 6)).astype(dtype)
    expected = np.empty(voxels.shape, np.uint8)
    for place, value in np.ndenumerate(voxels):
        expected[place] = int(min(max((float(value) - low) / (high - low) * 255.0, 0.0), 255.0))
    result = apply_window(voxels, Window("range", low, high))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_windowing_works_on_turned_and_flipped_views():
    voxels = ct()[::-1].transpose(2, 0, 1)
    window = Window("site", -150, 250, "abdomen")
    np.testing.assert_array_equal(apply_window(voxels, window), apply_window(np.ascontiguousarray(voxels), window))


def test_a_range_as_given_is_taken_with_a_minus_and_blanks():
    window = choose_window(Volume(ct()), " -160, 240 ")
    assert (window.kind, window.low, window.high) == ("range", -160, 240)


@pytest.mark.parametrize("setting", ["", "knee", "240,-160", "5,5", "1,2,3", "nan,1", "inf,1", "-inf,inf", "1;2", "auto,1"])
def test_an_unknown_window_is_bad_usage_and_the_sentence_lists_the_sites(setting):
    with pytest.raises(UsageError, match="abdomen"):
        choose_window(Volume(ct()), setting)


def test_raw_sends_the_values_as_they_are():
    voxels = ct()
    assert apply_window(voxels, choose_window(Volume(voxels), "raw")) is voxels


def test_raw_values_in_a_picture_are_cut_off_at_8_bits_and_that_is_told():
    cut, was_cut = to_eight_bit(np.array([-5, 7, 300], np.int16))
    assert cut.tolist() == [0, 7, 255] and was_cut
    assert to_eight_bit(np.array([0, 255], np.float32))[1] is False


def test_two_valued_volumes_keep_their_contrast():
    voxels = np.zeros((4, 8, 8), np.int16)
    voxels[1:3, 2:6, 2:6] = 100
    result = apply_window(voxels, choose_window(Volume(voxels)))
    assert result[0, 0, 0] == 0 and result[1, 3, 3] > 127


@pytest.mark.parametrize("value", [0, 5, -1000])
def test_a_constant_volume_is_recognised_and_windowed_without_a_fault(value):
    voxels = np.full((2, 3, 4), value, np.int16)
    assert is_constant(voxels)
    assert len(np.unique(apply_window(voxels, choose_window(Volume(voxels))))) == 1


@pytest.mark.parametrize(
    "padding,stated", [(-1500, ()), (-9999, ()), (-31000, ()), (-3024, ()), (7000, (7000.0,)), (-2500, (-3000.0, -2000.0))]
)
def test_no_data_takes_no_part_in_percentiles_with_or_without_a_tag(padding, stated):
    voxels = np.random.default_rng(1).integers(-1000, 400, (6, 20, 20)).astype(np.int16)
    plain = percentile_window(Volume(voxels[:, :, 5:], np.eye(4)))
    voxels[:, :, :5] = padding + (np.arange(5) if len(stated) == 2 else 0)
    assert percentile_window(Volume(voxels, np.eye(4), padding=stated)) == plain


def test_a_continuous_range_far_below_air_is_no_padding():
    voxels = np.random.default_rng(1).integers(-4000, 4000, (6, 20, 20)).astype(np.int16)
    assert percentile_window(Volume(voxels, np.eye(4))).low < -3900
