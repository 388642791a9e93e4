from __future__ import annotations

import numpy as np
import pytest

from topwork.symmetry.groups import GROUPS, WallpaperGroup, parse_position
from topwork.symmetry.lattice import draw_cell

ORDERS = {
    "p1": 1, "p2": 2, "pm": 2, "pg": 2, "cm": 2, "pmm": 4, "pmg": 4, "pgg": 4, "cmm": 4, "p4": 4, "p4m": 8, "p4g": 8,
    "p3": 3, "p3m1": 6, "p31m": 6, "p6": 6, "p6m": 12,
}  # fmt: skip
every_group = pytest.mark.parametrize("group", GROUPS.values(), ids=list(GROUPS))


def reduced(linear: np.ndarray, shift: np.ndarray) -> tuple[int, ...]:
    return (*linear.ravel().tolist(), *np.rint(shift * 12).astype(int) % 12)


def mirrors_and_glides(group: WallpaperGroup) -> tuple[int, int]:
    """How many reflections of the group fix a line, and how many only slide along one (whatever the translation)."""
    mirrors = glides = 0
    for operation in group.operations:
        if np.linalg.det(operation.linear) < 0:
            # along the axis a reflection moves by half of (1 + W) w: a mirror if some translation undoes it
            steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 2), -1).reshape(-1, 2)
            slides = (operation.shift + steps) @ (np.eye(2) + operation.linear).T
            mirrors += bool((abs(slides) < 1e-9).all(axis=1).any())
            glides += not (abs(slides) < 1e-9).all(axis=1).any()
    return mirrors, glides


def test_there_are_seventeen_groups_of_the_known_orders():
    assert {name: len(group.operations) for name, group in GROUPS.items()} == ORDERS


@every_group
def test_the_operations_are_a_group_modulo_translations(group: WallpaperGroup):
    elements = {reduced(operation.linear, operation.shift) for operation in group.operations}
    assert len(elements) == len(group.operations)
    assert reduced(np.eye(2, dtype=int), np.zeros(2)) == reduced(group.operations[0].linear, group.operations[0].shift)
    for first in group.operations:
        for second in group.operations:
            product = reduced(first.linear @ second.linear, first.linear @ second.shift + first.shift)
            assert product in elements


@every_group
def test_the_operations_keep_the_lengths_of_every_cell_of_their_lattice(group: WallpaperGroup):
    for seed in range(10):
        basis = draw_cell(group.system, np.random.default_rng(seed))
        assert np.linalg.det(basis) == pytest.approx(1)
        metric = basis.T @ basis
        for operation in group.operations:
            np.testing.assert_allclose(operation.linear.T @ metric @ operation.linear, metric, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "mirrors", "glides"),
    [
        *[("pm", 1, 0), ("pg", 0, 1), ("cm", 1, 0), ("pmm", 2, 0), ("pmg", 1, 1), ("pgg", 0, 2), ("cmm", 2, 0)],
        *[("p4", 0, 0), ("p4m", 4, 0), ("p4g", 2, 2), ("p3m1", 3, 0), ("p31m", 3, 0), ("p6", 0, 0), ("p6m", 6, 0)],
    ],
)
def test_groups_of_equal_order_differ_in_mirrors_and_glides(name: str, mirrors: int, glides: int):
    assert mirrors_and_glides(GROUPS[name]) == (mirrors, glides)


def test_p31m_has_threefold_centres_off_its_mirrors_and_p3m1_has_none():
    centre = np.array([1 / 3, 2 / 3])  # a threefold centre of both

    def on_a_mirror(group: WallpaperGroup) -> bool:
        moved = [operation(centre[None])[0] for operation in group.operations if np.linalg.det(operation.linear) < 0]
        return any(np.allclose((image - centre) % 1 % 1, 0) for image in moved)

    assert on_a_mirror(GROUPS["p3m1"])
    assert not on_a_mirror(GROUPS["p31m"])


def test_a_general_position_is_read_as_printed():
    operation = parse_position("-x+1/2, x-y")
    np.testing.assert_array_equal(operation.linear, [[-1, 0], [1, -1]])
    np.testing.assert_array_equal(operation.shift, [0.5, 0])
    np.testing.assert_allclose(operation(np.array([[0.25, 0.5]])), [[0.25, -0.25]])


@pytest.mark.parametrize("position", ["x", "x,y,z", "x,2y", "", "x,y;"])
def test_what_is_no_general_position_is_refused(position: str):
    with pytest.raises(ValueError, match="no general position"):
        parse_position(position)
