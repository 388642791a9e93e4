"""What a classifier is called for people: its strategy, its version in MLflow's registry, and the run that made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from topwork.datasets.champion_alias import ALIAS

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_SHORT = 8  # characters of a run's id, by which MLflow's pages find it


def told_of_uri(uri: str) -> str:
    """The registered model under this URI, such as `svm, version 3 of flowers, run 1a2b3c4d`; otherwise the URI."""
    if (found := _URI.fullmatch(uri)) is None:
        return uri
    try:
        version = _version(MlflowClient(), **found.groupdict())
    except MlflowException:  # who loads the model gets this error too, and tells it
        return uri
    return _told(str(version.tags.get("strategy", "")) or uri, str(version.run_id or ""), version)


def told_of_run(strategy: str, logged: Mapping[str, Any]) -> tuple[str, str]:
    """What a classifier of the last run is called, and a sentence on the model that is served if that is another one.

    Args:
        strategy: the classifier's strategy.
        logged: its ids ``model_id`` and ``run_id`` in MLflow, as far as they are known.

    """
    model, run = str(logged.get("model_id", "")), str(logged.get("run_id", ""))
    try:
        client = MlflowClient()
        mine = _registered(client, model, run) if run else None
        return _told(strategy, run, mine), _served_instead(client, mine)
    except MlflowException:  # its name is no reason to refuse an answer
        return _told(strategy, run, None), ""


def _told(strategy: str, run: str, version: ModelVersion | None) -> str:
    registered = f"version {version.version} of {version.name}" if version else ""
    return ", ".join(filter(None, (strategy, registered, f"run {run[:_SHORT]}" if run else "")))


def _version(client: MlflowClient, name: str, alias: str | None, version: str | None) -> ModelVersion:
    return client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, str(version))


def _registered(client: MlflowClient, model: str, run: str) -> ModelVersion | None:
    """The newest version of this logged model, or None if it was never promoted."""
    versions = [each for each in client.search_model_versions(f"run_id = '{run}'") if str(each.source).endswith(model)]
    return max(versions, key=lambda each: int(each.version), default=None)


def _served_instead(client: MlflowClient, mine: ModelVersion | None) -> str:
    served = {
        each.name: str(dict(each.aliases)[ALIAS]) for each in client.search_registered_models() if ALIAS in each.aliases
    }
    name = mine.name if mine else next(iter(served)) if len(served) == 1 else ""
    if name not in served or (mine and str(mine.version) == served[name]):
        return ""
    other = told_of_uri(f"models:/{name}/{served[name]}")
    return f"`make serve` serves another model, {other}: model={name} asks that one."
