"""Log a classifier as an MLflow model: code, safetensors and JSON; no pickle."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mlflow
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Map

from topwork.schemas import CLASSIFIER_SPEC, CLASSIFIER_WEIGHTS

_CODE = Path(__file__).with_name("model_from_code.py")
_PINNED = (
    "topwork",
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "pillow",
    "simplejpeg",
    "numpy",
    "pandas",
    "safetensors",
    "mlflow",
)
_SIGNATURE = ModelSignature(
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


def log_classifier(name: str, folder: Path) -> str:
    """Log the classifier that lies in ``folder`` to the active MLflow run; returns the id of the LoggedModel.

    The requirements are given, since letting MLflow infer them takes longer than training; they are what is installed,
    which MLflow need not check.
    """
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK.set(True)
    info = mlflow.pyfunc.log_model(
        name=name,
        python_model=str(_CODE),
        artifacts={"spec": str(folder / CLASSIFIER_SPEC), "weights": str(folder / CLASSIFIER_WEIGHTS)},
        pip_requirements=_pins(),
        signature=_SIGNATURE,
    )
    return str(info.model_id)


def _pins() -> list[str]:
    pins = []
    for package in _PINNED:
        with suppress(PackageNotFoundError):  # OpenVINO is not made for every platform
            pins.append(f"{package}=={version(package)}")
    return pins
