"""Predicts the test split once, and computes scores with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from topwork.core.arrays import Floats
from topwork.core.classifier import AnyClassifier, Classifier, Decision, Ensemble, LeastCost, members_of
from topwork.core.columns import TEST
from topwork.core.digests import split_digest
from topwork.core.errors import InputError
from topwork.core.features import Features
from topwork.core.parameters import EvaluationParameters
from topwork.core.results import Status, StrategyResult
from topwork.core.slices import Slices
from topwork.core.stores import ImageStore
from topwork.data.attributes import chosen_columns, slice_values
from topwork.images.thumbnails import shortened, thumbnail
from topwork.reporting.plots import plot_confusion, plot_sheet
from topwork.scoring.costs import mean_cost
from topwork.scoring.metrics import confusion, per_class_scores, score, softmax
from topwork.scoring.predictions import class_numbers, most_confident_mistakes, prediction_table, stacked_probabilities
from topwork.scoring.slices import score_slices
from topwork.scoring.two_classes import area_scores, operating_scores, positive_class

_UNTRAINED = "no step of training did better than the network that it started from, which is therefore what it is"

_ALONE = "no other strategy improves {} out of fold, which is therefore its only member"


def predict_test_split(
    images: ImageStore, classifier: Classifier, features: Features, manifest: pd.DataFrame, splits: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions on the test split, and the distance of each image to the training images.

    Raises:
        InputError: the classifier was trained on another split, on other features, or with other views.

    """
    if classifier.split_digest != split_digest(splits):
        raise InputError(f"{classifier.strategy} was trained on another split: train it again.")
    held_out = splits[splits["split"] == TEST]
    if classifier.frozen:
        vectors = _cached_features(classifier, features, held_out)
    else:
        vectors = _network_features(images, classifier, manifest, held_out)
    probabilities = softmax(classifier.head.scores(vectors), classifier.temperature)
    distances = pd.DataFrame({"image_id": held_out["image_id"].to_numpy()})
    if classifier.rejection:
        distances["distance"] = classifier.rejection.distances(vectors)
        distances["rejected"] = distances["distance"] > classifier.rejection.threshold
    names, decision = classifier.class_names, classifier.decision
    return prediction_table(held_out, manifest, probabilities, names, decision), distances


def _network_features(
    images: ImageStore, classifier: Classifier, manifest: pd.DataFrame, held_out: pd.DataFrame
) -> Floats:
    from topwork.inference.network_engine import network_features

    content = held_out["image_id"].map(manifest.set_index("image_id")["sha256"])
    return network_features(classifier, images, list(zip(held_out["image_id"], content, strict=True)))


def _cached_features(classifier: Classifier, features: Features, held_out: pd.DataFrame) -> Floats:
    if features.key != classifier.key:
        raise InputError(f"The features are not those that {classifier.strategy} was trained on: train it again.")
    views = {"count": features.requested["views"], "plan": features.requested["view_plan"]}
    if classifier.test_views and classifier.test_views != views:
        raise InputError(f"{classifier.strategy} averages over other views than these features have: train it again.")
    vectors = features.averaged() if classifier.test_views else features.vectors
    return np.asarray(vectors[features.positions(held_out["image_id"].tolist())])


def score_strategy(
    predictions: pd.DataFrame,
    distances: pd.DataFrame,
    out_of_fold: pd.DataFrame,
    splits: pd.DataFrame,
    classifier: AnyClassifier,
    serving: dict[str, Any],
    class_scores: pd.DataFrame,
    slices: Slices,
    parameters: EvaluationParameters,
) -> StrategyResult:
    """The strategy's result: scores on the test split and, with prefix `oof_`, out of fold; 95 % intervals."""
    group_of = splits.set_index("image_id")["group"]

    names, positive = classifier.class_names, ""
    if len(names) == 2:
        positive = positive_class(splits["label"], parameters.positive)

    def scored(table: pd.DataFrame) -> Mapping[str, float | None]:
        probabilities, groups = stacked_probabilities(table), table["image_id"].map(group_of).to_numpy(dtype=str)
        truth, predicted = (class_numbers(table[column], names) for column in ("label", "predicted"))
        draws = (parameters.resamples, parameters.seed)
        found = score(probabilities, truth, groups, draws[0], parameters.calibration_bins, draws[1], predicted)
        if isinstance(classifier.decision, LeastCost):
            found |= mean_cost(truth, predicted, classifier.decision.costs, groups)
        if not positive:
            return found
        number = names.index(positive)
        found |= area_scores(probabilities[:, number], truth == number, groups, *draws)
        return found | operating_scores(predicted == number, truth == number, groups)

    return StrategyResult(
        strategy=classifier.strategy,
        status=Status.OK,
        reason=_no_gain(classifier),
        backbone=classifier.backbone,
        layers=classifier.layers,
        image_size=classifier.image_size,
        split_digest=split_digest(splits),
        scores={
            "test_images": len(predictions),
            "oof_images": len(out_of_fold),
            **scored(predictions),
            **({f"oof_{name}": value for name, value in scored(out_of_fold).items()} if len(out_of_fold) else {}),
            **_rejection(predictions, distances),
            "temperature": classifier.temperature,
            **({"threshold": classifier.decision.threshold} if isinstance(classifier.decision, Decision) else {}),
        },
        training={**classifier.training, **_answering(classifier, positive)},
        serving=serving,
        class_scores=class_scores,
        slices=slices,
        out_of_fold=out_of_fold,
        predictions=predictions,
    )


