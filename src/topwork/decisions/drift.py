"""Whether new images come from the distribution that was learnt (docs/monitoring.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Bools, Floats
from topwork.core.classifier import Classifier, Rejection
from topwork.core.parameters import MonitoringParameters
from topwork.core.results import ClassShift, Drift, Share
from topwork.scoring.metrics import proportion_interval
from topwork.scoring.paired import holm
from topwork.scoring.two_sample import (
    detectable_shift,
    energy_distances,
    permutation_p,
    share_difference,
    shifted_shares,
    swaps,
    whitened,
)

POWER = 0.8
_TESTS = 3  # of the features, the classes, and the images of none of the classes
Groups = NDArray[np.str_]


@dataclass(frozen=True)
class Sample:
    """Values of some images, ``[n]`` or ``[n, d]``, and the group of each image, ``[n]``."""

    values: Any
    groups: Groups

    def at_most(self, count: int, seed: int) -> Sample:
        """Not more than ``count`` of the images, drawn at random."""
        if len(self.values) <= count:
            return self
        rows = np.sort(np.random.default_rng(seed).permutation(len(self.values))[:count])
        return Sample(self.values[rows], self.groups[rows])


@dataclass(frozen=True)
class Reference:
    """What new images are compared with.

    ``features`` ``[n, d]`` are of images that the network was not trained on. ``classes`` ``[m]`` are the classes
    predicted out of fold. ``held_out`` ``[k, d]`` are the features of the test images, which no training touched.
    """

    features: Sample
    classes: Sample
    held_out: Sample


def judge_drift(new: Sample, reference: Reference, classifier: Classifier, parameters: MonitoringParameters) -> Drift:
    """Whether new images (features ``[n, d]``) come from the distribution of the reference, by three tests."""
    names, p = classifier.class_names, parameters
    p_features, points = compare_features(new, reference.features, p)
    called = Sample(classifier.head.scores(new.values).argmax(axis=1), new.groups)
    p_classes, shifts = compare_classes(called, reference.classes, names, p)
    p_values = {"features": p_features, "classes": p_classes}
    said = {"features": "in their features", "classes": describe_classes(shifts, p.significance)}
    none: dict[str, Share] = {}
    if bound := classifier.rejection:
        new_far, far = (_far(bound, sample) for sample in (new, reference.held_out))
        p_values["none"], none = compare_far(new_far, far, p), {"none_of_these": share_of(new_far)}
        none["none_expected"] = share_of(far)
        said["none"] = f"{_percent(none['none_of_these'])} are of none of the classes"
        said["none"] += f" instead of {_percent(none['none_expected'])}"
    seen = detectable(points, len(new.values), p)
    shifted, least, conclusion = conclude(p_values, said, seen, p.significance)
    return Drift(
        conclusion=conclusion,
        shifted=shifted,
        p=least,
        images=len(new.values),
        compared=min(len(new.values), p.at_most),
        reference_images=len(points),
        p_features=p_features,
        p_classes=p_classes,
        p_none_of_these=p_values.get("none"),
        detectable=seen,
        classes=shifts,
        strategy=classifier.strategy,
        **none,
    )


def compare_features(new: Sample, reference: Sample, parameters: MonitoringParameters) -> tuple[float, Floats]:
    """P-value for the hypothesis that features ``[n, d]`` of both have one distribution.

    And the reference in the coordinates that were compared, ``[m, k]``, each with a spread of about 1.
    """
    p = parameters
    both, is_new, groups = _joined(new.at_most(p.at_most, p.seed), reference.at_most(p.at_most, p.seed))
    points = whitened(both, p.dimensions)
    members = swaps(groups, is_new, p.permutations, p.seed)
    return permutation_p(energy_distances(points, members)), points[~is_new]


def detectable(points: Floats, new: int, parameters: MonitoringParameters) -> float:
    """The shift, in standard deviations, that so many new images would show with a power of `POWER`."""
    p = parameters
    return detectable_shift(points, min(new, p.at_most), p.significance / _TESTS, POWER, p.simulations, p.seed)


def compare_classes(
    new: Sample, reference: Sample, class_names: Sequence[str], parameters: MonitoringParameters
) -> tuple[float, tuple[ClassShift, ...]]:
    """P-value for the hypothesis that the predicted classes ``[n]`` have the same shares, and the shift of each class.

    The largest change comes first.
    """
    kinds, is_new, groups = _joined(new, reference)
    members = swaps(groups, is_new, parameters.permutations, parameters.seed)
    difference, p = shifted_shares(kinds, members, len(class_names))
    shifts = []
    for number, label in enumerate(class_names):
        now, then = new.values == number, reference.values == number
        low, high = share_difference(now, then, new.groups, reference.groups)
        told = {"label": label, "share": now.mean(), "expected": then.mean(), "difference": difference[number]}
        shifts.append(ClassShift(**told, low=low, high=high, p=p[number]))
    return float(p.min()), tuple(sorted(shifts, key=lambda each: (each.p, -abs(each.difference))))


def compare_far(new: Sample, reference: Sample, parameters: MonitoringParameters) -> float:
    """One-sided p-value for the hypothesis that no more of the new images are far (``[n]``, true or false)."""
    far, is_new, groups = _joined(new, reference)
    members = swaps(groups, is_new, parameters.permutations, parameters.seed)
    sizes = members.sum(axis=0)
    counts = far.astype(np.float32) @ members
    differences = counts / sizes - (far.sum() - counts) / (len(far) - sizes)
    return permutation_p(np.round(differences, 6))


def share_of(sample: Sample) -> Share:
    """The share of true values ``[n]`` with its interval."""
    low, high = proportion_interval(sample.values, sample.groups)
    return Share(share=float(np.mean(sample.values)), low=low, high=high)


def conclude(
    p_values: Mapping[str, float], said: Mapping[str, str], seen: float, significance: float
) -> tuple[bool, float, str]:
    """Whether anything differs, the smallest corrected p-value, and the conclusion in a sentence.

    Args:
        p_values: of each test.
        said: what differs, in words, if the test of this name finds a difference.
        seen: shift in standard deviations that would be seen with a power of `POWER`.
        significance: highest probability of any false alarm.

    """
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    least = min(corrected.values())
    found = [f"{said[name]} (p = {_p(p)})" for name, p in corrected.items() if p <= significance]
    if found:
        return True, least, f"These images differ from those that were learnt: {'; '.join(found)}."
    power = f"a shift of {seen:.2g} sd would be seen with {100 * POWER:.0f} % power"
    return False, least, f"No sign of a shift (p = {_p(least)}; {power})."


def describe_classes(shifts: Sequence[ClassShift], significance: float) -> str:
    """The classes that became more or less frequent, in words."""
    clear = [each for each in shifts if each.p <= significance]
    named = ", ".join(f"{each.label} {each.share:.0%} instead of {each.expected:.0%}" for each in clear[:3])
    more = f" and {len(clear) - 3} more" if len(clear) > 3 else ""
    return f"predicted classes, {named}{more}".replace("%", " %")


def _far(bound: Rejection, sample: Sample) -> Sample:
    return Sample(bound.distances(sample.values) > bound.threshold, sample.groups)


def _percent(share: Share) -> str:
    return f"{100 * share.share:.0f} %"


def _joined(new: Sample, reference: Sample) -> tuple[Any, Bools, Groups]:
    values = np.concatenate([new.values, reference.values])
    is_new = np.arange(len(values)) < len(new.values)
    return values, is_new, np.concatenate([new.groups, reference.groups])


def _p(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
