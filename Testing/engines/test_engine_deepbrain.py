"""deepbrain's network: its file, its layers against SciPy's, what is believed of its answer, and the demo endpoint that asks it."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from doubles.brain_graph import TWO, random_weights, small_graph
from MedImageParseLib import Volume, segment
from MedImageParseLib.engines import packages
from MedImageParseLib.engines.classical.engine import segment_image
from MedImageParseLib.engines.contract import check_engine
from MedImageParseLib.engines.deepbrain import served
from MedImageParseLib.engines.deepbrain.brain import find_brain
from MedImageParseLib.engines.deepbrain.graph import read_graph
from MedImageParseLib.engines.deepbrain.network import Network, convolve, convolve_transposed
from MedImageParseLib.engines.hosting import InProcess
from MedImageParseLib.engines.store import add_engine, engines_folder, remove_engine
from MedImageParseLib.errors import InputError, MedImageParseError
from MedImageParseLib.imaging.geometry import AxisMap
from MedImageParseLib.local_endpoint.server import LocalEndpoint

SPACING = (4.0, 4.0, 4.0)
RAS = np.diag([4.0, 4.0, 4.0, 1.0])


def correlated(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What a convolution layer is, by SciPy."""
    layers = [
        sum(ndimage.correlate(values[c], kernel[..., c, o], mode="constant") for c in range(len(values))) for o in range(kernel.shape[-1])
    ]
    return np.array(layers)


class Bright:
    """In place of the network: the brain is what is brighter than a share of the brightest."""

    def __init__(self, share: float = 0.55):
        self._share = share

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        assert image.shape == (128, 128, 128) and image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
        return np.where(image > self._share, np.float32(0.99), np.float32(0.01))


def head(bright: float = 900.0, rim: float = 700.0, skull: float = 60.0) -> np.ndarray:
    """A head of 168 x 184 x 160 mm towards superior, anterior, right: scalp, skull, and a brain of 1.2 l with a rim, its middle further back."""
    k, j, i = (4.0 * (axis - middle) for axis, middle in zip(np.indices((42, 46, 40)), (20.5, 22.5, 19.5)))
    away, inside = np.sqrt((k / 80) ** 2 + (j / 88) ** 2 + (i / 76) ** 2), np.sqrt(k**2 + (j + 6) ** 2 + i**2)
    random = np.random.default_rng(0)
    values = np.where(away < 1, 300.0, 5.0)
    values[(away < 1) & (inside < 74)] = skull
    values[inside < 66] = rim
    values[inside < 56] = bright
    return (values + random.normal(0, 2, values.shape)).clip(0).astype(np.int16)


def test_layers_are_those_of_scipy_and_the_transposed_one_is_the_transpose():
    random = np.random.default_rng(1)
    values, kernel = random.normal(size=(3, 6, 5, 9)).astype(np.float32), random.normal(size=(3, 3, 3, 3, 40)).astype(np.float32)
    assert np.allclose(convolve(values, kernel), correlated(values, kernel), atol=1e-4)
    small, up = random.normal(size=(2, 3, 4, 2)), random.normal(size=(3, 3, 3, 5, 2))
    large = random.normal(size=(5, 6, 8, 4))
    # <A x, y> = <x, A' y>: A' is the stride-2 convolution with TensorFlow's padding, which sees one zero behind the end.
    behind = np.pad(large, ((0, 0), (0, 1), (0, 1), (0, 1)))
    forward = np.zeros((2, 3, 4, 2))
    for tap in np.ndindex(3, 3, 3):
        part = behind[(slice(None), *(slice(start, start + 2 * size - 1, 2) for start, size in zip(tap, (3, 4, 2))))]
        forward += np.tensordot(up[tap].T, part, axes=1)
    assert np.isclose((convolve_transposed(small, up) * large).sum(), (small * forward).sum(), rtol=1e-5)


