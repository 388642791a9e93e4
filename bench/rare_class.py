"""Recall of a rare class by each means against imbalance: `python -m bench.rare_class DATA --rare CLASS`.

DATA is the data folder of a finished run. In each draw, the rare class keeps a twentieth (or a hundredth) as many
images to learn from as the others; the test images of a draw are as many of each class. Every means learns from the
same frozen features: the logistic head as in a run, and a softmax head that is trained step by step with the losses and
the sampling of networks. The differences from doing nothing are paired by draw.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from scipy.stats import t as student

from bench.measure import console
from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import LeastCost, called
from topwork.datasets.features import FeaturesDataset
from topwork.scoring.metric import Answers, Metric
from topwork.scoring.metrics import softmax
from topwork.training.class_balance import ClassWeight, balanced_order
from topwork.training.criterion import Criterion, Loss
from topwork.training.heads import Examples
from topwork.training.linear import fit_linear, multinomial_logistic

RATIOS, DRAWS, LEARNT, TESTED, FOLDS = (20, 100), 6, 400, 90, 3
GRID = [1e-4, 1e-3, 1e-2, 1e-1]
EPOCHS, BATCH, RATE, DECAY = 30, 32, 1e-3, 0.01  # as in block `finetune`, with enough epochs for a head alone
_Fit = Callable[["_Draw"], Integers]


def main() -> None:
    """Print a row for each imbalance and means."""
    parser = argparse.ArgumentParser(prog="python -m bench.rare_class", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rare", required=True)
    asked = parser.parse_args()
    features = FeaturesDataset(filepath=str(asked.data / "04_feature/features.safetensors")).load()
    images = pd.read_parquet(asked.data / "03_primary/splits.parquet")
    vectors = np.asarray(features.vectors[features.positions(images["image_id"].tolist())], np.float32)
    names, truth = np.unique(images["label"], return_inverse=True)
    rare = names.tolist().index(asked.rare)
    rows = []
    for ratio in RATIOS:
        for number, draw in enumerate(_draws(vectors, truth, rare, ratio)):
            for means, fit in _MEANS.items():
                rows.append({"ratio": ratio, "draw": number, "means": means, **_scores(draw, fit(draw), rare)})
            console.print(f"1:{ratio}, draw {number + 1} of {DRAWS}")
    _show(pd.DataFrame(rows))


class _Draw:
    """Features and class numbers of the images to learn from and of those to test on; standardised by the former."""

    def __init__(self, vectors: Floats, truth: Integers, learnt: Integers, tested: Integers, seed: int) -> None:
        mean, spread = vectors[learnt].mean(axis=0), vectors[learnt].std(axis=0) + 1e-6
        self.learnt, self.tested = (vectors[learnt] - mean) / spread, (vectors[tested] - mean) / spread
        self.truth, self.expected, self.seed = truth[learnt], truth[tested], seed
        self.classes = int(truth.max()) + 1


def _draws(vectors: Floats, truth: Integers, rare: int, ratio: int) -> Iterator[_Draw]:
    for number in range(DRAWS):
        order = np.random.default_rng([ratio, number]).permutation(len(truth))
        learnt, tested = [], []
        for each in range(int(truth.max()) + 1):
            members = order[truth[order] == each]
            tested.append(members[:TESTED])
            learnt.append(members[TESTED:][: max(1, LEARNT // ratio) if each == rare else LEARNT])
        yield _Draw(vectors, truth, np.concatenate(learnt), np.concatenate(tested), number)


def _head(class_weight: ClassWeight, *, by_cost: bool = False) -> _Fit:
    """The logistic head; by cost, a mistake costs the more the rarer the class is (as `comparison.costs` may say)."""

    def predict(draw: _Draw) -> Integers:
        folds = np.zeros(len(draw.truth), int)
        for number in range(draw.classes):
            folds[draw.truth == number] = np.arange((draw.truth == number).sum()) % FOLDS
        examples = Examples(draw.learnt[None], draw.truth, folds, draw.classes, average=False)
        fitted = fit_linear(multinomial_logistic(class_weight, 300), GRID, examples)
        odds = softmax(fitted.head.scores(draw.tested), fitted.temperature)
        dear = 1 / np.bincount(draw.truth)
        costs = [[0.0 if row == column else dear[row] for column in range(draw.classes)] for row in range(draw.classes)]
        return called(odds, [], LeastCost(tuple(map(tuple, costs))) if by_cost else None)

    return predict


def _network_head(loss: Loss = "cross_entropy", class_weight: ClassWeight = "none", sampling: str = "plain") -> _Fit:
    def predict(draw: _Draw) -> Integers:
        torch.manual_seed(draw.seed)
        criterion = Criterion.of(loss, class_weight, 0.0, draw.truth, draw.classes)
        head = torch.nn.Linear(draw.learnt.shape[1], draw.classes)
        torch.nn.init.zeros_(head.weight)
        optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
        vectors, truth = torch.from_numpy(draw.learnt), torch.from_numpy(draw.truth)
        for epoch in range(EPOCHS):
            generator = np.random.default_rng([draw.seed, epoch])
            everyone = np.arange(len(truth))
            balanced = sampling == "balanced"
            order = balanced_order(draw.truth, everyone, generator) if balanced else generator.permutation(everyone)
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                optimizer.zero_grad()
                criterion(head(vectors[rows]), truth[rows]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        with torch.inference_mode():
            return np.asarray(head(torch.from_numpy(draw.tested)).argmax(dim=1))

    return predict


_MEANS: dict[str, _Fit] = {
    "logistic": _head("none"),
    "logistic, class_weight=balanced": _head("balanced"),
    "logistic, class_weight=effective": _head("effective"),
    "logistic, comparison.costs": _head("none", by_cost=True),
    "steps": _network_head(),
    "steps, class_weight=balanced": _network_head(class_weight="balanced"),
    "steps, class_weight=effective": _network_head(class_weight="effective"),
    "steps, loss=focal": _network_head("focal"),
    "steps, loss=logit_adjusted": _network_head("logit_adjusted"),
    "steps, sampling=balanced": _network_head(sampling="balanced"),
}


def _scores(draw: _Draw, predicted: Integers, rare: int) -> dict[str, float]:
    answers = Answers(draw.expected, predicted, np.empty((len(predicted), 0)))
    mine, called_rare = draw.expected == rare, predicted == rare
    return {
        "recall": float(called_rare[mine].mean()),
        "precision": float(mine[called_rare].mean()) if called_rare.any() else float("nan"),
        "others": float((predicted == draw.expected)[~mine].mean()),
        "balanced_accuracy": Metric("balanced_accuracy").value(answers),
    }


def _show(rows: pd.DataFrame) -> None:
    table = Table(title=f"Mean of {DRAWS} draws; gain in points, with the 95 % interval over the draws")
    for column in (
        "imbalance",
        "means",
        "recall",
        "gain",
        "precision",
        "recall of the others",
        "balanced accuracy, gain",
    ):
        table.add_column(column, justify="left" if column == "means" else "right")
    for (ratio, means), mine in rows.groupby(["ratio", "means"], sort=False):
        usual = rows[(rows["ratio"] == ratio) & (rows["means"] == str(means).split(",", maxsplit=1)[0])]
        gains = [_gain(mine, usual, name) for name in ("recall", "balanced_accuracy")]
        told = [f"1:{ratio}", str(means), f"{mine['recall'].mean():.3f}", gains[0], f"{mine['precision'].mean():.3f}"]
        table.add_row(*told, f"{mine['others'].mean():.3f}", f"{mine['balanced_accuracy'].mean():.3f}, {gains[1]}")
    console.print(table)


def _gain(mine: pd.DataFrame, usual: pd.DataFrame, name: str) -> str:
    gains = 100 * (mine.set_index("draw")[name] - usual.set_index("draw")[name])
    half = student.ppf(0.975, len(gains) - 1) * gains.std() / len(gains) ** 0.5
    return f"{gains.mean():+.1f} [{gains.mean() - half:+.1f}, {gains.mean() + half:+.1f}]"


if __name__ == "__main__":
    main()
