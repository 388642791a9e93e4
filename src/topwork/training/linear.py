"""Linear classifiers on standardised bottleneck features, chosen and scored by nested cross-validation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from joblib import Parallel, cpu_count, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from topwork.core.arrays import Floats, Integers
from topwork.core.heads import LinearHead
from topwork.core.parameters import LinearParameters
from topwork.core.progress import report_progress
from topwork.scoring.metrics import losses, softmax
from topwork.training.calibration import fit_temperature
from topwork.training.heads import Examples, FittedHead

_log = logging.getLogger(__name__)
_TASK = "choosing C"
_LARGE = 1_000_000  # numbers in the vectors
_ABSENT_CLASS = -1e3  # score of a class without training images, which happens with very small folds

Left = tuple[int, ...]  # the folds left out of a fit
Estimator = Callable[[float], Any]


@dataclass(frozen=True)
class LinearFit:
    """A head fitted on all images, with C and temperature; C of each fold; number of fits that did not converge.

    ``out_of_fold`` are probabilities ``[n, c]``. Each row comes from a model that did not use the row's fold, neither
    for the fit nor for C and the temperature.
    """

    head: LinearHead
    temperature: float
    C: float
    C_by_fold: Mapping[int, float]
    out_of_fold: Floats
    unconverged: int


@dataclass(frozen=True)
class _Problem:
    samples: Floats  # [1 + k, n, d]: used to fit
    vectors: Floats  # [n, d]: used to score
    truth: Integers
    folds: Integers
    classes: int

    @property
    def fold_numbers(self) -> list[int]:
        return [int(fold) for fold in np.unique(self.folds)]


@dataclass(frozen=True)
class _Fitted:
    head: LinearHead
    converged: bool


def linear_svm(class_weight: str, max_iterations: int, seed: int) -> Estimator:
    """One-against-rest linear SVM with squared hinge loss; liblinear's dual solver is fast at small C."""

    def estimator(C: float) -> LinearSVC:
        weight = None if class_weight == "none" else class_weight
        return LinearSVC(C=C, dual=True, tol=1e-2, class_weight=weight, max_iter=max_iterations, random_state=seed)

    return estimator


def multinomial_logistic(class_weight: str, max_iterations: int, seed: int) -> Estimator:
    """Multinomial logistic regression, solved with L-BFGS."""

    def estimator(C: float) -> LogisticRegression:
        weight = None if class_weight == "none" else class_weight
        return LogisticRegression(C=C, class_weight=weight, max_iter=max_iterations, tol=1e-3, random_state=seed)

    return estimator


class ClosedRidge:
    """Least squares on the class indicators in closed form: a fast probe without iterations for many classes.

    With ``n`` standardised samples the penalty is ``n / 10``. Directions in which the features' variance is much below
    a tenth are shrunk strongly. The class has the part of scikit-learn's classifier interface that `fit_head` and
    `out_of_fold_scores` use.
    """

    max_iter, n_iter_ = 1, 0  # it always converges

    def __init__(self, C: float) -> None:
        self.C = C  # not used: the penalty is fixed

    def set_params(self, C: float) -> None:
        """Set the parameter ``C``, which has no effect."""
        self.C = C

    def fit(self, samples: Floats, truth: Integers) -> None:
        """Fit to samples ``[n, d]`` with mean zero and class numbers ``[n]``."""
        count, width = samples.shape
        order = np.argsort(truth, kind="stable")
        self.classes_, starts, sizes = np.unique(truth[order], return_index=True, return_counts=True)
        sums = np.add.reduceat(samples[order], starts, axis=0)  # [c, d], without an indicator matrix [n, c]
        gram = samples.T @ samples + np.float32(count / 10) * np.eye(width, dtype=samples.dtype)
        self.coef_ = np.linalg.solve(gram, sums.T).T
        self.intercept_ = sizes / count
        if len(self.classes_) == 2:  # one row for two classes, as in scikit-learn
            self.coef_, self.intercept_ = np.diff(self.coef_, axis=0), np.diff(self.intercept_)


