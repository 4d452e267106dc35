"""The published two-part network on vectors, in NumPy.

Linear(n, 512), GELU, Linear(512, 512), LayerNorm(512); then, on the vector as a signal of length 1, Conv1d(512, h, 3, padding 1), GELU,
Conv1d(h, h, 3, padding 1), whose output are the features; then Linear(h, labels). On a signal of length 1 only the middle tap of a
convolution ever meets data, so both are linear layers with the first weights of a convolution (within 1/sqrt(3 * inputs)). Cross-entropy,
or for findings that may stand beside one another binary cross-entropy; AdamW. Source: the adapter notebooks of
microsoft/healthcareai-examples. One thing is otherwise on purpose: the notebooks choose the epoch on the test set; here it is chosen on a
part that is neither learned from nor tested with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

HIDDEN = 512
EPS = 1e-5  # of the layer norm
_SQRT_HALF, _DENSITY = math.sqrt(0.5), 1.0 / math.sqrt(2.0 * math.pi)


@dataclass(slots=True, frozen=True)
class Recipe:
    """How the network learns; the published recipe's values.

    Attributes:
        epochs: at most. patience: epochs without a better figure on the choosing part before it stops.
        batch: examples a step. rate: learning rate. decay: weight decay.
        width: of the features (512; 254 in the search notebook).
        seed: of the first weights and the order of examples.
    """

    epochs: int = 30
    patience: int = 10
    batch: int = 8
    rate: float = 3e-4
    decay: float = 0.01
    width: int = 512
    seed: int = 0


Shapes = dict[str, tuple[int, ...]]


def shapes_of(length: int, labels: int, width: int) -> Shapes:
    """The names of the parameters and their shapes, in order."""
    layers = (
        ("first", length, HIDDEN),
        ("second", HIDDEN, HIDDEN),
        ("third", HIDDEN, width),
        ("fourth", width, width),
        ("last", width, labels),
    )
    shapes: Shapes = {}
    for name, inputs, outputs in layers:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)
        if name == "second":
            shapes["norm.weight"] = shapes["norm.bias"] = (HIDDEN,)
    return shapes


@dataclass(slots=True)
class Parameters:
    """All numbers of a network in one float32 array, with a view of it for each layer."""

    shapes: Shapes
    flat: np.ndarray
    views: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, shapes: Shapes, flat: np.ndarray | None = None) -> Parameters:
        """Parameters on a flat array, zeros where none is given."""
        total = sum(math.prod(shape) for shape in shapes.values())
        flat = np.zeros(total, np.float32) if flat is None else flat
        made, start = cls(shapes, flat), 0
        for name, shape in shapes.items():
            end = start + math.prod(shape)
            made.views[name] = flat[start:end].reshape(shape)
            start = end
        return made

    def __getitem__(self, name: str) -> np.ndarray:
        return self.views[name]


def first_parameters(length: int, labels: int, recipe: Recipe) -> Parameters:
    """The weights that learning begins with: uniform within 1/sqrt(inputs), of the two convolutions 1/sqrt(3 * inputs)."""
    rng = np.random.default_rng(recipe.seed)
    made = Parameters.of(shapes_of(length, labels, recipe.width))
    for name, view in made.views.items():
        layer, part = name.split(".")
        if layer == "norm":
            view[:] = 1.0 if part == "weight" else 0.0
            continue
        inputs = made.shapes[f"{layer}.weight"][1] * (3 if layer in ("third", "fourth") else 1)
        view[:] = rng.uniform(-1.0, 1.0, view.shape) / math.sqrt(inputs)
    return made


def batches(recipe: Recipe, rows: int) -> Iterator[list[np.ndarray]]:
    """For each epoch the rows of each step, shuffled."""
    rng = np.random.default_rng([recipe.seed, 1])
    for _ in range(recipe.epochs):
        order = rng.permutation(rows)
        yield [order[start : start + recipe.batch] for start in range(0, rows, recipe.batch)]


def forward(parameters: Parameters, x: np.ndarray, keep: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Raw scores (rows, labels) for vectors (rows, length).

    Args:
        parameters: of the network.
        x: float32 vectors.
        keep: where what each layer saw is put, for learning; its "features" are the published feature vectors.
    """
    p, k = parameters, {} if keep is None else keep
    k["x"] = x
    k["a"] = x @ p["first.weight"].T + p["first.bias"]
    k["b"] = _gelu(k["a"])
    c = k["b"] @ p["second.weight"].T + p["second.bias"]
    mean = c.mean(axis=1, keepdims=True)
    k["spread"] = 1.0 / np.sqrt(((c - mean) ** 2).mean(axis=1, keepdims=True) + np.float32(EPS))
    k["normal"] = (c - mean) * k["spread"]
    k["d"] = k["normal"] * p["norm.weight"] + p["norm.bias"]
    k["e"] = k["d"] @ p["third.weight"].T + p["third.bias"]
    k["f"] = _gelu(k["e"])
    k["features"] = k["f"] @ p["fourth.weight"].T + p["fourth.bias"]
    return k["features"] @ p["last.weight"].T + p["last.bias"]


