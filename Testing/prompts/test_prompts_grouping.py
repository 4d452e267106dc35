"""Nested targets go in different requests, as few as possible."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedImageParseLib.prompts.catalogue import targets
from MedImageParseLib.prompts.grouping import fewest_colors, grouping_sentence, nested_warning, request_groups
from MedImageParseLib.prompts.presets import presets

NAMES = [target.name for target in targets()]


def fewest_by_trying(neighbours: list[set[int]]) -> int:
    """The chromatic number, by trying every coloring with one color, with two, and so on."""
    for count in range(1, len(neighbours) + 1):
        for colors in product(range(count), repeat=len(neighbours)):
            if all(colors[one] != colors[other] for one, others in enumerate(neighbours) for other in others):
                return count
    return 0


@given(st.integers(0, 6).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.sampled_from(list(combinations(range(max(n, 2)), 2)))))))
def test_no_two_neighbours_share_a_color_and_there_are_no_fewer(case):
    count, edges = case
    neighbours = [
        {other for edge in edges if number in edge for other in edge if other != number and other < count} for number in range(count)
    ]
    colors = fewest_colors(neighbours)
    assert all(colors[one] != colors[other] for one, others in enumerate(neighbours) for other in others)
    assert len(set(colors)) == fewest_by_trying(neighbours)


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=12, unique=True))
def test_every_prompt_goes_once_and_no_request_holds_nested_targets(prompts):
    groups = request_groups(prompts, "auto")
    assert sorted(number for members in groups for number in members) == list(range(len(prompts)))
    assert groups[0][0] == 0 and all(members == sorted(members) for members in groups)
    assert all(nested_warning([prompts[number] for number in members]) is None for members in groups)
    assert (len(groups) > 1) == (nested_warning(prompts) is not None) == (grouping_sentence(prompts, groups) is not None)


def test_together_and_each_stay_what_they_are():
    prompts = ["kidney", "left kidney", "liver"]
    assert request_groups(prompts, "together") == [[0, 1, 2]] and request_groups(prompts, "each") == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("prompts", "requests"),
    [
        (["liver", "spleen", "pancreas"], 1),
        (["kidney", "left kidney", "right kidney"], 2),
        (["whole tumor", "tumor core", "enhancing tumor"], 3),
        (["liver", "liver tumor", "kidney", "left kidney"], 2),
        (["body", "spine", "vertebra L1", "vertebra L2", "liver"], 3),
        (["unicorn", "unicorn horn", "dragon"], 2),
    ],
)
def test_as_few_requests_as_the_nesting_is_deep(prompts, requests):
    groups = request_groups(prompts, "auto")
    assert len(groups) == requests
    sentence = grouping_sentence(prompts, groups)
    assert sentence is None if requests == 1 else f"in {requests} requests" in sentence


def test_every_preset_of_the_3d_model_takes_few_requests():
    requests = {name: len(request_groups(preset.prompts, "auto")) for name, preset in presets("medimageparse3d").items()}
    assert requests["abdomen-15"] == requests["spine"] == requests["lung-lobes"] == 1
    assert requests["lungs-and-lobes"] == 2 and max(requests.values()) <= 3
