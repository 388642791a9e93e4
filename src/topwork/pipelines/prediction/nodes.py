"""Predicts the classes of images without labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import AnyClassifier, Classifier, Ensemble, members_of, the_only
from topwork.core.columns import OK, REJECTED, STAMP_COLUMNS
from topwork.core.digests import arrays_digest, text_digest
from topwork.core.errors import InputError
from topwork.core.parameters import PredictionParameters
from topwork.core.progress import report_progress
from topwork.core.stores import ImageStore
from topwork.data.readable import check_names
from topwork.images.decode import decode_pixels
from topwork.images.thumbnails import shortened, thumbnail
from topwork.images.transforms import Preprocessing, all_crops
from topwork.reporting.plots import heated, plot_sheet

_log = logging.getLogger(__name__)
_EXPLAINING = "prediction.explain"
_NAMED = 5  # rejected files that are named in the log


def answer_new_images(
    new_images: ImageStore,
    asked_classifier: AnyClassifier,
    known_answers: pd.DataFrame,
    parameters: PredictionParameters,
) -> Iterator[pd.DataFrame]:
    """Chunks of answers for the files that are new or changed since this classifier answered for them.

    Raises:
        InputError: most files need a plugin that is not installed; or explanations are asked for, and the network has
            no feature maps for them.

    """
    from topwork.inference.batch import answer_new

    if parameters.explain:
        from topwork.inference.explanation import class_heat

        class_heat(the_only(asked_classifier, _EXPLAINING))
    check_names(new_images.listing["path"], f"new_images={new_images.source}")
    limits = (parameters.max_pixels, parameters.max_bytes)
    yield from answer_new(new_images, known_answers, asked_classifier, _name(asked_classifier), *limits)


def tabulate_answers(
    new_images: ImageStore, asked_classifier: AnyClassifier, answers: pd.DataFrame, parameters: PredictionParameters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables with one row per file, ordered by name: one for users, and one with all probabilities.

    ``label`` and ``confidence`` (a probability) belong to the class that is answered, the most likely one if the
    classifier has no threshold of its own; ``label_2`` and so on to the next ones.
    ``none_of_these`` is true if the distance to the training images is above the classifier's threshold.

    Raises:
        InputError: a file was added or changed since the answers were computed.

    """
    from topwork.inference.batch import stamped

    files = stamped(new_images.listing, _name(asked_classifier), parameters.max_pixels, parameters.max_bytes)
    table = files.merge(answers, how="left", on=list(STAMP_COLUMNS), validate="one_to_one").sort_values("image_id")
    if table["status"].isna().any():
        changed = table.loc[table["status"].isna(), "image_id"].iloc[0]
        raise InputError(f"new_images: {changed} came or changed in the meantime; the same command answers for it too.")
    names = np.asarray(asked_classifier.class_names)
    probabilities = np.stack(table["probabilities"].to_list())
    order = answer_order(asked_classifier, probabilities)[:, : parameters.top]
    is_ok = (table["status"] == OK).to_numpy()
    found = table[["image_id", "status", "reason"]].reset_index(drop=True)
    for rank in range(order.shape[1]):
        suffix = f"_{rank + 1}" if rank else ""
        found[f"label{suffix}"] = np.where(is_ok, names[order[:, rank]], "")
        found[f"confidence{suffix}"] = probabilities[np.arange(len(found)), order[:, rank]]
    bound = asked_classifier.rejection.threshold if asked_classifier.rejection else np.inf
    found["none_of_these"] = (table["distance"] > bound).reset_index(drop=True).astype("boolean")
    found.loc[~is_ok, "none_of_these"] = pd.NA
    found["distance"] = table["distance"].to_numpy()
    _tell(found)
    whole = found.assign(probabilities=list(probabilities))
    whole.attrs = {"class_names": list(asked_classifier.class_names)}
    return found, whole


