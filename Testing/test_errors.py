"""Errors as templates with parameters: the English sentence, a translated one, and what programs look at."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedImageParseLib.errors import (
    Cancelled,
    ConsentError,
    EndpointError,
    InputError,
    MedImageParseError,
    PartlyDone,
    ReplyError,
    UsageError,
)

GERMAN = {"The file {path} does not exist.": "Es gibt keine Datei {path}.", "Kept; {failure}": "Behalten; {failure}"}


def test_error_with_parameters_is_its_english_sentence_and_keeps_template_and_parameters():
    error = UsageError("The file {path} does not exist.", path="a{b}.nii")
    assert str(error) == "The file a{b}.nii does not exist."
    assert (error.template, error.params) == ("The file {path} does not exist.", {"path": "a{b}.nii"})


def test_finished_sentence_keeps_its_braces():
    assert str(UsageError("{'a': 1} is no {window}.")) == "{'a': 1} is no {window}."


def test_sentence_is_translated_with_its_parameters_and_errors_inside_it():
    inner = InputError("The file {path} does not exist.", path="ct.nii")
    assert inner.sentence(GERMAN.get) == "Es gibt keine Datei ct.nii."
    outer = PartlyDone("Kept; {failure}", failure=inner)
    assert str(outer) == "Kept; The file ct.nii does not exist."
    assert outer.sentence(GERMAN.get) == "Behalten; Es gibt keine Datei ct.nii."


@pytest.mark.parametrize("translation", ["", None, "{other}", "{0}", "{path", "{path.secret}"])
def test_translation_that_does_not_fit_leaves_the_english_sentence(translation):
    assert UsageError("No {path}.", path="x").sentence(lambda _template: translation) == "No x."


@pytest.mark.parametrize(
    ("kind", "word", "status"),
    [(UsageError, "usage", 2), (InputError, "input", 2), (ConsentError, "usage", 2), (EndpointError, "endpoint", 3), (ReplyError, "endpoint", 3),
     (Cancelled, "cancelled", 130), (PartlyDone, "endpoint", 4), (MedImageParseError, "endpoint", 3)],
)  # fmt: skip
def test_kind_and_exit_status_belong_to_the_class_and_code_says_more(kind, word, status):
    error = kind("A sentence.", code="special")
    assert (kind.kind, error.kind, error.exit_status, error.code) == (word, word, status, "special")
    assert kind("A sentence.").code


def test_what_stopped_the_rest_gives_a_partly_done_run_its_kind():
    assert PartlyDone("Kept.", cause=InputError("Broken.")).kind == "input"


@given(st.text(), st.text(), st.integers(0, 599))
def test_error_travels_between_processes_whole(template, value, status):
    error = EndpointError("It said {said}; " + template.replace("{", "").replace("}", ""), code="x", status=status, said=value)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is EndpointError and str(copy) == str(error)
    assert (copy.template, copy.params, copy.code, copy.status) == (error.template, error.params, "x", status)
