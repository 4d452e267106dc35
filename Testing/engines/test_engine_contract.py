"""Engines behind the local endpoint: the contract that each is held to, and that whatever one does ends in one sentence."""

from __future__ import annotations

import os
import re
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from places import ROOT

from MedImageParseLib import Volume, check, engine_add, engine_check, engine_list, engine_remove, segment
from MedImageParseLib.cli.main import main
from MedImageParseLib.engines import default_engine, packages, store
from MedImageParseLib.engines.contract import check_engine
from MedImageParseLib.engines.hosting import InProcess, OwnProcess
from MedImageParseLib.engines.interface import Answer, Engine, EngineError, EngineLoading
from MedImageParseLib.errors import EndpointError, MedImageParseError, UsageError
from MedImageParseLib.local_endpoint.server import LocalEndpoint
from MedImageParseLib.progress import Cancellation

FAULTY = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from MedImageParseLib.engines.interface import Answer, Engine, Need
from MedImageParseLib.errors import UsageError


class Faulty(Engine):
    name, title, version, licence, models = "faulty", "Faulty", "3", "MIT", ("medimageparse3d", "medimageparse")
    device, weights = "cpu", "feedc0ffee12"
    needs = {"how": Need("what goes wrong"), "wait": Need("a file to wait for")}

    def load(self, progress):
        how = self.options.get("how", "")
        print("words of the engine on standard output")
        progress("loading weights", 2, 5)
        while "wait" in self.options and not Path(self.options["wait"]).exists():
            time.sleep(0.01)
        if how == "killed":
            os._exit(9)
        if how == "package":
            import no_such_package_at_all
        if how == "memory":
            raise MemoryError
        if how == "other model":
            raise UsageError("The checkpoint is another model's: give biomedparse_v2.ckpt.")
        if how == "truncated":
            raise RuntimeError("PytorchStreamReader failed reading zip archive")

    def segment_volume(self, voxels_kji, ijk_to_ras, prompts):
        self._go_wrong(prompts)
        whole = np.ones(voxels_kji.shape, bool)
        half = whole.copy()
        half[:, : half.shape[1] // 2] = False
        soft = np.linspace(0, 1, whole.size, dtype=np.float32).reshape(whole.shape)
        found = {"whole": whole, "half": half, "soft": soft, "shape": whole[:1]}
        return Answer([found.get(prompt) for prompt in prompts], [0.25 if prompt == "half" else None for prompt in prompts],
                      ["" if prompt in found else "It is not in this engine's list." for prompt in prompts])

    segment_image = lambda self, pixels, prompts: self.segment_volume(pixels, None, prompts)

    def _go_wrong(self, prompts):
        if "die" in prompts:
            os._exit(9)
        if "kill" in prompts:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        if "memory" in prompts:
            raise MemoryError
        if "too much" in prompts:
            np.empty(1 << 60, np.uint8)
        if "torch" in prompts:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        if "error" in prompts:
            raise ValueError("internal words with /a/path")
        if "refuse" in prompts:
            raise UsageError("This engine takes no such thing.")
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    path = tmp_path_factory.mktemp("engine") / "faulty.py"
    path.write_text(FAULTY, encoding="utf-8")
    return f"{path}:Faulty"


@pytest.fixture(scope="module")
def served(faulty):
    with LocalEndpoint(engine=OwnProcess(faulty, "faulty")) as endpoint:
        yield endpoint


@pytest.fixture
def own_engines(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIMAGEPARSE_ENGINES_DIR", str(tmp_path / "engines"))
    return tmp_path / "engines"


def volume() -> Volume:
    return Volume(np.random.default_rng(1).normal(0, 50, (4, 12, 3)).astype(np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))


def ask(endpoint, *prompts: str):
    address = endpoint.url_of("medimageparse3d")
    return segment(volume(), list(prompts), model="medimageparse3d", endpoint=address, window="raw", retries=1)


def health(endpoint) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/", timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def post_nothing_much(endpoint) -> str:
    """What a request is told while there is no engine to answer it."""
    from MedImageParseLib.imaging.nifti import encode_nifti
    from MedImageParseLib.wire.medimageparse3d import build_request

    body = build_request(encode_nifti(np.zeros((1, 4, 4), np.uint8), np.eye(4)), "half", "azureml")
    request = urllib.request.Request(endpoint.url_of("medimageparse3d"), body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code == 503 and caught.value.headers["Retry-After"] == "5"
    return caught.value.read().decode()


def test_the_classical_engine_meets_the_contract():
    findings = check_engine(default_engine().start())
    assert len(findings) > 10 and [finding for finding in findings if not finding.is_met] == []


def test_the_example_of_the_docs_is_an_engine_of_thirty_lines_and_meets_the_contract(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 35
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bright.py").write_text(code, encoding="utf-8")
    assert main(["engine", "check", "bright.py:Bright", "--quiet"]) == 0, capsys.readouterr().err
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 8 and all(line.startswith("ok  ") for line in lines)


class Wrong(Engine):
    """Breaks every demand that it can."""

    name, licence, models = "wrong", "MIT", ("medimageparse3d", "medimageparse", "medimageinsight")
    reads_text = is_slice_by_slice = True

    def __init__(self):
        super().__init__()
        self._calls = 0

    def segment_volume(self, voxels_kji, ijk_to_ras, prompts):
        self._calls += 1
        if voxels_kji.shape[0] == 1:
            return [np.ones((2, 2, 2), bool)] * len(prompts)
        return Answer([np.full(voxels_kji.shape, self._calls % 2 == 0)] * len(prompts), [2.0] * len(prompts))

    def segment_image(self, pixels, prompts):
        return [np.full(pixels.shape[:2], 7.0)] * len(prompts)

    def embed_image(self, pixels):
        return np.ones(3)

    def embed_text(self, text):
        return np.ones(4)


def test_an_engine_that_breaks_the_contract_is_told_each_demand_that_it_misses():
    missed = {finding.demand: finding.fault for finding in check_engine(InProcess(Wrong())) if not finding.is_met}
    assert "existence score" in missed["takes a tall volume"] and "shape" in missed["takes a volume of one slice"]
    assert (
        "differs" in missed["answers the same request the same way"] and "add up" in missed["finds in two slabs what it finds in the whole"]
    )
    assert "outside 0 to 1" in missed["takes a gray picture"] and "length is not 1" in missed["describes pictures by vectors of length 1"]
    assert "differ in length" in missed["describes texts in the same space"]


def test_overlapping_masks_probabilities_scores_and_reasons_reach_the_report(served):
    result = ask(served, "whole", "half", "soft", "unicorn")
    assert [result[name].mask.count for name in ("whole", "half", "unicorn")] == [144, 72, 0]
    assert 70 <= result["soft"].mask.count <= 74
    entries = result.report["prompts"]
    assert entries[1]["existence"] == 0.25 and "existence" not in entries[0]
    assert "unicorn: It is not in this engine's list." in result.report["warnings"]
    assert result.report["engine"] == "local engine Faulty 3 (licence MIT, on cpu, weights feedc0ffee12)"


def test_masks_that_do_not_overlap_come_as_one_labelmap_and_the_check_names_the_engine(served):
    assert "integer labelmap" in ask(served, "half").report["reply_form"]
    assert "4D" in ask(served, "whole", "half").report["reply_form"]
    found = check(model="medimageparse3d", endpoint=served.url_of("medimageparse3d"))
    assert "Faulty 3 (licence MIT, on cpu, weights feedc0ffee12)" in found.sentence


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("die", "ended in the middle of the request (exit status 9): send the request again"),
        pytest.param(
            "kill",
            "(killed by SIGKILL, perhaps for want of memory): send the request again, or less at once",
            marks=pytest.mark.skipif(os.name == "nt", reason="Windows has no signals of that kind"),
        ),
        ("memory", "there is not enough memory; send less at once"),
        ("too much", "there is not enough memory; send less at once"),
        ("torch", "there is not enough memory; send less at once"),
        ("error", "failed on this request (ValueError)"),
        ("shape", "The engine's mask has the shape"),
        ("refuse", "This engine takes no such thing."),
    ],
)
def test_a_fault_in_a_request_is_one_sentence_and_the_next_request_is_answered(served, prompt, sentence):
    with pytest.raises(EndpointError) as caught:
        ask(served, prompt)
    assert sentence in str(caught.value) and "Traceback" not in str(caught.value) and "/a/path" not in str(caught.value)
    assert caught.value.tries == 1
    assert ask(served, "half")["half"].found


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("package", "the package no_such_package_at_all is missing in its environment; add the engine again"),
        ("memory", "could not be loaded: there is not enough memory"),
        ("other model", "The checkpoint is another model's: give biomedparse_v2.ckpt."),
        ("truncated", "could not be loaded (RuntimeError)"),
    ],
)
def test_an_engine_that_cannot_be_loaded_says_so_to_every_request_and_to_the_health_check(faulty, how, sentence):
    with LocalEndpoint(engine=OwnProcess(faulty, "faulty", options={"how": how})) as endpoint:
        for _time in range(2):
            with pytest.raises(EndpointError) as caught:
                ask(endpoint, "half")
            assert sentence in str(caught.value)
        status, said = health(endpoint)
        assert status == 503 and sentence in said


