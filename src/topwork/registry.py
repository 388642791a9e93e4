"""Classifiers that lie in MLflow's registry, as folders."""

from __future__ import annotations

from pathlib import Path

import mlflow

from topwork.digests import text_digest
from topwork.schemas import CLASSIFIER_SPEC, InputError


def fetch_classifier(uri: str, into: Path, tracking_uri: str) -> Path:
    """The folder with the classifier that `models:/NAME@ALIAS` (or `models:/NAME/VERSION`, `models:/ID`) names now.

    Raises:
        InputError: there is no such model, or it is no Topwork classifier.

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
