"""What MLflow runs to load and ask a logged classifier: image bytes in, classes out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT
from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    from topwork.serving.predictor import Predictor


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A Topwork classifier as an MLflow model."""

    _predictor: Predictor

    def load_context(self, context: Any) -> None:
        """Build the network once."""
        from topwork.datasets.classifier_file import read_classifier
        from topwork.serving.predictor import Predictor

        classifier = read_classifier(Path(context.artifacts["spec"]).parent)
        self._predictor = Predictor.of(classifier, one_by_one=True)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """A row of answers (`Predictor.predict`) for each row's ``image``: bytes, base64, or, unless served, a path."""
        from topwork.images.decode import RejectedError
        from topwork.schemas import InputError
        from topwork.serving.request import image_bytes

        is_served = bool(_MLFLOW_IS_IN_SERVING_ENVIRONMENT.get())  # then files are none of the client's business
        try:
            return self._predictor.predict(image_bytes(model_input["image"].tolist(), not is_served))
        except (InputError, RejectedError) as mistake:
            raise MlflowException.invalid_parameter_value(str(mistake)) from None


mlflow.models.set_model(ImageClassifier())