def test_an_engine_that_is_killed_while_it_loads_is_tried_three_times_and_is_then_gone(faulty):
    engine = OwnProcess(faulty, "faulty", options={"how": "killed"})
    with LocalEndpoint(engine=engine) as endpoint:
        sentences = []
        for _time in range(4):
            with pytest.raises(EndpointError) as caught:
                ask(endpoint, "half")
            sentences.append(str(caught.value))
    assert all("ended while it was loading (exit status 9)" in sentence for sentence in sentences)
    assert "starts again" in sentences[0] and "is not started again" in sentences[-1]


def test_the_server_says_how_far_the_weights_are_and_a_request_waits_for_them(faulty, tmp_path):
    gate = tmp_path / "go"
    engine = OwnProcess(faulty, "faulty", options={"wait": str(gate)}, patience_s=0.0)
    with LocalEndpoint(engine=engine) as endpoint:
        while "40 %" not in health(endpoint)[1]:
            pass
        assert health(endpoint) == (503, "loading weights 40 %")
        with pytest.raises(EngineLoading, match=r"not ready yet \(loading weights 40 %\)"):
            engine.segment_volume(np.zeros((1, 2, 2)), np.eye(4), ["half"])
        assert "loading weights 40 %" in post_nothing_much(endpoint)
        gate.touch()
        while engine.health().state != "ready":
            pass
        assert health(endpoint) == (200, "Healthy") and ask(endpoint, "half")["half"].found


