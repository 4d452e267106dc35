"""Outlines of a mask in one slice: polygons along the edges of its pixels, holes joined to them by channels without width."""

from __future__ import annotations

import numpy as np


def outlines(inside: np.ndarray) -> list[np.ndarray]:
    """Closed polygons whose filling (even-odd or winding) gives the mask back exactly.

    Args:
        inside: boolean (rows, columns).

    Returns:
        one array of (column, row) corners a part, float; pixel (0, 0) reaches from -0.5 to 0.5. The last point is not repeated. Parts
        that touch by a corner only are parts of their own.

    Examples:
        >>> outlines(np.array([[True]]))[0].tolist()
        [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]
    """
    from scipy.ndimage import label

    parts, count = label(inside)
    rings: list[list[np.ndarray]] = [[] for _ in range(count)]
    for ring, owner in _rings(parts):
        rings[owner - 1].append(ring)
    return [_joined(sorted(part, key=lambda ring: -abs(_area(ring)))) - 0.5 for part in rings]


def _rings(parts: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Boundary loops with the part that they bound: the part lies at the right of each step (row axis down)."""
    padded = np.pad(parts, 1)
    steps: dict[tuple[int, int], list[tuple[int, int, int]]] = {}

    def add(edges: np.ndarray, start: tuple[int, int], end: tuple[int, int], owners: np.ndarray) -> None:
        for row, column in np.argwhere(edges):
            begin = (int(column) + start[0], int(row) + start[1])
            steps.setdefault(begin, []).append((int(column) + end[0], int(row) + end[1], int(owners[row, column])))

    core = padded[1:-1, 1:-1]
    add((core > 0) & (padded[:-2, 1:-1] != core), (0, 0), (1, 0), core)  # top edge, to the right
    add((core > 0) & (padded[1:-1, 2:] != core), (1, 0), (1, 1), core)  # right edge, down
    add((core > 0) & (padded[2:, 1:-1] != core), (1, 1), (0, 1), core)  # bottom edge, to the left
    add((core > 0) & (padded[1:-1, :-2] != core), (0, 1), (0, 0), core)  # left edge, up
    loops = []
    while steps:
        first = next(iter(steps))
        x, y, owner = steps[first].pop()
        loop, before = [first], first
        while (x, y) != first:
            loop.append((x, y))
            following = _next(steps[(x, y)], owner, before, (x, y))
            steps[(x, y)].remove(following)
            if not steps[(x, y)]:
                del steps[(x, y)]
            before = (x, y)
            x, y = following[:2]
        if first in steps and not steps[first]:
            del steps[first]
        loops.append((_corners(np.array(loop, float)), owner))
    return loops


def _next(choices: list[tuple[int, int, int]], owner: int, before: tuple[int, int], at: tuple[int, int]) -> tuple[int, int, int]:
    """At a corner that a part touches itself with, the step that turns right stays with the same pixel."""
    mine = [choice for choice in choices if choice[2] == owner]
    if len(mine) == 1:
        return mine[0]
    heading = (at[0] - before[0], at[1] - before[1])
    right = (-heading[1], heading[0])
    return next((choice for choice in mine if (choice[0] - at[0], choice[1] - at[1]) == right), mine[0])


def _corners(loop: np.ndarray) -> np.ndarray:
    """The loop without the points along its straight edges."""
    before, after = np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0)
    turns = np.any((loop - before) != (after - loop), axis=1)
    return loop[turns]


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """The outline (first) with its holes (the others), each joined where it comes nearest."""
    joined = rings[0]
    for hole in rings[1:]:
        squares = ((joined[:, np.newaxis] - hole[np.newaxis]) ** 2).sum(axis=-1)
        here, there = np.unravel_index(int(squares.argmin()), squares.shape)
        turned = np.roll(hole, -int(there), axis=0)
        joined = np.concatenate([joined[: here + 1], turned, turned[:1], joined[here:]])
    return joined
