"""The adapter's two-part network beside the published recipe in PyTorch: do both learn the same?

    python3 scripts/bench/network_beside_torch.py [--examples 80] [--length 1024] [--epochs 30]

PyTorch is not among the project's packages: run this with a Python that has torch, numpy and scipy (`pip install torch numpy scipy`). Both
start from the same first weights and see the same examples in the same order. The reference is made of torch's own layers, convolutions on
a signal of length 1 included, with torch's cross-entropy and AdamW; for findings its binary cross-entropy with logits. Prints, for classes
and for findings, the greatest difference of a probability (of the examples and of as many that neither has seen) and of a weight after the
last epoch, and the time of each; the exit status is 1 where a probability differs by more than 1e-3.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "MedImageParseExtension" / "MedImageParse")]

from MedImageParseLib.search import network

LABELS, BOUND = 5, 1e-3


class Published(nn.Module):
    """The network of the adapter notebooks."""

    def __init__(self, length: int, width: int):
        super().__init__()
        self.first, self.second = nn.Linear(length, network.HIDDEN), nn.Linear(network.HIDDEN, network.HIDDEN)
        self.norm = nn.LayerNorm(network.HIDDEN)
        self.third, self.fourth = nn.Conv1d(network.HIDDEN, width, 3, padding=1), nn.Conv1d(width, width, 3, padding=1)
        self.last = nn.Linear(width, LABELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.norm(self.second(nn.functional.gelu(self.first(x))))
        features = self.fourth(nn.functional.gelu(self.third(seen[:, :, None])))[:, :, 0]
        return self.last(features)

    def start_with(self, parameters: network.Parameters) -> None:
        """Take these weights, those of a convolution into its middle tap; the outer taps meet only padding."""
        with torch.no_grad():
            for name, own in self.named_parameters():
                given = torch.from_numpy(parameters[name].copy())
                if own.dim() == 3:
                    own[:, :, 1] = given
                else:
                    own.copy_(given)

    def difference(self, parameters: network.Parameters) -> float:
        """The greatest difference of a weight."""
        every = []
        for name, own in self.named_parameters():
            found = own.detach().numpy()
            every.append(np.abs((found[:, :, 1] if found.ndim == 3 else found) - parameters[name]).max())
        return float(max(every))


def main() -> int:
    """Returns 0 where all probabilities agree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--examples", type=int, default=80)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((LABELS, given.length))
    y = rng.integers(0, LABELS, 2 * given.examples)
    every = centers[y] + 3.0 * rng.standard_normal((len(y), given.length))
    every = (every / np.linalg.norm(every, axis=1, keepdims=True)).astype(np.float32)
    x, y = every[: given.examples], y[: given.examples]  # the other half is only looked at
    findings = np.eye(LABELS, dtype=np.float32)[y]
    findings[rng.random(findings.shape) < 0.2] = 1.0
    recipe = network.Recipe(epochs=given.epochs, patience=given.epochs + 1)
    agree = True
    for kind in ("classes", "findings"):
        truth = torch.from_numpy(y if kind == "classes" else findings)
        loss = nn.CrossEntropyLoss() if kind == "classes" else nn.BCEWithLogitsLoss()
        weights = np.ones(given.examples if kind == "classes" else findings.shape, np.float32)
        slope = network.classes_loss(y, weights, LABELS) if kind == "classes" else network.findings_loss(findings, weights)
        began = time.perf_counter()
        ours = network.learn(x, slope, LABELS, recipe, judge=_later())
        our_time = time.perf_counter() - began
        theirs, their_time = by_torch(x, truth, loss, recipe)
        squash = torch.softmax if kind == "classes" else lambda raw, dim: torch.sigmoid(raw)
        with torch.no_grad():
            expected = squash(theirs(torch.from_numpy(every)), dim=1).numpy()
        found = squash(torch.from_numpy(network.forward(ours.parameters, every)), dim=1).numpy()
        apart = float(np.abs(found - expected).max())
        agree &= apart <= BOUND
        print(
            f"{kind}: {ours.epochs} epochs of {given.examples} examples; probabilities differ by at most {apart:.1e}, weights by "
            f"{theirs.difference(ours.parameters):.1e}; {our_time:.2f} s, torch {their_time:.2f} s, ratio {our_time / their_time:.2f}"
        )
    return 0 if agree else 1


def _later():
    """A judge that likes each epoch better than the one before, so that the last is kept."""
    epochs = iter(range(1, 1_000_000))
    return lambda _parameters: float(next(epochs))


def by_torch(x: np.ndarray, truth: torch.Tensor, loss: nn.Module, recipe: network.Recipe) -> tuple[Published, float]:
    """The published network after the recipe's epochs, and the seconds that they took."""
    made = Published(x.shape[1], recipe.width)
    made.start_with(network.first_parameters(x.shape[1], LABELS, recipe))
    optimizer = torch.optim.AdamW(made.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    vectors = torch.from_numpy(x)
    began = time.perf_counter()
    for steps in network.batches(recipe, len(x)):
        for rows in steps:
            picked = torch.from_numpy(rows)
            optimizer.zero_grad()
            loss(made(vectors[picked]), truth[picked]).backward()
            optimizer.step()
    return made, time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
