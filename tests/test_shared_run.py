"""Several commands record one run, as the tasks of an orchestrator do; and the DAG that has Airflow call them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from click.testing import CliRunner
from kedro.framework.project import pipelines
from mlflow import MlflowClient

from tests.conftest import PROJECT
from tests.test_run import leaderboard, runs_of
from topwork.decisions.strategies import STRATEGIES
from topwork.run.cli import cli
from topwork.run.configuration import load_configuration, read_configuration
from topwork.run.preflight import InputError, check_divisible

TEMPLATE = PROJECT / "deploy/airflow/dag.py.j2"
AIRFLOW = PROJECT / ".venv-airflow/bin/python"
SHOWN = """
import json, sys, runpy
made = runpy.run_path(sys.argv[1])["topwork"]()
print(json.dumps({
    "dag": [made.dag_id, made.max_active_tasks, made.params["params"]],
    "tasks": {each.task_id: [sorted(each.upstream_task_ids), each.trigger_rule, each.retries] for each in made.tasks},
    "weights": [made.get_task(name).priority_weight for name in sys.argv[2:]],
}))
"""


@pytest.fixture
def end_run(tracking_uri: str, kedro: Callable[..., Any]) -> Callable[..., Any]:
    """`end_run(failed)` closes the run that `MLFLOW_RUN_ID` names."""

    def end(failed: str = "") -> Any:
        os.chdir(PROJECT)
        return CliRunner().invoke(cli, ["end-run", "--failed", failed], obj=object())

    return end


@pytest.mark.slow
def test_tasks_that_join_a_run_record_what_one_command_would_and_a_failed_one_is_tried_again(
    kedro_after_a_run: Callable[..., Any],
    end_run: Callable[..., Any],
    tmp_path: Path,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("no convergence today")

    def task(*names: str) -> int:
        return int(kedro_after_a_run("--namespaces", ",".join(names), params=images).exit_code)

    images, client = f"images={tmp_path / 'images'}", MlflowClient(tracking_uri)
    shutil.rmtree(tmp_path / "data/06_models/svm/checkpoints")  # so that it is fitted anew
    before, alone = leaderboard(tmp_path), {run.info.run_id for runs in runs_of(tracking_uri) for run in runs}
    begun = kedro_after_a_run("--key", "dag/monday", params=images, command="begin-run").output.splitlines()[-1]
    assert json.loads((tmp_path / "data/08_reporting/svm/metrics.json").read_text())["earlier"]
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    assert task("logistic") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topwork.training.heads.svm.linear_svm", broken)
        assert task("svm") == 1
    assert task("comparison") == 0
    board = leaderboard(tmp_path)
    assert (board["svm"]["status"], board["svm"]["reason"]) == ("failed", "no convergence today")
    assert (board["logistic"]["status"], board["logistic"]["earlier"]) == ("ok", "")
    assert end_run("svm").exit_code == 0
    assert client.get_run(begun).info.status == "FAILED"

    assert (task("svm"), task("comparison"), end_run().exit_code) == (0, 0, 0)
    board = leaderboard(tmp_path)
    scores = ("accuracy", "oof_accuracy", "shared_accuracy", "earlier")
    for name in ("logistic", "svm"):
        assert [board[name][score] for score in scores] == [before[name][score] for score in scores]
    parents, children = ([run for run in runs if run.info.run_id not in alone] for runs in runs_of(tracking_uri))
    assert [run.info.run_id for run in parents] == [begun]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {begun}
    assert {run.info.run_name: run.info.status for run in children} == {"logistic": "FINISHED", "svm": "FINISHED"}
    assert client.get_run(begun).info.status == "FINISHED"
    assert client.get_run(begun).data.metrics.keys() == next(
        run.data.metrics.keys() for run in runs_of(tracking_uri)[0] if run.info.run_id in alone
    )


def test_a_run_is_not_ended_without_its_id_and_not_begun_with_what_one_command_shares_out(
    end_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    assert "MLFLOW_RUN_ID is not set" in end_run().output
    for params in ({"minutes": 3}, {"backbone": "resnet18+resnet50"}, {"image_size": "auto"}):
        with pytest.raises(InputError, match="within one command"):
            check_divisible(read_configuration(PROJECT, PROJECT / "conf", None, params))
    check_divisible(read_configuration(PROJECT, PROJECT / "conf", None, {}))


@pytest.fixture
def generated(project: Path, tmp_path: Path) -> Path:
    """The DAG that `kedro airflow create` makes from the template."""
    pipelines.set_requested(None)
    pipeline = pipelines["__default__"]
    values = load_configuration(project / "conf", None, {})
    values.config_patterns["airflow"] = ["airflow*"]
    environment = jinja2.Environment(
        autoescape=True, loader=jinja2.FileSystemLoader(TEMPLATE.parent), undefined=jinja2.StrictUndefined
    )
    environment.lstrip_blocks = True  # all as kedro-airflow has it
    made = environment.get_template(TEMPLATE.name).render(
        **values["airflow"]["default"] | {"project_path": "/it's & mine"},
        **{"package_name": "topwork", "env": "local", "pipeline": pipeline},
        node_objs=pipeline.group_nodes_by("namespace"),
    )
    (tmp_path / "dag.py").write_text(made)
    return tmp_path / "dag.py"


def test_every_task_is_a_namespace_and_the_strategies_are_known_cheapest_first(generated: Path) -> None:
    text = generated.read_text()
    compile(text, "dag.py", "exec")
    assert f"STRATEGIES = {json.dumps(list(STRATEGIES))}" in text
    assert {group.type for group in pipelines["__default__"].group_nodes_by("namespace")} == {"namespace"}


@pytest.mark.skipif(not AIRFLOW.exists(), reason="Airflow is not installed (make airflow)")
def test_airflow_reads_the_dag(generated: Path, tmp_path: Path) -> None:
    shown = subprocess.run(
        [AIRFLOW, "-c", SHOWN, generated, *STRATEGIES],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False"},
        check=True,
        capture_output=True,
        text=True,
    )
    made = json.loads(shown.stdout.splitlines()[-1])
    tasks, all_success = made["tasks"], "all_success"
    assert made["dag"] == ["topwork", 1, ""]
    assert made["weights"] == sorted(made["weights"], reverse=True)
    assert tasks["ingestion"] == [["begin"], all_success, 2]
    assert tasks["splitting"][0] == ["features"]
    for strategy in STRATEGIES:
        assert tasks[strategy] == [["advice", "augmentation", "screening"], all_success, 2]
    assert tasks["comparison"][:2] == [sorted(STRATEGIES), "all_done_min_one_success"]
    assert tasks["report"][:2] == [["comparison", "labels"], all_success]
    assert tasks["end"][:2] == [sorted(set(tasks) - {"end"}), "all_done"]
