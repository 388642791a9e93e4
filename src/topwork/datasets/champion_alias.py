"""The alias `champion` in MLflow's registry: read to compare a new model with it, written to promote a new model."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from kedro.io import AbstractDataset
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from topwork.core.classifier import CLASSIFIER_SPEC, AnyClassifier, members_of
from topwork.core.digests import classes_digest
from topwork.core.errors import DamagedError, InputError
from topwork.core.runs import Promotion, RegisteredChampion
from topwork.data.image_table import TABLES
from topwork.datasets.checked import read_table, write_table
from topwork.datasets.classifier_file import read_classifier
from topwork.datasets.previews import JSONPreview
from topwork.models.own_extractor import check_may_run

ALIAS = "champion"
_MODELS = "models:/"
_VERSIONS = "mlflow.modelVersions"  # tag of a logged model from which MLflow's pages know that it is registered
_DESCRIPTION = f"Classifiers that Topwork promoted; the alias `{ALIAS}` names the one to use."
_LEARNT, _OUT_OF_FOLD = "learnt.parquet", "out_of_fold.parquet"
_log = logging.getLogger(__name__)


class ChampionAliasDataset(AbstractDataset[Promotion, "RegisteredChampion | None"]):
    """Loads the registered champion, or None if there is none; saves a promotion, which moves the alias if it says so.

    The model is registered under ``name``; if it is None, under a name made from ``images`` (`name_of_model`).
    """

    def __init__(
        self, *, name: str | None = None, images: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._name = name or name_of_model(images or "topwork")
        self.metadata = metadata

    @property
    def name(self) -> str:
        """The name in the registry."""
        return self._name

    def load(self) -> RegisteredChampion | None:
        """The champion, with its tags and the tables that its run stores."""
        version = self._version()
        if version is None:
            return None
        model = str(version.source).removeprefix(_MODELS)  # the registry does not return model_id
        out_of_fold, learnt = (_table(str(version.run_id), name) for name in (_OUT_OF_FOLD, _LEARNT))
        return RegisteredChampion(
            version=str(version.version),
            model_id=model,
            strategy=str(version.tags.get("strategy", "")),
            split_digest=str(version.tags.get("split_digest", "")),
            out_of_fold=pd.DataFrame() if out_of_fold is None else out_of_fold,
            learnt=None if out_of_fold is None or learnt is None else frozenset(learnt["sha256"]),
            classes=str(version.tags.get("classes", "")),
            rule=version.tags.get("rule"),
            metric=version.tags.get("metric"),
            classifier=lambda: registered_classifier(f"{_MODELS}{model}", f"{self._name}@{ALIAS}"),
        )

    def save(self, data: Promotion) -> None:
        """Register the model and move the alias, if the promotion says so."""
        if not data.moves:
            return
        client = MlflowClient()
        if _registered_model(client, self._name) is None:
            client.create_registered_model(self._name, description=_DESCRIPTION)
        with TemporaryDirectory() as folder:
            path = Path(folder) / _LEARNT
            write_table(path, pd.DataFrame({"sha256": sorted(data.learnt)}))
            client.log_artifact(data.run_id, str(path))
        version = client.create_model_version(
            self._name,
            f"{_MODELS}{data.model_id}",
            run_id=data.run_id,
            model_id=data.model_id,
            tags={
                "strategy": data.strategy,
                "backbone": data.backbone,
                "split_digest": data.split_digest,
                "classes": classes_digest(data.class_names),
                "rule": data.rule,
                "metric": data.metric,
            },
            description=data.reason,
        )
        client.set_registered_model_alias(self._name, ALIAS, version.version)
        _name_version(client, data.model_id, self._name, str(version.version))
        of_backbone = (data.strategy, data.backbone)
        _log.debug("%s%s@%s is version %s: %s, %s", _MODELS, self._name, ALIAS, version.version, *of_backbone)

    def preview(self) -> JSONPreview:
        """The version of the champion, for kedro-viz."""
        version = self._version()
        known = {"version": str(version.version), **version.tags} if version else None
        return JSONPreview(pd.Series({"name": self._name, "champion": known}).to_json())

    def _version(self) -> ModelVersion | None:
        client = MlflowClient()
        found = _registered_model(client, self._name)
        number = dict(found.aliases).get(ALIAS) if found else None
        return client.get_model_version(self._name, str(number)) if number else None

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name, "alias": ALIAS}


def name_of_model(images: str) -> str:
    """The name of the folder of images, or of the table without its ending, in characters that MLflow accepts."""
    path = Path(images)
    return re.sub(r"[^\w.-]+", "-", path.stem if path.suffix.lower() in TABLES else path.name)


def _registered_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    try:
        return client.get_registered_model(name)
    except mlflow.MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise


def _name_version(client: MlflowClient, model: str, name: str, version: str) -> None:
    """Say in the logged model that it has this version, as a server of MLflow does and a database alone does not."""
    known = json.loads(client.get_logged_model(model).tags.get(_VERSIONS, "[]"))
    version_of = {"name": name, "version": version}
    if not any({**each, "version": str(each["version"])} == version_of for each in known):
        client.set_logged_model_tags(model, {_VERSIONS: json.dumps([*known, version_of])})


def registered_classifier(uri: str, asked: str) -> AnyClassifier:
    """The classifier that MLflow stores under ``uri``; ``asked`` is the name that the user gave.

    Raises:
        InputError: there is no such model, it is not a Topwork classifier, or it needs to execute a file that the
            user has not named.

    """
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    with TemporaryDirectory() as folder:
        try:
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder)
        except (mlflow.MlflowException, OSError) as error:
            reason = str(error).splitlines()[0].removeprefix("RESOURCE_DOES_NOT_EXIST: ").rstrip(" .)")
            raise InputError(
                f"model={asked}: cannot be had from MLflow ({reason}); registered are {_registered_names()}."
            ) from error
        found = sorted(Path(folder).rglob(CLASSIFIER_SPEC))
        if not found:
            raise InputError(
                f"model={asked}: this model is no Topwork classifier; there is no {CLASSIFIER_SPEC} in it."
            )
        classifier = read_classifier(found[0].parent)
    for member in members_of(classifier):
        if not member.key.has_layers:
            check_may_run(member.key.backbone)
    return classifier


def logged_model_of(uri: str) -> str:
    """Id of the logged model that MLflow stores under ``uri``; empty for a model of another kind."""
    return str(mlflow.models.get_model_info(uri).model_id or "")


def _registered_names() -> str:
    try:
        return ", ".join(sorted(each.name for each in MlflowClient().search_registered_models())) or "none"
    except mlflow.MlflowException:  # the store itself may fail
        return "unknown"


def _table(run: str, name: str) -> pd.DataFrame | None:
    """A table of the run; None if it is missing or damaged, for instance if a user registered the model by hand."""
    with TemporaryDirectory() as folder:
        try:
            path = mlflow.artifacts.download_artifacts(run_id=run, artifact_path=name, dst_path=folder)
            return read_table(Path(path))
        except (mlflow.MlflowException, OSError, DamagedError):
            return None
