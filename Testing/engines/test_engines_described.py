"""What a local engine says of itself reaches the client: which values it wants, how long it takes, and what it is, in every report."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import numpy as np
import pytest

from MedImageParseLib import Volume, batch, check, classify, embed, segment
from MedImageParseLib.api.connections import connect
from MedImageParseLib.engines.classical.served import Classical
from MedImageParseLib.engines.hosting import InProcess, OwnProcess
from MedImageParseLib.engines.interface import Engine
from MedImageParseLib.errors import EndpointError
from MedImageParseLib.local_endpoint.server import LocalEndpoint
from MedImageParseLib.transport import about, client
from MedImageParseLib.transport.address import parse_address

HU = np.arange(-1000, 1016, dtype=np.int16).reshape(4, 21, 24)
TRUTH = HU > 300


class Slow(Engine):
    """Takes Hounsfield units, and says that it needs nine seconds a slice and prompt; has vectors too."""

    name, title, version, licence = "slow", "Slow", "1.2", "CC-BY-NC-4.0"
    models = ("medimageparse3d", "medimageinsight")
    wants, device, weights, seconds_a_slice = "HU", "cpu", "feedc0ffee12", 9.0
    scaling_factor, reads_text = 4.0, True

    def segment_volume(self, voxels_kji, ijk_to_ras, prompts):
        return [voxels_kji > 300 for _prompt in prompts]

    def embed_image(self, pixels):
        return np.array([0.6, 0.8])

    def embed_text(self, text):
        return np.array([0.8, 0.6])


@pytest.fixture(scope="module")
def served():
    with LocalEndpoint(engine=InProcess(Slow())) as endpoint:
        yield endpoint


@pytest.fixture
def waited(monkeypatch):
    """The response timeouts of the requests that were sent."""
    seconds = []

    class Exchange(client.Exchange):
        def __init__(self, route, *given, **more):
            seconds.append(route.timeouts.reply)
            super().__init__(route, *given, **more)

    monkeypatch.setattr(client, "Exchange", Exchange)
    return seconds


def volume() -> Volume:
    return Volume(HU, np.diag([-1.0, -1.0, 2.0, 1.0]), modality="CT")


def ask(served, *prompts: str, **options):
    return segment(volume(), list(prompts) or "bone", model="medimageparse3d", endpoint=served.url_of("medimageparse3d"), **options)


def test_an_automatic_window_sends_hounsfield_units_to_an_engine_that_wants_them_and_the_report_says_why(served):
    result = ask(served)
    assert np.array_equal(result["bone"].array, TRUTH)
    assert (result.report["window"], result.report["window_reason"]) == ("raw values", "the engine takes Hounsfield units")
    assert not any("Hounsfield" in warning for warning in result.report["warnings"])


def test_a_window_that_a_person_chose_stays_and_is_warned_about(served):
    report = ask(served, window="abdomen").report
    assert (report["window"], report["window_reason"]) == ("abdomen: -150 to 250", "as chosen")
    assert any("takes Hounsfield units, and the volume came in 8 bits: leave the window automatic" in each for each in report["warnings"])


def test_the_demo_engine_gets_a_window_as_before():
    with LocalEndpoint() as endpoint:
        report = ask(endpoint, "liver").report
    assert (report["window"], report["window_reason"]) == ("soft: -160 to 240", "for the prompts and this kind of image")


def test_a_batch_sends_hounsfield_units_too_and_names_the_engine(served, tmp_path):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(HU.transpose(2, 1, 0), volume().ijk_to_ras), tmp_path / "ct.nii.gz")
    with connect(served.url_of("medimageparse3d"), model="medimageparse3d") as connection:
        done = batch(tmp_path / "ct.nii.gz", "bone", model="medimageparse3d", client=connection, output_dir=tmp_path / "out")
    (line,) = (json.loads(text) for text in (tmp_path / "out" / "batch.jsonl").read_text(encoding="utf-8").splitlines())
    assert line["window"] == "raw values" and "Slow 1.2 (licence CC-BY-NC-4.0, on cpu, weights feedc0ffee12)" in line["engine"]
    assert line["prompts"][0]["voxels"] == TRUTH.sum() and done.report["engine_facts"]["weights"] == "feedc0ffee12"


@pytest.mark.parametrize(
    ("prompts", "seconds"),
    [(["bone"], 190 + 3 * 9 * 4 * 2), (["bone", "light", "dense"], 190 + 3 * 9 * 12 * 2)],
    ids=("four slices", "four slices and three prompts"),
)
def test_a_reply_is_waited_for_as_long_as_the_engine_says_that_it_needs(served, waited, prompts, seconds):
    ask(served, *prompts, group="together")
    assert waited == [pytest.approx(seconds)]


def test_a_timeout_that_a_person_chose_stays(served, waited):
    ask(served, timeout=77.0)
    ask(served, timeout=190.0)
    assert waited == [77.0, 190.0]


def test_an_engine_without_an_estimate_gets_an_hour_and_one_that_takes_seconds_little_more_than_an_endpoint():
    unknown, demo = about.About("mine"), about.About("mine", seconds_a_slice=Classical.seconds_a_slice)
    assert unknown.reply_timeout(300, 2) == 3600 and 190 < demo.reply_timeout(300, 2) < 240


def test_the_check_and_the_reports_of_vectors_name_device_and_weights(served, tmp_path):
    from PIL import Image

    address = served.url_of("medimageinsight")
    found = check(model="medimageinsight", endpoint=address)
    for part in ("Slow 1.2", "CC-BY-NC-4.0", "feedc0ffee12", "runs on cpu", "takes Hounsfield units", "about 9 s a slice"):
        assert part in found.sentence
    picture = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)).save(picture)
    reports = [
        embed(picture, endpoint=address, output=tmp_path / "v.npz").report,
        classify(picture, label=["a", "b"], endpoint=address).report,
    ]
    for report in reports:
        facts = report["engine_facts"]
        assert (facts["title"], facts["version"], facts["licence"], facts["device"]) == ("Slow", "1.2", "CC-BY-NC-4.0", "cpu")
        assert facts["weights"] == "feedc0ffee12" and "Slow 1.2" in report["engine"]


def test_an_engine_of_ones_own_is_known_as_soon_as_its_server_answers(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import time\nfrom MedImageParseLib.engines.interface import Engine\n"
        'class Mine(Engine):\n    name, licence, models, wants, device = "mine", "MIT", ("medimageparse3d",), "HU", ""\n'
        '    def load(self, progress):\n        self.device = "cpu"\n'
        "    def segment_volume(self, voxels_kji, ijk_to_ras, prompts):\n        return [voxels_kji > 300 for _prompt in prompts]\n",
        encoding="utf-8",
    )
    with LocalEndpoint(engine=OwnProcess(f"{path}:Mine", "mine")) as endpoint:
        result = ask(endpoint)
    assert np.array_equal(result["bone"].array, TRUTH) and result.report["engine_facts"]["device"] == "cpu"


def test_another_computer_is_never_asked(monkeypatch):
    monkeypatch.setattr(about.http.client, "HTTPConnection", lambda *_place, **_more: pytest.fail("it was asked"))
    assert about.ask(parse_address("https://models.example.org/score")) is None


@pytest.mark.parametrize("path", ["/score", "/medimageparse3d/score", "/medimageparse3d/invocations", "/lab/medimageparse/score", "/other"])
def test_the_description_is_looked_for_beside_the_scoring_route(path):
    expected = {"/lab/medimageparse/score": "/lab/swagger.json", "/other": "/other/swagger.json"}
    assert about._description(path) == expected.get(path, "/swagger.json")


@pytest.mark.parametrize(
    "said",
    [
        {"seconds_a_slice": -1},
        {"seconds_a_slice": float("nan")},
        {"seconds_a_slice": "9"},
        {"wants": "money"},
        {"title": ["x"]},
        {"seconds_a_slice": 10**400},
    ],
    ids=lambda said: str(said)[:40],
)
def test_a_description_is_not_believed_beyond_what_it_can_mean(said):
    found = about._about({"name": "x"} | said)
    assert (found.seconds_a_slice, found.wants, found.title) == (0.0, "any", "")


@pytest.mark.parametrize("said", [b'{"x-engine": []}', b'{"x-engine": "mine"}', b"[" * 100_000, b"[]", None])
def test_a_description_that_is_none_or_never_ends_counts_as_no_description(monkeypatch, said):
    monkeypatch.setattr(about, "_PATIENCE_S", 0.3)
    ended = threading.Event()

    def answer(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + (said or b""))
        while said is None and not ended.wait(0.05):  # a byte now and then
            connection.sendall(b" ")

    def serve():
        with listener.accept()[0] as connection, contextlib.suppress(OSError):
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        assert about.ask(parse_address(f"http://127.0.0.1:{listener.getsockname()[1]}/score")) is None
        ended.set()
        thread.join()


def test_a_server_that_describes_nothing_is_asked_once_and_waited_for_as_usual(waited):
    from doubles import fault_server

    with fault_server.FaultServer([fault_server.ok()]) as server, connect(server.url) as connection:
        assert connection.about() is None and connection.send(b"{}", work=500).tries == 1
        with pytest.raises(EndpointError):
            segment(volume(), "bone", model="medimageparse3d", client=connection, retries=1)
    assert waited == [190.0, 190.0] and len(server.requests) == 2
