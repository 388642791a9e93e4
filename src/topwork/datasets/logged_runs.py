"""Earlier runs in MLflow: one row for each strategy that was trained and scored."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID

from topwork.core.columns import RUN_COLUMNS
from topwork.core.errors import DamagedError, InputError
from topwork.core.runs import LoggedRuns
from topwork.datasets.checked import read_table

_OUT_OF_FOLD = "out_of_fold.parquet"
_PAGE = 1000  # runs per request
STRATEGY_TAG = "topwork.strategy"
"""Tag of the run of a strategy; the run of a command has its champion's scores, too, but not this tag."""


class LoggedRunsDataset(AbstractDataset[Any, LoggedRuns]):
    """Runs of strategies in MLflow's store, oldest first.

    ``run_ids`` selects them: empty for all runs, ids joined by ``+`` for these runs, None for no run.
    """

    def __init__(self, *, run_ids: str | None = "", metadata: dict[str, Any] | None = None) -> None:
        self._named = None if run_ids == "" else [name for name in (run_ids or "").split("+") if name]
        self.metadata = metadata

    def load(self) -> LoggedRuns:
        """The runs that were scored; out-of-fold predictions are downloaded when they are requested."""
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
        client = MlflowClient()
        runs = _all_runs(client) if self._named is None else [_named_run(client, name) for name in self._named]
        parents: dict[str, Run] = {}
        rows = [_row(run, _parent_of(run, client, parents)) for run in runs if "accuracy" in run.data.metrics]
        table = pd.DataFrame(rows, columns=pd.Index(RUN_COLUMNS)).sort_values("started", kind="stable")
        return LoggedRuns(table.reset_index(drop=True), _out_of_fold)

    def save(self, data: Any) -> None:
        """Refused: runs are logged while they run."""
        raise DatasetError("MLflow's runs are only read: they are logged as they run")

    def _describe(self) -> dict[str, Any]:
        return {"run_ids": self._named}


def _named_run(client: MlflowClient, name: str) -> Run:
    try:
        return client.get_run(name)
    except mlflow.MlflowException as error:
        raise InputError(f"compare_runs={name}: no such run in the MLflow store ({client.tracking_uri}).") from error


def _all_runs(client: MlflowClient) -> list[Run]:
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(experiments, f"tags.`{STRATEGY_TAG}` != ''", max_results=_PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def _parent_of(run: Run, client: MlflowClient, known: dict[str, Run]) -> Run:
    name = run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")
    if name and name not in known:
        known[name] = client.get_run(name)
    return known.get(name, run)


def _row(run: Run, parent: Run) -> dict[str, Any]:
    digests = {each.dataset.name: each.dataset.digest for each in (run.inputs.dataset_inputs if run.inputs else [])}
    return {
        "run_id": run.info.run_id,
        "command": parent.info.run_id,
        "started": pd.Timestamp(run.info.start_time, unit="ms").floor("s"),
        "strategy": run.data.tags.get(STRATEGY_TAG, run.info.run_name),
        "split_digest": digests.get("splits", ""),
        "data_digest": digests.get("manifest", ""),
        "commit": parent.data.tags.get(MLFLOW_GIT_COMMIT, ""),
        "parameters": dict(run.data.params),
        "metrics": dict(run.data.metrics),
    }


def _out_of_fold(run_id: str) -> pd.DataFrame | None:
    """Out-of-fold predictions of a run; None if it has none, as early runs do, or if they are damaged."""
    with TemporaryDirectory() as folder:
        try:
            path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=_OUT_OF_FOLD, dst_path=folder)
            return read_table(Path(path))
        except (mlflow.MlflowException, OSError, DamagedError):
            return None
