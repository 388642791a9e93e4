from __future__ import annotations

import numpy as np
import pytest

from topwork.symmetry.groups import GROUPS, WallpaperGroup, parse_position
from topwork.symmetry.margin import sample_cell, symmetry_margin
from topwork.symmetry.motifs import covered
from topwork.symmetry.patterns import MARGIN, MOTIFS, Pattern, draw_pattern

# What would lead from each group to its minimal supergroups: operations on the same lattice, wherever their centre or
# axis may lie, and translations to a finer lattice.
SAME_LATTICE = {
    "p1": ["-x,-y", "-x,y", "y,x", "-y,x-y"],
    "p2": ["-x,y", "y,x", "-y,x", "-y,x-y"],
    "pm": ["-x,-y"],
    "pg": ["-x,-y"],
    "cm": ["-x,-y", "-y,x-y"],
    "pmm": ["y,x"],
    "pmg": ["y,x"],
    "pgg": ["y,x"],
    "cmm": ["-x,y", "-y,x-y"],
    "p4": ["-x,y"],
    "p4m": [],
    "p4g": [],
    "p3": ["-x,-y", "y,x", "-y,-x"],
    "p3m1": ["-x,-y"],
    "p31m": ["-x,-y"],
    "p6": ["y,x"],
    "p6m": [],
}
FINER = [(0, 1 / 2), (1 / 2, 0), (1 / 2, 1 / 2), (0, 1 / 3), (1 / 3, 0), (1 / 3, 1 / 3), (1 / 3, 2 / 3)]

every_group = pytest.mark.parametrize("group", GROUPS.values(), ids=list(GROUPS))


def some_patterns(group: WallpaperGroup, count: int = 12) -> list[Pattern]:
    return [draw_pattern(group.name, np.random.default_rng([seed, 5])) for seed in range(count)]


def disagreement(first: np.ndarray, second: np.ndarray) -> float:
    """Mean squared difference as a share of what unrelated patterns would have."""
    return float(((first - second) ** 2).sum() / (2 * ((first - first.mean(axis=0)) ** 2).sum()))


@every_group
def test_a_pattern_is_invariant_under_its_group_at_any_point_of_the_plane(group: WallpaperGroup):
    points = np.random.default_rng(0).uniform(-4, 4, (400, 2))
    for pattern in some_patterns(group):
        colours = pattern(points)
        assert colours.std(axis=0).max() > 0.03
        for operation in group.operations:
            np.testing.assert_allclose(pattern(operation(points)), colours, atol=1e-9)
        np.testing.assert_allclose(pattern(points + np.array([3, -2])), colours, atol=1e-9)


@every_group
def test_a_pattern_is_far_from_every_minimal_supergroup(group: WallpaperGroup):
    points = np.random.default_rng(1).random((1500, 2))
    lines = (np.arange(24) + 0.5) / 24
    shifts = np.stack(np.meshgrid(lines, lines), -1).reshape(-1, 2)
    for pattern in some_patterns(group, 4):
        colours = pattern(points)
        for shift in FINER:
            assert disagreement(pattern(points + shift), colours) > 0.8 * MARGIN
        for position in SAME_LATTICE[group.name]:
            moved = parse_position(position)(points[:200])
            images = pattern((moved[None] + shifts[:, None]).reshape(-1, 2)).reshape(len(shifts), 200, 3)
            assert min(disagreement(image, colours[:200]) for image in images) > 0.4 * MARGIN


@every_group
def test_every_motif_comes_up(group: WallpaperGroup):
    assert {pattern.motif for pattern in some_patterns(group, 30)} == set(MOTIFS)


@pytest.mark.parametrize(
    "pair",
    [
        *["p1<p2", "p1<pm", "p1<cm", "p1<p3", "p2<pgg", "p2<p4", "p2<p6", "pm<pmm", "cm<cmm", "pmm<p4m", "pgg<p4g"],
        *["p4<p4g", "p4<p4m", "p3<p31m", "p3<p3m1", "p3<p6", "p3m1<p6m", "p31m<p6m", "p6<p6m", "cmm<p6m"],
    ],
)
def test_a_pattern_of_a_larger_group_has_no_margin_as_one_of_the_smaller(pair: str):
    smaller, larger = pair.split("<")
    pattern = draw_pattern(larger, np.random.default_rng(3))
    assert symmetry_margin(sample_cell(pattern), GROUPS[smaller]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("finer", [np.diag([2, 1]), np.diag([1, 3]), np.array([[1, 1], [-1, 1]])], ids=str)
def test_a_pattern_on_a_finer_lattice_has_no_margin(finer: np.ndarray):
    pattern = draw_pattern("p1", np.random.default_rng(4))
    assert symmetry_margin(sample_cell(lambda points: pattern(points @ finer.T)), GROUPS["p1"]) == pytest.approx(
        0, abs=1e-9
    )


def test_shapes_cover_what_lies_inside_them_and_nothing_far_away():
    pattern = next(each for each in some_patterns(GROUPS["pg"], 30) if each.motif == "shapes")
    shape = pattern.layers[0].shapes[0]
    identity = GROUPS["p1"].operations
    far = shape.centre + np.linalg.solve(pattern.basis, np.array([2 * shape.reach, 0]))
    assert covered([shape], identity, pattern.basis, np.stack([shape.centre, shape.centre + 7, far])).tolist() == [
        1,
        1,
        0,
    ]
