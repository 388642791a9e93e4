"""What MLflow runs to load and ask a logged classifier: image bytes in, classes out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd

if TYPE_CHECKING:
    from topwork.serving.predictor import Predictor


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A Topwork classifier as an MLflow model."""

    _predictor: Predictor

    def load_context(self, context: Any) -> None:
        """Build the network once."""
        from topwork.datasets.classifier_file import read_classifier
        from topwork.serving.predictor import Predictor

        self._predictor = Predictor.of(read_classifier(Path(context.artifacts["spec"]).parent))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """``label``, ``confidence`` and one column a class for each row's ``image`` bytes."""
        return self._predictor.predict(model_input["image"].tolist())


mlflow.models.set_model(ImageClassifier())