def test_an_engine_killed_from_outside_while_idle_is_started_again_and_ends_with_its_server(faulty):
    import psutil

    engine = OwnProcess(faulty, "faulty").start()
    engine.wait()
    first = engine.process_id
    psutil.Process(first).kill()
    while engine.health().state == "ready":
        pass
    assert engine.segment_image(np.zeros((4, 4), np.uint8), ["half"]).masks[0].any()
    second = engine.process_id
    assert second not in (0, first)
    engine.stop()
    assert not psutil.pid_exists(second)
    with pytest.raises(EngineError, match="was stopped"):
        engine.segment_image(np.zeros((4, 4), np.uint8), ["half"])


def test_a_model_that_the_engine_does_not_answer_as_is_refused_with_what_it_does(served, tmp_path, capsys):
    from PIL import Image

    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    assert (
        main(["embed", str(picture), "--endpoint", served.url_of("medimageinsight"), "--output", str(tmp_path / "v.npz"), "--quiet"]) == 3
    )
    assert "answers as MedImageParse 3D and MedImageParse only" in capsys.readouterr().err


def test_an_engine_is_added_listed_checked_for_what_it_needs_and_removed(own_engines, tmp_path, capsys):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"abc")
    path = tmp_path / "mine.py"
    path.write_text(
        "from MedImageParseLib.engines.interface import Engine, Need\n"
        'class Mine(Engine):\n    name, licence, models = "mine", "CC-BY-NC-4.0", ("medimageparse3d",)\n'
        '    terms = "Its weights are for research only"\n'
        '    needs = {"checkpoint": Need("your copy of its weights", "file", True, True), "seed": Need("a number")}\n'
        "    def segment_volume(self, voxels_kji, ijk_to_ras, prompts):\n        return [None] * len(prompts)\n",
        encoding="utf-8",
    )
    add = ["engine", "add", f"{path}:Mine"]
    for words, sentence in (
        ([], "needs --checkpoint FILE: your copy of its weights."),
        (["--checkpoint", str(tmp_path / "no")], "There is no such file for --checkpoint"),
        (["--checkpoint", str(weights), "--set", "sead=1"], "has no option 'sead'"),
        (["--checkpoint", str(weights)], "Its weights are for research only: add the engine with --accept-licence"),
        (["--checkpoint", str(weights), "--accept-licence", "--name", "../x"], "cannot be the name of an engine"),
        (["--checkpoint", str(weights), "--accept-licence", "--python", "nowhere"], "There is no such Python"),
    ):
        assert main([*add, *words]) == 2
        assert sentence in capsys.readouterr().err and not own_engines.exists()
    assert main([*add, "--checkpoint", str(weights), "--set", "seed=1", "--accept-licence"]) == 0
    (row,) = [row for row in engine_list() if row["name"] == "mine"]
    assert row["state"] == "added" and row["weights"] == "ba7816bf8f01"  # of b"abc", as every table of SHA-256 has it
    added = store.Added.read(own_engines / "mine" / "engine.json")
    assert added.terms_accepted and added.options == {"checkpoint": str(weights.resolve()), "seed": "1"}
    assert all(finding.is_met for finding in engine_check("mine"))
    with pytest.raises(UsageError, match="added already"):
        engine_add(f"{path}:Mine", options={"checkpoint": str(weights)}, accept_licence=True)
    assert main(["engine", "remove", "mine"]) == 0 and weights.exists() and not (own_engines / "mine").exists()
    with pytest.raises(UsageError):
        engine_remove("mine")
    assert main(["serve", "--engine", "mine", "--port", "0"]) == 2 and "There is no engine of that name" in capsys.readouterr().err


