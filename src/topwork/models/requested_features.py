"""The parameters that features depend on, to check whether stored features are still current."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from topwork.core.classifier import CLASSIFIER_WEIGHTS
from topwork.core.digests import file_digest
from topwork.core.errors import InputError
from topwork.core.features import OWN_EXTRACTOR, Features
from topwork.core.fits import CROP, MEAN, PAD
from topwork.core.parameters import AugmentationParameters, FeatureParameters
from topwork.images.views import plan_views
from topwork.models.engines.hardware import machine_name
from topwork.models.own_extractor import extractor_digest

_ASKED = {"backbone", "weights", "image_size", "white", "layers", "pool", "engine", "number_format"}
_USUAL_FIT = {
    "fit": CROP,
    "fit_colour": MEAN,
}  # not noted, so that features made before there was a choice stay current
_PACKAGES = ("topwork", "torch", "torchvision", "timm", "openvino")


def requested_features(parameters: FeatureParameters, augmentation: AugmentationParameters) -> dict[str, Any]:
    """The parameters that the vectors depend on; a weight file by its digest, the plan of views if there are any."""
    asked = _requested_originals(parameters) | _requested_fit(parameters)
    asked["views"] = augmentation.views
    asked["view_plan"] = asdict(plan_views(augmentation)) if augmentation.views else {}
    return asked


def check_current(
    features: Features, splits: pd.DataFrame, parameters: FeatureParameters, augmentation: AugmentationParameters
) -> None:
    """Check that the features were computed with these parameters and from these images.

    Raises:
        InputError: they were not; the message names the first parameter that differs.

    """
    wanted = requested_features(parameters, augmentation)
    for name in {**wanted, **features.requested}:
        made, asked = (each.get(name, _USUAL_FIT.get(name)) for each in (features.requested, wanted))
        if made != asked:
            raise InputError(
                f"The features were made with {name}={made}, but {name}={asked} is asked for: "
                "run `--pipelines features` first."
            )
    if features.content != splits.attrs.get("content"):
        raise InputError(
            "The features are of other images than the splits: run `--pipelines ingestion,features,splitting` first."
        )


def resolution_request(parameters: FeatureParameters) -> dict[str, Any]:
    """Everything that an engine is chosen for: parameters, machine, package versions; not how images are fitted."""
    packages = (*_PACKAGES, *([f"{parameters.backbone}_pytorch_model"] if "lite" in parameters.backbone else []))
    versions = {package: _version(package) for package in packages}
    return {**_requested_originals(parameters), "machine": machine_name(), "versions": versions}


def _requested_originals(parameters: FeatureParameters) -> dict[str, Any]:
    asked = parameters.model_dump(include=_ASKED, mode="json")
    if parameters.backbone.startswith(OWN_EXTRACTOR):
        asked["weights"] = extractor_digest(parameters.backbone)
    elif parameters.weights == "none":
        asked["seed"] = parameters.seed
    elif parameters.weights != "default":
        asked["weights"] = file_digest(Path(parameters.weights))
    elif (grafted := Path(parameters.backbone) / CLASSIFIER_WEIGHTS).is_file():
        asked["weights"] = file_digest(grafted)
    return asked


def _requested_fit(parameters: FeatureParameters) -> dict[str, str]:
    """How images that are not square are fitted, where it is not a crop; the colour where there is a canvas."""
    if parameters.fitted_by == CROP:
        return {}
    asked = {"fit": parameters.fitted_by}
    return asked | ({"fit_colour": parameters.fit_colour} if parameters.fitted_by == PAD else {})


def _version(package: str) -> str:
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return ""
