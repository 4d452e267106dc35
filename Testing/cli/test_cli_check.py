"""`mip.py check`: one sentence on stdout and status 0, or the error line and status 3."""

from __future__ import annotations

import json
import socket

import pytest

from doubles.endpoint import EndpointDouble
from doubles.truth import GrayRanges
from MedImageParseLib.cli.main import main


@pytest.fixture(scope="module")
def served():
    double = EndpointDouble(GrayRanges({}))
    with double.serve() as url:
        yield double, url


@pytest.fixture
def double(served):
    served[0].seen.clear()
    served[0].tamper = None
    return served[0]


@pytest.mark.parametrize("model", ["medimageparse", "medimageparse3d"])
def test_a_healthy_endpoint_is_one_line_on_stdout_and_status_0(served, double, capsys, model):
    assert main(["check", "--endpoint", served[1], "--model", model]) == 0
    out, _err = capsys.readouterr()
    assert len(out.splitlines()) == 1 and double.seen
    assert ("MedImageParse 3D" in out) == (model == "medimageparse3d")


def test_the_report_tells_where_the_probe_went_and_under_which_id(served, double, capsys):
    assert main(["check", "--endpoint", served[1], "--model", "medimageparse3d", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["endpoint"] == served[1] and report["dialect"] == "azureml" and report["http_status"] == 200
    assert report["request_ids"] == [double.seen[-1].headers["x-ms-client-request-id"]] and report["tries"] == 1
    assert report["bytes_sent"] == len(double.seen[-1].body) and report["bytes_received"] > 0 and report["model"] == "medimageparse3d"


def test_the_probe_is_small_and_shows_nobodys_body(served, double, capsys):
    assert main(["check", "--endpoint", served[1], "--model", "medimageparse3d", "--quiet"]) == 0
    assert sum(len(seen.body) for seen in double.seen) < 100_000
    assert capsys.readouterr().err == ""


def test_a_dead_endpoint_is_the_error_line_and_status_3(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert main(["check", "--endpoint", f"http://127.0.0.1:{taken.getsockname()[1]}/score", "--retries", "1", "--quiet"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: ")


def test_a_web_page_is_the_error_line_and_status_3(served, double, capsys):
    double.tamper = lambda _reply: (200, "text/html", b"<html>Welcome</html>")
    assert main(["check", "--endpoint", served[1], "--quiet"]) == 3
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: ")


def test_without_an_endpoint_it_is_bad_usage(capsys):
    assert main(["check"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