def out_of_fold_scores(
    estimator: Estimator, C: float, vectors: Floats, truth: Integers, folds: Integers, classes: int
) -> Floats:
    """Class scores ``[n, c]`` of vectors ``[n, d]``; each row comes from a fit on the other folds."""
    problem = _Problem(vectors[None], vectors, truth, folds, classes)
    fitted = _fit_all(problem, [(estimator(C), (fold,)) for fold in problem.fold_numbers])
    scores = np.empty((len(truth), classes))
    for fold, of_fold in zip(problem.fold_numbers, fitted, strict=True):
        scores[folds == fold] = of_fold.head.scores(vectors[folds == fold])
    return scores


def fitted_linear(estimator: Estimator, examples: Examples, parameters: LinearParameters) -> FittedHead:
    """The result of `fit_linear`, with facts for the report of a strategy."""
    fit = fit_linear(estimator, parameters.C, examples)
    if fit.unconverged:
        _log.warning("%d fits stopped at max_iterations=%d", fit.unconverged, parameters.max_iterations)
    facts = {
        "C": fit.C,
        "C_by_fold": {str(fold): C for fold, C in fit.C_by_fold.items()},
        "class_weight": parameters.class_weight,
        "unconverged_fits": fit.unconverged,
    }
    return FittedHead(fit.head, fit.temperature, fit.out_of_fold, facts)


def fit_linear(estimator: Estimator, grid: Sequence[float], examples: Examples) -> LinearFit:
    """Choose C, fit on all samples, and predict every fold with a model that did not use it.

    For fold f, C and the temperature come from models that leave out f and one more fold g, and are scored on g. The
    model without f and g is used for both folds, so k folds need k (k - 1) / 2 fits for each value of C. The values of
    C are tried in ascending order until no fold improves. Every image has the same weight in the fit, independent of
    its number of views.

    Args:
        estimator: makes an unfitted scikit-learn classifier for a value of C.
        grid: values of C to try.
        examples: images to learn from.

    """
    truth, folds, classes, vectors = examples.truth, examples.folds, examples.classes, examples.vectors
    problem = _Problem(examples.samples, vectors, truth, folds, classes)
    pairs = list(combinations(problem.fold_numbers, 2))
    by_C = _fit_upwards(problem, estimator, sorted(grid), pairs)
    chosen = {fold: _best(problem, by_C, fold) for fold in problem.fold_numbers}

    single = _fit_all(problem, [(estimator(C), (fold,)) for fold, (C, _) in chosen.items()])
    scores = np.empty((len(truth), classes))
    probabilities = np.empty((len(truth), classes))
    for (fold, (_, temperature)), fitted in zip(chosen.items(), single, strict=True):
        held_out = folds == fold
        scores[held_out] = fitted.head.scores(vectors[held_out])
        probabilities[held_out] = softmax(scores[held_out], temperature)

    C = float(np.exp(np.median([np.log(C) for C, _ in chosen.values()])))
    C = min(grid, key=lambda value: (abs(np.log(value / C)), value))
    (final,) = _fit_all(problem, [(estimator(C), ())])
    everything = [*single, final, *(fitted for models in by_C.values() for fitted in models.values())]
    return LinearFit(
        head=final.head,
        temperature=fit_temperature(scores, truth),
        C=C,
        C_by_fold={fold: C for fold, (C, _) in chosen.items()},
        out_of_fold=probabilities,
        unconverged=sum(not fitted.converged for fitted in everything),
    )


def fit_head(model: Any, samples: Floats, truth: Integers, classes: int) -> LinearHead:
    """The head of a scikit-learn classifier, which is fitted here on all ``samples`` ``[1 + k, n, d]``."""
    problem = _Problem(samples, samples[0], truth, np.zeros(len(truth), int), classes)
    (fitted,) = _fit_all(problem, [(model, ())])
    return fitted.head


