"""Earlier runs and models in MLflow, in the form that the decisions need."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

import pandas as pd

from topwork.core.classifier import AnyClassifier


@dataclass(frozen=True)
class RegisteredChampion:
    """The model with the alias champion in the registry, and facts about it.

    ``out_of_fold`` are its out-of-fold predictions. ``learnt`` holds the SHA-256 of the images that the final model
    learnt from, or None if they were not stored. ``classes`` is the digest of its set of classes
    (`digests.classes_digest`), or empty if it was not stored. ``rule`` is the rule by which it answers
    (`StrategyResult.rule`), and ``metric`` the score by which it was chosen, or None if these were not stored.
    ``classifier`` loads the model.
    """

    version: str
    model_id: str
    strategy: str
    split_digest: str
    out_of_fold: pd.DataFrame
    learnt: Set[str] | None
    classes: str
    classifier: Callable[[], AnyClassifier]
    rule: str | None = None
    metric: str | None = None


@dataclass(frozen=True)
class Promotion:
    """Whether the alias moves to a logged model, the reason, and facts for the comparison with the next model."""

    moves: bool
    reason: str
    model_id: str
    run_id: str
    strategy: str
    backbone: str
    split_digest: str
    class_names: tuple[str, ...]
    learnt: Set[str]
    rule: str = ""
    metric: str = "accuracy"


@dataclass(frozen=True)
class LoggedRuns:
    """Earlier runs of strategies, one per row (columns ``RUN_COLUMNS``), oldest first.

    ``out_of_fold`` returns the out-of-fold predictions of a run by its id, or None if they were not stored.
    """

    table: pd.DataFrame
    out_of_fold: Callable[[str], pd.DataFrame | None]
