"""`serve`: what a person and a program read from it, and that every model's address works for the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from places import ROOT

from MedImageParseLib.cli.main import main
from MedImageParseLib.engines import store
from MedImageParseLib.engines.hosting import Host
from MedImageParseLib.engines.interface import Facts
from MedImageParseLib.local_endpoint import server


@pytest.fixture
def serving():
    """`mip.py serve --port 0` as a process; ends with Ctrl+C."""
    command = [sys.executable, str(ROOT / "scripts" / "mip.py"), "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate(timeout=20)


@pytest.fixture
def picture(tmp_path):
    from PIL import Image

    row, column = np.indices((120, 150))
    path = tmp_path / "picture.png"
    Image.fromarray(np.where(np.hypot(row - 60, column - 70) < 40, 180, 5).astype(np.uint8)).save(path)
    return str(path)


def post(url: str, body: bytes) -> int:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.skipif(os.name == "nt", reason="Windows has no Ctrl+C for a process without a console")
def test_the_url_comes_first_then_each_models_address_and_failures_leave_lines_on_stderr(serving):
    url = serving.stdout.readline().strip()
    port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/score"))
    addresses = [serving.stdout.readline().strip() for _ in range(3)]
    assert addresses == [
        f"MedImageParse: http://127.0.0.1:{port}/medimageparse/score",
        f"MedImageParse 3D: http://127.0.0.1:{port}/medimageparse3d/score",
        f"MedImageInsight: http://127.0.0.1:{port}/medimageinsight/score",
    ]
    assert [post(url, b"no json") for _ in range(3)] == [500, 500, 500]
    serving.send_signal(signal.SIGINT)
    output, errors = serving.communicate(timeout=20)
    assert output == "" and serving.returncode == 0
    lines = errors.splitlines()
    assert len(lines) == 3 and all(line.startswith("warning: POST /score 500: The body is not JSON") for line in lines)


def test_only_the_addresses_of_models_that_the_engine_answers_as_are_listed(monkeypatch, capsys):
    host = Host()
    host.facts = Facts(models=("medimageinsight",))
    monkeypatch.setattr(store, "find_engine", lambda *_, **__: host)
    monkeypatch.setattr(server, "serve", lambda port, ready, **_: ready(f"http://127.0.0.1:{port}/score"))
    assert main(["serve", "--port", "5999"]) == 0
    root = "http://127.0.0.1:5999"
    assert capsys.readouterr().out.splitlines() == [f"{root}/score", f"MedImageInsight: {root}/medimageinsight/score"]


def test_a_picture_is_segmented_at_the_bare_address_and_at_its_models_own(serving, picture, tmp_path, capsys):
    url = serving.stdout.readline().strip()
    root = url.removesuffix("/score")
    for number, address in enumerate((url, f"{root}/invocations", f"{root}/medimageparse/score", f"{root}/medimageparse/invocations")):
        labels, report = tmp_path / f"{number}.nii.gz", tmp_path / f"{number}.json"
        words = ["segment", picture, "--model", "medimageparse", "--prompt", "object", "--labels", str(labels)]
        assert main([*words, "--endpoint", address, "--report", str(report), "--quiet"]) == 0, capsys.readouterr().err
        assert json.loads(report.read_text())["prompts"][0]["found"]


def test_another_models_address_refuses_in_a_sentence_that_names_the_right_one(serving, picture, tmp_path, capsys):
    root = serving.stdout.readline().strip().removesuffix("/score")
    words = ["segment", picture, "--model", "medimageparse", "--prompt", "object", "--labels", str(tmp_path / "x.nii.gz"), "--quiet"]
    assert main([*words, "--endpoint", f"{root}/medimageparse3d/score"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "/medimageparse/score" in said and not (tmp_path / "x.nii.gz").exists()


@pytest.mark.parametrize("model", ["medimageparse", "medimageparse3d", "medimageinsight"])
def test_check_names_the_model_at_each_address(serving, model, capsys):
    root = serving.stdout.readline().strip().removesuffix("/score")
    assert main(["check", "--endpoint", f"{root}/{model}/score"]) == 0
    title = {"medimageparse": "MedImageParse;", "medimageparse3d": "MedImageParse 3D;", "medimageinsight": "MedImageInsight;"}[model]
    assert f"asked as {title}" in capsys.readouterr().out
