"""Gathers evidence from the cached features, and gives advice from it."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from topwork.core.columns import TEST
from topwork.core.features import Features
from topwork.core.fits import CROP, SQUASH, far_from_square
from topwork.core.parameters import (
    ComparisonParameters,
    FinetuneParameters,
    LinearParameters,
    ScratchParameters,
    flattened,
)
from topwork.core.results import Advice, Evidence, Screen
from topwork.decisions.advisor import gather_evidence, give_advice
from topwork.reporting.plots import plot_forecast
from topwork.scoring.metric import Metric
from topwork.training.linear import multinomial_logistic

_log = logging.getLogger(__name__)


def gather(
    features: Features,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    screen: Screen,
    parameters: LinearParameters,
    comparison: ComparisonParameters,
) -> Evidence:
    """Evidence from the features of all images except the test split."""
    learnt = splits[splits["split"] != TEST]
    of_image = manifest.set_index("image_id").loc[learnt["image_id"]]
    class_names, truth = np.unique(learnt["label"], return_inverse=True)
    evidence = gather_evidence(
        features.vectors[features.positions(learnt["image_id"].tolist())],
        truth,
        learnt["fold"].to_numpy(),
        learnt["group"].to_numpy(dtype=str),
        of_image[["width", "height"]].min(axis=1).to_numpy(dtype=int),
        {weights: multinomial_logistic(weights, parameters.max_iterations) for weights in ("none", "balanced")},
        float(np.median(parameters.C)),
        parameters.seed,
        Metric.of(comparison, class_names.tolist()),
    )
    how = features.key.preprocessing
    shapes = {
        "far_from_square": far_from_square(of_image),
        "fit": how.get("fit", CROP if how.get("keep_aspect", True) else SQUASH),
        "fits": screen.fits,
    }
    return evidence.model_copy(update={"has_layers": features.key.has_layers, "learnt": len(learnt), **shapes})


def advise(
    evidence: Evidence,
    finetune: FinetuneParameters,
    scratch: ScratchParameters,
    logistic: LinearParameters,
    svm: LinearParameters,
) -> Advice:
    """Advice with practice, evidence, recommendation, expected score and cost, and settings that are not set so yet."""
    minutes = {"finetune": finetune.minutes, "scratch": scratch.minutes}
    blocks = {"finetune": finetune, "scratch": scratch, "logistic": logistic, "svm": svm}
    present = dict(flattened({name: block.model_dump() for name, block in blocks.items()}))
    advice = give_advice(evidence, minutes)
    settings = {name: value for name, value in advice.settings.items() if present.get(name) != value}
    advice = advice.model_copy(update={"settings": settings})
    for line in (advice.practice, advice.says, advice.more_images):
        _log.info(line)
    _log.info("Recommended: %s (%s).", advice.recommended, advice.sure)
    if advice.ruled_out:
        _log.info("Not worth their time here: %s; strategies=auto leaves them out.", ", ".join(advice.ruled_out))
    for name, value in advice.settings.items():
        _log.info("Worth a try: %s=%s", name, value)
    return advice


def draw_learning_curve(evidence: Evidence) -> Figure:
    """A plot of the probe's score by number of images, with the forecast."""
    return plot_forecast(evidence.learning_curve, evidence.forecast)
