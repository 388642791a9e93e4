"""Dataset for the result of a strategy, which is stored in several files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kedro.io import AbstractDataset

from topwork.core.columns import PREDICTION_COLUMNS
from topwork.core.results import Status, StrategyResult
from topwork.datasets.previews import JSONPreview
from topwork.datasets.record import RecordDataset
from topwork.datasets.remote import place
from topwork.datasets.report import ReportDataset
from topwork.datasets.table import TableDataset

_WORDS = (
    *("strategy", "backbone", "layers", "image_size", "slot"),
    *("status", "reason", "earlier", "split_digest", "training"),
)
"""Keys of the JSON file that are not scores."""


class StrategyResultDataset(AbstractDataset[StrategyResult, StrategyResult]):
    """Status, scores and training in one JSON file; seconds, serving, ids and tables are read from their own files.

    A strategy without a file, or with a damaged one, loads as `not run`. For `--only-missing-outputs`, a result exists
    if it has scores.
    """

    def __init__(
        self,
        *,
        strategy: str,
        slot: str,
        filepath: str,
        seconds: str,
        serving: str,
        logged_model: str,
        class_scores: str,
        slices: str,
        out_of_fold: str,
        predictions: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._strategy, self._slot = strategy, "" if slot == "." else slot
        self._file = ReportDataset(filepath=filepath, missing={})
        self._reports = {
            name: ReportDataset(filepath=path, missing={})
            for name, path in {"seconds": seconds, "serving": serving, "logged_model": logged_model}.items()
        }
        self._tables = {
            name: TableDataset(filepath=path, columns=list(PREDICTION_COLUMNS))
            for name, path in {"out_of_fold": out_of_fold, "predictions": predictions}.items()
        }
        self._slices = RecordDataset(record="topwork.core.slices.Slices", filepath=slices, missing={})
        self._tables["class_scores"] = TableDataset(filepath=class_scores, columns=["label"])
        self._filepath = str(place(filepath))  # kedro-viz asks for its size
        self.metadata = metadata

    def load(self) -> StrategyResult:
        """The result of the strategy, with any status."""
        result = self._read()
        if result.status is not Status.OK:
            return result
        parts = {name: dataset.load() for name, dataset in {**self._reports, **self._tables}.items()}
        return replace(result, **parts, slices=self._slices.load())

    def save(self, data: StrategyResult) -> None:
        """Replace status, scores and training; the other parts are saved by their own catalog entries."""
        self._file.save(as_json(data))

    def preview(self) -> JSONPreview:
        """Status and scores, for kedro-viz."""
        return JSONPreview(json.dumps(as_json(self._read())))

    def _read(self) -> StrategyResult:
        told = {"strategy": self._strategy, "status": Status.NOT_RUN, **self._file.load(), "slot": self._slot}
        try:
            status = Status(told["status"])
        except ValueError:  # a status of another version
            status = Status.NOT_RUN
        words = {name: told[name] for name in _WORDS if name in told}
        scores = {name: value for name, value in told.items() if name not in _WORDS}
        return StrategyResult(**{**words, "status": status}, scores=scores if status is Status.OK else {})

    def _exists(self) -> bool:
        return self._read().status is Status.OK

    def _describe(self) -> dict[str, Any]:
        return {"strategy": self._strategy, "filepath": self._filepath}


def as_json(result: StrategyResult) -> Mapping[str, Any]:
    """The content of the JSON file, with scores and other keys at the top level."""
    told: dict[str, Any] = {"strategy": result.strategy, "status": str(result.status)}
    if result.backbone:
        told |= {"backbone": result.backbone, "layers": result.layers, "image_size": result.image_size}
    if result.status is Status.OK:
        told |= {"split_digest": result.split_digest, **result.scores}
        told["training"] = dict(result.training)
    told |= {"reason": result.reason} if result.reason else {}
    return told | ({"earlier": result.earlier} if result.earlier else {})
