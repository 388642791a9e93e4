"""Whether images chosen for labelling teach more than random ones: `python -m bench.labelling DATA…`.

DATA is the data folder of a run that went as far as `features`. In each draw a third of the images is for testing, and
a few images of each class have a label. Round by round, images are added: those that `choose_to_label` chooses, those
of the smallest margin alone, or random ones. After each round logistic regression is fitted on all that have a label.
The difference in test accuracy to random images is paired by draw, with Student's interval over draws.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

from topwork.core.arrays import Floats, Integers
from topwork.core.heads import LinearHead
from topwork.datasets.features import FeaturesDataset
from topwork.decisions.labelling import choose_to_label, most_unsure
from topwork.scoring.metrics import softmax
from topwork.training.calibration import fit_temperature
from topwork.training.linear import fit_head, multinomial_logistic, out_of_fold_scores

C, CANDIDATES, FOLDS = 0.01, 10, 3
ESTIMATOR = multinomial_logistic("none", 300)
Choose = Callable[[Floats, Floats, Integers, int, int], Integers]


def main() -> None:
    """Print a line for each data set and way to choose."""
    parser = argparse.ArgumentParser(prog="python -m bench.labelling", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--start", type=int, default=5, help="labelled images of each class at the start")
    parser.add_argument("--budget", type=int, default=50, help="images added in each round")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    for data in asked.data:
        vectors, truth, groups = read(data)
        accuracy = {
            name: [curve(vectors, truth, groups, choose, draw, asked) for draw in range(asked.draws)]
            for name, choose in WAYS.items()
        }
        for name in list(WAYS)[1:]:
            row = {"data": data.name, "images": len(truth), "way": name, "draws": asked.draws}
            print(json.dumps({**row, **compared(accuracy[name], accuracy["random"])}), flush=True)


def read(data: Path) -> tuple[Floats, Integers, Integers]:
    """Features ``[n, d]``, class numbers ``[n]`` and group numbers ``[n]`` of all images of a run."""
    splits = pd.read_parquet(data / "03_primary/splits.parquet")
    features = FeaturesDataset(filepath=str(data / "04_feature/features.safetensors")).load()
    vectors = features.vectors[features.positions(splits["image_id"].tolist())]
    return vectors, np.unique(splits["label"], return_inverse=True)[1], pd.factorize(splits["group"])[0]


def curve(
    vectors: Floats, truth: Integers, groups: Integers, choose: Choose, draw: int, asked: argparse.Namespace
) -> list[float]:
    """Test accuracy after each round."""
    order = np.random.default_rng(draw).permutation(len(truth))
    in_test = np.isin(groups, np.unique(groups[order[: len(order) // 3]]))
    test, pool = np.flatnonzero(in_test), order[~in_test[order]]
    labelled = np.concatenate([pool[truth[pool] == number][: asked.start] for number in np.unique(truth)])
    found, classes = [], int(truth.max()) + 1
    for number in range(asked.rounds + 1):
        head = fit_head(ESTIMATOR(C), vectors[None, labelled], truth[labelled], classes)
        found.append(float((head.scores(vectors[test]).argmax(axis=1) == truth[test]).mean()))
        rest = np.setdiff1d(pool, labelled)
        probabilities = softmax(head.scores(vectors[rest]), temperature(head, vectors, truth, labelled))
        seed = 1000 * draw + number
        chosen = choose(vectors[rest], probabilities, groups[rest], asked.budget, seed)
        labelled = np.concatenate([labelled, rest[chosen]])
    return found


def temperature(head: LinearHead, vectors: Floats, truth: Integers, labelled: Integers) -> float:
    """The temperature that calibrates the head, from scores out of fold."""
    folds = np.empty(len(labelled), int)
    folds[np.argsort(truth[labelled], kind="stable")] = np.arange(len(labelled)) % FOLDS  # stratified
    of = vectors[labelled], truth[labelled]
    return fit_temperature(out_of_fold_scores(ESTIMATOR, C, *of, folds, len(head.bias)), of[1])


def compared(ours: list[list[float]], theirs: list[list[float]]) -> dict[str, object]:
    """Mean accuracy of both after each round, and the mean difference in points with its 95 % interval."""
    mine, other = np.array(ours)[:, 1:], np.array(theirs)[:, 1:]
    difference = 100 * (mine - other)
    half = student.ppf(0.975, len(mine) - 1) * difference.std(axis=0, ddof=1) / np.sqrt(len(mine))
    mean = difference.mean(axis=0)
    return {
        "random": other.mean(axis=0).round(3).tolist(),
        "chosen": mine.mean(axis=0).round(3).tolist(),
        "points": [
            [round(float(value), 1) for value in row] for row in zip(mean, mean - half, mean + half, strict=True)
        ],
    }


def _random(_vectors: Floats, probabilities: Floats, _groups: Integers, budget: int, seed: int) -> Integers:
    return np.random.default_rng(seed).permutation(len(probabilities))[:budget]


def _margin(_vectors: Floats, probabilities: Floats, _groups: Integers, budget: int, _seed: int) -> Integers:
    return most_unsure(probabilities, budget)


def _ours(vectors: Floats, probabilities: Floats, groups: Integers, budget: int, seed: int) -> Integers:
    return choose_to_label(vectors, probabilities, groups, budget, CANDIDATES, seed)


WAYS: dict[str, Choose] = {"random": _random, "chosen": _ours, "margin alone": _margin}


if __name__ == "__main__":
    main()
