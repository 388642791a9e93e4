from __future__ import annotations

from pathlib import Path

from topwork.core.results import Screen, Screened, Status, StrategyResult
from topwork.datasets.checked import write_json
from topwork.datasets.other_results import OtherResultsDataset
from topwork.datasets.strategy_result import as_json


def a_candidate(slot: str, *, kept: bool) -> Screened:
    return Screened(backbone=slot, layers="last", image_size=None, slot=slot, kept=kept)


def test_results_are_read_from_the_folders_of_the_candidates_that_the_last_screen_kept(tmp_path: Path) -> None:
    folders = {name: str(tmp_path / name) for name in ("models", "outputs", "reports")}
    dataset = OtherResultsDataset(screen=str(tmp_path / "screen.json"), **folders)
    for slot in ("best", "second", "out"):
        path = tmp_path / "reports" / slot / "logistic" / "metrics.json"
        path.parent.mkdir(parents=True)
        write_json(path, dict(as_json(StrategyResult("logistic", Status.SKIPPED, "no time", backbone=slot))))
    assert dataset.load() == ()  # no screen has run

    candidates = (a_candidate("best", kept=True), a_candidate("second", kept=True), a_candidate("out", kept=False))
    write_json(tmp_path / "screen.json", Screen(candidates=candidates).model_dump(mode="json"))
    (result,) = dataset.load()
    assert (result.strategy, result.slot, result.status, result.reason) == ("logistic", "second", "skipped", "no time")

    write_json(tmp_path / "screen.json", Screen(candidates=candidates[:1]).model_dump(mode="json"))
    assert dataset.load() == ()  # a run with one kind of features
