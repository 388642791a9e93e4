"""Two runs at the same time, on one feature store and one MLflow store: nothing is lost, nothing is mixed up."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from tests.conftest import fill, tracking_to
from tests.scale.conftest import run_at_once

STRATEGIES = ("lda", "logistic", "svm")
SMALL = "image_size=32,duplicates.image_size=32,features.engine=eager,features.number_format=float32,split.folds=3,"
SMALL += f"evaluation.resamples=100,strategies={'+'.join(STRATEGIES)}"

pytestmark = pytest.mark.slow


def run_two(folder: Path, uri: str) -> tuple[Path, Path]:
    """Two folders of the results of runs over other images, which share a store."""
    commands, results = [], []
    for number in (1, 2):
        images, data = fill(folder / f"images{number}", 10, first_seed=100_000 * number), folder / f"data{number}"
        results.append(data)
        commands.append(["--params", f"images={images},data={data},store={folder / 'store'},{SMALL}"])
    run_at_once(commands, uri)
    return results[0], results[1]


def check_complete(results: tuple[Path, Path], uri: str) -> None:
    client = MlflowClient(uri)
    (experiment,) = [each for each in client.search_experiments() if each.name == "topwork"]
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 2
    children = Counter(run.data.tags["mlflow.parentRunId"] for run in runs if run not in parents)
    assert children == {run.info.run_id: len(STRATEGIES) for run in parents}
    for number, data in enumerate(results, start=1):
        rows = {row["strategy"]: row for row in json.loads((data / "08_reporting/leaderboard.json").read_text())}
        (mine,) = [run for run in parents if f"images{number}" in run.data.params["images"]]
        for run in runs:
            if run.data.tags.get("mlflow.parentRunId") == mine.info.run_id:
                row = rows[run.data.tags["topwork.strategy"]]
                assert run.data.metrics["accuracy"] == pytest.approx(row["accuracy"])
        assert {each.path for each in client.list_artifacts(mine.info.run_id)} >= {"run.yml", "report.html"}
        version = client.get_model_version_by_alias(f"images{number}", "champion")
        assert client.get_run(version.run_id).data.tags["mlflow.parentRunId"] == mine.info.run_id
        with tracking_to(uri):
            assert mlflow.artifacts.list_artifacts(f"models:/images{number}@champion")


def test_on_postgresql_through_a_server_that_also_keeps_the_artifacts(mlflow_server: str, tmp_path: Path) -> None:
    check_complete(run_two(tmp_path, mlflow_server), mlflow_server)


def test_on_one_sqlite_file(empty_store: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    check_complete(run_two(tmp_path, uri), uri)
