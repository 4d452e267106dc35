"""What a result is to a person at a prompt or in a notebook, and what a wrong call is told."""

from __future__ import annotations

import inspect
import io
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from cli_support import write_dicom
from exactness_support import SHEAR
from PIL import Image
from places import LIBRARY
from pydicom import dcmread

import MedImageParseLib
from MedImageParseLib import InputError, UsageError, Volume, check, classify, embed, index_add, segment
from MedImageParseLib.api.segment import connect
from MedImageParseLib.cli.main import main
from MedImageParseLib.imaging.volume import CroppedMask


@pytest.fixture
def result(phantom, url):
    image = (phantom.voxels.transpose(2, 1, 0), phantom.affine)
    return segment(image, ["cube", "rod", "nothing <b>there</b>"], model="medimageparse3d", window="raw", endpoint=url)


def test_a_prompt_is_found_by_text_name_or_place(result):
    assert result["cube"] is result["CUBE"] is result[0] is result.prompts[0]
    assert result["rod"] is result["Rod"] is result[1] is result[-2]
    assert "cube" in result and "heart" not in result
    assert [prompt.name for prompt in result] == [prompt.name for prompt in result.prompts] and len(result) == 3


@pytest.mark.parametrize("key", ["heart", 3, None])
def test_a_prompt_that_is_not_there_is_told_what_there_is(result, key):
    with pytest.raises(UsageError, match=r"has no .*; it has cube, "):
        result[key]


def test_the_mask_as_a_numpy_array_is_the_full_mask(result, phantom):
    truth = (phantom.labels == 1).transpose(2, 1, 0)
    assert np.array_equal(np.asarray(result["cube"].mask), truth)
    assert np.asarray(result["cube"].mask, dtype=bool).dtype == np.bool_
    assert result["cube"].array.dtype == np.uint8
    assert not np.asarray(CroppedMask.empty((2, 3, 4))).any()
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        with pytest.raises(ValueError, match="without a copy"):
            np.asarray(result["cube"].mask, copy=False)


def test_the_table_has_a_row_a_prompt_with_the_volume_in_ml(result, phantom):
    rows = result.table()
    voxels = int((phantom.labels == 1).sum())
    assert [row["found"] for row in rows] == [True, True, False]
    assert rows[0]["voxels"] == voxels
    assert rows[0]["volume_ml"] == pytest.approx(voxels * abs(np.linalg.det(phantom.affine[:3, :3])) / 1000)


def test_it_shows_itself_in_one_short_line(result):
    assert re.fullmatch(r"<SegmentationResult: cube [\d.,]+ ml; .*not found>", repr(result))
    assert len(repr(result["cube"])) < 80 and len(repr(result.volume)) < 120
    assert "9x11x13" in repr(result.volume)


