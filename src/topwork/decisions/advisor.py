"""Advice on the strategy for these images, from rules of practice, evidence and the cost of each strategy.

Every rule is a small function of the evidence. The source of each threshold is given next to it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Bools, Floats, Integers
from topwork.core.candidates import AUTO
from topwork.core.fits import CROP, FAR_FROM_SQUARE, MANY_UNEVEN
from topwork.core.progress import report_progress
from topwork.core.results import Advice, Evidence, Point, Status, StrategyResult
from topwork.decisions.strategies import BASIC, FEW, MANY, STRATEGY, Strategy, has_small_pictures, is_far
from topwork.scoring.learning_curve import forecast
from topwork.scoring.metric import Answers, Metric
from topwork.scoring.metrics import proportion_interval, softmax
from topwork.scoring.neighbours import knn_accuracy
from topwork.training.calibration import fit_temperature
from topwork.training.linear import Estimator, fit_head, out_of_fold_scores
from topwork.training.linear_models import ClosedRidge

UNBALANCED = 3.0
"""Ratio of the largest to the smallest class above which the probe is tried with balanced weights; a convention."""

_OWN = (
    "If you know what tells the classes apart (a symmetry, a spectrum, a shape), compute it, and pass it as a feature "
    "extractor of your own: backbone=python:FILE.py:NAME."
)
_FAR_SURE = "sure that linear heads are not enough; how far fine-tuning gets only trying tells"
_SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
_MOST = 8_000  # images used for the evidence: more would change a score by less than its interval
_MOST_OF_MANY, _A_CLASS = 50_000, 5  # images if there are many classes, and images per class
_CURVE_FOLDS = 3
_LARGE = 3_000_000_000
"""Numbers in the vectors times classes above which the probe is a closed-form ridge.

