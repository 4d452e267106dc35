"""The client against the real servers: `mlflow models serve` and azureml-inference-server-http, with the published signatures."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from doubles import published_servers
from MedImageParseLib.errors import EndpointError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.tasks.segment_slices import segment_slices
from MedImageParseLib.tasks.segment_volume import segment_volume
from MedImageParseLib.transport.client import EndpointClient, RetryPolicy
from MedImageParseLib.wire import medimageinsight
from MedImageParseLib.wire.envelope import build_body

HOSTS = ("mlflow", "azureml")


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """Scoring URLs by (host, model); the six servers come up at once."""
    work = tmp_path_factory.mktemp("servers")
    script = published_servers.__file__
    saved = subprocess.run(
        [sys.executable, script, "save", str(work), *published_servers.KINDS], capture_output=True, timeout=120, check=False
    )
    assert saved.returncode == 0, saved.stderr
    names = [(host, kind) for host in HOSTS for kind in published_servers.KINDS]
    servers = [published_servers.serve(host, work / kind, work) for host, kind in names]
    with ExitStack() as stack, ThreadPoolExecutor(len(names)) as pool:
        yield dict(zip(names, pool.map(stack.enter_context, servers), strict=True))


def _client(url: str, tries: int = 1) -> EndpointClient:
    return EndpointClient(url, retry=RetryPolicy(tries=tries))


@pytest.fixture
def volume() -> Volume:
    rng = np.random.default_rng(5)
    matrix = np.array([[0, -2.0, 0, 10], [-1.5, 0, 0, 20], [0, 0, 3.0, -5], [0, 0, 0, 1]])
    return Volume(rng.integers(0, 256, (9, 14, 21)).astype(np.uint8), matrix)


@pytest.mark.parametrize("host", HOSTS)
def test_a_volume_makes_the_round_trip_through_the_real_server(urls, volume, host):
    result = segment_volume(volume, ["bright", "unicorn", "dark"], _client(urls[host, "medimageparse3d"]))
    bright, unicorn, dark = (prompt.mask.full().astype(bool) for prompt in result.prompts)
    assert np.array_equal(bright, volume.voxels >= 128)
    assert np.array_equal(dark, (volume.voxels > 0) & (volume.voxels < 128))
    assert not unicorn.any()
    assert result.report["dialect"] == host
    assert result.report["reply_form"].startswith("predictions" if host == "mlflow" else "list")


@pytest.mark.parametrize("host", HOSTS)
def test_a_picture_makes_the_round_trip_through_the_real_server(urls, host):
    pixels = np.zeros((1, 600, 400), np.uint8)
    pixels[0, 100:300, 50:350] = 200
    result = segment_slices(Volume(pixels, is_picture=True), ["bright"], _client(urls[host, "medimageparse"]))
    found, truth = result.prompts[0].mask.full().astype(bool), pixels >= 128
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.995


@pytest.mark.parametrize("host", HOSTS)
def test_images_and_texts_become_unit_vectors_through_the_real_server(urls, host):
    client = _client(urls[host, "medimageinsight"])
    images = client.send(medimageinsight.build_image_request([b"one", b"two"], client.dialect)).body
    texts = client.send(medimageinsight.build_text_request(["x-ray chest"], client.dialect)).body
    vectors = medimageinsight.parse_reply(images, 2, "image_features")
    assert vectors.vectors.shape == (2, 1024)
    assert np.allclose(np.linalg.norm(vectors.vectors, axis=1), 1, atol=1e-5)
    assert vectors.scaling_factor == pytest.approx(4.513362)
    assert medimageinsight.parse_reply(texts, 1, "text_features").vectors.shape == (1, 1024)


def _sentence(client: EndpointClient, body: bytes) -> str:
    with pytest.raises(EndpointError) as caught:
        client.send(body)
    sentence = str(caught.value)
    assert "Traceback" not in sentence and "\n" not in sentence and len(sentence) < 900
    return sentence


@pytest.mark.parametrize("host", HOSTS)
def test_an_exception_in_the_model_is_told_as_the_models_failure(urls, host):
    client = _client(urls[host, "medimageparse"])
    sentence = _sentence(client, build_body([(b"x", "explode")], client.dialect))
    assert "model" in sentence.lower() or "scoring script" in sentence.lower()


@pytest.mark.parametrize("host", HOSTS)
def test_a_missing_column_or_a_wrong_type_is_told_and_the_server_lives_on(urls, volume, host):
    client = _client(urls[host, "medimageparse3d"])
    frame = "dataframe_split" if host == "mlflow" else "input_data"
    for data in (
        {"columns": ["image"], "index": [0], "data": [["aGk="]]},
        {"columns": ["image", "text"], "index": [0], "data": [["aGk=", 7]]},
    ):
        _sentence(client, json.dumps({frame: data}).encode())
    assert segment_volume(volume, ["bright"], client).prompts[0].found


def test_a_worker_that_dies_in_the_middle_is_told_and_the_next_request_works(urls, volume):
    client = _client(urls["azureml", "medimageparse3d"])
    assert _sentence(client, build_body([(b"x", "die")], client.dialect))
    result = segment_volume(volume, ["bright"], _client(urls["azureml", "medimageparse3d"], tries=5))
    assert result.prompts[0].found


@pytest.mark.parametrize("host", HOSTS)
def test_a_body_near_the_limit_is_carried_and_one_beyond_it_is_refused_before_it_is_sent(urls, host):
    client = _client(urls[host, "medimageparse3d"])
    with pytest.raises(EndpointError) as caught:
        client.send(build_body([(b"x" * (75 * 2**20 + 4000), "bright")], client.dialect))
    assert "8 bits" in str(caught.value) and caught.value.tries == 0
    # 99 MiB of base64 that is no NIfTI: the server takes it whole and the model, not the limit, refuses it.
    sentence = _sentence(client, build_body([(b"x" * (74 * 2**20), "bright")], client.dialect))
    assert "too large" not in sentence.lower()


def test_a_server_without_spare_workers_that_dies_is_told_as_lost_and_then_as_not_running(urls):
    client = _client(urls["mlflow", "medimageparse"])  # the last test, as nothing answers there afterwards
    body = build_body([(b"x", "die")], client.dialect)
    assert "connection" in _sentence(client, body).lower()
    assert "Nothing listens at 127.0.0.1" in _sentence(client, body)