def test_a_notebook_shows_a_picture_and_plain_text_only(result):
    with Image.open(io.BytesIO(result._repr_png_())) as picture:
        assert picture.format == "PNG" and min(picture.size) > 100
        colours = {colour for _count, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert tuple(round(part * 255) for part in result["cube"].color) in colours
    page = result._repr_html_()
    assert "cube" in page and "data:image/png;base64," in page and "<b>" not in page


def test_a_sheared_mask_goes_to_nibabel_and_simpleitk_is_said_to_be_unable(phantom, url):
    affine = phantom.affine.copy()
    affine[:3, :3] = SHEAR @ np.diag([0.8, 1.1, 2.7])
    cube = segment((phantom.voxels.transpose(2, 1, 0), affine), "cube", model="medimageparse3d", endpoint=url)["cube"]
    np.testing.assert_allclose(cube.to_nibabel().affine, affine, atol=1e-4)
    with pytest.raises(InputError, match="right angles"):
        cube.to_sitk()


CUBE = Volume(np.zeros((4, 5, 6), np.int16))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda url: segment(CUBE, "cube", model="medimageparse3d", endpoint=url, windw="raw"), "segment has no option 'windw'; did you mean window?"),
        (lambda url: segment(CUBE, "cube", model="medimageparse3d", endpoint=url, time_out=3), "did you mean timeout?"),
        (lambda url: segment(CUBE, "cube", endpoint=url), "segment needs model"),
        (lambda url: segment(CUBE, "cube", "medimageparse3d", endpoint=url), "segment takes input and prompt without a name"),
        (lambda url: segment(CUBE, "cube", model="medimageparse3d", endpoint=url, window=5), "window is a text"),
        (lambda url: segment(CUBE, "cube", model="medimageparse", endpoint=url, slices=3), "slices is a text or a list of whole numbers"),
        (lambda url: segment(CUBE, None, model="medimageparse3d", endpoint=url), "prompt"),
        (lambda url: segment(CUBE, "cube", model="medimageparse4d", repeat=3, endpoint=url), "does not segment; give medimageparse3d"),
        (lambda url: segment(CUBE, [1], model="medimageparse3d", endpoint=url), "prompt is a text or several texts, not of the type list of int"),
        (lambda url: segment(CUBE, iter([1]), model="medimageparse3d", endpoint=url), "A prompt is a text"),
        (lambda url: segment(CUBE, "cube", model="medimageparse3d", endpoint=url, output=5), "output is a text or a path"),
        (lambda url: segment(CUBE, "cube", model="medimageparse3d", endpoint=url, timeout="long"), "timeout is a number"),
        (lambda url: segment(CUBE, "cube", model="medimageparse3d", endpoint=url, series="2"), "A series is chosen in a DICOM folder"),
        (lambda url: segment(CUBE, "cube", model="medimageparse3d", endpoint=url, sends_image_data=False), "has no option 'sends_image_data'"),
        (lambda url: embed(CUBE, endpoint=url, every="2"), "every is a whole number"),
        (lambda url: embed(CUBE, endpoint=url, evry=2), "embed has no option 'evry'; did you mean every?"),
        (lambda url: index_add("i.mipindex", CUBE, endpoint=url, thumbnail=False), "did you mean thumbnails?"),
        (lambda url: classify(CUBE, lables="x.csv", endpoint=url), "did you mean labels"),
        (lambda url: check(url, modle="auto"), "check has no option 'modle'; did you mean model?"),
        (lambda url: connect(url, keyfile="k"), "connect has no option 'keyfile'; did you mean key_file"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_sentence_and_nothing_is_sent(call, words, served, url):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        call(url)
    assert "\n" not in str(caught.value) and not served[0].seen


OBJECTS = {"client", "progress", "cancellation", "connection", "options", "tell", "on_change", "show_device_code"}
CALLS = {
    f"{name}({parameter.name})": (function, parameter.name)
    for name in MedImageParseLib.__all__
    if inspect.isfunction(function := getattr(MedImageParseLib, name))
    for parameter in inspect.signature(function).parameters.values()
    if parameter.name not in OBJECTS
}


@pytest.mark.parametrize("call", CALLS)
def test_a_value_of_a_wrong_type_is_one_sentence_for_every_option_of_every_function(call):
    function, option = CALLS[call]
    parameters = inspect.signature(function).parameters.values()
    example = {"int": 3, "BatchEndpoint": SimpleNamespace(name="x")}
    values = {
        each.name: example.get(each.annotation, "x") for each in parameters if each.default is each.empty and each.name not in OBJECTS
    }
    with pytest.raises(UsageError, match=rf"The option {option} is |no image that is taken here|A path is to be read first"):
        function(**(values | {option: object()}))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["long", "zero"])
@pytest.mark.parametrize("function", ["embed", "index_info", "index_export", "batch", "evaluate", "classify"])
def test_a_path_that_no_file_system_takes_is_one_sentence(function, name, url, tmp_path):
    calls = {
        "embed": lambda: embed(name, endpoint=url),
        "index_info": lambda: MedImageParseLib.index_info(name),
        "index_export": lambda: MedImageParseLib.index_export(name, tmp_path / "v.npz"),
        "batch": lambda: MedImageParseLib.batch(name, "cube", model="medimageparse3d", output_dir=tmp_path / "o", endpoint=url),
        "evaluate": lambda: MedImageParseLib.evaluate(name, name),
        "classify": lambda: classify(name, label=["a", "b"], endpoint=url),
    }
    with pytest.raises((UsageError, InputError)) as caught:
        calls[function]()
    assert "\n" not in str(caught.value)


