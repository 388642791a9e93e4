"""Types of the results that nodes exchange: of each strategy, of the advice, and of the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pandas as pd
from pydantic import ConfigDict, RootModel

from topwork.core.fits import CROP
from topwork.core.records import Record
from topwork.core.slices import Slices

Numbers = Mapping[str, float | None]
ALREADY = "it is the champion already"
"""Why the alias does not move to a model that has it."""
_SCORES = {
    *("oof_accuracy", "oof_accuracy_low", "oof_accuracy_high", "oof_images", "accuracy", "accuracy_low"),
    *("accuracy_high", "balanced_accuracy", "macro_f1", "log_loss", "ece"),
}
_ALL = 0.95  # share of the epochs from which on the others are not missed


class Status(StrEnum):
    """Status of a strategy; the last two values occur only in a leaderboard."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_RUN = "not run"
    OTHER_SPLIT = "other split"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class StrategyResult:
    """The result of one strategy; with a status other than `ok` it has a reason and no scores.

    ``earlier`` says why the result is of an earlier run than the last comparison; it is empty if it is of the same run.
    ``backbone``, ``layers`` and ``image_size`` say on which features the classifier works. ``slot`` is the folder of
    these features' results; it is empty for the features that the run chose first (`Candidate.slot`).
    ``scores`` are of the test split and, with prefix `oof_`, out of fold. ``training`` holds facts about the training,
    ``seconds`` the time of each node, and ``serving`` the measurements of the serving test. ``logged_model`` holds the
    ids of the model and the run in MLflow, if there are any. ``class_scores`` has one row per class. ``slices`` are
    the scores on slices of the images. ``out_of_fold`` and ``predictions`` have the columns ``PREDICTION_COLUMNS``.
    """

    strategy: str
    status: Status
    reason: str = ""
    earlier: str = ""
    backbone: str | None = None
    layers: str = ""
    image_size: int | None = None
    slot: str = ""
    split_digest: str = ""
    scores: Numbers = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    serving: Mapping[str, Any] = field(default_factory=dict)
    logged_model: Mapping[str, str] = field(default_factory=dict)
    class_scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    slices: Slices = field(default_factory=Slices)
    out_of_fold: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def name(self) -> str:
        """The strategy, with its features if they are not those that the run chose first."""
        return f"{self.strategy} on {self.backbone} {self.layers} {self.image_size} px" if self.slot else self.strategy

    @property
    def rule(self) -> str:
        """The rule by which it answers (`Decision.rule`); empty if it answers the most likely class."""
        return str(self.training.get("rule", ""))

    @property
    def answering(self) -> str:
        """What is answered in place of the most likely class, and at what price on the test split, in words.

        It is a class from some probability on, for a wish, or the class of the least expected cost; empty otherwise.
        """
        if self.scores.get("cost") is not None:
            costs = (
                f"{_interval(self.scores, 'oof_cost')} an image out of fold, {_interval(self.scores, 'cost')} on the"
            )
            return f"the class of the least expected cost is answered; it costs {costs} test split"
        if "threshold" not in self.scores or "wish" not in self.training:
            return ""
        recall, precision = (
            "not known" if self.scores.get(name) is None else _interval(self.scores, name)
            for name in ("recall", "precision")
        )
        return (
            f"{self.training.get('positive')} is answered from a probability of {self.scores['threshold']:.3g} on, for "
            f"{self.training['wish']}; on the test split its recall is {recall}, its precision {precision}"
        )

    def numbers(self) -> dict[str, float]:
        """Scores and numbers of the training, as metrics for MLflow, which shows the first ones first."""
        first = {name: self.scores[name] for name in ("oof_accuracy", "accuracy") if name in self.scores}
        training = {f"training.{name}": value for name, value in self.training.items()}
        return _numbers({**first, **self.scores, **training})


class Member(Record):
    """A strategy in an ensemble, with the folder of its features (`Candidate.slot`) and its weight in the mean."""

    strategy: str
    slot: str = ""
    weight: float


class Members(RootModel[tuple[Member, ...]]):
    """The members of an ensemble, the largest weight first."""

    model_config = ConfigDict(frozen=True)


class Candidate(Record):
    """Features that a run may use: of a backbone, at some layers, for images of ``image_size`` pixels (None: its own).

    ``fit`` says how an image that is not square comes into the square.
    ``name`` is for people: what tells it from the other candidates of the run. ``slot`` is the name of the folder for
    its results if it is not the candidate that was chosen.
    """

    backbone: str
    layers: str
    image_size: int | None
    fit: str = CROP
    name: str = ""
    slot: str = ""


class Candidates(RootModel[tuple[Candidate, ...]]):
    """The candidates of a run."""

    model_config = ConfigDict(frozen=True)

    @property
    def several(self) -> bool:
        """Whether there is a choice."""
        return len(self.root) > 1


