"""Scores of a strategy on slices of the images: those with one value in a column of the user's table."""

from __future__ import annotations

import pandas as pd

from topwork.core.records import Record


class SliceScore(Record):
    """Accuracy where ``column`` has this ``value``; of the test split unless `oof_`, with 95 % intervals.

    ``oof_expected`` is the accuracy out of fold that its images would have if they were as hard as others of their
    classes. Without images, an accuracy is None.
    """

    column: str
    value: str
    oof_images: int
    oof_accuracy: float | None
    oof_accuracy_low: float | None
    oof_accuracy_high: float | None
    oof_expected: float | None
    test_images: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None


class SlicedColumn(Record):
    """How far the slices of a column differ, out of fold.

    ``worst`` is the value with the lowest accuracy, and ``farthest`` the one that lies farthest from the others for its
    size; both among the values with enough groups of images to judge them, or None. ``others_accuracy`` is the accuracy
    where the column has another value than ``farthest``. ``p`` belongs to the test that no slice differs, and
    ``p_adjusted`` is corrected for all columns (Holm).
    """

    column: str
    worst: str | None = None
    farthest: str | None = None
    others_accuracy: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    differs: bool = False


class Slices(Record):
    """The slices of all columns; empty if the images have no attributes."""

    columns: tuple[SlicedColumn, ...] = ()
    scores: tuple[SliceScore, ...] = ()

    def table(self) -> pd.DataFrame:
        """One row per slice, with the fields of `SliceScore` as columns."""
        return pd.DataFrame([each.model_dump() for each in self.scores])

    def of(self, column: SlicedColumn) -> tuple[SliceScore, ...]:
        """The scores of a column."""
        return tuple(each for each in self.scores if each.column == column.column)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each column whose slices differ by more than luck."""
        return tuple(self._warning(column) for column in self.columns if column.differs)

    def _warning(self, column: SlicedColumn) -> str:
        far = next(each for each in self.of(column) if each.value == column.farthest)
        low, high = (100 * (bound or 0.0) for bound in (far.oof_accuracy_low, far.oof_accuracy_high))
        return (
            f"accuracy depends on {column.column} by more than luck (p {column.p_adjusted:.2g}): out of fold "
            f"{100 * (far.oof_accuracy or 0.0):.1f} % [{low:.1f}, {high:.1f}] of {far.oof_images:,} images where it is "
            f"{far.value}, {100 * (column.others_accuracy or 0.0):.1f} % of the others"
        )
