"""Linear classifiers on standardised bottleneck features, chosen and scored by nested cross-validation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.heads import LinearHead
from topwork.core.parameters import LinearParameters
from topwork.core.progress import report_progress
from topwork.core.words import counted
from topwork.scoring.metrics import losses, softmax
from topwork.training.calibration import fit_temperature
from topwork.training.cross_fitting import Left, inner_scores, rows_by_fold
from topwork.training.heads import ABSENT_CLASS, Examples, FittedHead
from topwork.training.linear_models import Coefficients, LinearModel, LinearSVM, MultinomialLogistic
from topwork.workers import each_on_a_core

_log = logging.getLogger(__name__)
_TASK = "choosing C"
_WIDEST = 4_096  # features of which the principal axes are computed: more would take longer than they save

Estimator = Callable[[float], LinearModel]  # from C to an unfitted model


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
    """All fits on some images. Their features are standardised once, without labels, for all folds.

    With ``turned``, they are also turned into their principal axes, which pays off if there are many fits.
    """

    samples: Floats  # [1 + k, n, d]: used to fit
    vectors: Floats  # [n, d]: used to score
    truth: Integers
    folds: Integers
    classes: int
    turned: bool

    @property
    def fold_numbers(self) -> list[int]:
        return [int(fold) for fold in np.unique(self.folds)]

    @cached_property
    def axes(self) -> _Axes:
        """The coordinates in which the models are fitted."""
        flat = self.samples.reshape(-1, self.samples.shape[2])
        mean, spread = flat.mean(axis=0, dtype=np.float64), flat.std(axis=0, dtype=np.float64)
        mean, spread = mean.astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32)
        standardised = (flat - mean) / spread
        if not self.turned or len(spread) > _WIDEST:
            return _Axes(mean, spread, None, standardised, np.ones(len(spread)))
        variances, axes = np.linalg.eigh(standardised.T @ standardised / np.float32(len(flat)))
        return _Axes(mean, spread, axes, standardised @ axes, np.maximum(variances, 0))


@dataclass(frozen=True)
class _Axes:
    mean: Floats  # [d], of the features
    spread: Floats  # [d]
    turn: Floats | None  # [d, d]: from standardised features to coordinates
    samples: Floats  # [(1 + k) * n, d]
    variances: Floats  # [d]


@dataclass(frozen=True)
class _Fitted:
    head: LinearHead
    coefficients: Coefficients


def linear_svm(class_weight: str, max_iterations: int) -> Estimator:
    """One-against-rest linear SVM with squared hinge loss."""
    return lambda C: LinearSVM(C, class_weight, max_iterations)


def multinomial_logistic(class_weight: str, max_iterations: int) -> Estimator:
    """Multinomial logistic regression."""
    return lambda C: MultinomialLogistic(C, class_weight, max_iterations)


def out_of_fold_scores(
    estimator: Estimator, C: float, vectors: Floats, truth: Integers, folds: Integers, classes: int
) -> Floats:
    """Class scores ``[n, c]`` of vectors ``[n, d]``; each row comes from a fit on the other folds."""
    problem = _Problem(vectors[None], vectors, truth, folds, classes, turned=False)
    fitted = _fit_all(problem, [(estimator(C), (fold,), None) for fold in problem.fold_numbers])
    scores = np.empty((len(truth), classes))
    for fold, of_fold in zip(problem.fold_numbers, fitted, strict=True):
        scores[folds == fold] = of_fold.head.scores(vectors[folds == fold])
    return scores


def fitted_linear(estimator: Estimator, examples: Examples, parameters: LinearParameters) -> FittedHead:
    """The result of `fit_linear`, with facts for the report of a strategy."""
    fit = fit_linear(estimator, parameters.C, examples)
    if fit.unconverged:
        _log.warning("%s stopped at max_iterations=%d", counted(fit.unconverged, "fit"), parameters.max_iterations)
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
        estimator: makes an unfitted model for a value of C.
        grid: values of C to try.
        examples: images to learn from.

    """
    truth, folds, classes, vectors = examples.truth, examples.folds, examples.classes, examples.vectors
    problem = _Problem(examples.samples, vectors, truth, folds, classes, turned=True)
    pairs = list(combinations(problem.fold_numbers, 2))
    by_C = _fit_upwards(problem, estimator, sorted(grid), pairs)
    chosen = {fold: _best(problem, by_C, fold) for fold in problem.fold_numbers}

    single = _fit_all(problem, [(estimator(C), (fold,), _nearest(by_C[C], fold)) for fold, (C, _) in chosen.items()])
    scores = np.empty((len(truth), classes))
    probabilities = np.empty((len(truth), classes))
    for (fold, (_, temperature)), fitted in zip(chosen.items(), single, strict=True):
        held_out = folds == fold
        scores[held_out] = fitted.head.scores(vectors[held_out])
        probabilities[held_out] = softmax(scores[held_out], temperature)

    C = float(np.exp(np.median([np.log(C) for C, _ in chosen.values()])))
    C = min(grid, key=lambda value: (abs(np.log(value / C)), value))
    (final,) = _fit_all(problem, [(estimator(C), (), single[0].coefficients)])
    everything = [*single, final, *(fitted for models in by_C.values() for fitted in models.values())]
    return LinearFit(
        head=final.head,
        temperature=fit_temperature(scores, truth),
        C=C,
        C_by_fold={fold: C for fold, (C, _) in chosen.items()},
        out_of_fold=probabilities,
        unconverged=sum(not fitted.coefficients.converged for fitted in everything),
    )