class Screened(Candidate):
    """A candidate with the accuracy of a quick probe on its features, out of fold on the images of the screen.

    ``score`` is the probe's score by the ``metric`` that the user chose (higher is better). ``behind`` is this score
    minus the score of the best, paired, with a standard error. ``p`` belongs to the
    one-sided test that the best is no better. ``kept`` says whether strategies are trained on these features, and
    ``why_not`` why they are not.
    """

    metric: str = "accuracy"
    score: float | None = None
    accuracy: float | None = None
    behind: float = 0.0
    behind_error: float = 0.0
    p: float | None = None
    dimensions: int | None = None
    kept: bool = True
    why_not: str = ""


class Screen(Record):
    """The candidates of a run, best first, compared on ``images`` images; one candidate alone is not compared.

    ``fits`` says what `fit=auto` chose, and why; it is empty if ``fit`` was given.
    """

    candidates: tuple[Screened, ...]
    images: int = 0
    fits: str = ""

    @property
    def chosen(self) -> Screened:
        """The best candidate."""
        return self.candidates[0]

    @property
    def others(self) -> tuple[Screened, ...]:
        """The other candidates that were kept, which have their results in folders of their own."""
        return tuple(each for each in self.candidates[1:] if each.kept)


class Point(Record):
    """Number of right answers on ``tested`` images after learning from ``images`` images."""

    images: int
    right: int
    tested: int


class Forecast(Record):
    """Expected accuracy with a number of images, with a 95 % interval."""

    images: int
    accuracy: float
    low: float
    high: float


class Evidence(Record):
    """Evidence from the cached features of the training images, before a strategy is trained.

    ``probe_score`` is the probe's score by the ``metric`` that the user chose (of log-loss, the negative).

    ``median_side`` is in pixels. ``above_chance`` is the probe's accuracy as a share of the way from chance to perfect.
    ``balanced_accuracy``, ``balanced_accuracy_weighted`` and ``weighting_error`` are None if the class weights were not
    tried. ``has_layers`` says whether the features come from a network, whose layers can be trained. ``learnt`` is the
    number of images to learn from. ``far_from_square`` is the share of the images that are, ``fit`` says how they come
    into the square, and ``fits`` is that of the screen.
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
    metric: str = "accuracy"
    probe_score: float | None = None
    weighting_error: float | None = None
    learning_curve: tuple[Point, ...] = ()
    forecast: tuple[Forecast, ...] = ()
    has_layers: bool = True
    learnt: int = 0
    far_from_square: float = 0.0
    fit: str = CROP
    fits: str = ""


class Expected(Record):
    """The expected accuracy of a strategy, or None if it is not known, and its bounds."""

    accuracy: float | None
    low: float
    high: float


class Advice(Record):
    """Which strategy to use, why, and the cost of each (``cost_seconds``; None: no limit besides its epochs)."""

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
    """Comparison of a strategy with the best one, on the images that all strategies scored out of fold.

    ``shared_score`` is its score by the ``metric`` that the user chose (higher is better: of log-loss, the negative).
    ``behind`` is this score minus the score of the best, with a standard error and an interval that is corrected
    for all comparisons. ``p`` belongs to the paired test; ``p_adjusted`` is corrected for all comparisons. All values
    are None if the strategy cannot be compared.
    """

    metric: str = "accuracy"
    shared_score: float | None = None
    shared_accuracy: float | None = None
    shared_images: int | None = None
    behind: float | None = None
    behind_low: float | None = None
    behind_high: float | None = None
    behind_error: float | None = None
    p: float | None = None
    p_adjusted: float | None = None


class Row(Comparison):
    """A strategy on some features, or an earlier run, in the leaderboard; scores are of the test split unless `oof_`.

    ``features`` says on which features, in the words that tell them from those of the other rows; it is empty if all
    rows have the same.
    """

    strategy: str
    backbone: str | None = None
    layers: str = ""
    image_size: int | None = None
    slot: str = ""
    features: str = ""
    status: Status
    reason: str = ""
    earlier: str = ""
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
    epochs_in_time: float | None = None
    epochs_wanted: float | None = None
    epoch_seconds: float | None = None
    served_images: int | None = None
    same_label: float | None = None
    max_difference: float | None = None
    seconds_per_thousand: float | None = None
    megabytes: float | None = None

    @property
    def name(self) -> str:
        """The strategy, and its features if the leaderboard has results on several."""
        return f"{self.strategy} · {self.features}" if self.features else self.strategy

    def scores(self) -> dict[str, float]:
        """The scores of the test split and out of fold, under the names that they have in `StrategyResult.scores`."""
        return _numbers(self.model_dump(include=_SCORES))

    @property
    def more_minutes(self) -> float | None:
        """Minutes more that a network needs for all the epochs that it would take; None if it had the time for them."""
        wanted, done = self.epochs_wanted or 0.0, self.epochs_in_time or 0.0
        if not done or done > _ALL * wanted or not self.epoch_seconds:
            return None
        return (wanted - done) * self.epoch_seconds / 60

    @property
    def more_time(self) -> str:
        """What more time would have bought a network, in words; empty if it had the time for all its epochs."""
        if self.more_minutes is None:
            return ""
        return (
            f"{self.name} had the time for {self.epochs_in_time:.1f} of the {self.epochs_wanted:.0f} epochs that it "
            f"would take; about {max(1, round(self.more_minutes))} more minutes would be enough for all."
        )

    @property
    def key(self) -> str:
        """The name in MLflow and in tables: the strategy, after the folder of its features if they have one."""
        return f"{self.slot}/{self.strategy}" if self.slot else self.strategy


class Leaderboard(RootModel[tuple[Row, ...]]):
    """The rows of all strategies, best out of fold first."""

    model_config = ConfigDict(frozen=True)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows in their order."""
        return self.root

    @property
    def metric(self) -> str:
        """The score by which the strategies are compared."""
        return next((row.metric for row in self.rows if row.shared_score is not None), "accuracy")

    @property
    def shared_images(self) -> int:
        """Number of images on which the strategies are compared."""
        return max((row.shared_images or 0 for row in self.rows if row.accuracy is not None), default=0)

    def table(self) -> pd.DataFrame:
        """One row per strategy, with the fields of `Row` as columns."""
        return pd.DataFrame([row.model_dump(mode="json") for row in self.rows])

    def row_of(self, champion: Champion) -> Row | None:
        """The row of the champion, or None."""
        mine = (champion.strategy, champion.slot)
        return next((row for row in self.rows if (row.strategy, row.slot) == mine), None)

    def numbers(self) -> dict[str, float]:
        """Out-of-fold accuracy (used to choose models) and test accuracy of each strategy, as metrics for MLflow."""
        of_row = [
            {f"{row.key}.oof_accuracy": row.oof_accuracy, f"{row.key}.test_accuracy": row.accuracy} for row in self.rows
        ]
        return _numbers({name: value for each in of_row for name, value in each.items()})


