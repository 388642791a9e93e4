"""The results of strategies on other features than the chosen ones, if a run compares several."""

from __future__ import annotations

from typing import Any

from kedro.io import AbstractDataset, DatasetError

from topwork.core.results import Screen, StrategyResult
from topwork.datasets.remote import listed, place
from topwork.datasets.report import ReportDataset
from topwork.datasets.strategy_result import StrategyResultDataset


class OtherResultsDataset(AbstractDataset[Any, tuple[StrategyResult, ...]]):
    """Results in the folders of the candidates that the screen kept beside the best one (`Candidate.slot`).

    A folder is read with the same file names as the results of the chosen features. Strategies that have not run there
    are left out.
    """

    def __init__(
        self, *, screen: str, models: str, outputs: str, reports: str, metadata: dict[str, Any] | None = None
    ) -> None:
        self._screen = ReportDataset(filepath=screen, missing={})
        self._models, self._outputs, self._reports = place(models), place(outputs), place(reports)
        self.metadata = metadata

    def load(self) -> tuple[StrategyResult, ...]:
        """The results that exist, in the order of the candidates and then by name."""
        told = self._screen.load()
        slots = [each.slot for each in Screen.model_validate(told).others] if told else []
        found = ((slot, path.parent.name) for slot in slots for path in listed(self._reports, f"{slot}/*/metrics.json"))
        return tuple(self._result(slot, strategy).load() for slot, strategy in found)

    def save(self, data: Any) -> None:
        """Refused: each strategy writes its own result."""
        raise DatasetError("other_results is only read: the strategies write their results")

    def _result(self, slot: str, strategy: str) -> StrategyResultDataset:
        models, outputs, reports = (folder / slot / strategy for folder in (self._models, self._outputs, self._reports))
        return StrategyResultDataset(
            strategy=strategy,
            slot=slot,
            filepath=str(reports / "metrics.json"),
            seconds=str(reports / "timings.json"),
            serving=str(reports / "serving.json"),
            logged_model=str(models / "logged_model.json"),
            class_scores=str(reports / "class_scores.parquet"),
            slices=str(reports / "slices.json"),
            out_of_fold=str(outputs / "out_of_fold.parquet"),
            predictions=str(outputs / "predictions.parquet"),
        )

    def _describe(self) -> dict[str, Any]:
        return {"reports": str(self._reports)}