def _fit_upwards(
    problem: _Problem, estimator: Estimator, grid: Sequence[float], pairs: Sequence[Left]
) -> dict[float, dict[Left, _Fitted]]:
    """Models by C (ascending) and by the pair of folds left out, up to the first C that improves no fold."""
    by_C: dict[float, dict[Left, _Fitted]] = {}
    least: dict[int, float] = {}
    for tried, C in enumerate(grid):
        report_progress(_TASK, tried, len(grid), "values")
        models = _fit_all(problem, [(estimator(C), pair) for pair in pairs])
        by_C[C] = dict(zip(pairs, models, strict=True))
        loss = {fold: _inner_loss(problem, by_C[C], fold)[0] for fold in problem.fold_numbers}
        if least and all(loss[fold] >= least[fold] for fold in loss):
            break
        least = {fold: min(loss[fold], least.get(fold, np.inf)) for fold in loss}
    report_progress(_TASK, len(grid), len(grid), "values")
    return by_C


def _best(problem: _Problem, by_C: Mapping[float, Mapping[Left, _Fitted]], fold: int) -> tuple[float, float]:
    """C and temperature with the least loss on the other folds; ``fold`` is used for neither of them."""
    tried = ((*_inner_loss(problem, models, fold), C) for C, models in by_C.items())
    _, temperature, C = min(tried, key=lambda entry: (entry[0], entry[2]))
    return C, temperature


def _inner_loss(problem: _Problem, models: Mapping[Left, _Fitted], fold: int) -> tuple[float, float]:
    """Log-loss at the best temperature, and this temperature, over the folds other than ``fold``."""
    scores, truth = [], []
    for left, fitted in models.items():
        if fold in left:
            scored = problem.folds == (left[0] if left[1] == fold else left[1])
            scores.append(fitted.head.scores(problem.vectors[scored]))
            truth.append(problem.truth[scored])
    joined, of = np.concatenate(scores), np.concatenate(truth)
    temperature = fit_temperature(joined, of)
    return float(losses(softmax(joined, temperature), of).mean()), temperature


def _fit_all(problem: _Problem, tasks: Iterable[tuple[Any, Left]]) -> list[_Fitted]:
    todo = list(tasks)
    fit, pool = delayed(_fit), Parallel(n_jobs=cpu_count(), backend="threading")  # threads share the vectors
    if isinstance(todo[0][0], LinearSVC):
        # liblinear has one random number generator per process. Its fits are reproducible only one after the other, or
        # in separate processes. Starting processes pays off only for large problems.
        fit, pool = delayed(_fit_quietly), Parallel(n_jobs=cpu_count() if problem.samples.size > _LARGE else 1)
    with _without_convergence_warnings(), threadpool_limits(1):  # one BLAS thread per fit: all cores are in use
        return list(pool(fit(problem, model, left) for model, left in todo))


@contextmanager
def _without_convergence_warnings() -> Iterator[None]:
    """Suppress these warnings, because `unconverged` counts such fits; not for use within threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _fit_quietly(problem: _Problem, model: Any, left_out: Left) -> _Fitted:
    with _without_convergence_warnings():
        return _fit(problem, model, left_out)


def _fit(problem: _Problem, model: Any, left_out: Left) -> _Fitted:
    used = ~np.isin(problem.folds, left_out)
    vectors = problem.samples[:, used].reshape(-1, problem.samples.shape[2])
    scaler = StandardScaler().fit(vectors)
    model.set_params(C=model.C / len(problem.samples))  # C weighs a sum over samples: each image is to count once
    model.fit(scaler.transform(vectors), np.tile(problem.truth[used], len(problem.samples)))
    return _Fitted(_folded(model, scaler, problem.classes), bool(np.max(model.n_iter_) < model.max_iter))


def _folded(model: Any, scaler: StandardScaler, classes: int) -> LinearHead:
    """The model and its scaler as one linear head over all classes."""
    coefficients, intercepts = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        half = 0.5 * np.concatenate([-coefficients, coefficients]), 0.5 * np.concatenate([-intercepts, intercepts])
        coefficients, intercepts = half
    weight = np.zeros((classes, coefficients.shape[1]))
    bias = np.full(classes, _ABSENT_CLASS)
    weight[model.classes_] = coefficients / scaler.scale_
    bias[model.classes_] = intercepts - weight[model.classes_] @ scaler.mean_
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))
