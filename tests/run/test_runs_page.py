from __future__ import annotations

import json
from pathlib import Path

import mlflow

from topwork.run.runs_page import missing_tags, runs_page


def test_the_page_opens_with_the_view_that_the_experiment_has() -> None:
    (key,) = [name for name in missing_tags({}) if name.startswith("mlflow.sharedViewState.")]
    assert f"viewStateShareKey={key.rpartition('.')[2]}&" in runs_page("http://host", "1")


def test_the_scores_are_the_first_columns_and_charts_and_every_chart_has_its_section() -> None:
    view = json.loads(missing_tags({})["mlflow.sharedViewState.topwork"])
    assert view["selectedColumns"][:2] == ["metrics.`oof_accuracy`", "metrics.`accuracy`"]
    assert view["compareRunCharts"][0]["metricKey"] == "oof_accuracy"
    sections = {each["uuid"] for each in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == sections


def test_what_a_user_set_is_kept_and_a_view_of_an_earlier_version_is_replaced() -> None:
    present = missing_tags({})
    assert missing_tags(present) == {}
    theirs = {**present, "mlflow.note.content": "Ours.", "mlflow.experiment.primaryMetric.name": "macro_f1"}
    assert missing_tags(theirs) == {}
    assert missing_tags({**theirs, "mlflow.sharedViewState.topwork": "{}"}).keys() == {"mlflow.sharedViewState.topwork"}


def test_mlflow_still_has_pages_that_read_these_tags() -> None:
    (script,) = (Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js").glob("main.*.js")
    text, view = script.read_text(encoding="utf-8"), json.loads(missing_tags({})["mlflow.sharedViewState.topwork"])
    names = ["viewStateShareKey", "mlflow.sharedViewState.", "mlflow.experiment.primaryMetric.name", *view]
    assert [name for name in names if f'"{name}"' not in text] == []
