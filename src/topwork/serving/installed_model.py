"""Serves a logged classifier with the installed code; only the spec and the weights are read from MLflow.

`mlflow.pyfunc.load_model` runs the code in the artifacts, so that everybody who can write there could run code here.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel

from topwork.core.errors import InputError
from topwork.datasets.champion_alias import registered_classifier
from topwork.images.decode import RejectedError
from topwork.inference.predictor import Predictor
from topwork.serving.logged_model import SIGNATURE
from topwork.serving.request import image_bytes


class InstalledModel:
    """Answers for a table with a column ``image`` of bytes or base64."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """A row of answers (`Predictor.predict`) for each row."""
        try:
            return self._predictor.predict(image_bytes(model_input["image"].tolist(), may_read_files=False))
        except (InputError, RejectedError) as mistake:
            raise MlflowException.invalid_parameter_value(str(mistake)) from None


def load_installed(uri: str) -> PyFuncModel:
    """The classifier of this URI, in the form that MLflow's scoring server needs.

    Raises:
        InputError: there is no such model, or it is not a valid Topwork classifier.

    """
    classifier = registered_classifier(uri, uri)
    name = str(mlflow.models.get_model_info(uri).model_id or uri)
    implementation = InstalledModel(Predictor.of(classifier, one_by_one=True))
    return PyFuncModel(Model(signature=SIGNATURE, model_id=name), implementation)
