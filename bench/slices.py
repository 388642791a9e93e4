"""How often scores on slices warn by luck, and how often when they should: `python -m bench.slices`.

Predictions are drawn, with a given accuracy and images that are similar within groups. What is counted is
`topwork.scoring.slices` itself, on four columns: of two, five and twenty values that follow the groups, and of three
values that every group holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from bench.measure import console
from topwork.core.arrays import Integers
from topwork.scoring.metrics import wilson_interval
from topwork.scoring.slices import score_slices

ACCURACY, DRAWS, PERMUTATIONS = 0.85, 200, 500
WIDTHS, WITHIN = (2, 5, 20), 3
_SPREAD = 1.5  # standard deviation of the groups' difficulty, in logits


@dataclass(frozen=True)
class Case:
    """Number of images, and of images of a group; groups differ in difficulty unless each is one image."""

    images: int
    group: int

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.images:,} images" + (f" in groups of {self.group}" if self.group > 1 else "")


CASES = (Case(300, 1), Case(1_000, 1), Case(1_000, 5), Case(3_000, 10))


def main() -> None:
    """Print false warnings, and warnings of a slice that is 10 and 20 points worse."""
    generator = np.random.default_rng(0)
    table = Table(title=f"Runs with a warning, of {DRAWS} (accuracy {ACCURACY}; a fifth of the images is worse)")
    for column in ("", "no slice differs", "10 points worse", "20 points worse"):
        table.add_column(column, justify="right")
    for case in CASES:
        cells = [_told(sum(_warns(case, gap, generator) for _ in range(DRAWS))) for gap in (0.0, 0.1, 0.2)]
        table.add_row(case.name, *cells)
    console.print(table)


def _told(count: int) -> str:
    low, high = wilson_interval(count, DRAWS)
    return f"{count / DRAWS:.1%} [{low:.1%}, {high:.1%}]"


def _warns(case: Case, gap: float, generator: np.random.Generator) -> bool:
    """Whether a run warns: of any column if no slice differs, and of the right one otherwise."""
    groups = case.images // case.group
    group = np.repeat(np.arange(groups), case.group)
    columns = {f"of_{width}": generator.integers(width, size=groups)[group] for width in WIDTHS}
    columns["within"] = generator.integers(WITHIN, size=case.images)
    logit = np.log(ACCURACY / (1 - ACCURACY))
    difficulty = generator.normal(0, _SPREAD, groups)[group] if case.group > 1 else np.zeros(case.images)
    chance = 1 / (1 + np.exp(-logit - difficulty))
    right = generator.random(case.images) < chance - gap * (columns["of_5"] == 0)
    ids = [str(number) for number in range(case.images)]
    values = pd.DataFrame({"image_id": ids, **{name: _category(codes) for name, codes in columns.items()}})
    table = pd.DataFrame({"image_id": ids, "label": "a", "predicted": np.where(right, "a", "b")})
    of_group = pd.Series(group.astype(str), ids)
    found = score_slices(values, table, table.head(0), of_group, PERMUTATIONS, int(generator.integers(2**31)))
    warned = [column for column in found.columns if column.differs]
    return any(column.column == "of_5" and column.farthest == "0" for column in warned) if gap else bool(warned)


def _category(codes: Integers) -> Any:
    return pd.Series([str(code) for code in codes]).astype("category")


if __name__ == "__main__":
    main()