class Champion(Record):
    """The strategy to use, on which features, and whether MLflow's alias moved to it.

    ``features`` and ``slot`` are those of its row in the leaderboard. ``images`` is the number of images of the
    comparison. ``difference`` compares it with the previous champion, which has the version ``against``. ``model_id``
    is the id of its logged model, or empty. ``uneven`` says on which slices of
    the images its accuracy is another one by more than luck. ``answering`` is `StrategyResult.answering`.
    """

    strategy: str | None
    reason: str
    metric: str = "accuracy"
    features: str = ""
    slot: str = ""
    images: int | None = None
    promoted: bool = False
    promotion: str = ""
    difference: Mapping[str, Any] | None = None
    against: str | None = None
    model_id: str = ""
    uneven: tuple[str, ...] = ()
    answering: str = ""
    oof_accuracy: float | None = None
    oof_accuracy_low: float | None = None
    oof_accuracy_high: float | None = None
    oof_images: float | None = None

    @property
    def name(self) -> str:
        """The strategy, and its features if the leaderboard has results on several."""
        return f"{self.strategy} · {self.features}" if self.features else str(self.strategy)

    def numbers(self) -> dict[str, float]:
        """Out-of-fold accuracy as metrics of the whole run in MLflow, so that runs can be sorted by it."""
        return _numbers(
            self.model_dump(include={"oof_accuracy", "oof_accuracy_low", "oof_accuracy_high", "oof_images"})
        )


class ClassShift(Record):
    """Share of the images called a class, new and expected; ``p`` is corrected for the number of classes.

    ``low`` and ``high`` are the 95 % interval of the ``difference``, new minus expected.
    """

    label: str
    share: float
    expected: float
    difference: float
    low: float
    high: float
    p: float


class Share(Record):
    """A share of images with its 95 % interval."""

    share: float
    low: float
    high: float


class Drift(Record):
    """Whether new images come from the distribution that was learnt, for the model with these ids in MLflow.

    ``p`` is the smallest of the three p-values after Holm's correction: of the features, of the predicted classes, and
    of the share of images of none of the classes. ``detectable`` is the shift of all images, in standard deviations of
    the features, that so many images would show with 80 % power. ``none_of_these`` is None if the classifier does not
    tell such images.
    """

    conclusion: str
    shifted: bool
    p: float
    images: int
    compared: int
    reference: str = ""
    reference_images: int
    p_features: float
    detectable: float
    p_classes: float
    classes: tuple[ClassShift, ...]
    p_none_of_these: float | None = None
    none_of_these: Share | None = None
    none_expected: Share | None = None
    strategy: str
    model_id: str = ""
    run_id: str = ""

    def numbers(self) -> dict[str, float]:
        """P-values, the share of images of none of the classes, and the power, as metrics for MLflow."""
        names = ("p", "p_features", "p_classes", "p_none_of_these", "detectable", "images")
        share = self.none_of_these.share if self.none_of_these else None
        told = {**{name: getattr(self, name) for name in names}, "none_of_these": share, "shifted": int(self.shifted)}
        return {f"drift.{name}": value for name, value in _numbers(told).items()}


def scored(results: Iterable[StrategyResult], split_digest: str) -> list[StrategyResult]:
    """The results that have scores of this split."""
    return [each for each in results if each.status is Status.OK and each.split_digest == split_digest]


def _interval(scores: Numbers, name: str) -> str:
    return f"{scores[name]:.3f} [{scores[f'{name}_low']:.3f}, {scores[f'{name}_high']:.3f}]"


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
