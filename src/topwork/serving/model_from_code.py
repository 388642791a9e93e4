"""The code that MLflow runs to load and call a logged classifier, from image bytes to classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    from topwork.inference.predictor import Predictor


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A Topwork classifier as an MLflow model.

    Files are read only if the caller allows it: `load_model(uri, model_config={"read_paths": True})`.
    """

    _predictor: Predictor
    _reads_paths: bool

    def load_context(self, context: Any) -> None:
        """Build the network once."""
        from topwork.core.classifier import members_of
        from topwork.datasets.classifier_file import read_classifier
        from topwork.inference.predictor import Predictor
        from topwork.models.own_extractor import check_may_run

        classifier = read_classifier(Path(context.artifacts["spec"]).parent)
        for member in members_of(classifier):
            if not member.key.has_layers:
                check_may_run(member.key.backbone)
        self._predictor = Predictor.of(classifier, one_by_one=True)
        self._reads_paths = bool((context.model_config or {}).get("read_paths", False))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """A row of answers (`Predictor.predict`) for each row's ``image``: bytes, base64, or, if allowed, a path."""
        from topwork.core.errors import InputError
        from topwork.images.decode import RejectedError
        from topwork.serving.request import image_bytes

        try:
            return self._predictor.predict(image_bytes(model_input["image"].tolist(), self._reads_paths))
        except (InputError, RejectedError) as mistake:
            raise MlflowException.invalid_parameter_value(str(mistake)) from None


mlflow.models.set_model(ImageClassifier())
