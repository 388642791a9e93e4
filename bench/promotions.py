"""How often the alias `champion` moves by luck, and how often it does when it should: `python -m bench.promotions`.

Predictions of two models on the same images are drawn with a given accuracy and a given share of images on which just
one is right, as two strategies on photographs have it. What is counted is the rule of
`topwork.decisions.promotion` itself.
"""

from __future__ import annotations

import numpy as np
from rich.table import Table

from bench.measure import console
from topwork.core.arrays import Bools
from topwork.scoring.metrics import wilson_interval
from topwork.scoring.paired import compare

ACCURACY, DISAGREEMENT, SIGNIFICANCE = 0.85, 0.10, 0.05
PAIRS, CHAINS, CHALLENGERS = 5_000, 500, 20
SIZES, GAPS = (50, 350, 3_000), (0.01, 0.03, 0.05)


def main() -> None:
    """Print false promotions, chains and power."""
    generator = np.random.default_rng(0)
    table = Table(title=f"The alias moves (accuracy {ACCURACY}, one-sided test at {SIGNIFICANCE})")
    for column in (
        "images",
        "equal models",
        "95 %",
        "chains of 20: moves",
        "a chain with a move",
        "power at 1, 3, 5 points",
    ):
        table.add_column(column, justify="right")
    for size in SIZES:
        false = sum(_moves(*_pair(size, 0.0, generator)) for _ in range(PAIRS))
        low, high = wilson_interval(false, PAIRS)
        moves = [_chain(size, generator) for _ in range(CHAINS)]
        power = [np.mean([_moves(*_pair(size, gap, generator)) for _ in range(1000)]) for gap in GAPS]
        table.add_row(
            str(size),
            f"{false / PAIRS:.3f}",
            f"[{low:.3f}, {high:.3f}]",
            f"{np.mean(moves):.2f}",
            f"{np.mean(np.array(moves) > 0):.2f}",
            ", ".join(f"{each:.2f}" for each in power),
        )
        console.print(f"{size} images done")
    console.print(table)


def _pair(size: int, gap: float, generator: np.random.Generator) -> tuple[Bools, Bools]:
    """Right answers of a challenger that is better by ``gap``, and of the champion."""
    disagreement = max(DISAGREEMENT, gap)
    only_challenger, only_champion = (disagreement + gap) / 2, (disagreement - gap) / 2
    both = ACCURACY - only_champion
    kind = generator.choice(4, size=size, p=[both, only_challenger, only_champion, 1 - both - disagreement])
    return (kind == 0) | (kind == 1), (kind == 0) | (kind == 2)


def _chain(size: int, generator: np.random.Generator) -> int:
    """Moves while equal challengers come one after the other, on the same images, against whoever is champion."""
    difficulty = generator.random(size)  # the same images: what one finds hard, others do too

    def model() -> Bools:
        shared = difficulty < ACCURACY
        changed = generator.random(size) < DISAGREEMENT / 2
        return np.asarray(np.where(changed, generator.random(size) < ACCURACY, shared), bool)

    champion, moves = model(), 0
    for _ in range(CHALLENGERS):
        challenger = model()
        if _moves(challenger, champion):
            champion, moves = challenger, moves + 1
    return moves


def _moves(challenger: Bools, champion: Bools) -> bool:
    groups = np.arange(len(champion)).astype(str)
    return compare(challenger, champion, groups, 0).p_better < SIGNIFICANCE


if __name__ == "__main__":
    main()
