"""Log a classifier as an MLflow model: code, safetensors and JSON; no pickle."""

from __future__ import annotations

import io
import json
import logging
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Map
from PIL import Image

from topwork.core.classifier import CLASSIFIER_SPEC, CLASSIFIER_WEIGHTS

_CODE = Path(__file__).with_name("model_from_code.py")
_PINNED = (
    "topwork",
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "pillow",
    "pi-heif",
    "simplejpeg",
    "numpy",
    "pandas",
    "safetensors",
    "mlflow",
)
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.binary, "image")]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "confidence"),
            ColSpec(DataType.boolean, "none_of_these"),
            ColSpec(Map(DataType.double), "probabilities"),
        ]
    ),
)


def log_classifier(name: str, folder: Path, run_id: str) -> str:
    """Log the classifier in ``folder`` to an MLflow run; returns the id of the LoggedModel.

    The logged `spec.json` names the run. The requirements are given, because MLflow would infer them more slowly than
    training takes. They are the installed versions, which MLflow need not check.
    """
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK.set(True)
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it logs that it checks the example
    with TemporaryDirectory() as stamped:
        info = Model.log(
            name=name,
            artifact_path=None,
            run_id=run_id,
            flavor=_Untried,
            flavor_name="pyfunc.ModelFromCode",
            python_model=str(_CODE),
            model_config={"read_paths": False},
            artifacts={
                "spec": str(_with_run(folder / CLASSIFIER_SPEC, run_id, Path(stamped))),
                "weights": str(folder / CLASSIFIER_WEIGHTS),
            },
            pip_requirements=_pins(),
            signature=SIGNATURE,
            input_example=_example(),
            validate_serving_input=False,
        )
    return str(info.model_id)


class _Untried:
    """MLflow's pyfunc flavour without a test of the saved model: the run tests the model on real images."""

    @staticmethod
    def save_model(path: str, *, validate_serving_input: bool, **options: Any) -> None:
        mlflow.pyfunc.save_model(path, **options)


def _with_run(spec: Path, run_id: str, folder: Path) -> Path:
    content = json.loads(spec.read_text(encoding="utf-8")) | {"mlflow_run": run_id}
    stamped = folder / spec.name
    stamped.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    return stamped


def _example() -> pd.DataFrame:
    """An example request with a grey square, so that no photograph of a user is stored."""
    square = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(square, "png")
    return pd.DataFrame({"image": [square.getvalue()]})


def _pins() -> list[str]:
    pins = []
    for package in _PINNED:
        with suppress(PackageNotFoundError):  # OpenVINO is not available for some platforms, HEIC is optional
            pins.append(f"{package}=={version(package)}")
    return pins