def fit_head(model: LinearModel, samples: Floats, truth: Integers, classes: int) -> LinearHead:
    """The head of a model, which is fitted here on all ``samples`` ``[1 + k, n, d]``."""
    problem = _Problem(samples, samples[0], truth, np.zeros(len(truth), int), classes, turned=False)
    (fitted,) = _fit_all(problem, [(model, (), None)])
    return fitted.head


def _fit_upwards(
    problem: _Problem, estimator: Estimator, grid: Sequence[float], pairs: Sequence[Left]
) -> dict[float, dict[Left, _Fitted]]:
    """Models by C (ascending) and by the pair of folds left out, up to the first C that improves no fold."""
    by_C: dict[float, dict[Left, _Fitted]] = {}
    least: dict[int, float] = {}
    last: dict[Left, Coefficients] = {}
    for tried, C in enumerate(grid):
        report_progress(_TASK, tried, len(grid), "values")
        models = _fit_all(problem, [(estimator(C), pair, last.get(pair)) for pair in pairs])
        by_C[C] = dict(zip(pairs, models, strict=True))
        last = {pair: fitted.coefficients for pair, fitted in by_C[C].items()}
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
    heads = {left: fitted.head for left, fitted in models.items()}
    joined, of = inner_scores(heads, problem.vectors, problem.truth, rows_by_fold(problem.folds), fold)
    temperature = fit_temperature(joined, of)
    return float(losses(softmax(joined, temperature), of).mean()), temperature


def _nearest(models: Mapping[Left, _Fitted], fold: int) -> Coefficients:
    """The coefficients of a model that left out this fold and another one."""
    return next(fitted.coefficients for left, fitted in models.items() if fold in left)


def _fit_all(problem: _Problem, tasks: Iterable[tuple[LinearModel, Left, Coefficients | None]]) -> list[_Fitted]:
    """The models, each fitted without some folds, from its start."""
    return list(each_on_a_core(_fit, [(problem, problem.axes, *task) for task in tasks]))


def _fit(problem: _Problem, axes: _Axes, model: LinearModel, left_out: Left, start: Coefficients | None) -> _Fitted:
    used, repeats = ~np.isin(problem.folds, left_out), len(problem.samples)
    samples = axes.samples.reshape(repeats, len(used), -1)[:, used].reshape(-1, axes.samples.shape[1])
    coefficients = model.fit(samples, np.tile(problem.truth[used], repeats), repeats, axes.variances, start)
    return _Fitted(_folded(coefficients, axes, problem.classes), coefficients)


def _folded(coefficients: Coefficients, axes: _Axes, classes: int) -> LinearHead:
    """The model and its coordinates as one linear head over all classes."""
    weight = coefficients.weight if axes.turn is None else axes.turn @ coefficients.weight
    by_class, biases = (weight / axes.spread[:, None]).T.astype(np.float64), coefficients.bias.astype(np.float64)
    if len(coefficients.classes) == 2:  # one column for two classes
        by_class = 0.5 * np.concatenate([-by_class, by_class])
        biases = 0.5 * np.concatenate([-biases, biases])
    of_head = np.zeros((classes, by_class.shape[1]))
    bias = np.full(classes, ABSENT_CLASS)
    of_head[coefficients.classes] = by_class
    bias[coefficients.classes] = biases - by_class @ axes.mean
    return LinearHead(of_head.astype(np.float32), bias.astype(np.float32))
