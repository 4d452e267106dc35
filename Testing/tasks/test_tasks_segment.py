"""The two segmentation tasks: what leaves the computer, what the report says, and what happens when a run goes wrong half-way."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from exactness_support import ORIENTATIONS, RANGES, WORLDS, affine_of, phantom_labels, phantom_voxels

from doubles.endpoint import EndpointDouble
from doubles.forms import Form
from doubles.truth import GrayRanges, Painted
from MedImageParseLib.errors import Cancelled, EndpointError, InputError, ReplyError, UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.tasks.segment_slices import segment_slices
from MedImageParseLib.tasks.segment_volume import segment_volume


def phantom(dtype="int16", shape_ijk=(13, 30, 11), world="oblique", modality="") -> Volume:
    voxels = phantom_voxels(phantom_labels(shape_ijk), dtype)
    return Volume(np.ascontiguousarray(voxels.transpose(2, 1, 0)), affine_of(*ORIENTATIONS[22], WORLDS[world]), modality)


@pytest.fixture
def double() -> EndpointDouble:
    return EndpointDouble(GrayRanges(RANGES))


def test_a_volume_leaves_as_eight_bit_ras_voxels_without_origin_text_or_time(double):
    volume = phantom()
    segment_volume(volume, ["cube", "rod"], double.client(), window="0,255", slabs="none")
    (seen,) = double.seen
    assert seen.texts == ["cube & rod"] and seen.params is None
    assert seen.images[0][:4] == b"\x1f\x8b\x08\x00" and seen.images[0][4:8] == bytes(4)
    sent = seen.nifti()
    header = sent.header
    assert sent.get_data_dtype() == np.uint8
    import nibabel as nib

    assert nib.aff2axcodes(sent.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(sent.affine[:3, 3], 0)
    source = nib.as_closest_canonical(nib.Nifti1Image(volume.voxels.transpose(2, 1, 0), volume.ijk_to_ras))
    np.testing.assert_allclose(sent.affine[:3, :3], source.affine[:3, :3], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(sent.dataobj), np.asarray(source.dataobj))
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        assert bytes(header[field]).strip(b"\0") == b""
    assert header["qoffset_x"] == header["qoffset_y"] == header["qoffset_z"] == 0 and not header.extensions


def test_a_slice_leaves_as_a_1024_png_of_three_equal_channels_with_nothing_but_pixels(double):
    segment_slices(phantom("uint8"), ["cube"], double.client(), slices=[4])
    (seen,) = double.seen
    chunks = seen.png_chunks()
    assert chunks[0] == "IHDR" and chunks[-1] == "IEND" and set(chunks[1:-1]) == {"IDAT"}
    pixels = seen.pixels()
    assert pixels.shape == (1024, 1024, 3) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 1])
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    assert len(seen.images) == 1 and seen.texts == ["cube"]


def test_only_the_slices_asked_for_are_sent_each_once(double):
    result = segment_slices(phantom("uint8"), ["cube"], double.client(), slices=[7, 2, 2])
    assert len(double.seen) == 2 and result.report["slices"] == [2, 7]


@pytest.mark.parametrize("slices", [None, [], [-1], [999]])
def test_slices_that_are_not_named_or_not_there_are_refused_before_anything_is_sent(double, slices):
    with pytest.raises(UsageError):
        segment_slices(phantom("uint8"), ["cube"], double.client(), slices=slices)
    assert not double.seen


def test_the_report_of_a_volume_says_what_was_done(double):
    volume = phantom(modality="MR")
    result = segment_volume(volume, ["cube", "unicorn"], double.client("mlflow"), window="0,255", slabs="2", group="each")
    report = result.report
    assert (report["model"], report["dialect"], report["endpoint"]) == ("medimageparse3d", "mlflow", "http://127.0.0.1/score")
    assert report["input"]["size_kji"] == list(volume.voxels.shape) and report["input"]["modality"] == "MR"
    np.testing.assert_allclose(report["input"]["spacing_mm"], np.linalg.norm(volume.ijk_to_ras[:3, :3], axis=0)[::-1])
    assert report["reply_form"] == "predictions; nifti_file as JSON string; gzip NIfTI; integer labelmap"
    assert report["tries"] == 4 == len(report["request_ids"]) and len(set(report["request_ids"])) == 4
    assert report["bytes_sent"] == sum(len(seen.body) for seen in double.seen) and report["bytes_received"] > 0
    assert set(report["timings_s"]) == {"read", "prepare", "encode", "wait", "decode", "import", "write", "total"}
    cube, unicorn = report["prompts"]
    voxels = int(np.count_nonzero(phantom_labels((13, 30, 11)) == 1))
    assert (cube["text"], cube["found"], cube["label"], cube["voxels"]) == ("cube", True, 1, voxels)
    assert cube["volume_ml"] == pytest.approx(voxels * abs(np.linalg.det(volume.ijk_to_ras[:3, :3])) / 1000)
    assert (unicorn["found"], unicorn["label"], unicorn["voxels"], unicorn["volume_ml"]) == (False, 2, 0, 0)
    assert unicorn["terminology"] is None


def test_a_known_target_has_its_codes_in_the_report(double):
    report = segment_volume(phantom(), ["liver"], double.client(), window="raw").report
    assert "10200004" in str(report["prompts"][0]["terminology"])  # SNOMED CT: liver structure


def test_a_failure_of_the_only_request_is_raised(double):
    double.tamper = lambda reply: reply[: len(reply) // 2]
    with pytest.raises(ReplyError):
        segment_volume(phantom(), ["cube"], double.client())


class FailingClient:
    """Fails on the requests whose number (from 0) is in `failing`."""

    def __init__(self, double: EndpointDouble, failing: set[int], fault: EndpointError | None = None):
        self._inner, self._failing, self.count = double.client(), failing, 0
        self._fault = fault or EndpointError("The endpoint is gone.", tries=3, request_id="last")
        self.dialect, self.body_limit, self.max_in_flight, self.name = "azureml", 10**8, 1, "http://127.0.0.1/score"

    def send(self, body, **options):
        self.count += 1
        if self.count - 1 in self._failing:
            raise self._fault
        return self._inner.send(body, **options)


def test_prompts_that_were_done_before_a_failure_are_kept_and_the_others_are_named(double):
    result = segment_volume(phantom(), ["cube", "rod", "corner"], FailingClient(double, {1}), window="0,255", slabs="none", group="each")
    assert result.failure == "The endpoint is gone."
    assert [entry["found"] for entry in result.report["prompts"]] == [True, None, None]
    assert any("rod, corner" in warning for warning in result.report["warnings"])
    assert result.report["tries"] == 4 and "last" in result.report["request_ids"]


def test_a_structure_of_which_a_slab_is_missing_counts_as_not_done(double):
    result = segment_volume(phantom(), ["rod", "cube"], FailingClient(double, {3}), window="0,255", group="each", slabs="2")
    assert [entry["found"] for entry in result.report["prompts"]] == [True, None]
    assert result.prompts[1].mask.count == 0


def test_slices_that_were_done_before_a_failure_are_kept_and_the_others_are_named(double):
    result = segment_slices(phantom("uint8"), ["rod"], FailingClient(double, {2}), slices=[3, 4, 5, 6])
    assert result.failure and result.prompts[0].found and not result.prompts[0].is_done
    warning = next(warning for warning in result.report["warnings"] if "5" in warning)
    assert "6" in warning and "3" not in warning.split(":")[1]


@pytest.mark.parametrize("code", ["424", "413", "500", "reply-form"])
@pytest.mark.parametrize("orient", ["trained", "vote"])
def test_a_slice_that_the_endpoint_cannot_answer_is_named_and_the_others_are_done(double, code, orient):
    fault = EndpointError("The model failed on this.", code=code)
    views = 4 if orient == "vote" else 1
    result = segment_slices(phantom("uint8"), ["rod"], FailingClient(double, {views}, fault), slices=[3, 4, 5, 6], orient=orient)
    whole = segment_slices(phantom("uint8"), ["rod"], double.client(), slices=[3, 5, 6], orient=orient)
    assert result.failure.startswith("1 of 4 slices could not be segmented: slice 4: ") and result.failure in result.report["warnings"]
    assert np.array_equal(result.prompts[0].mask.full(), whole.prompts[0].mask.full()) and whole.prompts[0].found
    assert len(double.seen) == 2 * 3 * views  # no further rotation of the slice that failed is sent


@pytest.mark.parametrize(("code", "most"), [("424", 5), ("504", 2), ("reply-form", 1), ("401", 1)])
def test_an_endpoint_that_answers_no_slice_is_not_asked_for_all_of_them(double, code, most):
    client = FailingClient(double, set(range(99)), EndpointError("No.", code=code))
    with pytest.raises(EndpointError, match="No"):
        segment_slices(phantom("uint8"), ["rod"], client, slices=list(range(9)))
    assert client.count == most


def test_a_failure_before_anything_is_done_is_raised(double):
    with pytest.raises(EndpointError, match="gone"):
        segment_volume(phantom(), ["cube", "rod"], FailingClient(double, {0}), group="each")
    with pytest.raises(EndpointError, match="gone"):
        segment_slices(phantom("uint8"), ["rod"], FailingClient(double, {0}), slices=[3, 4])


@pytest.mark.parametrize("task", ["volume", "slices"])
def test_cancelling_stops_before_the_next_request(double, task):
    cancellation = Cancellation()
    double.tamper = lambda reply: (cancellation.cancel(), reply)[1]
    with pytest.raises(Cancelled):
        if task == "volume":
            segment_volume(phantom(), ["cube", "rod", "corner"], double.client(max_in_flight=1), group="each", cancellation=cancellation)
        else:
            segment_slices(phantom("uint8"), ["cube"], double.client(max_in_flight=1), slices=list(range(9)), cancellation=cancellation)
    assert len(double.seen) == 1


def test_no_more_requests_are_in_flight_than_the_connection_allows(double):
    now, most, lock = 0, 0, threading.Lock()
    inner = double.client(max_in_flight=2)

    class Counting:
        dialect, body_limit, max_in_flight, name = inner.dialect, inner.body_limit, 2, inner.name

        def send(self, body, **options):
            nonlocal now, most
            with lock:
                now, most = now + 1, max(most, now + 1)
            try:
                return inner.send(body, **options)
            finally:
                with lock:
                    now -= 1

    segment_slices(phantom("uint8"), ["cube"], Counting(), slices=list(range(8)))
    assert most <= 2 and len(double.seen) == 8


def test_progress_is_told_in_plain_words(double):
    told = []
    segment_slices(phantom("uint8"), ["cube"], double.client(max_in_flight=1), slices=[1, 2, 3], progress=lambda *step: told.append(step))
    assert told[0] == ("preparing", 0, 0) and told[-1] == ("slices", 3, 3)


def test_a_constant_volume_is_sent_with_a_warning(double):
    volume = Volume(np.full((4, 5, 6), 7, np.int16))
    for report in (
        segment_volume(volume, ["cube"], double.client()).report,
        segment_slices(volume, ["cube"], double.client(), slices=[0]).report,
    ):
        assert any("same value" in warning for warning in report["warnings"])
    assert len(double.seen) >= 2


@pytest.mark.parametrize("kind", ["is_picture", "is_film"])
def test_a_picture_is_not_for_the_3d_model_and_a_film_is_none_either(double, kind):
    volume = Volume(np.zeros((1, 8, 8), np.uint8), **{kind: True})
    with pytest.raises(InputError, match="medimageparse"):
        segment_volume(volume, ["cube"], double.client())
    assert segment_slices(volume, ["cube"], double.client(), slices=[0]).report["prompts"][0]["volume_ml"] is None


def test_a_color_volume_goes_as_luminance_in_3d_and_in_color_in_2d(double):
    voxels = np.zeros((3, 16, 16, 3), np.uint8)
    voxels[..., 1] = 100
    volume = Volume(voxels)
    report = segment_volume(volume, ["cube"], double.client(), slabs="none").report
    assert any("luminance" in warning for warning in report["warnings"])
    assert np.asarray(double.seen[0].nifti().dataobj).max() == round(0.587 * 100)
    segment_slices(volume, ["cube"], double.client(), slices=[1])
    assert double.seen[1].pixels()[512, 512].tolist() == [0, 100, 0]


def test_a_body_larger_than_the_endpoint_takes_is_cut_into_slabs_that_fit(double):
    noise = Volume(np.random.default_rng(0).integers(0, 256, (20, 40, 40), np.uint8))
    result = segment_volume(noise, ["cube"], double.client(body_limit=20_000))
    assert result.report["slabs"] > 1 and all(len(seen.body) <= 20_000 for seen in double.seen)
    assert any("larger than the endpoint takes" in warning for warning in result.report["warnings"])


def test_a_tall_volume_in_the_axis_trap_that_is_too_large_as_well_still_fits(double):
    noise = Volume(np.random.default_rng(0).integers(0, 256, (36, 40, 40), np.uint8))
    segment_volume(noise, ["cube"], double.client(body_limit=12_000))
    assert all(len(seen.body) <= 12_000 for seen in double.seen)


def test_nested_targets_sent_together_are_warned_of_and_not_when_sent_apart(double):
    together = segment_volume(phantom(), ["kidney", "left kidney"], double.client(), group="together").report["warnings"]
    apart = segment_volume(phantom(), ["kidney", "left kidney"], double.client(), group="each").report["warnings"]
    assert any("--group each" in warning for warning in together) and not any("--group each" in warning for warning in apart)


def test_raw_values_that_do_not_fit_a_picture_are_warned_of(double):
    volume = Volume(np.random.default_rng(0).integers(-500, 900, (3, 16, 16)).astype(np.int16))
    report = segment_slices(volume, ["cube"], double.client(), slices=[1], window="raw").report
    assert any("cut off" in warning for warning in report["warnings"]) and report["window"] == "raw values"


def test_a_slice_of_almost_nothing_beside_slices_of_probabilities_is_background():
    """A uint8 map whose largest value is 1 could be a mask; beside maps up to 255 it is a probability of 1 in 255."""
    calls = []

    def paint(_prompt, shape):
        calls.append(1)
        return np.full(shape, 1 / 255 if len(calls) == 2 else 0.9, np.float32)

    double = EndpointDouble(Painted(paint))
    volume = Volume(np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8))
    result = segment_slices(volume, ["haze"], double.client(max_in_flight=1), slices=[0, 1, 2], keep_probabilities=True)
    mask = result.prompts[0].mask.full()
    assert mask[0].all() and not mask[1].any() and mask[2].all()
    np.testing.assert_allclose(result.prompts[0].probability[1], 1 / 255, atol=1e-3)
    np.testing.assert_allclose(result.prompts[0].probability[0], 0.9, atol=3e-3)


def test_a_vote_is_the_majority_of_four_and_says_how_far_they_agree():
    """The model sees the object in three of the four turns only."""
    calls = []

    def paint(_prompt, shape):
        calls.append(1)
        return np.zeros(shape, bool) if len(calls) == 2 else np.ones(shape, bool)

    double = EndpointDouble(Painted(paint), Form(values="masks"))
    picture = Volume(np.random.default_rng(0).integers(0, 256, (1, 20, 20), np.uint8), is_picture=True)
    result = segment_slices(picture, ["all"], double.client(max_in_flight=1), orient="vote")
    assert len(double.seen) == 4 and result.prompts[0].mask.full().all()
    assert result.prompts[0].agreement == result.report["prompts"][0]["agreement"] == 0.75
    assert result.report["orient"] == "vote"
    sent = [seen.pixels() for seen in double.seen]
    for turns in range(4):
        np.testing.assert_array_equal(sent[turns], np.rot90(sent[0], turns))


def test_prompts_of_one_way_of_lying_share_a_request_and_each_separates_them(double):
    volume = phantom("uint8", modality="CT")
    prompts = ["liver", "spleen", "kidney tumor", "unicorn"]
    segment_slices(volume, prompts, double.client(), slices=[4])
    assert sorted(seen.texts[0] for seen in double.seen) == ["kidney tumor & unicorn", "liver & spleen"]
    double.seen.clear()
    segment_slices(volume, prompts, double.client(), slices=[4], group="each")
    assert sorted(seen.texts[0] for seen in double.seen) == sorted(prompts)


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_trained_means_radiological_in_planes_that_were_not_trained_and_the_report_says_so(double, plane):
    report = segment_slices(phantom("uint8", modality="CT"), ["liver"], double.client(), slices=[4], plane=plane).report
    assert report["orient"] == "trained (radiological: liver)" and report["plane"] == plane


def coronal(slices: int) -> Volume:
    """Coronal slices of 50 x 70 pixels: the array's first axis runs to the front."""
    ijk_to_ras = np.array([[-0.8, 0, 0, 0], [0, 0, 2.5, 0], [0, -0.9, 0, 0], [0, 0, 0, 1]])
    return Volume(np.random.default_rng(1).integers(1, 255, (slices, 50, 70), dtype=np.uint8), ijk_to_ras)


def test_a_volume_of_one_slice_is_that_slice_whatever_the_default_plane(double):
    result = segment_slices(coronal(1), ["cube"], double.client())
    assert len(double.seen) == 1 and result.report["plane"] == "coronal" and result.report["slices"] == [0]


@pytest.mark.parametrize("count", [1, 6])
def test_a_plane_along_which_slices_are_strips_is_refused_before_anything_is_sent(double, count):
    with pytest.raises(UsageError, match=r"strip of .* pixels; its own slices are coronal"):
        segment_slices(coronal(count), ["cube"], double.client(), slices=list(range(50)), plane="axial")
    assert not double.seen
