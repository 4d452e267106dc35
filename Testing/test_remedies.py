"""Sentences that say what to do: the command line's words by default, another face's words on request, and nobody edits a sentence."""

from __future__ import annotations

import copy
import json
import pickle
import re

import pytest
from places import LIBRARY

from MedImageParseLib import remedies
from MedImageParseLib.errors import EndpointError, InputError, PartlyDone, UsageError
from MedImageParseLib.remedies import GIVE_KEY, RAISE_TIMEOUT, Sentence, annotated, joined

PACKAGE = LIBRARY / "MedImageParseLib"


def upper(remedy) -> str:
    return remedy.name.upper()


def test_a_sentence_reads_as_the_command_line_says_it_and_as_another_face_does():
    sentence = Sentence("{{No}} key: {remedy} {rest}", remedy=GIVE_KEY, rest=Sentence("(or {remedy}).", remedy=RAISE_TIMEOUT))
    assert sentence == "{No} key: set MEDIMAGEPARSE_KEY or use --key-file (or raise the timeout)."
    assert sentence.worded(upper) == "{No} key: GIVE-KEY (or RAISE-TIMEOUT)."
    italian = {"{{No}} key: {remedy} {rest}": "{rest} {remedy}", "(or {remedy}).": "(o {remedy}).", "a name": "un nome"}
    assert sentence.worded(upper, italian.get) == "(o RAISE-TIMEOUT). GIVE-KEY"
    assert json.loads(json.dumps([sentence])) == [str(sentence)]
    for again in (copy.deepcopy(sentence), pickle.loads(pickle.dumps(sentence))):
        assert again == sentence and again.worded(upper) == sentence.worded(upper)


def test_sentences_in_a_row_keep_their_remedies():
    assert joined([]) == "" and joined(["a."]) == "a."
    row = joined(["a.", Sentence("b: {remedy}.", remedy=GIVE_KEY), "c."])
    assert row.worded(upper) == "a. b: GIVE-KEY. c." and row == "a. b: set MEDIMAGEPARSE_KEY or use --key-file. c."


def test_an_error_keeps_its_remedies_wherever_its_text_goes():
    error = UsageError(Sentence("No key {{x}}: {remedy}.", remedy=GIVE_KEY))
    assert str(error) == "No key {x}: set MEDIMAGEPARSE_KEY or use --key-file."
    assert remedies.worded(str(error), upper) == error.worded(upper) == "No key {x}: GIVE-KEY."
    assert PartlyDone("3 are kept; {why}", why=error).worded(upper) == "3 are kept; No key {x}: GIVE-KEY."
    assert InputError("{count} gone; {remedy}.", count=3, remedy=RAISE_TIMEOUT).worded(upper) == "3 gone; RAISE-TIMEOUT."
    assert InputError("The file {path} is gone.", path="a{b}").worded(upper) == "The file a{b} is gone."
    assert pickle.loads(pickle.dumps(error)).worded(upper) == error.worded(upper)


def test_a_translation_changes_texts_of_ours_and_no_name_of_the_persons():
    italian = {"{name} is gone: {why}.": "{name} manca: {why}.", "it was deleted": "eliminato", "liver": "fegato"}
    sentence = Sentence("{name} is gone: {why}.", name="liver", why=Sentence("it was deleted"))
    assert sentence.worded(None, italian.get) == "liver manca: eliminato."
    assert UsageError("{name} is gone: {why}.", name="liver", why=ValueError(Sentence("it was deleted"))).sentence(italian.get) == (
        "liver manca: eliminato."
    )
    noted = annotated(sentence, [Sentence("it was deleted")], "7f")
    assert noted.worded(None, italian.get) == "liver manca: eliminato (eliminato; request id 7f)."


@pytest.mark.parametrize(
    ("notes", "identifier", "whole", "elsewhere"),
    [
        ([], "", "Slow: raise the timeout.", "Slow: RAISE-TIMEOUT."),
        ([], "7f", "Slow: raise the timeout (request id 7f).", "Slow: RAISE-TIMEOUT."),
        (["tried twice"], "", "Slow: raise the timeout (tried twice).", "Slow: RAISE-TIMEOUT (tried twice)."),
        (["tried twice", "b"], "7f", "Slow: raise the timeout (tried twice; b; request id 7f).", "Slow: RAISE-TIMEOUT (tried twice; b)."),
    ],
)
def test_notes_stand_before_the_full_stop_and_the_request_id_only_where_it_is_wanted(notes, identifier, whole, elsewhere):
    noted = annotated(Sentence("Slow: {remedy}.", remedy=RAISE_TIMEOUT), notes, identifier)
    assert noted == whole
    assert noted.worded(lambda remedy: "" if remedy.name == "request-id" else upper(remedy)) == elsewhere
    assert EndpointError(noted).worded(lambda _remedy: "x").startswith("Slow: x")


def test_the_panel_has_words_for_every_remedy_and_they_name_no_option():
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: the panel cannot be imported")
    pytest.importorskip("PySide6", reason="PySide6 is not installed: there is no Qt to test against")
    from host import Host

    del slicer
    with Host():
        from MedImageParseLib.panels.sentences import panelRemedies

        words = panelRemedies()
    assert set(words) == {*remedies.ALL, "request-id", "install-package"}
    for text in words.values():
        assert "--" not in text and "MEDIMAGEPARSE" not in text and not text.endswith(".")


# What the panel never shows: command-line tools for Azure, cohorts, files and the local server.
_NOT_IN_THE_PANEL = (
    "api",
    "agents",
    "cli",
    "cohort",
    "files",
    "local_endpoint",
    "panels",
    "engines",
    "azure/plan.py",
    "azure/deploy.py",
    "azure/batch_jobs.py",
    "options.py",  # which makes the options themselves
    "remedies.py",
)
_ALLOWED = {("signin/auth.py", "--key-file")}  # a key file is named on the command line only


def test_no_sentence_below_the_faces_names_an_option_of_the_command_line():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith(_NOT_IN_THE_PANEL) or "__main__" in place:
            continue
        code = re.sub(r'"""(?s:.*?)"""|#.*', "", path.read_text(encoding="utf-8"))
        found |= {(place, option) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert found - _ALLOWED == set()
