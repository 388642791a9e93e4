"""What a run finds out, as the types that nodes pass on: of each strategy, before training, and of all side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, RootModel

Numbers = Mapping[str, float | None]


class Status(StrEnum):
    """What became of a strategy; the last two are given in a leaderboard alone."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_RUN = "not run"
    OTHER_SPLIT = "other split"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class StrategyResult:
    """All that comes out of one strategy; a status other than `ok` comes with a reason and without scores.

    ``scores`` are of the test split and, with prefix `oof_`, out of fold; ``training`` is what the training reports;
    ``seconds`` is by node; ``serving`` is what the trial found; ``logged_model`` holds the ids of the model and the run
    in MLflow, if there are any; ``class_scores`` has a row a class; the predictions have the columns
    ``PREDICTION_COLUMNS``.
    """

    strategy: str
    status: Status
    reason: str = ""
    backbone: str | None = None
    split_digest: str = ""
    scores: Numbers = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    serving: Mapping[str, Any] = field(default_factory=dict)
    logged_model: Mapping[str, str] = field(default_factory=dict)
    class_scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    out_of_fold: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)

    def numbers(self) -> dict[str, float]:
        """What MLflow keeps as metrics."""
        training = {f"training.{name}": value for name, value in self.training.items()}
        return _numbers({**self.scores, **training})


class Record(BaseModel):
    """A frozen result that is kept as JSON."""

    model_config = ConfigDict(frozen=True)


class Point(Record):
    """Right answers of ``tested`` images when so many ``images`` were learnt from."""

    images: int
    right: int
    tested: int


class Forecast(Record):
    """Accuracy to expect with so many images, with a 95 % interval."""

    images: int
    accuracy: float
    low: float
    high: float


class Evidence(Record):
    """What the cached features tell before anything is trained, of the images that are learnt from.

    ``median_side`` is in pixels; ``above_chance`` is the probe's accuracy as a share of the way from chance to perfect;
    ``balanced_accuracy`` and what follows it are there where the classes are unbalanced.
    """

    images: int
    classes: int
    largest_class: int
    smallest_class: int
    median_side: float
    probe: str
    probe_accuracy: float
    probe_low: float
    probe_high: float
    probe_seconds: float
    above_chance: float
    knn_accuracy: float
    balanced_accuracy: float | None = None
    balanced_accuracy_weighted: float | None = None
    weighting_error: float | None = None
    learning_curve: tuple[Point, ...] = ()
    forecast: tuple[Forecast, ...] = ()


class Expected(Record):
    """The accuracy that a strategy may be expected to have, where that can be said, and its bounds."""

    accuracy: float | None
    low: float
    high: float


class Advice(Record):
    """Which strategy to use, why, and what each would cost (``cost_seconds``; None: as long as its epochs take)."""

    practice: str
    says: str
    recommended: str
    settings: Mapping[str, Any]
    worth_running: tuple[str, ...]
    ruled_out: Mapping[str, str]
    expected: Expected
    sure: str
    cost_seconds: Mapping[str, float | None]
    more_images: str
    evidence: Evidence


class Comparison(Record):
    """How a strategy stands on the images that all were scored on out of fold.

    ``behind`` is its accuracy less that of the best, with a standard error and an interval that allows for all
    comparisons; ``p`` is of the paired test, ``p_adjusted`` allows for all comparisons too. All
    are None where it cannot be compared.
    """

    shared_accuracy: float | None = None
    shared_images: int | None = None
    behind: float | None = None
    behind_low: float | None = None
    behind_high: float | None = None
    behind_error: float | None = None
    p: float | None = None
    p_adjusted: float | None = None


class Row(Comparison):
    """A strategy, or an earlier run of one, in the leaderboard; scores are of the test split unless `oof_`."""

    strategy: str
    backbone: str | None = None
    status: Status
    reason: str = ""
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    oof_accuracy: float | None = None
    oof_accuracy_low: float | None = None
    oof_accuracy_high: float | None = None
    oof_images: float | None = None
    balanced_accuracy: float | None = None
    macro_f1: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    coverage: float | None = None
    answered_accuracy: float | None = None
    seconds: float | None = None
    served_images: int | None = None
    same_label: float | None = None
    max_difference: float | None = None
    seconds_per_thousand: float | None = None
    megabytes: float | None = None


class Leaderboard(RootModel[tuple[Row, ...]]):
    """The strategies side by side, best out of fold first."""

    model_config = ConfigDict(frozen=True)

    @property
    def rows(self) -> tuple[Row, ...]:
        """In their order."""
        return self.root

    @property
    def shared_images(self) -> int:
        """How many images the strategies are compared on."""
        return max((row.shared_images or 0 for row in self.rows if row.accuracy is not None), default=0)

    def row_of(self, strategy: str | None) -> Row | None:
        """The row of this name, if there is one."""
        return next((row for row in self.rows if row.strategy == strategy), None)

    def numbers(self) -> dict[str, float]:
        """What MLflow keeps as metrics: of each strategy the score that models are chosen by, and that of the test."""
        of_row = [
            {f"{row.strategy}.oof_accuracy": row.oof_accuracy, f"{row.strategy}.test_accuracy": row.accuracy}
            for row in self.rows
        ]
        return _numbers({name: value for each in of_row for name, value in each.items()})


class Champion(Record):
    """The strategy to take, and whether MLflow's alias moved to it.

    ``images`` is how many it was compared on; ``difference`` is to the champion of before (``against``, its version).
    """

    strategy: str | None
    reason: str
    images: int | None = None
    promoted: bool = False
    promotion: str = ""
    difference: Mapping[str, Any] | None = None
    against: str | None = None
    oof_accuracy: float | None = None
    oof_accuracy_low: float | None = None
    oof_accuracy_high: float | None = None
    oof_images: float | None = None

    def numbers(self) -> dict[str, float]:
        """What MLflow keeps as metrics of the whole run, so that runs may be sorted by what models are chosen by."""
        return _numbers(
            self.model_dump(include={"oof_accuracy", "oof_accuracy_low", "oof_accuracy_high", "oof_images"})
        )


def scored(results: Iterable[StrategyResult], split_digest: str) -> list[StrategyResult]:
    """Those that have scores of this split."""
    return [each for each in results if each.status is Status.OK and each.split_digest == split_digest]


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
