from __future__ import annotations

from dataclasses import replace

import pytest

from topwork.images.view_doubts import _WALLPAPER_GROUPS, doubt_views
from topwork.images.views import PRESETS
from topwork.symmetry.groups import GROUPS

DIGITS = [str(digit) for digit in range(10)]
THINGS = ["dress", "hat", "left_over", "shoe", "t-shirt"]


@pytest.mark.parametrize(
    ("preset", "classes", "way_out"),
    [
        ("photo", DIGITS, "augmentation.flip=none"),
        ("photo", ["digit_3", "digit_8"], "augmentation.flip=none"),
        ("photo", ["one", "two", "three"], "augmentation.flip=none"),
        ("pattern", list("abcde"), "augmentation.rotation=10"),
        ("photo", ["turn_left", "turn_right", "stop"], "augmentation.flip=none"),
        ("pattern", ["thumb up", "thumb down"], "augmentation.rotation=10"),
        ("photo", list(GROUPS), "preset=pattern"),
        ("photo", ["Red", "Green", "Blue"], "augmentation.colour=0"),
    ],
)
def test_a_preset_that_looks_wrong_is_doubted_with_the_way_out(preset: str, classes: list[str], way_out: str):
    assert any(way_out in doubt for doubt in doubt_views(PRESETS[preset], classes))


@pytest.mark.parametrize(
    ("preset", "classes"),
    [("digits", DIGITS), ("pattern", list(GROUPS)), ("photo", THINGS), ("none", DIGITS), ("none", ["red", "blue"])],
)
def test_a_preset_that_fits_is_not_doubted(preset: str, classes: list[str]):
    assert doubt_views(PRESETS[preset], classes) == []


def test_a_kind_that_is_switched_off_raises_no_doubt():
    assert doubt_views(replace(PRESETS["photo"], flip="none"), DIGITS) == []


def test_the_names_of_the_wallpaper_groups_are_those_that_are_rendered() -> None:
    assert set(GROUPS) == _WALLPAPER_GROUPS
