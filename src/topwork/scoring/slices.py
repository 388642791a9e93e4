"""Whether a classifier is worse on some slices of the images than on others, by more than luck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from topwork.core.arrays import Bools, Floats, Integers
from topwork.core.slices import SlicedColumn, Slices, SliceScore
from topwork.scoring.metrics import proportion_interval
from topwork.scoring.paired import holm

FEWEST = 10
"""Groups of images that a slice needs to be judged: one image of a small slice that is wrong would look like much."""
LEVEL = 0.05
"""Probability of a warning of any column if no slice differs."""
_CHUNK_CELLS = 4_000_000  # permuted values in memory at a time, 32 MB
_SAME = 1e-9  # deviations that differ by less are equal


@dataclass(frozen=True)
class Deviation:
    """How far slices lie from the rest: ``z`` ``[v]``, NaN where there are too few groups; ``p`` of the largest."""

    z: Floats
    p: float | None


def score_slices(
    values: pd.DataFrame,
    out_of_fold: pd.DataFrame,
    predictions: pd.DataFrame,
    group_of: pd.Series[str],
    draws: int,
    seed: int,
) -> Slices:
    """Accuracy on each slice, and for each column whether its slices differ, which is tested out of fold.

    Args:
        values: ``image_id``, and the slice of each image, a category each.
        out_of_fold: predictions by models that had not seen the image.
        predictions: predictions on the test split.
        group_of: group of each image id.
        draws: permutations of each column.
        seed: of the permutations.

    """
    names = [str(name) for name in values.columns if name != "image_id"]
    if not names or out_of_fold.empty:
        return Slices()
    learnt, tested = (_Judged.of(table, values, group_of) for table in (out_of_fold, predictions))
    told = [_column(name, learnt, tested, draws, seed) for name in names]
    columns, scores = [column for column, _ in told], [each for _, rows in told for each in rows]
    return Slices(columns=tuple(_corrected(columns)), scores=tuple(scores))


def deviation(right: Bools, groups: NDArray[np.str_], value: Integers, draws: int, seed: int) -> Deviation:
    """Deviation of each slice from the others, and the p-value of the largest one under permutation.

    Images of one group are similar, so that whole groups change places (as in cluster permutation tests). A group may
    lie in several slices. Its parts then change places among themselves alone, since one group can be harder than
    another. The largest of all standardised deviations of a column is compared with the largest one of each
    permutation (Westfall & Young 1993), which allows for the number of slices.

    Args:
        right: whether each prediction is right, ``[n]``.
        groups: group of each image, ``[n]``.
        value: number of the slice of each image, ``[n]``, from 0.
        draws: permutations.
        seed: of the permutations.

    """
    excess, slice_, stratum = _parts(right, groups, value)
    member = (slice_[:, None] == np.arange(value.max() + 1)).astype(float)
    spread = np.sqrt(_variances(excess, member, stratum))
    judged = (member.sum(axis=0) >= FEWEST) & (spread > 0)
    if not judged.any():
        return Deviation(np.full(len(spread), np.nan), None)
    weights = member[:, judged] / spread[judged]
    z = np.full(len(spread), np.nan)
    z[judged] = excess @ weights
    largest = np.nanmax(np.abs(z)) - _SAME
    shuffled = _shuffled(excess, stratum, draws, seed)
    as_large = sum(int((np.abs(some @ weights).max(axis=1) >= largest).sum()) for some in shuffled)
    return Deviation(z, (1 + as_large) / (1 + draws))


def _parts(right: Bools, groups: NDArray[np.str_], value: Integers) -> tuple[Floats, Integers, Integers]:
    """The parts of groups that lie in one slice: right answers above the mean of its stratum, slice, stratum.

    All groups that lie in one slice are one stratum, number 0. Each other group is a stratum of its own.
    """
    _, group = np.unique(groups, return_inverse=True)
    width = int(value.max()) + 1
    named, part = np.unique(group * width + value, return_inverse=True)
    of_group, slice_ = np.divmod(named, width)
    images, hits = np.bincount(part).astype(float), np.bincount(part, right).astype(float)
    is_torn = np.bincount(of_group)[of_group] > 1
    stratum = np.where(is_torn, 1 + of_group, 0)
    mean = np.bincount(stratum, hits) / np.maximum(np.bincount(stratum, images), 1)
    return hits - images * mean[stratum], slice_, stratum


def _variances(excess: Floats, member: Floats, stratum: Integers) -> Floats:
    """Variance ``[v]`` over all permutations of the sum of ``excess`` in each slice."""
    _, number = np.unique(stratum, return_inverse=True)
    size, square = np.bincount(number).astype(float), np.bincount(number, excess**2)
    inside = np.stack([np.bincount(number, column) for column in member.T], axis=1)
    scale = square / np.maximum(size * (size - 1), 1)
    return np.asarray((inside * (size[:, None] - inside) * scale[:, None]).sum(axis=0))


def _shuffled(excess: Floats, stratum: Integers, draws: int, seed: int) -> Iterator[Floats]:
    """Chunks ``[b, n]`` of the values, which change places within each stratum."""
    generator = np.random.default_rng(seed)
    whole, torn = np.flatnonzero(stratum == 0), np.flatnonzero(stratum)
    chunk = max(1, _CHUNK_CELLS // len(excess))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        moved = np.empty((size, len(excess)))
        moved[:, whole] = generator.permuted(np.tile(excess[whole], (size, 1)), axis=1)
        if len(torn):  # sorted by stratum already
            order = np.argsort(stratum[torn] + generator.random((size, len(torn))), axis=1)
            moved[:, torn] = excess[torn][order]
        yield moved


@dataclass(frozen=True)
class _Judged:
    """Predictions with what slices them, row by row."""

    right: Bools
    label: NDArray[np.str_]
    groups: NDArray[np.str_]
    values: pd.DataFrame

    @classmethod
    def of(cls, table: pd.DataFrame, values: pd.DataFrame, group_of: pd.Series[str]) -> _Judged:
        label = table["label"].to_numpy(dtype=str)
        groups = table["image_id"].map(group_of).to_numpy(dtype=str)
        sliced = values.set_index("image_id").loc[table["image_id"]].reset_index(drop=True)
        return cls(label == table["predicted"].to_numpy(dtype=str), label, groups, sliced)

    def accuracy(self, rows: Bools, prefix: str) -> dict[str, float | None]:
        """The accuracy on these rows with its interval."""
        names = [f"{prefix}accuracy{end}" for end in ("", "_low", "_high")]
        if not rows.any():
            return dict.fromkeys(names)
        found = float(self.right[rows].mean()), *proportion_interval(self.right[rows], self.groups[rows])
        return dict(zip(names, found, strict=True))

    def expected(self, rows: Bools) -> float | None:
        """The accuracy if each image of these rows were as hard as the mean of its class."""
        of_class = pd.Series(self.right.astype(float)).groupby(self.label).transform("mean").to_numpy()
        return float(of_class[rows].mean()) if rows.any() else None


def _column(
    name: str, learnt: _Judged, tested: _Judged, draws: int, seed: int
) -> tuple[SlicedColumn, list[SliceScore]]:
    """What the permutations say of a column, without correction for others, and the score of each of its slices."""
    of_folds, of_test = (each.values[name].to_numpy(dtype=str) for each in (learnt, tested))
    names = [str(each) for each in learnt.values[name].cat.categories]
    scores = [
        SliceScore(
            column=name,
            value=value,
            oof_images=int((of_folds == value).sum()),
            oof_expected=learnt.expected(of_folds == value),
            test_images=int((of_test == value).sum()),
            **learnt.accuracy(of_folds == value, "oof_"),
            **tested.accuracy(of_test == value, ""),
        )
        for value in names
    ]
    number = pd.Categorical(of_folds, categories=names).codes.astype(int)
    found = deviation(learnt.right, learnt.groups, number, draws, seed)
    if found.p is None:
        return SlicedColumn(column=name), scores
    farthest = names[int(np.nanargmax(np.abs(found.z)))]
    judged = [each for each, z in zip(scores, found.z, strict=False) if np.isfinite(z)]
    others = learnt.right[of_folds != farthest]
    column = SlicedColumn(
        column=name,
        worst=min(judged, key=lambda each: each.oof_accuracy or 0.0).value,
        farthest=farthest,
        others_accuracy=float(others.mean()) if len(others) else None,
        p=found.p,
    )
    return column, scores


def _corrected(columns: Sequence[SlicedColumn]) -> Iterator[SlicedColumn]:
    """The columns with p-values that allow for the number of columns."""
    adjusted = iter(holm([column.p for column in columns if column.p is not None]))
    for column in columns:
        if column.p is None:
            yield column
        else:
            p = next(adjusted)
            yield column.model_copy(update={"p_adjusted": p, "differs": p <= LEVEL})