Logistic regression would take too long for the advice (1,000 classes of 5 images: 20 fits of half a minute)."""
_TASK = "evidence"
_STEPS = 3 + len(_SHARES)  # the probe, the curve's sizes, the neighbours


def gather_evidence(
    vectors: Floats,
    truth: Integers,
    folds: Integers,
    groups: NDArray[np.str_],
    sides: Integers,
    probes: Mapping[str, Estimator],
    C: float,
    seed: int,
    metric: Metric | None = None,
) -> Evidence:
    """Evidence from the cached features of the training images, without the test split; computed in seconds.

    Args:
        vectors: features ``[n, d]``.
        truth: class numbers ``[n]``.
        folds: fold numbers ``[n]``.
        groups: groups of the images ``[n]``.
        sides: shorter side of each image in pixels ``[n]``.
        probes: functions that make the probe, without class weights (``none``) and with them (``balanced``).
        C: inverse regularisation of the probe.
        seed: seed of the random samples.
        metric: the score that models are chosen by; None: accuracy.

    """
    metric = metric or Metric()
    counts, classes = np.bincount(truth), int(truth.max()) + 1
    images = len(truth)
    most = max(_MOST, min(_MOST_OF_MANY, _A_CLASS * classes))
    if images > most:
        some = np.sort(np.random.default_rng(seed).permutation(images)[:most])
        vectors, truth, folds, groups = vectors[some], truth[some], folds[some], groups[some]
    is_large = vectors.size * classes > _LARGE
    estimator, started = ClosedRidge if is_large else probes["none"], time.perf_counter()
    report_progress(_TASK, 0, _STEPS, "steps")
    scores = out_of_fold_scores(estimator, C, vectors, truth, folds, classes)
    predicted = scores.argmax(axis=1)
    answers = Answers.likeliest(truth, softmax(scores, fit_temperature(scores, truth)))
    seconds = time.perf_counter() - started
    weighting: dict[str, float] = {}
    largest, smallest = int(counts.max()), int(counts.min())
    if largest > UNBALANCED * smallest and not is_large:
        weighted = out_of_fold_scores(probes["balanced"], C, vectors, truth, folds, classes).argmax(axis=1)
        weighting = _gain_of_weights(predicted == truth, weighted == truth, truth)
    low, high = proportion_interval(predicted == truth, groups)
    accuracy, chance = float((predicted == truth).mean()), 1 / classes
    report_progress(_TASK, 1, _STEPS, "steps")
    points = _curve(vectors, truth, folds, estimator, C, classes, seed)
    neighbours = knn_accuracy(vectors, truth)
    report_progress(_TASK, _STEPS, _STEPS, "steps")
    sizes = [factor * points[-1].images for factor in (1, 2, 4)]
    return Evidence(
        images=images,
        classes=classes,
        largest_class=largest,
        smallest_class=smallest,
        **weighting,
        metric=metric.name,
        probe_score=metric.value(answers),
        median_side=float(np.median(sides)),
        probe="ridge" if is_large else "logistic",
        probe_accuracy=accuracy,
        probe_low=low,
        probe_high=high,
        probe_seconds=seconds,
        above_chance=(accuracy - chance) / (1 - chance),
        knn_accuracy=neighbours,
        learning_curve=tuple(points),
        forecast=tuple(forecast(points, sizes, seed)),
    )


_TRAINED = tuple(STRATEGY[name] for name in BASIC)


def give_advice(
    evidence: Evidence, minutes: Mapping[str, float | None], strategies: Sequence[Strategy] = _TRAINED
) -> Advice:
    """Advice with practice, evidence, recommendation, expected score and cost, in words and numbers.

    Args:
        evidence: result of `gather_evidence`.
        minutes: time that each network may take; None: no limit besides its epochs.
        strategies: the strategies to choose from, cheapest first.

    """
    out = {each.name: reason for each in strategies if (reason := each.why_not(evidence))}
    left = [each for each in strategies if each.name not in out]
    recommended = left[-1] if not left[-1].head else left[0]
    return Advice(
        practice=practice(evidence),
        says=_says(evidence),
        recommended=recommended.name,
        settings=_settings(recommended, evidence),
        worth_running=tuple(each.name for each in left),
        ruled_out=out,
        expected=recommended.expected(evidence),
        sure=_FAR_SURE if is_far(evidence) and evidence.has_layers else recommended.sure,
        cost_seconds={each.name: each.seconds(evidence, minutes.get(each.name)) for each in strategies},
        more_images=_more_images(evidence),
        evidence=evidence,
    )


def practice(evidence: Evidence) -> str:
    """The rule of practice that applies to these images, as a sentence."""
    if not evidence.has_layers:
        weak = "Features of your own extractor that hardly tell these classes apart: improve it, or train from scratch."
        return weak if is_far(evidence) else "Features of your own extractor: a linear classifier on them."
    if is_far(evidence):
        deep = "fine-tune deeper" if evidence.images < MANY else "fine-tune deeper, or train from scratch"
        return f"Far from the pretraining domain: {deep}. {_OWN}"
    if has_small_pictures(evidence):
        return "Pictures far smaller than those of the pretraining: fine-tune, or train a shallow net from scratch."
    if evidence.images < FEW:
        return f"Under about {FEW:,} images near the pretraining domain: frozen backbone, linear classifier."
    return "A few thousand images near the pretraining domain: replace the head, fine-tune with augmentation."


def why_stop(results: Sequence[StrategyResult]) -> str:
    """The reason why a more expensive strategy cannot win any more; empty if it can.

    If the best strategy so far has at most one mistake, a strategy without mistakes would be better by at most one
    standard error.
    """
    ran = [(each.scores.get("oof_accuracy") or 0.0, each) for each in results if each.status is Status.OK]
    if not ran:
        return ""
    accuracy, best = max(ran, key=lambda each: each[0])
    images = best.scores.get("oof_images") or 0
    wrong = round((1 - accuracy) * images)
    if wrong > 1:
        return ""
    return f"{best.strategy} is wrong on {wrong} of {images:.0f} images out of fold: nothing is left to gain"


def _gain_of_weights(right: Bools, weighted: Bools, truth: Integers) -> dict[str, float]:
    """Balanced accuracy without and with class weights, and the standard error of the difference."""
    change = weighted.astype(float) - right.astype(float)
    classes = [truth == number for number in np.unique(truth)]
    variance = sum(float(np.var(change[each]) / each.sum()) for each in classes) / len(classes) ** 2
    return {
        "balanced_accuracy": float(np.mean([right[each].mean() for each in classes])),
        "balanced_accuracy_weighted": float(np.mean([weighted[each].mean() for each in classes])),
        "weighting_error": variance**0.5,
    }


def _curve(
    vectors: Floats, truth: Integers, folds: Integers, estimator: Estimator, C: float, classes: int, seed: int
) -> list[Point]:
    """Points of the learning curve: probes fitted on growing shares of the other folds, tested on the fold left out."""
    numbers = np.unique(folds)[:_CURVE_FOLDS]
    generator = np.random.default_rng(seed)
    points = []
    for step, share in enumerate(_SHARES):
        right = tested = images = 0
        for fold in numbers:
            order = generator.permutation(np.flatnonzero(folds != fold))
            taught = _some_of_each(order, truth, share)
            head = fit_head(estimator(C), vectors[None, taught], truth[taught], classes)
            held_out = folds == fold
            right += int((head.scores(vectors[held_out]).argmax(axis=1) == truth[held_out]).sum())
            tested, images = tested + int(held_out.sum()), images + len(taught)
        points.append(Point(images=round(images / len(numbers)), right=right, tested=tested))
        report_progress(_TASK, 2 + step, _STEPS, "steps")
    return points


def _some_of_each(order: Integers, truth: Integers, share: float) -> Integers:
    """The first images of each class in this order: the share of the class, and at least two."""
    taken = []
    for number in np.unique(truth[order]):
        members = order[truth[order] == number]
        taken.append(members[: max(2, round(share * len(members)))])
    return np.concatenate(taken)


def _says(evidence: Evidence) -> str:
    far = is_far(evidence)
    if evidence.has_layers:
        reach = f"These images are {'far from' if far else 'near'} what the backbone knows."
    else:
        reach = f"The extractor tells these classes apart {'badly' if far else 'well'}."
    return (
        f"A linear probe gets {evidence.probe_accuracy:.3f} [{evidence.probe_low:.3f}, "
        f"{evidence.probe_high:.3f}] out of fold{_by_metric(evidence)}, "
        f"{evidence.above_chance:.0%} of the way from chance to perfect; "
        f"five nearest neighbours get {evidence.knn_accuracy:.3f}. {reach}"
        f"{_balance(evidence)}{_shape(evidence)}"
    )


def _by_metric(evidence: Evidence) -> str:
    if evidence.metric == "accuracy":
        return ""
    metric = Metric(evidence.metric)
    return f" ({metric.title} {metric.shown(evidence.probe_score):.3f})"


def _balance(evidence: Evidence) -> str:
    before, after = evidence.balanced_accuracy, evidence.balanced_accuracy_weighted
    if before is None or after is None:
        return ""
    return (
        f" The largest class has {evidence.largest_class} images, the smallest {evidence.smallest_class}; "
        f"weights that make them count alike take balanced accuracy from {before:.3f} to {after:.3f} (standard error "
        f"{evidence.weighting_error:.3f})."
    )


def _loses_sides(evidence: Evidence) -> bool:
    """Whether a centre crop cuts much away from many images, and no other fit was compared with it."""
    return evidence.fit == CROP and not evidence.fits and evidence.far_from_square >= MANY_UNEVEN


def _shape(evidence: Evidence) -> str:
    if not _loses_sides(evidence):
        return f" {evidence.fits}" if evidence.fits else ""
    lost = 1 - 1 / FAR_FROM_SQUARE
    return (
        f" {evidence.far_from_square:.0%} of the images lose more than {lost:.0%} of their long side to the centre "
        "crop: try fit=auto."
    )


def _settings(strategy: Strategy, evidence: Evidence) -> dict[str, Any]:
    """Parameter values other than the defaults that are worth trying."""
    settings: dict[str, Any] = {}
    known = strategy.parameters.model_fields
    if "trainable_groups" in known and is_far(evidence):
        settings[f"{strategy.name}.trainable_groups"] = "all"
    if _loses_sides(evidence):
        settings["fit"] = AUTO
    gain = (evidence.balanced_accuracy_weighted or 0.0) - (evidence.balanced_accuracy or 0.0)
    if "class_weight" in known and gain > (evidence.weighting_error or 0.0):
        settings[f"{strategy.name}.class_weight"] = "balanced"
    return settings


def _more_images(evidence: Evidence) -> str:
    now, double, fourfold = evidence.forecast
    texts = [f"{each.accuracy:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in (double, fourfold)]
    said = f"The learning curve of a linear probe is at {now.accuracy:.3f} now (three folds)"
    return f"{said}; with twice the images it comes to {texts[0]}, with four times to {texts[1]}."