def test_a_graph_is_run_as_its_file_says(tmp_path):
    weights = random_weights()
    (tmp_path / "graph.pb").write_bytes(small_graph(weights))
    network = Network(read_graph(tmp_path / "graph.pb"))
    image = np.random.default_rng(2).random((8, 8, 8)).astype(np.float32)
    first = np.maximum(correlated(image[None], weights["first/kernel"]) + weights["first/bias"].reshape(-1, 1, 1, 1), 0)
    pooled = first.reshape(3, 4, 2, 4, 2, 4, 2).max((2, 4, 6))
    both = np.concatenate([convolve_transposed(pooled, weights["up/kernel"]), first])
    last = np.tensordot(weights["last/kernel"][0, 0, 0, :, 0], both, axes=1) + weights["last/bias"]
    assert np.allclose(network.probabilities(image), 1 / (1 + np.exp(-last)), atol=1e-5)
    assert network.parameters == sum(values.size for values in weights.values())


@pytest.mark.parametrize("change", [lambda data: data[:-40], lambda data: b"", lambda data: b"not a graph at all", lambda data: data[200:]])
def test_a_damaged_file_is_told_in_a_sentence(tmp_path, change):
    (tmp_path / "graph.pb").write_bytes(change(small_graph(random_weights())))
    with pytest.raises(InputError, match="add the engine again"):
        Network(read_graph(tmp_path / "graph.pb"))


@pytest.mark.parametrize("how", [{"padding": "VALID"}, {"strides": TWO}])
def test_a_layer_of_another_kind_is_refused_rather_than_run_otherwise(tmp_path, how):
    (tmp_path / "graph.pb").write_bytes(small_graph(random_weights(), **how))
    with pytest.raises(InputError, match="its layer first is of another kind"):
        Network(read_graph(tmp_path / "graph.pb"))


def test_the_brain_of_a_head_is_found_on_the_volumes_own_voxels():
    found = find_brain(head(), SPACING, Bright())
    truth = head() > 500
    assert found.was_looked_at and 2 * (found.mask & truth).sum() / (found.mask.sum() + truth.sum()) > 0.97


@pytest.mark.parametrize(
    ("volume", "spacing", "reason"),
    [
        (lambda: head() - 1024, SPACING, "looks like a CT"),
        (lambda: head()[:7], SPACING, "too thin"),
        (lambda: head() * 0, SPACING, "one value everywhere"),
        (lambda: head(), (11.0, 4.0, 4.0), "larger than one of a head"),
        (lambda: head(), (4.0, 4.0, 2.0), "Nothing of the size of a head"),
        (lambda: head().clip(None, 750), SPACING, "cut off, as bone is"),
        (lambda: head(bright=700, rim=950), SPACING, "contrast is not that of a T1"),
        (lambda: np.where(np.indices((42, 46, 40))[1] < 30, 60, head()).astype(np.int16), SPACING, "not the size of a brain"),
    ],
)
def test_what_is_no_head_on_mr_is_not_believed_and_the_reason_is_said(volume, spacing, reason):
    found = find_brain(volume(), spacing, Bright())
    assert found.mask is None and reason in found.reason


def test_a_head_with_a_bright_skull_is_a_ct_whatever_its_numbers():
    found = find_brain(head(rim=850, skull=780), SPACING, Bright(0.89))
    assert found.mask is None and "as bright as bone" in found.reason


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The engine as it was added, with a network by rule behind the small graph's file."""
    (tmp_path / "graph.pb").write_bytes(small_graph(random_weights()))
    monkeypatch.setattr(served, "_network", lambda path, _changed: Bright())
    return add_engine("deepbrain", options={"checkpoint": str(tmp_path / "graph.pb")})


def ask(prompts, volume=None, **more):
    volume = volume or Volume(head(), RAS, modality="MR")
    with LocalEndpoint() as endpoint:
        return segment(volume, prompts, model="medimageparse3d", endpoint=endpoint.url_of("medimageparse3d"), **more)


