"""Which prompts of a 3D run may go in one request.

Prompts of one request compete in MedImageParse 3D: masks that overlap by more than half in a slice suppress one another (BiomedParse v2's
post-processing), which nested and synonymous targets do by nature. Sent in different requests, they do not.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..remedies import ONE_PROMPT_A_REQUEST, Sentence, joined
from .catalogue import Match, Target, find
from .grammar import quoted
from .vocabulary import bag, split_words

GROUPS = ("auto", "together", "each")
_LESION = "52988006"  # SNOMED CT
_MOST_STEPS = 20_000  # of the search for fewer requests; then the fewest that were found


def request_groups(prompts: Sequence[str], group: str) -> list[list[int]]:
    """The requests of a run: the numbers of their prompts, each in the order typed, the first prompt in the first request.

    Args:
        prompts: of the run.
        group: "auto": targets of which one contains the other, or which mean the same, in different requests, as few as possible;
            "together": one request; "each": one request a prompt.

    >>> request_groups(["kidney", "left kidney", "liver", "right kidney"], "auto")
    [[0, 2], [1, 3]]
    """
    if group == "each":
        return [[number] for number in range(len(prompts))]
    if group == "together":
        return [list(range(len(prompts)))]
    colors = fewest_colors(_rivals(prompts))
    groups = [[number for number, color in enumerate(colors) if color == wanted] for wanted in sorted(set(colors))]
    return sorted(groups)


def grouping_sentence(prompts: Sequence[str], groups: Sequence[Sequence[int]]) -> str | None:
    """What is said where nested targets went in requests of their own, None where one request took all.

    Args:
        prompts: of the run.
        groups: as `request_groups` gives them for "auto".
    """
    if len(groups) < 2:
        return None
    listed = _listed(_pairs(prompts))
    return Sentence(
        "The prompts went in {count} requests, because targets that contain each other or mean the same "
        "({listed}) can suppress one another in one request to MedImageParse 3D.",
        count=len(groups),
        listed=listed,
    )


def nested_warning(prompts: Sequence[str]) -> str | None:
    """A sentence where 3D prompts of one request are nested or mean the same, else None."""
    pairs = _pairs(prompts)
    if not pairs:
        return None
    return Sentence(
        "Targets that contain each other or mean the same can suppress one another when sent to MedImageParse 3D "
        "together ({pairs}): {one_prompt_a_request}.",
        pairs=_listed(pairs),
        one_prompt_a_request=ONE_PROMPT_A_REQUEST,
    )


def fewest_colors(neighbours: Sequence[set[int]]) -> list[int]:
    """A color for each of several things, so that no two neighbours have the same and there are as few as possible.

    Args:
        neighbours: of each thing, by number.

    Returns:
        colors from 0. The fewest are found by branch and bound (Brelaz' order: what has the fewest colors left goes first); after
        20,000 steps, which takes far more prompts than people type, the best that was found is taken.
    """
    search = _Coloring(neighbours)
    search.extend({}, 0)
    return [search.best[number] for number in range(len(neighbours))]


class _Coloring:
    """The search for the fewest colors. Attributes: best: the colors of the best coloring yet."""

    def __init__(self, neighbours: Sequence[set[int]]):
        self._neighbours = neighbours
        self._steps = 0
        self._fewest = len(neighbours) + 1
        self.best: dict[int, int] = {}

    def extend(self, colors: dict[int, int], used: int) -> None:
        """Color what is left, with fewer colors than the best has."""
        self._steps += 1
        if used >= self._fewest:
            return
        if len(colors) == len(self._neighbours):
            self.best, self._fewest = dict(colors), used
            return
        number, taken = self._next(colors)
        for color in range(min(used + 1, self._fewest - 1)):
            if color not in taken and (self._steps < _MOST_STEPS or not self.best):
                colors[number] = color
                self.extend(colors, max(used, color + 1))
                del colors[number]

    def _next(self, colors: dict[int, int]) -> tuple[int, set[int]]:
        """What has the fewest colors left, among those what has most neighbours, and the colors that are taken around it."""
        taken = {
            number: {colors[other] for other in others if other in colors}
            for number, others in enumerate(self._neighbours)
            if number not in colors
        }
        number = max(taken, key=lambda each: (len(taken[each]), len(self._neighbours[each]), -each))
        return number, taken[number]


def _rivals(prompts: Sequence[str]) -> list[set[int]]:
    """For each prompt those that would suppress it, or be suppressed."""
    understood = [find(prompt) for prompt in prompts]
    rivals: list[set[int]] = [set() for _ in prompts]
    for one, first in enumerate(understood):
        for other in range(one + 1, len(prompts)):
            if _overlap(prompts[one], first, prompts[other], understood[other]):
                rivals[one].add(other)
                rivals[other].add(one)
    return rivals


def _pairs(prompts: Sequence[str]) -> list[str]:
    rivals = _rivals(prompts)
    return [
        Sentence("{one} and {other}", one=quoted(prompts[one]), other=quoted(prompts[other]))
        for one, others in enumerate(rivals)
        for other in sorted(others)
        if one < other
    ]


def _listed(pairs: Sequence[str]) -> str:
    listed = joined(pairs[:3], ", ")
    return Sentence("{listed} and {count} more pairs", listed=listed, count=len(pairs) - 3) if len(pairs) > 3 else listed


def _overlap(one: str, first: Match | None, other: str, second: Match | None) -> bool:
    if first and second:
        return _targets_overlap(first.target, second.target)
    words_one = set(bag(split_words(first.target.name if first else one)))
    words_other = set(bag(split_words(second.target.name if second else other)))
    return words_one <= words_other or words_other <= words_one


def _targets_overlap(a: Target, b: Target) -> bool:
    if a.side and b.side and a.side != b.side:
        return False
    if a.base == b.base or a.base in b.inside or b.base in a.inside or "body" in (a.base, b.base):
        return True
    if a.region == b.type or b.region == a.type:  # a finding and its organ
        return True
    if a.type == b.type and (a.generic or b.generic):  # "tumor" and "liver tumor"
        return True
    return a.region is not None and a.region == b.region and _LESION in (a.type[1], b.type[1])  # a lesion may be the tumor
