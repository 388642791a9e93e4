"""What MLflow knows of earlier runs, as the decisions want it."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

import pandas as pd

from topwork.core.classifier import Classifier


@dataclass(frozen=True)
class RegisteredChampion:
    """The model that the registry calls champion, and what it is known by.

    ``out_of_fold`` are its predictions on images that its fold models had not seen, ``learnt`` the SHA-256 of all that
    the model itself learnt from, None where nobody kept them; ``classes`` names the set of its classes
    (`digests.classes_digest`), and is empty where nobody kept that; ``classifier`` reads it.
    """

    version: str
    model_id: str
    strategy: str
    split_digest: str
    out_of_fold: pd.DataFrame
    learnt: Set[str] | None
    classes: str
    classifier: Callable[[], Classifier]


@dataclass(frozen=True)
class Promotion:
    """Whether the alias moves to a logged model, why, and what the next newcomer must know of it."""

    moves: bool
    reason: str
    model_id: str
    run_id: str
    strategy: str
    split_digest: str
    class_names: tuple[str, ...]
    learnt: Set[str]


@dataclass(frozen=True)
class LoggedRuns:
    """Earlier runs of strategies, a row each (columns ``RUN_COLUMNS``), oldest first.

    ``out_of_fold`` gives the out-of-fold predictions of the run of an id, or None where none were kept.
    """

    table: pd.DataFrame
    out_of_fold: Callable[[str], pd.DataFrame | None]