def test_an_environment_that_cannot_be_made_is_told_with_pips_own_error_and_cancelled_at_once():
    words = (
        "import sys; print('Collecting torch'); print('ERROR: No matching distribution found for torch==0'); print('later'); sys.exit(1)"
    )
    told = []
    with pytest.raises(MedImageParseError, match="could not be installed .ERROR: No matching distribution found for torch==0"):
        packages.run_program(
            [sys.executable, "-c", words], lambda *step: told.append(step), Cancellation(), "The packages could not be installed"
        )
    assert told == [("collecting torch", 1, 0)]
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(MedImageParseError, match="Cancelled"):
        packages.run_program([sys.executable, "-c", "input()"], lambda *_step: None, cancellation, "No")


def test_a_damaged_record_and_a_file_without_an_engine_are_sentences(own_engines, tmp_path):
    (own_engines / "broken").mkdir(parents=True)
    (own_engines / "broken" / "engine.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="is damaged: remove the engine"):
        store.find_engine("broken")
    assert any(row["name"] == "broken" and "damaged" in row["title"] for row in engine_list())
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="it has no class made from Engine"):
        engine_add(f"{tmp_path / 'empty.py'}:Mine")
    with pytest.raises(UsageError, match="There is no file nowhere.py"):
        store.find_engine("nowhere.py:Mine")