def _no_gain(classifier: AnyClassifier) -> str:
    """Why the classifier is no better than what it was made from, or an empty text."""
    if len(members_of(classifier)) == 1 and isinstance(classifier, Ensemble):
        return _ALONE.format(classifier.members[0].strategy)
    return _UNTRAINED if classifier.training.get("epochs") == 0 else ""


def _answering(classifier: AnyClassifier, positive: str) -> dict[str, str]:
    """Words on the rule of the answers and, of two classes, on the wish and on the class that recall is of."""
    rule = {"rule": classifier.decision.rule} if classifier.decision else {}
    wish = {"wish": classifier.decision.wish} if isinstance(classifier.decision, Decision) else {}
    return rule | ({"positive": positive, **wish} if positive else {})


def _rejection(predictions: pd.DataFrame, distances: pd.DataFrame) -> dict[str, float]:
    """Share of the test images that are not rejected, and the accuracy on them."""
    if "rejected" not in distances:
        return {}
    answered = ~distances["rejected"].to_numpy()
    right = (predictions["predicted"] == predictions["label"]).to_numpy()
    return {
        "coverage": float(answered.mean()),
        "answered_accuracy": float(right[answered].mean()) if answered.any() else 0.0,
    }


def try_serving(
    images: ImageStore, classifier: AnyClassifier, predictions: pd.DataFrame, parameters: EvaluationParameters
) -> dict[str, Any]:
    """Measurements of serving from image bytes: agreement with the reported probabilities, and cost.

    Raises:
        ServedOtherwiseError: the probabilities differ from the reported ones.

    """
    from topwork.inference.parity import try_serving as answers

    asked = predictions.head(parameters.served_images)
    contents = [images[name] for name in asked["image_id"]]
    return answers(classifier, contents, stacked_probabilities(asked), parameters.served_tolerance)


def score_classes(predictions: pd.DataFrame, splits: pd.DataFrame, classifier: AnyClassifier) -> pd.DataFrame:
    """Images, precision, recall with interval, and F1 of each class on the test split."""
    names = classifier.class_names
    predicted, truth = (class_numbers(predictions[column], names) for column in ("predicted", "label"))
    groups = predictions["image_id"].map(splits.set_index("image_id")["group"]).to_numpy(dtype=str)
    return pd.DataFrame(per_class_scores(predicted, truth, groups, names))


def slice_scores(
    predictions: pd.DataFrame,
    out_of_fold: pd.DataFrame,
    attributes: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: EvaluationParameters,
) -> Slices:
    """Accuracy by the values of the user's own columns, and whether it depends on them; none without such columns."""
    values, _ = slice_values(attributes, chosen_columns(attributes, parameters.slices, "attributes.parquet"))
    group_of = splits.set_index("image_id")["group"]
    return score_slices(values, out_of_fold, predictions, group_of, parameters.resamples, parameters.seed)


def draw_figures(
    images: ImageStore, predictions: pd.DataFrame, classifier: AnyClassifier, parameters: EvaluationParameters
) -> dict[str, Figure]:
    """Figures of the test split: the confusion matrix, and the most confident mistakes."""
    return {
        "confusion_matrix": draw_confusion(predictions, classifier),
        "mistakes": draw_mistakes(images, predictions, classifier, parameters),
    }


def draw_confusion(predictions: pd.DataFrame, classifier: AnyClassifier) -> Figure:
    """Confusion matrix of the test split."""
    names = classifier.class_names
    counts = confusion(
        class_numbers(predictions["predicted"], names), class_numbers(predictions["label"], names), len(names)
    )
    share = float(np.trace(counts) / counts.sum())
    return plot_confusion(counts, names, f"{classifier.strategy}: {share:.1%} of {counts.sum()} test images right")


def draw_mistakes(
    images: ImageStore, predictions: pd.DataFrame, classifier: AnyClassifier, parameters: EvaluationParameters
) -> Figure:
    """The wrongly predicted test images with the highest confidence."""
    worst = most_confident_mistakes(predictions, parameters.sheet_images)
    pictures = [thumbnail(images, image_id, parameters.max_pixels) for image_id in worst["image_id"]]
    captions = [
        f"{row.label}, called\n{row.predicted} at {row.confidence:.0%}\n{shortened(str(row.path))}"
        for row in worst.itertuples()
    ]
    return plot_sheet(pictures, captions, f"{classifier.strategy}: most confident mistakes on the test split")
