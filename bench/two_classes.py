"""A wish for recall or precision against what came on test splits: `python -m bench.two_classes DATA`.

DATA is the data folder of a finished run on two classes. Its features are split anew 20 times; each time the threshold
is chosen out of fold, and recall and precision are counted on the test split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from bench.measure import console
from topwork.core.columns import NO_FOLD
from topwork.core.features import Features
from topwork.data.splits import SplitPlan, assign_splits
from topwork.datasets.features import FeaturesDataset
from topwork.scoring.metrics import softmax
from topwork.scoring.two_classes import choose_threshold, operating_scores, positive_class
from topwork.training.linear import multinomial_logistic, out_of_fold_scores

SPLITS, C = 20, 1e-2
WISHES = (("recall", 0.9), ("recall", 0.95), ("precision", 0.9))
CERTAINTIES = (0.9, 0.5)


def main() -> None:
    """Print how often each wish was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--positive")
    asked = parser.parse_args()
    features = FeaturesDataset(filepath=str(asked.data / "04_feature/features.safetensors")).load()
    known = pd.read_parquet(asked.data / "03_primary/splits.parquet")
    manifest = pd.read_parquet(asked.data / "02_intermediate/manifest.parquet").set_index("image_id")
    images = known.assign(sha256=known["image_id"].map(manifest["sha256"]), given_split="")
    positive = positive_class(images["label"], asked.positive)
    table = Table(
        title=f"{SPLITS} splits, {(images['label'] == positive).sum()} of {len(images)} images are {positive}"
    )
    for column in ("wish", "certainty", "met out of", "recall: mean, least", "precision: mean, least"):
        table.add_column(column, justify="right")
    tried = [_scored(features, images, positive, seed) for seed in range(SPLITS)]
    for name, wish in WISHES:
        for certainty in CERTAINTIES:
            found = pd.DataFrame([_operated(*each, name, wish, certainty) for each in tried])
            told = [f"{found[each].mean():.3f}, {found[each].min():.3f}" for each in ("recall", "precision")]
            met = f"{(found[name] >= wish).sum()} of {SPLITS}"
            table.add_row(f"{name} >= {wish}", f"{certainty:.0%}", met, *told)
    console.print(table)


_Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # probability, truth, groups


def _scored(features: Features, images: pd.DataFrame, positive: str, seed: int) -> tuple[_Part, _Part]:
    """Out of fold and on the test split."""
    splits, _ = assign_splits(images, images.head(0), SplitPlan(0.2, 5, seed))
    vectors, truth = features.vectors[features.positions(splits["image_id"].tolist())], splits["label"] == positive
    groups, folds, number = splits["group"].to_numpy(dtype=str), splits["fold"].to_numpy(), truth.to_numpy().astype(int)
    estimator, is_test = multinomial_logistic("none", 300), folds == NO_FOLD
    parts = []
    inside = out_of_fold_scores(estimator, C, vectors[~is_test], number[~is_test], folds[~is_test], 2)
    whole = out_of_fold_scores(estimator, C, vectors, number, np.where(is_test, 0, 1), 2)[is_test]
    for scores, rows in ((inside, ~is_test), (whole, is_test)):
        parts.append((softmax(scores, 1.0)[:, 1], number[rows] == 1, groups[rows]))
    return parts[0], parts[1]


def _operated(learnt: _Part, tested: _Part, name: str, wish: float, certainty: float) -> dict[str, float | None]:
    wishes = (wish if name == "recall" else None, wish if name == "precision" else None)
    threshold, _ = choose_threshold(*learnt, *wishes, certainty)
    return operating_scores(tested[0] >= threshold, *tested[1:])


if __name__ == "__main__":
    main()
