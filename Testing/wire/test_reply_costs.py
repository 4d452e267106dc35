"""What a reply may cost: memory that follows from what was sent, time that is linear in its length, and no evaluation of its text."""

from __future__ import annotations

import ast
import base64
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.forms import PICTURE_FORMS, VOLUME_FORMS, picture_row, volume_row, wrap
from MedImageParseLib.errors import ReplyError
from MedImageParseLib.wire import medimageinsight, medimageparse, medimageparse3d
from MedImageParseLib.wire.literal import DEPTH, NotALiteral, read_literal

SHAPE_KJI = (5, 6, 7)
SIDE = 16


def row_of(cell: str, **more: object) -> bytes:
    return json.dumps([{"image_features": cell, **more}]).encode()


@pytest.mark.parametrize("name", VOLUME_FORMS)
def test_every_documented_3d_form_is_shorter_than_the_limit_that_its_request_sets(name):
    masks = [np.random.default_rng(3).random((90, 80, 70)) > 0.5]
    body = wrap([volume_row(masks, np.eye(4), VOLUME_FORMS[name])], VOLUME_FORMS[name], "azureml")
    assert len(body) < medimageparse3d.largest_reply(1, (70, 80, 90))


@pytest.mark.parametrize("name", PICTURE_FORMS)
def test_every_documented_2d_form_is_shorter_than_the_limit_that_its_request_sets(name):
    maps = [np.random.default_rng(3).random((512, 512)) > 0.5 for _ in range(4)]
    body = wrap([picture_row(maps, PICTURE_FORMS[name])], PICTURE_FORMS[name], "azureml")
    assert len(body) < medimageparse.largest_reply(1, 4, (512, 512))


def test_the_limit_grows_with_what_is_sent_and_stays_below_two_gib():
    one = medimageparse.largest_reply(1, 1, (1024, 1024))
    assert one < medimageparse.largest_reply(1, 2, (1024, 1024)) < 2.1 * one
    assert one < 16 * 2**20
    assert medimageparse3d.largest_reply(1, (8, 64, 64)) < 2 * 2**20
    assert medimageparse3d.largest_reply(40, (500, 512, 512)) == 2 * 2**30


def test_vectors_written_with_all_their_digits_are_shorter_than_the_limit():
    vectors = np.random.default_rng(5).normal(size=(8, 1024)).tolist()
    body = json.dumps([{"image_features": [vector], "text_features": vector} for vector in vectors]).encode()
    assert len(body) < medimageinsight.largest_reply(8)
    assert medimageinsight.parse_reply(body, 8, "image_features").vectors.shape == (8, 1024)


@pytest.mark.parametrize(
    "cell",
    ["[" * 2_000_000, "[[],[],[]," * 200_000, "{}," * 700_000, "0," * 1_000_000, '"a":' * 500_000],
    ids=["nested", "lists", "objects", "numbers", "keys"],
)
@pytest.mark.parametrize("is_string", [True, False])
def test_json_of_very_many_values_is_refused_before_it_is_unfolded(cell, is_string):
    body = row_of(cell) if is_string else b'[{"image_features": [' + cell.encode() + b"]}]"
    tracemalloc.start()
    with pytest.raises(ReplyError, match="far more than it can need"):
        medimageparse.parse_reply(body, 1, 1, (SIDE, SIDE))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(body)  # unfolded it would be thirty times as large and more


@pytest.mark.parametrize("letter", ["\U0001f600", "\\ud83d\\ude00"], ids=["bytes", "escape"])
def test_a_long_reply_with_a_letter_that_would_make_it_four_times_as_large_is_refused(letter):
    body = b'[{"image_features": "' + b"A" * 2**21 + letter.encode() + b'"}]'
    with pytest.raises(ReplyError, match="letters that no reply needs"):
        medimageparse.parse_reply(body, 1, 1, (SIDE, SIDE))


def test_text_features_of_more_than_64_kb_are_refused():
    data = {"data": base64.b64encode(bytes(SIDE * SIDE)).decode(), "shape": [1, SIDE, SIDE], "dtype": "uint8"}
    with pytest.raises(ReplyError, match="text_features"):
        medimageparse.parse_reply(row_of(json.dumps(data), text_features=["liver " * 20_000]), 1, 1, (SIDE, SIDE))


def test_a_row_of_vectors_longer_than_any_models_is_refused():
    body = json.dumps([{"image_features": [[0.5] * 200_000]}]).encode()
    with pytest.raises(ReplyError, match="far more than it can need"):
        medimageinsight.parse_reply(body, 1, "image_features")


