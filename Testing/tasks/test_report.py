"""The one report of all kinds of runs: its keys, their order, and that each is documented."""

from __future__ import annotations

import json
import re
from dataclasses import fields

from places import ROOT

from MedImageParseLib.tasks.run import Report, summed

COMMON = [each.name for each in fields(Report) if each.name not in ("details", "error", "exit_status")]


def test_every_report_begins_with_the_common_keys_and_tells_of_an_error_last_and_only_after_one():
    assert list(Report(details={"slabs": 2}).as_dict()) == [*COMMON, "slabs"]
    failed = Report(kind="input", error="It is empty.", exit_status=2, details={"inputs": []}).as_dict()
    assert list(json.loads(json.dumps(failed))) == [*COMMON, "inputs", "error", "exit_status"]


def test_each_key_of_the_report_is_told_on_the_page_of_reports_in_the_same_order():
    page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8").partition("## The report")[2]
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == [*COMMON, "error", "exit_status"]


def test_the_report_of_several_runs_adds_up_what_was_sent_and_tells_each_warning_once():
    one, other = (Report(tries=tries, request_ids=[str(tries)], timings_s={"wait": 0.5}, warnings=["w"]).as_dict() for tries in (1, 2))
    both = summed([one, other])
    assert (both["tries"], both["request_ids"], both["timings_s"], both["warnings"]) == (3, ["1", "2"], {"wait": 1.0}, ["w"])
