from __future__ import annotations

from pathlib import Path

from kedro.io import DataCatalog

from topwork.core.results import Status, StrategyResult
from topwork.datasets.strategy_result import StrategyResultDataset
from topwork.run.execution import mark_earlier

PARTS = ("seconds", "serving", "logged_model", "class_scores", "out_of_fold", "predictions")


def test_what_was_not_asked_for_is_marked_as_earlier_until_it_runs_again(tmp_path: Path) -> None:
    parts = {part: str(tmp_path / f"{part}.json") for part in PARTS}
    dataset = StrategyResultDataset(strategy="svm", slot=".", filepath=str(tmp_path / "metrics.json"), **parts)
    catalog = DataCatalog({"svm.result": dataset})
    assert not mark_earlier(catalog, "svm", "not asked for")
    catalog.save("svm.result", StrategyResult("svm", Status.OK, scores={"accuracy": 0.5}))
    assert mark_earlier(catalog, "svm", "not asked for")
    found = catalog.load("svm.result")
    assert (found.earlier, found.scores) == ("not asked for", {"accuracy": 0.5})
    catalog.save("svm.result", StrategyResult("svm", Status.OK, scores={"accuracy": 0.6}))
    assert catalog.load("svm.result").earlier == ""
