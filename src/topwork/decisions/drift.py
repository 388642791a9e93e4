"""Whether new images come from the distribution that was learnt (docs/monitoring.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Bools, Floats, Integers
from topwork.core.parameters import MonitoringParameters
from topwork.core.results import ClassShift, Share
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


def compare_features(new: Sample, reference: Sample, parameters: MonitoringParameters) -> tuple[float, float]:
    """P-value for the hypothesis that features ``[n, d]`` of both have one distribution, and the detectable shift."""
    p = parameters
    both, is_new, groups = _joined(new.at_most(p.at_most, p.seed), reference.at_most(p.at_most, p.seed))
    points = whitened(both, p.dimensions)
    members = swaps(groups, is_new, p.permutations, p.seed)
    value = permutation_p(energy_distances(points, members))
    count = int(is_new.sum())
    return value, detectable_shift(points[~is_new], count, p.significance / _TESTS, POWER, p.simulations, p.seed)


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


def compare_far(new: Sample, reference: Sample, parameters: MonitoringParameters) -> tuple[float, Share, Share]:
    """One-sided p-value for the hypothesis that no more new images are far (``[n]``), and both shares."""
    far, is_new, groups = _joined(new, reference)
    members = swaps(groups, is_new, parameters.permutations, parameters.seed)
    sizes = members.sum(axis=0)
    counts = far.astype(np.float32) @ members
    differences = counts / sizes - (far.sum() - counts) / (len(far) - sizes)
    return permutation_p(np.round(differences, 6)), share_of(new), share_of(reference)


def share_of(sample: Sample) -> Share:
    """The share of true values ``[n]`` with its interval."""
    low, high = proportion_interval(sample.values, sample.groups)
    return Share(share=float(np.mean(sample.values)), low=low, high=high)


def conclude(
    p_values: Mapping[str, float], said: Mapping[str, str], detectable: float, significance: float
) -> tuple[bool, float, str]:
    """Whether anything differs, the smallest corrected p-value, and the conclusion in a sentence.

    Args:
        p_values: of each test.
        said: what differs, in words, if the test of this name finds a difference.
        detectable: shift in standard deviations that would be seen with a power of `POWER`.
        significance: highest probability of any false alarm.

    """
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    least = min(corrected.values())
    found = [f"{said[name]} (p = {_p(p)})" for name, p in corrected.items() if p <= significance]
    if found:
        return True, least, f"These images differ from those that were learnt: {'; '.join(found)}."
    seen = f"a shift of {detectable:.2g} sd would be seen with {POWER:.0%} power".replace("%", " %")
    return False, least, f"No sign of a shift (p = {_p(least)}; {seen})."


def describe_classes(shifts: Sequence[ClassShift], significance: float) -> str:
    """The classes that became more or less frequent, in words."""
    clear = [each for each in shifts if each.p <= significance]
    named = ", ".join(f"{each.label} {each.share:.0%} instead of {each.expected:.0%}" for each in clear[:3])
    more = f" and {len(clear) - 3} more" if len(clear) > 3 else ""
    return f"predicted classes, {named}{more}".replace("%", " %")


def most_foreign(distances: Floats, count: int) -> Integers:
    """Row numbers of the images farthest from what was learnt, the farthest first."""
    return np.argsort(-distances, kind="stable")[:count]


def _joined(new: Sample, reference: Sample) -> tuple[Any, Bools, Groups]:
    values = np.concatenate([new.values, reference.values])
    is_new = np.arange(len(values)) < len(new.values)
    return values, is_new, np.concatenate([new.groups, reference.groups])


def _p(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