def backward(parameters: Parameters, kept: dict[str, np.ndarray], slope: np.ndarray, gradient: Parameters) -> None:
    """The loss's slope in every parameter, from its slope in the raw scores.

    Args:
        parameters: of the network.
        kept: what `forward` kept.
        slope: (rows, labels).
        gradient: filled.
    """
    p, k, g = parameters, kept, gradient
    slope = _linear(g, "last", k["features"], slope, p)
    slope = _linear(g, "fourth", k["f"], slope, p) * _gelu_slope(k["e"])
    slope = _linear(g, "third", k["d"], slope, p)
    g["norm.weight"][:], g["norm.bias"][:] = (slope * k["normal"]).sum(axis=0), slope.sum(axis=0)
    slope = slope * p["norm.weight"]
    along = (slope * k["normal"]).mean(axis=1, keepdims=True)
    slope = k["spread"] * (slope - slope.mean(axis=1, keepdims=True) - k["normal"] * along)
    slope = _linear(g, "second", k["b"], slope, p) * _gelu_slope(k["a"])
    g["first.weight"][:], g["first.bias"][:] = slope.T @ k["x"], slope.sum(axis=0)


def _linear(gradient: Parameters, layer: str, inputs: np.ndarray, slope: np.ndarray, parameters: Parameters) -> np.ndarray:
    np.matmul(slope.T, inputs, out=gradient[f"{layer}.weight"])
    gradient[f"{layer}.bias"][:] = slope.sum(axis=0)
    return slope @ parameters[f"{layer}.weight"]


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return x * np.float32(0.5) * (1 + erf(x * np.float32(_SQRT_HALF)))


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return np.float32(0.5) * (1 + erf(x * np.float32(_SQRT_HALF))) + x * np.exp(np.float32(-0.5) * x * x) * np.float32(_DENSITY)


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), betas 0.9 and 0.999, eps 1e-8.

    Args:
        size: of the flat array of parameters.
        rate, decay: as in the recipe.
    """

    def __init__(self, size: int, rate: float, decay: float) -> None:
        self._rate, self._decay, self._step = rate, decay, 0
        self._mean, self._square, self._room = (np.zeros(size, np.float32) for _ in range(3))

    def step(self, flat: np.ndarray, gradient: np.ndarray) -> None:
        """Change the parameters in place."""
        self._step += 1
        flat *= np.float32(1.0 - self._rate * self._decay)
        self._mean *= np.float32(0.9)
        np.multiply(gradient, np.float32(0.1), out=self._room)
        self._mean += self._room
        self._square *= np.float32(0.999)
        np.multiply(gradient, gradient, out=self._room)
        self._room *= np.float32(0.001)
        self._square += self._room
        np.sqrt(self._square, out=self._room)
        self._room *= np.float32(1.0 / math.sqrt(1.0 - 0.999**self._step))
        self._room += np.float32(1e-8)
        np.divide(self._mean, self._room, out=self._room)
        self._room *= np.float32(self._rate / (1.0 - 0.9**self._step))
        flat -= self._room


Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]  # raw scores and rows -> slope of the loss in the raw scores


def classes_loss(y: np.ndarray, weights: np.ndarray, count: int) -> Loss:
    """The slope of the cross-entropy, its mean weighted as torch weighs it.

    Args:
        y: int (examples,).
        weights: float (examples,), how much each counts.
        count: of labels.
    """
    targets = np.eye(count, dtype=np.float32)[y]

    def slope(raw: np.ndarray, rows: np.ndarray) -> np.ndarray:
        shares = np.exp(raw - raw.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        own = weights[rows].astype(np.float32)
        return (shares - targets[rows]) * (own / own.sum())[:, None]

    return slope


def findings_loss(y: np.ndarray, weights: np.ndarray) -> Loss:
    """The slope of the mean binary cross-entropy. `y` and `weights` are (examples, findings)."""
    targets = y.astype(np.float32)

    def slope(raw: np.ndarray, rows: np.ndarray) -> np.ndarray:
        chance = 1.0 / (1.0 + np.exp(-np.clip(raw, -60.0, 60.0)))
        return ((chance - targets[rows]) * weights[rows] / raw.size).astype(np.float32)

    return slope


@dataclass(slots=True)
class Learned:
    """A network that has learned.

    Attributes:
        parameters: of the best epoch.
        epoch: which, counted from 1. epochs: how many there were.
        course: the figure on the choosing part after each epoch.
    """

    parameters: Parameters
    epoch: int
    epochs: int
    course: list[float]


def learn(
    x: np.ndarray,
    slope_of: Loss,
    labels: int,
    recipe: Recipe,
    judge: Callable[[Parameters], tuple[float, float]],
    told: Callable[[int], None] = lambda _: None,
) -> Learned:
    """Learn, and keep the epoch that the choosing part likes best.

    Args:
        x: float32 (examples, length).
        slope_of: `classes_loss` or `findings_loss`.
        labels: how many.
        recipe: of learning.
        judge: a figure on the choosing part, the larger the better, and another one by which equal ones are told apart: with few
            examples the order of the labels is soon right, and their probabilities are not yet.
        told: called with the number of epochs done; may raise to stop.
    """
    parameters = first_parameters(x.shape[1], labels, recipe)
    gradient = Parameters.of(parameters.shapes)
    optimizer = AdamW(parameters.flat.size, recipe.rate, recipe.decay)
    best, best_epoch, course = parameters.flat.copy(), 0, list[tuple[float, float]]()
    for epoch, steps in enumerate(batches(recipe, len(x)), start=1):
        for rows in steps:
            kept: dict[str, np.ndarray] = {}
            raw = forward(parameters, x[rows], kept)
            backward(parameters, kept, slope_of(raw, rows), gradient)
            optimizer.step(parameters.flat, gradient.flat)
        course.append(judge(parameters))
        told(epoch)
        if best_epoch == 0 or course[-1] > max(course[:-1]):
            best, best_epoch = parameters.flat.copy(), epoch
        elif epoch - best_epoch >= recipe.patience:
            break
    return Learned(Parameters.of(parameters.shapes, best), best_epoch, len(course), [figure for figure, _ in course])
