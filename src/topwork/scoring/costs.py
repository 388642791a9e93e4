"""What wrong answers cost, as a matrix over the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Floats, Integers
from topwork.core.errors import InputError
from topwork.core.words import perhaps
from topwork.scoring.paired import difference_interval

CostMatrix = tuple[tuple[float, ...], ...]
"""``[c][c]``: the cost of each answer (column) for an image of each class (row)."""
Costs = Mapping[str, Mapping[str, float]]
_USUAL = 1.0


def cost_matrix(costs: Costs, class_names: Sequence[str]) -> CostMatrix:
    """The matrix over all classes: a right answer that is not named costs 0, and a wrong one 1.

    Raises:
        InputError: a class is not one of these; the message names the nearest.

    """
    named = {*costs, *(answer for of_class in costs.values() for answer in of_class)}
    for name in sorted(named - set(class_names)):
        hint = perhaps(name, class_names)
        raise InputError(f"comparison.costs: no class {name!r}; {hint}the classes are {', '.join(class_names)}.")
    return tuple(
        tuple(float(costs.get(true, {}).get(answer, 0.0 if true == answer else _USUAL)) for answer in class_names)
        for true in class_names
    )


def paid(truth: Integers, predicted: Integers, costs: CostMatrix) -> Floats:
    """The cost of each answer, ``[n]``; an answer that is none of the classes costs the most."""
    matrix = np.array(costs)
    is_class = (predicted >= 0) & (predicted < len(matrix))
    return np.where(is_class, matrix[truth, np.where(is_class, predicted, 0)], matrix.max())


def mean_cost(
    truth: Integers, predicted: Integers, costs: CostMatrix, groups: NDArray[np.str_]
) -> dict[str, float | None]:
    """Mean cost of an image, with its 95 % interval."""
    each = paid(truth, predicted, costs)
    low, high = difference_interval(each, groups, 0.95, None)
    return {"cost": float(each.mean()), "cost_low": max(0.0, low), "cost_high": high}
