"""Chooses how images that are not square are fitted into the square: a crop, unless another way is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topwork.core.candidates import short_name
from topwork.core.fits import FAR_FROM_SQUARE, MANY_UNEVEN, TRIED
from topwork.core.parameters import ScreeningParameters
from topwork.core.results import Candidate
from topwork.scoring.metric import Answers, Metric, told_number, unit_of
from topwork.scoring.paired import Difference, holm


@dataclass(frozen=True)
class FitChoice:
    """The candidates that are left out for their fit, by their place, with the reason; and the choice in words."""

    left_out: Mapping[int, str]
    says: str


@dataclass(frozen=True)
class _Rival:
    """A candidate against the crop of the same features; ``p`` is one-sided, corrected for the number of rivals."""

    place: int
    fit: str
    against_crop: Difference
    p: float
    metric: str

    @property
    def told(self) -> str:
        """The difference, and its p-value."""
        return f"{self._signed(self.against_crop.difference)} {unit_of(self.metric)}, p = {self.p:.2g}"

    @property
    def told_with_interval(self) -> str:
        """The difference with its interval, and its p-value."""
        found = self.against_crop
        low, high = self._signed(found.low), self._signed(found.high)
        return f"{self._signed(found.difference)} {unit_of(self.metric)} [{low}, {high}], p = {self.p:.2g}"

    def _signed(self, number: float) -> str:
        told = told_number(number, self.metric)
        return told if told.startswith("-") else f"+{told}"


def why_no_fits(uneven: float) -> str:
    """The reason why nothing was compared; ``uneven`` is the share of images that are far from square."""
    return (
        f"fit=auto takes crop: {uneven:.0%} of the images have a long side of more than {FAR_FROM_SQUARE:g} short "
        f"sides, and other fits are tried from {MANY_UNEVEN:.0%} on."
    )


def choose_fits(
    candidates: Sequence[Candidate],
    answers: Sequence[Answers],
    groups: NDArray[np.str_],
    screening: ScreeningParameters,
    metric: Metric,
) -> FitChoice:
    """One fit for each backbone, layers and size: a crop, unless another is better in a paired one-sided test.

    The level is that of the screen for all rivals of a crop together (Holm 1979). Of several better ones, the best is
    taken.

    Args:
        candidates: candidates to compare.
        answers: of the probe of each candidate, out of fold.
        groups: groups of the images ``[n]``.
        screening: block `screening`.
        metric: the score by which the features are chosen.

    """
    by_features: dict[tuple[str, str, int | None], dict[str, int]] = {}
    for place, each in enumerate(candidates):
        by_features.setdefault((each.backbone, each.layers, each.image_size), {})[each.fit] = place
    left_out, said = dict[int, str](), list[str]()
    for place_of in by_features.values():
        if len(place_of) == 1:
            continue
        usual, *others = (place_of[fit] for fit in TRIED)
        found = [metric.compare(answers[each], answers[usual], groups, screening.seed, len(others)) for each in others]
        p_values = holm([each.p_better for each in found])
        fits = [candidates[each].fit for each in others]
        rivals = [_Rival(*each, metric.name) for each in zip(others, fits, found, p_values, strict=True)]
        better = [each for each in rivals if each.p < screening.significance]
        chosen = max(better, key=lambda each: each.against_crop.difference, default=None)
        left_out |= _reasons(usual, rivals, chosen)
        where = f" for {_features(candidates[usual])}" if len(by_features) > 1 else ""
        said.append(_sentence(where, chosen, rivals))
    return FitChoice(left_out, " ".join(said))


def _reasons(usual: int, rivals: Sequence[_Rival], chosen: _Rival | None) -> dict[int, str]:
    """Why each candidate that is not taken is left out."""
    if chosen is None:
        return {each.place: f"not shown to be better than crop: {each.told}" for each in rivals}
    rest = {each.place: f"{chosen.fit} is taken in place of crop" for each in rivals if each is not chosen}
    return rest | {usual: f"{chosen.fit} is better: {chosen.told}"}


def _sentence(where: str, chosen: _Rival | None, rivals: Sequence[_Rival]) -> str:
    told = (f"{each.fit} {each.told_with_interval}" for each in rivals)
    return (
        f"fit=auto takes {chosen.fit if chosen else TRIED[0]}{where}: compared with a crop, out of fold on "
        f"{rivals[0].against_crop.images} images, {'; '.join(told)} (one-sided, for both together)."
    )


def _features(candidate: Candidate) -> str:
    size = f" {candidate.image_size} px" if candidate.image_size else ""
    return f"{short_name(candidate.backbone)}{size} {candidate.layers}"
