"""Linear classifiers on standardised bottleneck features, chosen and scored by nested cross-validation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations, product
from operator import add

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.blocks import blocks
from topwork.core.heads import LinearHead
from topwork.core.parameters import LinearParameters
from topwork.core.progress import report_progress
from topwork.core.words import counted
from topwork.scoring.metrics import losses, softmax
from topwork.training.calibration import fit_temperature
from topwork.training.class_balance import ClassWeight
from topwork.training.cross_fitting import Left, inner_scores, rows_by_fold
from topwork.training.heads import ABSENT_CLASS, Examples, FittedHead
from topwork.training.linear_models import Coefficients, LinearModel, LinearSVM, MultinomialLogistic
from topwork.workers import each_on_a_core, each_on_a_thread

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

    @cached_property
    def rows(self) -> dict[int, Integers]:
        """The images of each fold."""
        return rows_by_fold(self.folds)

    @cached_property
    def axes(self) -> _Axes:
        """The coordinates in which the models are fitted, and the images in them."""
        standard = _Standard.of(self.samples)
        turn, variances = None, np.ones(len(standard.mean))
        if self.turned and len(variances) <= _WIDEST:
            products = each_on_a_thread(standard.products, [(self.samples, rows) for rows in self.rows.values()])
            mean_product = reduce(add, products) / np.float32(self.samples.shape[0] * self.samples.shape[1])
            ((variances, turn),) = each_on_a_thread(np.linalg.eigh, [(mean_product.astype(np.float32),)])
        calls = [(self.samples, rows, turn) for rows in self.rows.values()]
        pieces = dict(zip(self.rows, each_on_a_thread(standard.coordinates, calls), strict=True))
        truth = {fold: np.tile(self.truth[rows], len(self.samples)) for fold, rows in self.rows.items()}
        return _Axes(standard, turn, pieces, truth, np.maximum(variances, 0), len(self.samples))


@dataclass(frozen=True)
class _Standard:
    """Features minus their mean ``[d]``, divided by their standard deviation ``spread`` ``[d]``; all in float32."""

    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, samples: Floats) -> _Standard:
        """The mean and spread of samples ``[1 + k, n, d]``."""
        count = samples.shape[0] * samples.shape[1]
        parts = [view[block] for view in samples for block in blocks(samples.shape[1])]  # they are not copied
        mean = reduce(add, (part.sum(axis=0, dtype=np.float64) for part in parts)) / count
        spread = np.sqrt(reduce(add, (((part - mean) ** 2).sum(axis=0) for part in parts)) / count)
        return cls(mean.astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32))

    def products(self, samples: Floats, rows: Integers) -> Floats:
        """The sum ``[d, d]`` of the outer products of some images' standardised samples with themselves."""
        found = np.zeros((len(self.mean), len(self.mean)))
        for part in self._parts(samples, rows):
            found += part.T @ part
        return found

    def coordinates(self, samples: Floats, rows: Integers, turn: Floats | None) -> Floats:
        """The standardised, perhaps turned samples ``[(1 + k) * m, d]`` of m images, view by view."""
        found, start = np.empty((len(samples) * len(rows), len(self.mean)), np.float32), 0
        for part in self._parts(samples, rows):
            found[start : start + len(part)] = part if turn is None else part @ turn
            start += len(part)
        return found

    def _parts(self, samples: Floats, rows: Integers) -> Iterator[Floats]:
        for view, block in product(samples, blocks(len(rows))):
            part = view[rows[block]] - self.mean
            part /= self.spread
            yield part


@dataclass(frozen=True)
class _Axes:
    standard: _Standard
    turn: Floats | None  # [d, d]: from standardised features to coordinates
    pieces: Mapping[int, Floats]  # the coordinates of the samples of each fold: without some folds, nothing is copied
    truth: Mapping[int, Integers]  # their class numbers
    variances: Floats  # [d]
    repeats: int  # samples of an image


@dataclass(frozen=True)
class _Fitted:
    head: LinearHead
    coefficients: Coefficients


