"""Parts for learning and for testing, apart by patient: no patient, and no picture, is ever on both sides.

Slices of one patient are alike; a head that has seen some of them knows the others. What belongs together is joined first: records of one
patient or one series, and those that show the very same picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from ..errors import UsageError

PARTS = ("train", "validate", "test")


def joined_groups(owners: Sequence[Iterable[Hashable]]) -> np.ndarray:
    """A number for what must stay together, int64 (items,): equal for items that share an owner, and for those that share one with these.

    Args:
        owners: of each item, at least one: its patients, its series, the hash of its picture, each kind distinct from the others.
    """
    parent: dict[Hashable, Hashable] = {}

    def root(node: Hashable) -> Hashable:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    firsts = []
    for first, *others in owners:
        firsts.append(first)
        for other in others:
            parent[root(other)] = root(first)
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(root(first), len(numbers)) for first in firsts], np.int64)


def split(groups: np.ndarray, labels: Sequence[Sequence[str]], *, test: float = 0.2, validate: float = 0.15, seed: int = 0) -> np.ndarray:
    """Which part each item belongs to: 0 to learn from, 1 to choose by, 2 to test with.

    Groups go whole, those with the rarest label first, to the part that lacks that label most; so each part gets about its share of each
    label. A label of which only one group has any is learned from, so a part may stay empty. The same seed gives the same parts.

    Args:
        groups: as `joined_groups` gives them.
        labels: of each item.
        test: share of the items to test with; 0 for a part that stays empty.
        validate: share to choose by, likewise; both together are at most 0.8.
        seed: of the order among groups that are alike.

    Returns:
        int8 (items,).

    Raises:
        UsageError: shares or a seed that cannot be, or fewer groups than parts.
    """
    shares = np.array([1.0 - test - validate, validate, test])
    if not (np.isfinite(shares).all() and min(test, validate) >= 0 and test + validate <= 0.8):
        raise UsageError("The shares for testing and for choosing must be 0 or more, and together at most 0.8.")
    if seed < 0:
        raise UsageError("The seed must be a whole number of 0 or more.")
    numbers = np.unique(groups)
    wanted = np.flatnonzero(shares > 0)
    if len(numbers) < len(wanted):
        raise UsageError(
            "Learning and testing must never share one patient, and all the labelled images are of {count}: label images of at least {need} patients.",
            count=len(numbers),
            need=len(wanted),
        )
    counts = {int(number): Counter[str]() for number in numbers}
    for group, own in zip(groups.tolist(), labels, strict=True):
        counts[group].update(own)
    places = _dealt(counts, shares, wanted, seed)
    return np.array([places[group] for group in groups.tolist()], np.int8)


def _dealt(counts: dict[int, Counter[str]], shares: np.ndarray, wanted: np.ndarray, seed: int) -> dict[int, int]:
    """The part of each group."""
    holders: dict[str, set[int]] = {}
    for group, own in counts.items():
        for label in own:
            holders.setdefault(label, set()).add(group)
    total = sum(counts.values(), Counter[str]())
    lacking = {label: shares * total[label] for label in total}
    order = np.random.default_rng(seed).permutation(sorted(counts)).tolist()
    rank = {group: place for place, group in enumerate(order)}
    places: dict[int, int] = {}
    for label in sorted(holders, key=lambda label: (len(holders[label]), label)):
        left = sorted(holders[label] - places.keys(), key=lambda group: (-counts[group][label], rank[group]))
        for number, group in enumerate(left):
            part = int(wanted[np.argmax(lacking[label][wanted])])
            if number == 0 and not any(places.get(other) == 0 for other in holders[label]):
                part = 0  # what is never learned from can never be recognized
            places[group] = part
            for other, count in counts[group].items():
                lacking[other][part] -= count
    for group in (group for group in order if group not in places):
        places[group] = int(wanted[0])
    for label in sorted(holders):
        if not any(places[group] == 0 for group in holders[label]):
            places[max(holders[label], key=lambda group: rank[group])] = 0
    return _none_empty(places, counts, wanted, rank)


def _none_empty(places: dict[int, int], counts: dict[int, Counter[str]], wanted: np.ndarray, rank: dict[int, int]) -> dict[int, int]:
    """Every part that is asked for gets a group that can be spared: one without which every label can still be learned."""
    for part in (part for part in wanted[::-1].tolist() if part not in places.values()):
        held = Counter(label for group, place in places.items() if place == 0 for label in counts[group])
        sizes = Counter(places.values())
        spare = [
            group
            for group, place in places.items()
            if (all(held[label] > 1 for label in counts[group]) if place == 0 else sizes[place] > 1)
        ]
        if spare:
            places[max(spare, key=lambda group: rank[group])] = part
    return places
