"""The colors of the outlier map tell near from far by the reference set's own distances."""

from __future__ import annotations

import numpy as np
import pytest

from MedImageParseLib.files.figures import MapPoint, render_small_map

MEMBERS = [MapPoint(0.0, float(number), "member", None, usual) for number, usual in enumerate((0.2, 0.5, 0.3))]


def colors_of(points: list[MapPoint]) -> list[np.ndarray]:
    image, places = render_small_map(points, 300)
    return [np.array(image.getpixel((round(x), round(y))), int) for x, y in places]


def is_warm(color: np.ndarray) -> bool:
    """Red rather than blue."""
    return bool(color[0] > color[2] + 60)


def is_cool(color: np.ndarray) -> bool:
    return bool(color[2] > color[0] + 60)


@pytest.mark.parametrize("distance", [1.0, 1.3, 40.0])
def test_the_only_strange_image_is_far_not_near(distance):
    *_, strange = colors_of([*MEMBERS, MapPoint(5.0, 0.0, "strange", distance)])
    assert is_warm(strange)


def test_images_no_farther_than_the_members_from_one_another_are_near_all_of_them():
    points = [MapPoint(3.0 + number, 1.0, "usual", distance) for number, distance in enumerate((0.1, 0.3, 0.5))]
    assert all(is_cool(color) for color in colors_of([*MEMBERS, *points])[3:])


def test_a_farther_image_is_never_colored_as_nearer():
    points = [MapPoint(2.0 * number, -3.0, "one", distance) for number, distance in enumerate(np.linspace(0.3, 1.2, 7))]
    reds = [color[0] for color in colors_of([*MEMBERS, *points])[3:]]
    assert reds == sorted(reds) and reds[-1] > reds[0]


@pytest.mark.parametrize("members", [[], [MapPoint(0.0, 0.0, "alone")], [MapPoint(0.0, 0.0, "twice", None, 0.0)] * 2])
def test_without_distances_of_a_set_the_farthest_is_far(members):
    points = [MapPoint(2.0, 0.0, "nearer", 0.1), MapPoint(4.0, 0.0, "far", 1.0)]
    nearer, far = colors_of([*members, *points])[-2:]
    assert is_cool(nearer) and is_warm(far)
