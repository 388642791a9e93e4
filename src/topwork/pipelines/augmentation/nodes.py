"""Lists the augmented views of each image, and draws some of them."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from topwork.core.columns import OK
from topwork.core.parameters import AugmentationParameters, FeatureParameters
from topwork.core.stores import ImageStore
from topwork.images.batches import decode_unchanged
from topwork.images.transforms import Preprocessing, resize_and_crop
from topwork.images.view_doubts import doubt_views
from topwork.images.views import draw_views, plan_views
from topwork.reporting.plots import plot_sheet

_SHOWN = Preprocessing(resize=256, crop=224, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(1, 1, 1))

_log = logging.getLogger(__name__)


def list_views(manifest: pd.DataFrame, parameters: AugmentationParameters) -> pd.DataFrame:
    """Random parameters (columns ``VIEW_COLUMNS``) of the views for training and for the contact sheet."""
    plan = plan_views(parameters)
    usable = manifest[manifest["status"] == OK]
    if parameters.views:
        for doubt in doubt_views(plan, sorted(usable["label"].unique())):
            _log.warning("preset=%s may not suit these images: %s", parameters.preset, doubt)
    trained = draw_views(plan, usable["sha256"].unique().tolist(), range(1, parameters.views + 1))
    shown = _one_a_class(usable, parameters.sheet_images)["sha256"].tolist()
    further = draw_views(plan, shown, range(parameters.views + 1, parameters.sheet_views + 1))
    return pd.concat([trained, further], ignore_index=True)


def draw_sheet(
    images: ImageStore,
    manifest: pd.DataFrame,
    views: pd.DataFrame,
    parameters: AugmentationParameters,
    features: FeatureParameters,
) -> Figure:
    """A contact sheet of some originals, each beside its first views; of several crops of an image, the middle one."""
    from topwork.images.augmentation import apply_views

    how = _SHOWN.fitted(features.fitted_by, features.fit_colour)
    pictures, captions = [], []
    for row in _one_a_class(manifest[manifest["status"] == OK], parameters.sheet_images).itertuples():
        original = decode_unchanged(images, str(row.image_id), str(row.sha256), parameters.max_pixels, how.short_side)
        canvas = resize_and_crop(original, how.canvas)
        drawn = views[(views["sha256"] == row.sha256) & (views["view"] <= parameters.sheet_views)]
        seen = apply_views(np.repeat(canvas[None], len(drawn), axis=0), drawn, plan_views(parameters).fill, how.crop)
        pictures += [Image.fromarray(each) for each in (resize_and_crop(original, how), *seen)]
        captions += [str(row.label), *(f"view {number}" for number in drawn["view"])]
    title = f"Originals and views, preset {parameters.preset}; trained on: the original and {parameters.views} views"
    return plot_sheet(pictures, captions, title, columns=1 + parameters.sheet_views)


def _one_a_class(usable: pd.DataFrame, at_most: int) -> pd.DataFrame:
    """Images of different content, from as many different classes as possible."""
    distinct = usable.drop_duplicates("sha256")
    rank = distinct.groupby("label").cumcount()
    return distinct.assign(rank=rank).sort_values(["rank", "label"], kind="stable").head(at_most)
