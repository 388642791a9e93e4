"""The classifier that answers for new images: from MLflow, from a folder, or the champion of the last run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from topwork.core.classifier import AnyClassifier
from topwork.core.errors import InputError
from topwork.datasets.champion_alias import ALIAS, logged_model_of, registered_classifier
from topwork.datasets.classifier_file import read_classifier
from topwork.datasets.model_names import told_of_run, told_of_uri
from topwork.datasets.remote import is_url, place
from topwork.datasets.report import ReportDataset

_MODELS = "models:/"
_LOGGED = "logged_model.json"
_log = logging.getLogger(__name__)


class AskedClassifierDataset(AbstractDataset[Any, AnyClassifier]):
    """Loads the classifier ``model``; if it is None, the one in ``classifiers`` that the file ``champion`` names.

    ``model`` is a URI of MLflow (`models:/NAME@ALIAS`, `models:/NAME/VERSION`), the NAME of a registered model (its
    champion is loaded), or a folder.
    """

    def __init__(
        self, *, model: str | None, champion: str, classifiers: str, metadata: dict[str, Any] | None = None
    ) -> None:
        self._model = model
        self._told, self._classifiers = place(champion), place(classifiers)
        self.metadata = metadata
        self.name = ""
        """What the classifier is called for people, once it was loaded."""

    def load(self) -> AnyClassifier:
        """The classifier, checked.

        Raises:
            InputError: there is no classifier; the message says how to get one.

        """
        if self._model is None:
            folder, told = self._champion()
            logged = self._logged(folder)
            if told.get("model_id") and logged.get("model_id") != told["model_id"]:
                _log.warning(
                    "%s was trained again after it became the champion, and has not been compared since: run "
                    "`--pipelines comparison`, or ask for the registered champion with model=NAME.",
                    told["strategy"],
                )
            is_new, (self.name, other) = not self.name, told_of_run(told["strategy"], logged)
            if other and is_new:  # several nodes load it
                _log.info(other)
            return read_classifier(folder)
        if self._model.startswith(_MODELS):
            return self._registered(self._model)
        if is_url(self._model) or Path(self._model).is_dir():
            self.name = f"the classifier in {self._model}"
            return read_classifier(place(self._model))
        if "/" in self._model:
            raise InputError(
                f"model={self._model}: there is no such folder. A model of MLflow's is called models:/NAME@{ALIAS}."
            )
        return self._registered(f"{_MODELS}{self._model}@{ALIAS}")

    def logged_model(self) -> str:
        """Id of the classifier's logged model in MLflow; empty if it has none, or is not known to have one."""
        if self._model is None:
            return str(self._logged(self._champion()[0]).get("model_id", ""))
        if not self._model.startswith(_MODELS) and (is_url(self._model) or Path(self._model).is_dir()):
            return str(self._logged(place(self._model)).get("model_id", ""))
        uri = self._model if self._model.startswith(_MODELS) else f"{_MODELS}{self._model}@{ALIAS}"
        return logged_model_of(uri)

    @staticmethod
    def _logged(folder: Path) -> dict[str, Any]:
        """Ids of the classifier in the folder in MLflow."""
        return dict(ReportDataset(filepath=str(folder / _LOGGED), missing={}).load())

    def save(self, data: Any) -> None:
        """Refused: classifiers are written by the strategies that train them."""
        raise DatasetError("asked_classifier is only read: the strategies write classifiers")

    def _registered(self, uri: str) -> AnyClassifier:
        classifier = registered_classifier(uri, str(self._model))
        self.name = told_of_uri(uri)
        return classifier

    def _champion(self) -> tuple[Path, dict[str, Any]]:
        """The folder of the champion of the last run, and what that run said about it."""
        told = ReportDataset(filepath=str(self._told), missing={}).load()
        name = told.get("strategy")
        if not name:
            raise InputError(
                f"data={self._classifiers.parent}: no run has left a champion here. Train one first, give the "
                "`data=DIR` of a run that has, or name a model: `model=models:/NAME@champion`."
            )
        return self._classifiers / str(told.get("slot") or ".") / str(name), told

    def _describe(self) -> dict[str, Any]:
        return {"model": self._model, "classifiers": self._classifiers}