def linear_svm(class_weight: ClassWeight, max_iterations: int) -> Estimator:
    """One-against-rest linear SVM with squared hinge loss."""
    return lambda C: LinearSVM(C, class_weight, max_iterations)


def multinomial_logistic(class_weight: ClassWeight, max_iterations: int) -> Estimator:
    """Multinomial logistic regression."""
    return lambda C: MultinomialLogistic(C, class_weight, max_iterations)


def out_of_fold_scores(
    estimator: Estimator, C: float, vectors: Floats, truth: Integers, folds: Integers, classes: int
) -> Floats:
    """Class scores ``[n, c]`` of vectors ``[n, d]``; each row comes from a fit on the other folds."""
    problem = _Problem(vectors[None], vectors, truth, folds, classes, turned=False)
    fitted = _fit_all(problem, [(estimator(C), (fold,), None) for fold in problem.rows])
    scores = np.empty((len(truth), classes))
    for rows, of_fold in zip(problem.rows.values(), fitted, strict=True):
        scores[rows] = of_fold.head.scores(vectors, rows)
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
    pairs = list(combinations(problem.rows, 2))
    by_C = _fit_upwards(problem, estimator, sorted(grid), pairs)
    chosen = {fold: _best(problem, by_C, fold) for fold in problem.rows}

    single = _fit_all(problem, [(estimator(C), (fold,), _nearest(by_C[C], fold)) for fold, (C, _) in chosen.items()])
    scores = np.empty((len(truth), classes))
    probabilities = np.empty((len(truth), classes))
    for (fold, (_, temperature)), fitted in zip(chosen.items(), single, strict=True):
        held_out = problem.rows[fold]
        scores[held_out] = fitted.head.scores(vectors, held_out)
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
        loss = {fold: _inner_loss(problem, by_C[C], fold)[0] for fold in problem.rows}
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
    joined, of = inner_scores(heads, problem.vectors, problem.truth, problem.rows, fold)
    temperature = fit_temperature(joined, of)
    return float(losses(softmax(joined, temperature), of).mean()), temperature


def _nearest(models: Mapping[Left, _Fitted], fold: int) -> Coefficients:
    """The coefficients of a model that left out this fold and another one."""
    return next(fitted.coefficients for left, fitted in models.items() if fold in left)


def _fit_all(problem: _Problem, tasks: Iterable[tuple[LinearModel, Left, Coefficients | None]]) -> list[_Fitted]:
    """The models, each fitted without some folds, from its start."""
    return list(each_on_a_core(_fit, [(problem.axes, problem.classes, *task) for task in tasks]))


def _fit(axes: _Axes, classes: int, model: LinearModel, left_out: Left, start: Coefficients | None) -> _Fitted:
    used = [fold for fold in axes.pieces if fold not in left_out]
    truth = np.concatenate([axes.truth[fold] for fold in used])
    coefficients = model.fit([axes.pieces[fold] for fold in used], truth, axes.repeats, axes.variances, start)
    return _Fitted(_folded(coefficients, axes, classes), coefficients)


def _folded(coefficients: Coefficients, axes: _Axes, classes: int) -> LinearHead:
    """The model and its coordinates as one linear head over all classes."""
    weight = coefficients.weight if axes.turn is None else axes.turn @ coefficients.weight
    by_class = (weight / axes.standard.spread[:, None]).T.astype(np.float64)
    biases = coefficients.bias.astype(np.float64)
    if len(coefficients.classes) == 2:  # one column for two classes
        by_class = 0.5 * np.concatenate([-by_class, by_class])
        biases = 0.5 * np.concatenate([-biases, biases])
    of_head = np.zeros((classes, by_class.shape[1]))
    bias = np.full(classes, ABSENT_CLASS)
    of_head[coefficients.classes] = by_class
    bias[coefficients.classes] = biases - by_class @ axes.standard.mean
    return LinearHead(of_head.astype(np.float32), bias.astype(np.float32))
