"""Warnings about augmented views that look wrong for the classes, judged by the class names only."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from topwork.images.views import FLIPS, ViewPlan

_DIGIT_WORDS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
_COLOURS = {"black", "blue", "brown", "green", "grey", "gray", "orange", "pink", "purple", "red", "white", "yellow"}
_WALLPAPER_GROUPS = {
    "p1",
    "p2",
    "pm",
    "pg",
    "cm",
    "pmm",
    "pmg",
    "pgg",
    "cmm",
    "p4",
    "p4m",
    "p4g",
    "p3",
    "p3m1",
    "p31m",
    "p6",
    "p6m",
}
_MOST = 0.6  # a warning needs more than this share of matching class names


def doubt_views(plan: ViewPlan, class_names: Sequence[str]) -> list[str]:
    """One sentence for each kind of view that may change an image's class, with the parameter that switches it off."""
    names = [name.strip().lower() for name in class_names]
    mirrored_x, mirrored_y = FLIPS[plan.flip]
    found = []
    if plan.flip != "none" and _mostly(names, _is_character):
        found.append(
            "classes look like characters, and a mirrored character is another one or none: augmentation.flip=none"
        )
    if plan.rotation > 45 and _mostly(names, _is_character):
        found.append("classes look like characters, and a 6 turned is a 9: augmentation.rotation=10")
    if mirrored_x and _are_opposites(names, "left", "right"):
        found.append("some classes differ by left and right: augmentation.flip=none")
    if (mirrored_y or plan.rotation > 45) and _are_opposites(names, "up", "down"):
        found.append("some classes differ by up and down: augmentation.flip=none,augmentation.rotation=10")
    if (plan.shear or plan.aspect != 1) and len(names) > 2 and _mostly(names, _WALLPAPER_GROUPS.__contains__):
        found.append("shear and aspect break the symmetries of a wallpaper group: preset=pattern")
    if plan.colour and _mostly(names, _COLOURS.__contains__):
        found.append("classes look like colours: augmentation.colour=0")
    return found


def _is_character(name: str) -> bool:
    last = re.split(r"[\s_-]+", name)[-1]
    return len(last) == 1 or last.isdigit() or last in _DIGIT_WORDS


def _mostly(names: Sequence[str], holds: Callable[[str], bool]) -> bool:
    return sum(map(holds, names)) > _MOST * len(names)


def _are_opposites(names: Sequence[str], one: str, other: str) -> bool:
    return any(re.sub(rf"\b{one}\b|(?<=_){one}|{one}(?=_)", other, name) in names for name in names if one in name)
