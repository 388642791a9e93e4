"""The nested cross-validation of our linear heads, against the same one written with scikit-learn alone."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from bench.measure import Row
from topwork.core.parameters import LinearParameters
from topwork.training.heads import Examples, logistic, svm

_IMAGES, _WIDTH, _CLASSES = 3_400, 1_280, 10
_GOAL = 1 / 3
_GRIDS = {
    "svm": [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
    "logistic": [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0],
}
_OURS = {"svm": svm.fit, "logistic": logistic.fit}
_THEIRS = {  # with the loose tolerances that are fastest
    "svm": LinearSVC(dual=True, tol=1e-2, max_iter=1000, random_state=0),
    "logistic": LogisticRegression(tol=1e-3, max_iter=300),
}


def heads(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """Out-of-fold predictions of both heads on correlated synthetic features, alternated."""
    examples = _examples()
    for name, grid in _GRIDS.items():
        parameters = LinearParameters(C=grid, class_weight="none", max_iterations=1000, seed=0, rejected=0.05)
        ours, theirs = [], []
        for _ in range(asked.rounds):
            start = time.perf_counter()
            _OURS[name](examples, parameters)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            _with_scikit_learn(_THEIRS[name], grid, examples)
            theirs.append(time.perf_counter() - start)
        mine, rival = statistics.median(ours), statistics.median(theirs)
        what = f"{name}, nested cross-validation, {_IMAGES:,} x {_WIDTH:,}"
        yield Row(what, mine, rival, "s", mine / rival, "scikit-learn's GridSearchCV, nested", _GOAL, at_most=True)


def _examples() -> Examples:
    """Features like those of a network: a few directions of large spread, and classes that overlap."""
    random = np.random.default_rng(0)
    truth = np.arange(_IMAGES) % _CLASSES
    spread = np.linspace(1, 60, _WIDTH)[::-1] ** -0.5 * 8
    mixed = np.linalg.qr(random.normal(size=(_WIDTH, _WIDTH)))[0]
    vectors = (random.normal(size=(_CLASSES, _WIDTH))[truth] * 0.5 + random.normal(size=(_IMAGES, _WIDTH))) * spread
    return Examples(
        (vectors @ mixed).astype(np.float32)[None], truth, np.arange(_IMAGES) // _CLASSES % 5, _CLASSES, False
    )


def _with_scikit_learn(model: Any, grid: list[float], examples: Examples) -> None:
    step = type(model).__name__.lower()  # as `make_pipeline` names it
    inner = GridSearchCV(make_pipeline(StandardScaler(), model), {f"{step}__C": grid}, cv=4)
    outer = LeaveOneGroupOut()
    cross_val_predict(inner, examples.vectors, examples.truth, groups=examples.folds, cv=outer, n_jobs=-1)
