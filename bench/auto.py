"""What `strategies=auto` would have taken, and what that costs, where all strategies ran: `python -m bench.auto DATA…`.

Each DATA is the `data=DIR` of a run with `strategies=all`. What `auto` leaves out follows from the advice and from the
scores of those that ran before; what it takes, from the out-of-fold predictions of the rest, as in a run. Regret is
the accuracy on the test split of the best strategy there less that of the one taken: best by luck too.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.measure import console
from topwork.core.results import Row, Status, StrategyResult
from topwork.decisions.advisor import why_stop
from topwork.decisions.leaderboard import choose_champion, compare_on_shared, rank
from topwork.decisions.strategies import STRATEGIES
from topwork.scoring.paired import compare

RESAMPLES, SEED, ERRORS = 4000, 0, 1.0


@dataclass(frozen=True)
class Cell:
    """One data set: regret in accuracy against the best and against the choice among all, and the share of seconds."""

    regret: float
    against_choice: float
    cost: float


def main() -> None:
    """Print a line a data set, and the means."""
    parser = argparse.ArgumentParser(prog="python -m bench.auto", description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    cells = [_judge(data) for data in parser.parse_args().data]
    regrets = np.array([cell.regret for cell in cells])
    draws = np.random.default_rng(SEED).choice(regrets, (RESAMPLES, len(regrets))).mean(axis=1)
    low, high = 100 * np.quantile(draws, [0.025, 0.975])
    console.print(
        f"{len(cells)} runs: mean regret {100 * regrets.mean():.2f} points [{low:.2f}, {high:.2f}], against the choice "
        f"among all {100 * np.mean([cell.against_choice for cell in cells]):.2f}, "
        f"cost {np.mean([cell.cost for cell in cells]):.0%} of all"
    )


def _judge(data: Path) -> Cell:
    reporting = data / "08_reporting"
    metrics = {name: json.loads((reporting / name / "metrics.json").read_text()) for name in STRATEGIES}
    metrics = {name: each for name, each in metrics.items() if each["status"] == "ok"}
    leaderboard = json.loads((reporting / "leaderboard.json").read_text())
    seconds = {row["strategy"]: row["seconds"] for row in leaderboard if not row.get("slot")}
    ran = _auto(json.loads((reporting / "advice.json").read_text())["ruled_out"], metrics)
    taken, choice = _choice(data, ran), _choice(data, list(metrics))
    best = max(metrics, key=lambda name: metrics[name]["accuracy"])
    right, of_best = (_right(data, name) for name in (taken, best))
    lost = compare(of_best, right, np.arange(len(right)).astype(str), SEED)
    cost = sum(seconds[name] for name in ran) / sum(seconds[name] for name in metrics)
    scores = ", ".join(f"{name} {each['accuracy']:.3f}" for name, each in metrics.items())
    console.print(
        f"{data.name}: {scores}; auto runs {'+'.join(ran)} and takes {taken} (of all: {choice}); {best} is best, "
        f"regret {100 * lost.difference:.1f} points [{100 * lost.low:.1f}, {100 * lost.high:.1f}]; cost {cost:.0%}"
    )
    return Cell(lost.difference, metrics[choice]["accuracy"] - metrics[taken]["accuracy"], cost)


def _auto(ruled_out: dict[str, str], metrics: dict[str, Any]) -> list[str]:
    ran: list[str] = []
    for name in metrics:
        done = [StrategyResult(other, Status.OK, scores=metrics[other]) for other in ran]
        if name not in ruled_out and not why_stop(done):
            ran.append(name)
    return ran


def _choice(data: Path, names: list[str]) -> str:
    tables = {name: pd.read_parquet(data / f"07_model_output/{name}/out_of_fold.parquet") for name in names}
    compared = compare_on_shared(tables, {}, pd.read_parquet(data / "03_primary/splits.parquet"), SEED)
    rows = rank([Row(strategy=name, status=Status.OK, **compared[name].model_dump()) for name in names])
    return str(choose_champion(rows, ERRORS).strategy)


def _right(data: Path, name: str) -> Any:
    predictions = pd.read_parquet(data / f"07_model_output/{name}/predictions.parquet").sort_values("image_id")
    return (predictions["predicted"] == predictions["label"]).to_numpy()


if __name__ == "__main__":
    main()