def draw_answers(
    new_images: ImageStore, new_predictions_table: pd.DataFrame, parameters: PredictionParameters
) -> dict[str, Figure]:
    """A contact sheet for each predicted class, with the most confident images first."""
    usable = new_predictions_table[new_predictions_table["status"] == OK].sort_values(
        "confidence", ascending=False, kind="stable"
    )
    sheets = {}
    for label, rows in usable.groupby("label"):
        shown = rows.head(parameters.sheet_images)
        pictures = [thumbnail(new_images, str(name), parameters.max_pixels) for name in shown["image_id"]]
        captions = [
            f"{row.confidence:.2f}{', none of these?' if row.none_of_these else ''}\n{shortened(str(row.image_id))}"
            for row in shown.itertuples()
        ]
        sheets[str(label)] = plot_sheet(pictures, captions, _title(str(label), len(shown), len(rows)))
    return sheets


def explain_answers(
    new_images: ImageStore,
    asked_classifier: AnyClassifier,
    new_predictions_table: pd.DataFrame,
    parameters: PredictionParameters,
) -> dict[str, Figure]:
    """A sheet for each predicted class: its most confident images, each with a heat map of the evidence for the class.

    Raises:
        InputError: the network has no feature maps for an explanation.

    """
    if not parameters.explain:
        return {}
    from topwork.inference.explanation import class_heat

    classifier = the_only(asked_classifier, _EXPLAINING)
    heat_of = class_heat(classifier)
    usable = new_predictions_table[new_predictions_table["status"] == OK]
    usable = usable.sort_values("confidence", ascending=False, kind="stable")
    sheets = {}
    for number, label in enumerate(classifier.class_names):
        rows = usable[usable["label"] == label].head(parameters.explain)
        pictures, captions = list[Image.Image](), list[str]()
        for row in rows.itertuples():
            crops = _seen(new_images[str(row.image_id)], classifier, parameters.max_pixels)
            pixels, heat = np.hstack(list(crops)), np.hstack(list(heat_of(crops, number)))
            pictures += [Image.fromarray(pixels), heated(pixels, heat)]
            captions += [shortened(str(row.image_id)), f"{label} {row.confidence:.2f}"]
        report_progress("explaining", number + 1, len(classifier.class_names), "classes")
        if pictures:
            sheets[label] = plot_sheet(pictures, captions, f"What spoke for {label}", columns=6)
    return sheets


def answer_order(classifier: AnyClassifier, probabilities: Floats) -> Integers:
    """Numbers of the classes in each row, the one that is answered first, then the most likely one."""
    rank = np.where(np.isnan(probabilities), 0.0, probabilities)
    rank[np.arange(len(rank)), classifier.called(rank)] = 2.0  # above any probability
    return np.argsort(-rank, axis=1, kind="stable")


def _title(label: str, shown: int, images: int) -> str:
    if shown < images:
        return f"{label}: the {shown} surest of {images:,} images"
    return f"{label}: {images} image{'s' if images > 1 else ''}"


def _name(classifier: AnyClassifier) -> str:
    """The strategy, and a digest of everything that its answers depend on."""
    parts, weights = list[object](), list[Floats]()
    for member in members_of(classifier):
        parts += [member.key, member.temperature, member.class_names, member.test_views]
        weights += [*member.head.tensors().values(), *member.network.values()]
        if member.rejection:
            bound = member.rejection
            weights += [bound.centre, bound.directions, bound.whitening, bound.means]
    parts += classifier.weights if isinstance(classifier, Ensemble) else ()
    return f"{classifier.strategy} {text_digest(f'{parts} {arrays_digest(weights)}')[:8]}"


def _tell(found: pd.DataFrame) -> None:
    rejected = found[found["status"] == REJECTED]
    strange = int(found["none_of_these"].sum())
    _log.info(
        "%d files: %d rejected; %d lie farther from all that was learnt than nearly all images of the classes do, and "
        "may be of none of them (none_of_these)",
        *(len(found), len(rejected), strange),
    )
    for row in rejected.head(_NAMED).itertuples():
        _log.info("rejected: %s (%s)", row.image_id, row.reason)


def _seen(content: bytes, classifier: Classifier, max_pixels: int) -> NDArray[np.uint8]:
    """The crops ``[k, side, side, 3]`` of an image that the network receives."""
    preprocessing = Preprocessing(**classifier.key.preprocessing)
    pixels = decode_pixels(content, max_pixels, preprocessing.short_side, preprocessing.white)
    return all_crops(pixels, preprocessing)
