"""What the parameters ask of the features, so that who uses them can tell whether they are still the right ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from topwork.digests import file_digest
from topwork.images.views import plan_views
from topwork.parameters import AugmentationParameters, FeatureParameters


def requested_features(parameters: FeatureParameters, augmentation: AugmentationParameters) -> dict[str, Any]:
    """Those parameters that the vectors depend on: a weight file by its content, the plan of views if there are any."""
    asked = parameters.model_dump(include={"backbone", "weights", "image_size", "layers", "pool", "number_format"})
    if parameters.weights == "none":
        asked["seed"] = parameters.seed
    elif parameters.weights != "default":
        asked["weights"] = file_digest(Path(parameters.weights))
    asked["views"] = augmentation.views
    asked["view_plan"] = asdict(plan_views(augmentation)) if augmentation.views else {}
    return asked
