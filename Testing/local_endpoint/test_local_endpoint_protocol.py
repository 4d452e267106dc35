"""The server's side of the wire: what it takes, what it refuses, and that its replies have the contract's forms."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import sys
import zlib

import numpy as np
import pytest

from MedImageParseLib.engines.classical.engine import DESCRIBER_NAME, ENGINE_NAME
from MedImageParseLib.local_endpoint import protocol, score

SIXTEEN_CLASSES = {
    "liver", "lung", "kidney", "pancreas", "heart anatomies", "brain anatomies", "eye anatomies", "vessel", "other organ", "tumor",
    "infection", "other lesion", "fluid disturbance", "other abnormality", "histology structure", "other",
}  # fmt: skip


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def picture(kind: str = "PNG", mode: str = "L") -> bytes:
    from PIL import Image

    row, column = np.indices((96, 128))
    pixels = np.where(np.hypot(row - 48, column - 60) < 30, 200, 3).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, format=kind)
    return buffer.getvalue()


def body(rows, params=None, key="input_data", columns=("image", "text")) -> str:
    request = {key: {"columns": list(columns), "index": list(range(len(rows))), "data": rows}}
    return json.dumps(request if params is None else request | {"params": params})


def volume_file(folder, name="volume.nii.gz"):
    """A file that nibabel wrote, with its affine: oblique, left-handed, unequal voxels."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    voxels = np.full((40, 44, 16), -1000, np.int16)
    voxels[8:32, 8:36] = 40
    affine = np.array([[-3.9, 0.4, 0.1, 7], [0.4, 3.8, 0.5, -3], [0, -0.6, 5.0, 11], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / name)
    return (folder / name).read_bytes(), voxels, affine


@pytest.mark.parametrize("kind, mode", [("PNG", "L"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB")])
def test_a_picture_with_text_is_answered_as_medimageparse_does(kind, mode):
    data = picture(kind, mode)
    reply = protocol.answer_score(body([[encoded(data), "object & unicorn & liver"]]), "medimageparse")
    assert len(reply) == 1 and set(reply[0]) == {"image_features", "text_features", "engine"}
    inner = json.loads(reply[0]["image_features"])
    assert inner["shape"] == [3, 96, 128] and inner["dtype"] == "uint8"
    masks = np.frombuffer(base64.b64decode(inner["data"], validate=True), np.uint8).reshape(3, 96, 128)
    assert set(np.unique(masks)) == {0, 255} and masks[0].any() and not masks[1].any()
    assert len(reply[0]["text_features"]) == 3 and set(reply[0]["text_features"]) <= SIXTEEN_CLASSES
    assert reply[0]["engine"] == ENGINE_NAME


def test_each_row_of_a_picture_request_is_answered_in_order():
    wide = protocol.answer_score(body([[encoded(picture()), "object"], [encoded(picture()), "unicorn & object"]]), "medimageparse")
    assert [json.loads(row["image_features"])["shape"][0] for row in wide] == [1, 2]


@pytest.mark.parametrize("name", ["volume.nii.gz", "volume.nii"])
def test_a_volume_with_text_is_answered_with_a_labelmap_on_its_own_grid(tmp_path, name):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    data, voxels, affine = volume_file(tmp_path, name)
    reply = protocol.answer_score(body([[encoded(data), "unicorn & body"]]))
    assert set(reply[0]) == {"nifti_file", "engine"}
    packed = base64.b64decode(json.loads(reply[0]["nifti_file"])["data"], validate=True)
    assert packed[:2] == b"\x1f\x8b"
    (tmp_path / "reply.nii.gz").write_bytes(packed)
    image = nibabel.load(tmp_path / "reply.nii.gz")
    assert image.shape == voxels.shape and image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    labels = np.asarray(image.dataobj)
    assert set(np.unique(labels)) == {0, 2}
    overlap = np.count_nonzero((labels == 2) & (voxels == 40))
    assert 2 * overlap / (np.count_nonzero(labels) + np.count_nonzero(voxels == 40)) > 0.9


@pytest.mark.parametrize("empty", ["", None])
def test_pictures_without_text_are_answered_as_medimageinsight_does(empty):
    reply = protocol.answer_score(body([[encoded(picture()), empty], [encoded(picture("JPEG")), empty]]))
    assert len(reply) == 2
    for row in reply:
        assert len(row["image_features"]) == 1 and len(row["image_features"][0]) == 1024
        assert np.linalg.norm(row["image_features"][0]) == pytest.approx(1.0) and row["scaling_factor"] == 4.513362
        assert row["engine"] == "local demo engine 2, not MedImageInsight"
    without = protocol.answer_score(body([[encoded(picture()), ""]], params={"get_scaling_factor": False}))
    assert "scaling_factor" not in without[0]


def test_mlflow_form_gets_the_same_rows_inside_predictions():
    rows = [[encoded(picture()), "object"]]
    assert protocol.answer_invocations(body(rows, key="dataframe_split"), "medimageparse") == {
        "predictions": protocol.answer_score(body(rows), "medimageparse")
    }


def test_base64_with_line_feeds_is_read():
    data = base64.encodebytes(picture()).decode()
    assert "\n" in data.strip()
    plain = protocol.answer_score(body([[encoded(picture()), "object"]]), "medimageparse")
    assert protocol.answer_score(body([[data, "object"]]), "medimageparse") == plain


@pytest.mark.parametrize("image", ["", None])
@pytest.mark.parametrize("params", [None, {"get_scaling_factor": True}])
def test_text_alone_is_refused_because_there_is_no_text_encoder(image, params):
    with pytest.raises(protocol.NotOffered, match="no text encoder"):
        protocol.answer_score(body([[image, "x-ray chest anteroposterior Pneumonia"]], params=params))


def nifti_bomb() -> bytes:
    """A few hundred bytes of gzip whose header is sound and promises 30000^3 voxels."""
    header = bytearray(352)
    header[0:4] = (348).to_bytes(4, "little")
    header[40:48] = np.array([3, 30000, 30000, 30000], "<i2").tobytes()
    header[48:56] = np.array([1, 1, 1, 1], "<i2").tobytes()
    header[70:74] = np.array([2, 8], "<i2").tobytes()
    header[76:92] = np.array([1, 1, 1, 1], "<f4").tobytes()
    header[108:112] = np.array([352], "<f4").tobytes()
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + bytes(100_000))


def png_bomb() -> bytes:
    """A PNG whose header promises 60000 x 60000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    size = (60000).to_bytes(4, "big")
    header = chunk(b"IHDR", size + size + b"\x08\x00\x00\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("cells", [[encoded(nifti_bomb()), "liver"], [encoded(png_bomb()), "liver"], [encoded(png_bomb()), ""]])
def test_an_image_that_would_unpack_to_gigabytes_is_refused(cells):
    resource = pytest.importorskip("resource", reason="peak memory is read with the resource module, which Windows does not have")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(protocol.BadRequest):
        protocol.answer_score(body([cells]), "medimageparse" if cells[1] and cells[0].startswith("iVBOR") else "")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize(
    "text, said",
    [
        ("hello", "not JSON"), ("", "not JSON"), ("[]", "not an object"), ("[" * 100_000, "not JSON"), ("{}", "input_data"),
        (json.dumps({"dataframe_split": {}}), "/invocations"), (json.dumps({"input_data": [[1]]}), "must be an object"),
        (body([["x"]], columns=("image",)), "columns"), (body([["x", "y"]], columns=("picture", "text")), "columns"),
        (body([]), "no rows"), (body([["a"]]), "one cell for each column"), (body([[1, "x"]]), "not a string"),
        (body([["eHg=", 5]]), "not a string"), (body([["", ""]]), "neither"), (body([["eHg=", "a"], ["", "b"]]), "separate requests"),
        (body([["a", "liver"]]), "not base64"), (body([["eHh4", "liver"]]), "neither PNG, JPEG nor NIfTI"),
        (body([["eHh4", " & "]]), "no prompt"), (body([[encoded(picture()[:100]), ""]]), "damaged"),
        (body([[encoded(b"\x1f\x8bxxxxxx"), "liver"]]), "cannot be read"),
        (body([[encoded(picture()), ""]], params={"get_scaling_factor": "true"}), "true or false"),
        (body([[encoded(gzip.compress(b"x" * 400)), ""]]), "PNG or JPEG"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_with_one_sentence(text, said):
    with pytest.raises(protocol.BadRequest) as refusal:
        protocol.answer_score(text)
    sentence = str(refusal.value)
    assert said in sentence and "\n" not in sentence and sentence.endswith(".")


def test_the_entry_script_loads_by_file_name_from_another_folder(tmp_path):
    code = (
        "import importlib.util, json, sys\n"
        f"spec = importlib.util.spec_from_file_location('entry_module', {score.__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "module.init()\n"
        "print(json.dumps(module.run(sys.stdin.read())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, input=body([[encoded(picture()), ""]]), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["engine"] == DESCRIBER_NAME


PICTURE, VOLUME = encoded(picture()), encoded(gzip.compress(bytes(nifti_bomb()[:0]) + b"x" * 400))
FITS = {
    "a picture with text": ([PICTURE, "object"], None, ()),
    "a picture with text and empty params, as MedImageInsight's own sample": ([PICTURE, "x-ray chest"], {}, ()),
    "a picture with text and MedImageInsight's parameter": ([PICTURE, "x-ray chest"], {"get_scaling_factor": True}, ("medimageinsight",)),
    "a picture alone": ([PICTURE, ""], None, ("medimageinsight",)),
    "a picture with blanks": ([PICTURE, "  "], None, ("medimageinsight",)),
    "a picture with a separator and no prompt": ([PICTURE, " & "], None, ("medimageinsight",)),
    "text alone": (["", "x-ray chest"], None, ("medimageinsight",)),
    "a volume with text": ([VOLUME, "liver"], None, ("medimageparse3d",)),
}


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("model", ["", *protocol.LOCAL_NAMES])
def test_a_request_is_answered_at_the_address_of_a_model_that_takes_it_and_refused_at_the_others(name, model):
    cells, params, only = FITS[name]
    takes = only or ("medimageparse", "medimageinsight")
    try:
        protocol.answer_score(body([cells], params=params), model)
        said = ""
    except protocol.BadRequest as refusal:
        said = "damaged" if "cannot be read" in str(refusal) else "bad"
    except protocol.WrongAddress as refusal:
        said = "address"
        assert str(refusal).endswith(".") and "/score" in str(refusal)
    except protocol.NotOffered as refusal:
        said = "no text"
        assert "no text encoder" in str(refusal)
    if model in takes or (not model and len(takes) == 1):
        assert said in ("", "no text", "damaged")  # each but the last is how the model itself would answer; the volume is made up
    else:
        assert said in ("address", "bad")


@pytest.mark.parametrize("prompts, side", [(250_000, 64), (2_000, 64), (700, 400), (60, 1300)])
def test_a_small_request_cannot_ask_for_a_large_reply(prompts, side):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(buffer, "PNG")
    request = body([[encoded(buffer.getvalue()), " & ".join(["a"] * prompts)]])
    if prompts * side * side <= protocol.MOST_MASK_BYTES and prompts <= protocol.MOST_PROMPTS:
        assert len(json.dumps(protocol.answer_score(request, "medimageparse"))) < 1.4 * protocol.MOST_MASK_BYTES
    else:
        with pytest.raises(protocol.BadRequest, match="prompts"):
            protocol.answer_score(request, "medimageparse")


@pytest.mark.parametrize("rows", [[["", "a"]] * 1025, [[PICTURE, ""]] * 1025])
def test_too_many_rows_are_refused(rows):
    with pytest.raises(protocol.BadRequest, match="fewer"):
        protocol.answer_score(body(rows))


def test_json_of_many_small_values_is_refused_before_it_unfolds():
    with pytest.raises(protocol.BadRequest, match="values"):
        protocol.answer_score('{"input_data":[' + ",".join(["[]"] * 200_000) + "]}")


def test_volumes_of_one_request_share_one_bound(monkeypatch):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    image = nibabel.Nifti1Image(np.zeros((20, 20, 20), np.uint8), np.eye(4))
    row = [encoded(gzip.compress(image.to_bytes())), "body"]
    monkeypatch.setattr(protocol, "MOST_VOLUME_BYTES", 20_000)
    assert len(protocol.answer_score(body([row, row]))) == 2
    with pytest.raises(protocol.BadRequest, match="volume"):
        protocol.answer_score(body([row, row, row]))
