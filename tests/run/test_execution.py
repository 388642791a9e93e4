from __future__ import annotations

from pathlib import Path

from kedro.io import DataCatalog, MemoryDataset

from topwork.core.results import Candidate, Status, StrategyResult
from topwork.datasets.strategy_result import StrategyResultDataset
from topwork.decisions.strategies import STRATEGIES
from topwork.run.budget import Budget
from topwork.run.concurrency import Concurrency
from topwork.run.execution import Choice, _Run, choice_for_network, mark_begun, mark_earlier
from topwork.run.plan import Part, Plan
from topwork.run.sessions import Failures

PARTS = ("seconds", "serving", "logged_model", "class_scores", "slices", "out_of_fold", "predictions")


def on_disk(folder: Path, strategy: str) -> StrategyResultDataset:
    parts = {part: str(folder / strategy / f"{part}.json") for part in PARTS}
    return StrategyResultDataset(strategy=strategy, slot=".", filepath=str(folder / strategy / "metrics.json"), **parts)


def test_what_was_not_asked_for_is_marked_as_earlier_until_it_runs_again(tmp_path: Path) -> None:
    catalog = DataCatalog({"svm.result": on_disk(tmp_path, "svm")})
    assert not mark_earlier(catalog, "svm", "not asked for")
    catalog.save("svm.result", StrategyResult("svm", Status.OK, scores={"accuracy": 0.5}))
    assert mark_earlier(catalog, "svm", "not asked for")
    found = catalog.load("svm.result")
    assert (found.earlier, found.scores) == ("not asked for", {"accuracy": 0.5})
    catalog.save("svm.result", StrategyResult("svm", Status.OK, scores={"accuracy": 0.6}))
    assert catalog.load("svm.result").earlier == ""


def results(**by_strategy: StrategyResult) -> DataCatalog:
    known = {name: by_strategy.get(name, StrategyResult(name, Status.NOT_RUN)) for name in STRATEGIES}
    return DataCatalog({f"{name}.result": MemoryDataset(result) for name, result in known.items()})


def test_a_command_that_joins_a_run_knows_what_cheaper_strategies_have_reached_in_it() -> None:
    perfect = {"oof_accuracy": 1.0, "oof_images": 90.0}

    def why_skip(**by_strategy: StrategyResult) -> str:
        catalog = results(**by_strategy)
        plan = Plan(("__default__",), STRATEGIES, lambda _: catalog, True, {}, (), Budget(None, 0.0), Concurrency())
        run = _Run({"env": None, "params": {}}, plan, Failures())
        run.note_cheaper([Part("svm", ("svm.train",))])
        return run._why_skip("svm")

    assert "nothing is left to gain" in why_skip(lda=StrategyResult("lda", Status.OK, scores=perfect))
    assert why_skip(lda=StrategyResult("lda", Status.OK, scores=perfect, earlier="not finished in this run")) == ""
    assert why_skip(svm=StrategyResult("svm", Status.OK, scores=perfect)) == ""  # its own, when it is run again


def test_until_a_run_of_several_commands_replaces_them_results_are_those_of_an_earlier_run(tmp_path: Path) -> None:
    catalog = DataCatalog({f"{name}.result": on_disk(tmp_path, name) for name in STRATEGIES})
    catalog.save("lda.result", StrategyResult("lda", Status.OK, scores={"accuracy": 0.5}))
    catalog.save("svm.result", StrategyResult("svm", Status.FAILED, "no memory"))
    mark_begun(catalog, ["svm"])
    assert catalog.load("lda.result").earlier == "not asked for in this run"
    assert catalog.load("svm.result").status is Status.NOT_RUN
    mark_begun(catalog, ["lda"])
    assert catalog.load("lda.result").earlier == "not finished in this run"


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