def test_the_demo_endpoint_asks_it_for_the_brain_and_names_it(added):
    axes = AxisMap.towards(RAS, ("P", "L", "I"))
    turned = np.ascontiguousarray(axes.apply(head()))
    result = ask(["brain", "liver"], Volume(turned, axes.turned_matrix(RAS, head().shape), modality="MR"), group="together")
    truth = turned > 500
    assert 2 * (result["brain"].array & truth).sum() / (result["brain"].array.sum() + truth.sum()) > 0.97 and not result["liver"].found
    assert result.report["engine"] == (
        f"local demo engine, not MedImageParse; brain found by deepbrain 0.1 (licence MIT, on cpu, weights {added.weights})"
    )
    assert not any("engine add" in warning for warning in result.report["warnings"])


def test_the_demo_endpoint_says_why_there_is_no_brain_and_does_not_claim_the_rest_for_it(added):
    result = ask(["brain", "liver"], Volume(head(bright=700, rim=950), RAS, modality="MR"))
    assert not result["brain"].found and any(warning.startswith("brain: The contrast") for warning in result.report["warnings"])
    assert "deepbrain" not in result.report["engine"]


def test_a_ct_is_not_given_to_it(added, monkeypatch):
    monkeypatch.setattr(served, "find_brain", lambda *_given: pytest.fail("it was asked"))
    voxels = np.where(head() > 100, head() // 10, -1000).astype(np.int16)
    assert not ask(["brain"], Volume(voxels, RAS, modality="CT"), window="raw")["brain"].found


def test_the_demo_finds_a_brain_on_a_slice_of_a_head_and_none_on_a_picture_without_a_dark_border():
    slice_ = np.kron((head()[20] / 4).clip(0, 255).astype(np.uint8), np.ones((6, 6), np.uint8))
    assert segment_image(slice_, ["brain"]).any()
    radiograph = (90 + 120 * np.abs(np.sin(np.linspace(0, 9, 300)))).astype(np.uint8)
    assert not segment_image(np.tile(radiograph, (280, 1)), ["brain"]).any()


def test_without_it_the_demo_says_how_to_get_it_and_after_it_is_removed_again(added):
    hint = "engine add deepbrain"
    assert not any(hint in warning for warning in ask(["head"]).report["warnings"])
    remove_engine("deepbrain")
    assert any(hint in warning for warning in ask(["brain"]).report["warnings"])


def test_it_meets_the_contract_as_an_engine_of_its_own(tmp_path):
    (tmp_path / "graph.pb").write_bytes(small_graph(random_weights()))
    host = InProcess(served.Deepbrain({"checkpoint": str(tmp_path / "graph.pb")})).start()
    findings = check_engine(host)
    assert len(findings) > 6 and [finding for finding in findings if not finding.is_met] == []
    host._engine._network = Bright()
    answer = host.segment_volume(head(), RAS, ["liver", "brain in head MRI"])
    assert answer.masks[0] is None and "the brain only" in answer.reasons[0] and answer.masks[1].any()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Stands for pip: the package's wheel lies where it was asked for. Returns the bytes of the file in it."""
    content = small_graph(random_weights())

    def download(command, _progress, _cancellation, _failed):
        assert command[-1] == "deepbrain==0.1" and "--no-deps" in command and "install" not in command
        with zipfile.ZipFile(f"{command[command.index('-d') + 1]}/deepbrain-0.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("deepbrain/models/graph.pb", content)

    monkeypatch.setattr(packages, "run_program", download)
    return content


def test_only_the_file_with_the_weights_is_taken_out_of_its_package(index, monkeypatch):
    known = replace(served.Deepbrain.carried["checkpoint"], sha256=hashlib.sha256(index).hexdigest())
    monkeypatch.setattr(served.Deepbrain, "carried", {"checkpoint": known})
    added = add_engine("deepbrain")
    folder = engines_folder() / "deepbrain"
    assert sorted(path.name for path in folder.iterdir()) == ["engine.json", "graph.pb"] and added.python == ""
    assert (folder / "graph.pb").read_bytes() == index and added.weights == known.sha256[:12]


def test_weights_that_are_not_the_known_ones_are_not_taken(index):
    with pytest.raises(MedImageParseError, match="not those that are known"):
        add_engine("deepbrain")
    assert not (engines_folder() / "deepbrain").exists()
