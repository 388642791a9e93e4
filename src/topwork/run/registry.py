"""Finds classifiers and runs that the user names in MLflow's store."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow import MlflowClient

from topwork.core.classifier import CLASSIFIER_SPEC
from topwork.core.digests import text_digest
from topwork.core.errors import InputError
from topwork.datasets.logged_runs import STRATEGY_TAG


def fetch_classifier(uri: str, into: Path, tracking_uri: str) -> Path:
    """The folder of the downloaded classifier `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `models:/ID`.

    Raises:
        InputError: there is no such model, or it is not a Topwork classifier.

    """
    mlflow.set_tracking_uri(tracking_uri)
    try:
        info = mlflow.models.get_model_info(uri)
        folder = into / text_digest(str(info.model_uuid))[:16]
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))
    except (mlflow.MlflowException, OSError) as error:
        raise InputError(f"backbone={uri}: cannot be had from MLflow ({str(error).splitlines()[0]}).") from error
    found = sorted(folder.rglob(CLASSIFIER_SPEC))
    if not found:
        raise InputError(f"backbone={uri}: this model is no Topwork classifier; there is no {CLASSIFIER_SPEC} in it.")
    return found[0].parent


def check_runs(names: str, tracking_uri: str) -> None:
    """Check that MLflow has the runs with these ids, joined by `+`, and that they are runs of a strategy.

    Raises:
        InputError: it has not, or they are not; the message names the id.

    """
    client = MlflowClient(tracking_uri)
    for name in names.split("+"):
        try:
            run = client.get_run(name)
        except mlflow.MlflowException as error:
            raise InputError(f"compare_runs={name}: no such run in the MLflow store ({tracking_uri}).") from error
        if STRATEGY_TAG not in run.data.tags or "accuracy" not in run.data.metrics:
            raise InputError(
                f"compare_runs={name}: this run has no score. The run of a strategy is wanted: `--pipelines history` "
                "lists them (history.csv, column run_id)."
            )
