"""Finds MLflow's store, and the run to join, from `mlflow.yml` and the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from topwork.datasets.mlflow_store import database_of, sqlite_uri


def run_to_join() -> str | None:
    """Id of the MLflow run that this command is a part of: MLflow's own variable, which an orchestrator sets."""
    return os.environ.get("MLFLOW_RUN_ID") or None


def settled(configuration: dict[str, Any], project: Path) -> dict[str, Any]:
    """The settings of `mlflow.yml` with absolute paths; MLFLOW_TRACKING_URI replaces the server, if it is set.

    Relative paths begin at the project. The folder of the artifacts lies beside the database that it belongs to.
    """
    server = {**configuration["server"]}
    experiment = {**configuration["tracking"]["experiment"]}
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        server["mlflow_tracking_uri"] = uri
    uri = server["mlflow_tracking_uri"]
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        server["mlflow_tracking_uri"] = sqlite_uri(project / uri.removeprefix("sqlite:///"))
    creation = {**experiment.get("create_experiment_kwargs", {})}
    if uri.startswith(("http:", "https:", "databricks")):
        creation.pop("artifact_location", None)  # the server decides this
    elif "://" not in creation.get("artifact_location", "://"):
        database = database_of(server["mlflow_tracking_uri"])
        folder = database.parent if database else project
        creation["artifact_location"] = (folder.absolute() / creation["artifact_location"]).as_uri()
    experiment["create_experiment_kwargs"] = creation
    return {**configuration, "server": server, "tracking": {**configuration["tracking"], "experiment": experiment}}