READERS = [
    lambda body: medimageparse.parse_reply(body, 1, 1, (SIDE, SIDE)),
    lambda body: medimageparse3d.parse_reply(body, 1, SHAPE_KJI),
    lambda body: medimageinsight.parse_reply(body, 1, "image_features"),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("part", ["json.loads", "base64.b64decode", "read_literal"])
def test_memory_that_does_not_suffice_is_told_and_never_passes_for_a_reply(monkeypatch, read, part):
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(f"MedImageParseLib.wire.envelope.{part}", full)
    cell = (
        "{'data': 'AAAA', 'shape': [1], 'dtype': 'uint8'}"
        if part == "read_literal"
        else '{"data": "AAAA", "shape": [1, 16, 16], "dtype": "uint8"}'
    )
    if read is READERS[2]:
        monkeypatch.setattr("MedImageParseLib.wire.medimageinsight.np.asarray", full)
    with pytest.raises(ReplyError, match="not enough memory") as caught:
        read(json.dumps([{"image_features": cell, "nifti_file": cell}]).encode())
    assert caught.value.code == "memory" and caught.value.exit_status == 3


# ---------------------------------------------------------------- the form as Python writes it
LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(-1e9, 1e9)
    | st.text(st.sampled_from("aB0 {}[]():,'\"\\\n\r\tµ")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc'\"", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def depth(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max((depth(item) for item in inside), default=0)


@settings(max_examples=300, deadline=None)
@given(LITERALS)
def test_what_python_writes_is_read_as_python_reads_it(value):
    if depth(value) <= DEPTH:
        assert read_literal(repr(value)) == value
    else:
        with pytest.raises(NotALiteral):
            read_literal(repr(value))


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("{}[]():,'\"\\ nNTrue01.eE-+fbx#_*"), max_size=40))
def test_whatever_text_is_accepted_means_the_same_to_python(text):
    try:
        value = read_literal(text)
    except NotALiteral:
        return
    assert json.dumps(value) == json.dumps(ast.literal_eval(text.strip()))


@pytest.mark.parametrize(
    "text",
    ["f'{1}'", "b'a'", "'a' 'b'", "1+2", "1 if 1 else 2", "__import__('os')", "{1: 2}", "{**{}}", "'\\x41'", "'\\N{DIGIT ONE}'", "1_0", "0x10",
     "'a\nb'", "'a", "'a\\", "{'a'}", "{'a': 1", "[1, 2", "(1", "", "[,]", "nan", "[1 2]", "1" * 40],
)  # fmt: skip
def test_anything_beyond_the_small_grammar_is_refused(text):
    with pytest.raises(NotALiteral):
        read_literal(text)


def test_base64_with_a_line_break_after_every_76_letters_is_read():
    text = base64.encodebytes(np.random.default_rng(1).bytes(600_000)).decode()
    assert read_literal(repr({"data": text})) == {"data": text}


WORK = [
    lambda size: "{'data': f'" + "{1}" * size + "'}",
    lambda size: "'" + "\\n" * size + "'",
    lambda size: "'" + "\\'" * size,
    lambda size: "[" + "'\\n', " * size + "]",
    lambda size: '"' + "'" * size,
    lambda size: "(" * size,
    lambda size: "{" + "'a': " * size,
    lambda size: " " * size + "x",
    lambda size: "-" * size,
    lambda size: "1" * size,
    lambda size: "'" + "a" * size + "\\n" + "b" * size + "\n",
]


@pytest.mark.parametrize("number", range(len(WORK)))
def test_steps_over_a_hostile_text_do_not_grow_faster_than_its_length(number, monkeypatch):
    steps = []
    for size in (20_000, 40_000):
        steps.append(letters_looked_at(WORK[number](size), monkeypatch))
    assert steps[1] <= 2 * steps[0] + 2000


def letters_looked_at(text: str, monkeypatch) -> int:
    """How many letters the expressions of the reader walk over: what each could see at most, up to the first letter that ends it."""
    from MedImageParseLib.wire import literal

    seen = 0

    class Counting:
        def __init__(self, pattern: object) -> None:
            self.pattern = pattern

        def match(self, text: str, at: int) -> object:
            nonlocal seen
            ends = [place for place in (text.find(letter, at + 1) for letter in "\\\n'\"") if place >= 0]
            seen += min(ends, default=len(text)) - at
            return self.pattern.match(text, at)

    with monkeypatch.context() as patch:
        patch.setattr(literal, "_TOKEN", Counting(literal._TOKEN))
        patch.setattr(literal, "_PLAIN", {quote: Counting(pattern) for quote, pattern in literal._PLAIN.items()})
        try:
            literal.read_literal(text)
        except NotALiteral:
            pass
    return seen
