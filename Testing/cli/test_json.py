"""`--json`: every command that prints a result prints one JSON value instead."""

from __future__ import annotations

import argparse
import json

import pytest
from exactness_support import RANGES
from search_support import SPACE, made_up

from MedImageParseLib.cli.json_answer import WITHOUT_RESULT
from MedImageParseLib.cli.main import build_parser
from MedImageParseLib.search.index import EmbeddingIndex

TARGET = next(iter(RANGES))


def leaves(parser):
    parts = [part for action in parser._actions if isinstance(action, argparse._SubParsersAction) for part in action.choices.values()]
    return [leaf for part in parts for leaf in leaves(part)] if parts else [parser]


def test_every_command_with_a_result_takes_json_quiet_and_debug():
    parser = build_parser()
    lacking = [
        leaf.prog
        for name, command in parser.commands.items()
        if name not in WITHOUT_RESULT
        for leaf in leaves(command)
        if not {"--json", "--quiet", "--debug"} <= set(leaf._option_string_actions)
    ]
    assert parser.commands and not lacking


def test_segment_prints_its_report_and_nothing_else(bench):
    assert bench.segment("--prompt", TARGET, "--labels", bench.path("l.nii.gz"), "--quiet", "--json") == 0
    answer = json.loads(bench.out)
    assert answer["prompts"][0]["found"] and answer["outputs"] == [bench.path("l.nii.gz")] and bench.err == ""


def test_an_error_is_part_of_the_answer_and_stays_on_stderr(bench):
    assert bench.segment("--prompt", TARGET, "--labels", bench.path("l.nii.gz"), "--json", image="absent.nii.gz") == 2
    answer = json.loads(bench.out)
    assert answer["kind"] == "input" or answer["kind"] == "usage"
    assert answer["exit_status"] == 2 and bench.err.strip() == f"error: {answer['error']}"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["index", "info", "INDEX"], "records"),
        (["index", "check", "INDEX"], "is_sound"),
        (["index", "labels", "INDEX"], "sets"),
        (["index", "compact", "INDEX"], "bytes_given_back"),
        (["index", "export", "INDEX", "OUT"], "written"),
        (["index", "remove", "INDEX", "--id", "1"], "removed"),
        (["outliers", "INDEX", "--reference", "series-0"], "warnings"),
        (["profiles", "show", "Local demo"], "url"),
        (["engine", "list"], None),
        (["targets", "--modality", "CT"], None),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_commands_without_an_endpoint_answer_in_json(bench, words, key):
    with EmbeddingIndex.open(bench.path("some.index")) as index:
        index.add(made_up(range(40)), SPACE)
    named = {"INDEX": bench.path("some.index"), "OUT": bench.path("out.npz")}
    assert bench.run(*(named.get(word, word) for word in words), "--json") == 0, bench.err
    answer = json.loads(bench.out)
    assert answer if key is None else key in answer