def test_the_package_has_volume_and_the_errors_and_a_marker_for_type_checkers():
    for name in ("Volume", "MedImageParseError", "UsageError", "InputError", "EndpointError", "Cancelled", "PartlyDone"):
        assert name in MedImageParseLib.__all__ and isinstance(getattr(MedImageParseLib, name), type)
    assert issubclass(MedImageParseLib.UsageError, MedImageParseLib.MedImageParseError)
    assert (LIBRARY / "MedImageParseLib" / "py.typed").is_file()
    assert "MedImageParseLib/py.typed" in (LIBRARY / "CMakeLists.txt").read_text()


def test_asking_what_an_image_is_imports_no_library():
    code = (
        "import sys, numpy as np; from MedImageParseLib import Volume; from MedImageParseLib.api.inputs import as_volume;"
        "as_volume((np.zeros((2, 3, 4)), np.eye(4)));"
        "print([name for name in ('nibabel', 'SimpleITK', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=LIBRARY)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture
def two_series(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for series, slices in (("1.2.3.1", 4), ("1.2.3.2", 6)):
        for number in range(1, slices + 1):
            path = folder / f"{series}-{number}.dcm"
            write_dicom(path, series, number)
            dataset = dcmread(path)
            dataset.SeriesNumber = {"1.2.3.1": 7, "1.2.3.2": 9}[series]
            dataset.save_as(path)
    return folder


def test_a_series_of_a_folder_is_chosen_by_its_uid_or_number(two_series, url):
    by_uid = {
        uid: segment(two_series, "cube", model="medimageparse3d", endpoint=url, series=uid).volume.shape_kji[0]
        for uid in ("1.2.3.1", "1.2.3.2")
    }
    assert by_uid == {"1.2.3.1": 4, "1.2.3.2": 6}
    for number, slices in ((7, 4), ("9", 6)):
        result = segment(two_series, "cube", model="medimageparse3d", endpoint=url, series=number)
        assert result.volume.shape_kji[0] == slices
    with pytest.raises(InputError, match="no series has the UID or number 1"):
        segment(two_series, "cube", model="medimageparse3d", endpoint=url, series=1)


def test_results_in_dicom_refer_to_the_chosen_one_of_two_series_in_the_same_place(tmp_path, url):
    pytest.importorskip("highdicom", reason="highdicom is not installed: no DICOM results")
    for series in ("1.2.3.1", "1.2.3.2"):
        for number in range(1, 5):
            write_dicom(tmp_path / f"{series}-{number}.dcm", series, number)
    for series in ("1.2.3.1", "1.2.3.2"):
        out = tmp_path.parent / f"{tmp_path.name}-{series}.dcm"
        result = segment(tmp_path, "cube", model="medimageparse3d", endpoint=url, series=series, dicom_seg=out)
        assert result["cube"].found
        assert dcmread(out).ReferencedSeriesSequence[0].SeriesInstanceUID == series


def test_the_command_line_chooses_series_and_frame(two_series, phantom, url, tmp_path, capsys):
    import nibabel as nib

    words = ["--model", "medimageparse3d", "--window", "raw", "--prompt", "cube", "--endpoint", url, "--labels"]
    assert main(["segment", str(two_series), *words, str(tmp_path / "a.nii.gz"), "--series", "1.2.3.2"]) == 0
    assert nib.load(tmp_path / "a.nii.gz").shape[2] == 6
    nib.save(nib.Nifti1Image(np.stack([0 * phantom.voxels, phantom.voxels], axis=-1), phantom.affine), tmp_path / "four.nii.gz")
    assert main(["segment", str(tmp_path / "four.nii.gz"), *words, str(tmp_path / "b.nii.gz"), "--frame", "1"]) == 0
    assert np.array_equal(np.asarray(nib.load(tmp_path / "b.nii.gz").dataobj) == 1, phantom.labels == 1)
    assert main(["segment", str(tmp_path / "four.nii.gz"), *words, str(tmp_path / "c.nii.gz"), "--frame", "2"]) == 2
    assert "no frame 2" in capsys.readouterr().err
