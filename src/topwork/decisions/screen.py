"""Ranks candidate features by a quick probe, and keeps those that cannot be ruled out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Floats, Integers
from topwork.core.candidates import LAST
from topwork.core.parameters import LinearParameters, ScreeningParameters
from topwork.core.progress import report_progress
from topwork.core.results import Candidate, Screen, Screened
from topwork.decisions.fit_choice import choose_fits
from topwork.scoring.metric import Answers, Metric
from topwork.scoring.metrics import losses, softmax
from topwork.scoring.paired import Difference
from topwork.training.calibration import fit_temperature
from topwork.training.linear import multinomial_logistic, out_of_fold_scores

_A_CLASS = 5  # images, if there are many classes
_LEAST = 300  # images
_VALUES = 4  # values of C that are tried: the smallest of the user's
_TASK = "screen"


def sample_rows(truth: Integers, most: int, seed: int) -> Integers:
    """Rows of a quarter of the images, 300 to ``most``: the same share of each class, but at least five; ascending."""
    share = min(most, max(_LEAST, len(truth) // 4)) / len(truth)
    order = np.random.default_rng(seed).permutation(len(truth))
    rows = []
    for number in np.unique(truth):
        members = order[truth[order] == number]
        rows.append(members[: max(_A_CLASS, int(np.ceil(share * len(members))))])
    return np.sort(np.concatenate(rows))


def rank(
    candidates: Sequence[Candidate],
    vectors: Iterable[Floats],
    truth: Integers,
    folds: Integers,
    groups: NDArray[np.str_],
    linear: LinearParameters,
    screening: ScreeningParameters,
    metric: Metric | None = None,
) -> Screen:
    """The candidates, best first; left out are those that are worse in a paired test, and those beyond ``keep``.

    Of several fits of the same features, one goes on (`choose_fits`); the others are last. One at the last layer of the
    best backbone is kept in any case, for networks.

    Args:
        candidates: candidates to compare.
        vectors: features ``[n, d]`` of the same images for each candidate.
        truth: class numbers ``[n]``.
        folds: fold numbers ``[n]``.
        groups: groups of the images ``[n]``.
        linear: block `logistic`.
        screening: block `screening`.
        metric: the score; None: accuracy.

    """
    metric = metric or Metric()
    answers, dimensions = list[Answers](), []
    for done, each in enumerate(vectors):
        report_progress(_TASK, done, len(candidates), "candidates")
        answers.append(_probe(each, truth, folds, linear))
        dimensions.append(each.shape[1])
    report_progress(_TASK, len(candidates), len(candidates), "candidates")
    scores = [metric.value(each) for each in answers]
    fits = choose_fits(candidates, answers, groups, screening, metric)
    order = sorted(range(len(candidates)), key=lambda place: (place in fits.left_out, -scores[place], place))
    best = answers[order[0]]
    screened: list[Screened] = []
    for position, place in enumerate(order):
        difference = metric.compare(best, answers[place], groups, screening.seed)
        kept = sum(one.kept for one in screened)
        why_not = fits.left_out.get(place) or _why_not(difference, position, kept, screening)
        screened.append(
            Screened(
                **vars(candidates[place]),
                metric=metric.name,
                score=scores[place],
                accuracy=Metric().value(answers[place]),
                behind=-difference.difference,
                behind_error=difference.error,
                p=difference.p_better if position else None,
                dimensions=dimensions[place],
                kept=not why_not,
                why_not=why_not,
            )
        )
    return Screen(candidates=tuple(_with_one_for_networks(screened)), images=len(truth), fits=fits.says)


def _why_not(difference: Difference, position: int, kept: int, screening: ScreeningParameters) -> str:
    """The reason to leave out a candidate, after so many others; the best one has the ``difference`` to it."""
    if position > 0 and difference.p_better < screening.significance:
        return f"worse than the best, p = {difference.p_better:.2g}"
    return f"not among the best {screening.keep}" if kept >= screening.keep else ""


def _with_one_for_networks(screened: Sequence[Screened]) -> Iterator[Screened]:
    """The candidates; of the best backbone, the best one at the last layer is kept in any case.

    A network learns faster there: with a head on other layers, its frozen layers must be computed in every epoch.
    """
    of_last = [each for each in screened if each.backbone == screened[0].backbone and each.layers == LAST]
    needed = of_last[:1] if not any(each.kept for each in of_last) else []
    for each in screened:
        yield each.model_copy(update={"kept": True, "why_not": ""}) if each in needed else each


def _probe(vectors: Floats, truth: Integers, folds: Integers, linear: LinearParameters) -> Answers:
    """The answers of logistic regression out of fold, with the C of the least log-loss."""
    estimator, classes = multinomial_logistic("none", linear.max_iterations), int(truth.max()) + 1
    tried: list[tuple[float, Answers]] = []
    for C in sorted(linear.C)[:_VALUES]:
        scores = out_of_fold_scores(estimator, C, vectors, truth, folds, classes)
        answers = Answers.likeliest(truth, softmax(scores, fit_temperature(scores, truth)))
        tried.append((float(losses(answers.probabilities, truth).mean()), answers))
    return min(tried, key=lambda each: each[0])[1]
