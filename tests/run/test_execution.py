from __future__ import annotations

from pathlib import Path

from kedro.io import DataCatalog

from topwork.core.results import Candidate, Status, StrategyResult
from topwork.datasets.strategy_result import StrategyResultDataset
from topwork.run.execution import Choice, choice_for_network, mark_earlier

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


def choice(backbone: str, layers: str, size: int | None, slot: str) -> Choice:
    candidate = Candidate(backbone=backbone, layers=layers, image_size=size)
    return Choice({"slot": slot} if slot else {}, DataCatalog(), candidate)


def test_a_network_is_trained_on_the_last_layer_and_smallest_size_of_the_backbone_with_the_best_head() -> None:
    choices = [
        choice("one", "all", 224, ""),
        choice("one", "last", 224, "b"),
        choice("one", "last", 128, "c"),
        choice("two", "last", 64, "d"),
    ]
    assert choice_for_network(choices, "").slot == "c"
    assert choice_for_network(choices, "d").slot == "d"
    assert choice_for_network(choices, "unknown").slot == "c"


def test_without_the_last_layer_a_network_is_trained_on_those_of_the_best_head() -> None:
    choices = [choice("one", "all", 224, ""), choice("one", "middle", 128, "b"), choice("one", "middle", 224, "c")]
    assert [choice_for_network(choices, slot).slot for slot in ("", "b", "c")] == ["", "b", "b"]
