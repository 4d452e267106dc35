"""What requests say, and how the outside of a reply is read. The oracle is json.loads and the documented structures."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.endpoint import take_apart
from MedImageParseLib.errors import ReplyError
from MedImageParseLib.wire import envelope, medimageinsight, medimageparse, medimageparse3d

FRAME = {"azureml": "input_data", "mlflow": "dataframe_split"}
DIALECTS = tuple(FRAME)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_2d_request_is_the_documented_structure_with_one_row_a_picture(dialect):
    body = medimageparse.build_request([b"first", b"second"], "liver & left kidney", dialect)
    assert json.loads(body) == {
        FRAME[dialect]: {
            "columns": ["image", "text"],
            "index": [0, 1],
            "data": [["Zmlyc3Q=", "liver & left kidney"], ["c2Vjb25k", "liver & left kidney"]],
        }
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_3d_request_is_the_documented_structure_with_one_row(dialect):
    body = medimageparse3d.build_request(b"\x1f\x8bvolume", "liver", dialect)
    assert json.loads(body) == {
        FRAME[dialect]: {"columns": ["image", "text"], "index": [0], "data": [[base64.b64encode(b"\x1f\x8bvolume").decode(), "liver"]]}
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_insight_image_requests_leave_the_text_as_an_empty_string_and_ask_for_the_scaling_factor_with_a_boolean(dialect):
    outer = json.loads(medimageinsight.build_image_request([b"one", b"two"], dialect))
    assert outer[FRAME[dialect]]["data"] == [["b25l", ""], ["dHdv", ""]]
    assert outer["params"] == {"get_scaling_factor": True} and outer["params"]["get_scaling_factor"] is True


@pytest.mark.parametrize("dialect", DIALECTS)
def test_insight_text_requests_leave_the_image_as_an_empty_string_never_null(dialect):
    body = medimageinsight.build_text_request(["x-ray chest", "mri brain"], dialect)
    assert json.loads(body)[FRAME[dialect]] == {
        "columns": ["image", "text"],
        "index": [0, 1],
        "data": [["", "x-ray chest"], ["", "mri brain"]],
    }
    assert b"null" not in body


@given(st.lists(st.tuples(st.binary(max_size=200), st.text(max_size=40)), min_size=1, max_size=4), st.sampled_from(DIALECTS))
def test_any_bytes_and_any_text_arrive_as_they_were(rows, dialect):
    body = envelope.build_body(rows, dialect)
    assert body.isascii()
    seen = take_apart(body)
    assert (seen.dialect, seen.images, seen.texts) == (dialect, [image for image, _text in rows], [text for _image, text in rows])


def test_base64_in_requests_has_no_line_breaks():
    assert b"\\n" not in medimageparse3d.build_request(bytes(1000), "liver", "azureml")


@pytest.mark.parametrize("wrapped,form", [([{"a": 1}], "list"), ({"predictions": [{"a": 1}]}, "predictions")])
def test_rows_are_found_in_either_outer_form_and_the_form_is_named(wrapped, form):
    rows = envelope.parse_rows(json.dumps(wrapped).encode(), 1)
    assert rows.rows == [{"a": 1}] and rows.form == form


@pytest.mark.parametrize(
    "said",
    [
        {"message": "An unexpected error occurred"},
        {"error": {"message": "An unexpected error occurred"}},
        {"error": "An unexpected error occurred"},
    ],
)
def test_an_error_object_with_status_200_is_repeated_to_the_person(said):
    with pytest.raises(ReplyError, match="An unexpected error occurred"):
        envelope.parse_rows(json.dumps(said).encode(), 1)


_LONG = "x" * 5000
NONSENSE = {
    "HTML": b"<!DOCTYPE html><html>" + _LONG.encode(),
    "nothing": b"",
    "truncated JSON": json.dumps([{"nifti_file": _LONG}]).encode()[:-40],
    "bytes that are no text": bytes(range(128, 256)) * 10,
    "a number": b"17",
    "null": b"null",
    "a string": json.dumps(_LONG).encode(),
    "an object": json.dumps({"result": _LONG}).encode(),
    "predictions that are no list": json.dumps({"predictions": {"a": _LONG}}).encode(),
    "an empty list": b"[]",
    "two rows for one": json.dumps([{"a": _LONG}, {"b": 1}]).encode(),
    "rows that are no objects": json.dumps([[_LONG]]).encode(),
    "a row without the key": json.dumps([{"pred_seg_mask": _LONG}]).encode(),
    "deep nesting": b"[" * 200_000,
    "a huge whole number": b"[" + b"9" * 10_000 + b"]",
}


def quoted_part(error: ReplyError, body: bytes) -> int:
    """How many characters of the reply the sentence repeats, at the most."""
    longest = max((len(run) for run in str(error).replace("'", " ").replace('"', " ").split() if "x" * 20 in run), default=0)
    return longest


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_a_typed_error_that_quotes_at_most_200_characters(name):
    body = NONSENSE[name]
    for parse in (
        lambda: medimageparse3d.parse_reply(body, 1, (2, 3, 4)),
        lambda: medimageparse.parse_reply(body, 1, 1, (8, 8)),
        lambda: medimageinsight.parse_reply(body, 1, "image_features"),
    ):
        with pytest.raises(ReplyError) as caught:
            parse()
        assert quoted_part(caught.value, body) <= 200 and len(str(caught.value)) < 450
        assert "\n" not in str(caught.value)


def test_a_web_page_is_called_a_web_page():
    with pytest.raises(ReplyError, match="HTML"):
        envelope.parse_rows(b"  <html><body>Sign in</body></html>", 1)


def test_a_quotation_is_one_line_without_control_characters():
    assert envelope.quote("first\r\nsecond\x1b[31m\x00third") == "first second [31m third"


def insight_reply(**row) -> bytes:
    return json.dumps([row]).encode()


def unit_vector(seed: int = 0) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=1024)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("column", ["image_features", "text_features"])
@pytest.mark.parametrize(
    "nest", [lambda vector: vector, lambda vector: [vector], lambda vector: [[vector]]], ids=["flat", "nested", "twice nested"]
)
def test_insight_vectors_are_flattened_whatever_their_nesting(column, nest):
    vector = unit_vector()
    reply = medimageinsight.parse_reply(insight_reply(**{column: nest(vector.tolist()), "scaling_factor": 4.25}), 1, column)
    assert reply.vectors.shape == (1, 1024) and reply.vectors.dtype == np.float32
    np.testing.assert_allclose(reply.vectors[0], vector, rtol=1e-6)
    assert reply.scaling_factor == 4.25 and "scaling_factor given" in reply.form


def test_a_missing_scaling_factor_is_the_recorded_one_and_the_form_says_so():
    reply = medimageinsight.parse_reply(insight_reply(image_features=[unit_vector().tolist()]), 1, "image_features")
    assert reply.scaling_factor == 4.513362 and "scaling_factor absent" in reply.form


@pytest.mark.parametrize("factor", [True, "4.5", None, [4.5], float("nan"), 10**400], ids=lambda factor: str(factor)[:5])
def test_a_scaling_factor_that_is_no_number_counts_as_absent(factor):
    reply = medimageinsight.parse_reply(insight_reply(image_features=[1.0, 0.0], scaling_factor=factor), 1, "image_features")
    assert reply.scaling_factor == 4.513362


@pytest.mark.parametrize(
    "cell",
    [None, [], [[]], "abc", {"data": 1}, [1.0, None], [1.0, float("nan")], [[1.0], [1.0, 2.0]], [10**400], [{"a": 1}]],
    ids=lambda cell: str(cell)[:12],
)
def test_features_that_are_no_vector_are_a_typed_error(cell):
    with pytest.raises(ReplyError):
        medimageinsight.parse_reply(insight_reply(image_features=cell), 1, "image_features")


def test_vectors_of_different_lengths_are_a_typed_error():
    body = json.dumps([{"image_features": [1.0, 0.0]}, {"image_features": [1.0]}]).encode()
    with pytest.raises(ReplyError, match="lengths"):
        medimageinsight.parse_reply(body, 2, "image_features")
