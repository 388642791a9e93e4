"""Ways to fit an image that is not square into the square that a network takes, and when this matters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from topwork.core.arrays import Floats

CROP, PAD, SQUASH, MULTICROP = "crop", "pad", "squash", "multicrop"
TRIED = (CROP, PAD, SQUASH)
"""What `fit=auto` compares; the first is taken unless another is better."""
ONE_CROP = (
    "fit=multicrop averages the features of a network that stays as it is; {strategy} learns from one crop of an "
    "image. Leave it out (strategies=logistic+lda+svm), write strategies=auto, or take fit=pad."
)
"""Says why a network is not trained with `multicrop`."""
MEAN = "mean"
"""Value of `fit_colour` for the mean colour of the network's preprocessing."""
FAR_FROM_SQUARE = 1.5
"""Ratio of the long to the short side above which an image counts as far from square; a convention.

A centre crop then loses more than a third of the long side. Most cameras take 4:3 (1.33) or 3:2 (1.5)."""
MANY_UNEVEN = 0.2
"""Share of such images from which on `fit=auto` compares, and the advice warns; a convention."""


def far_from_square(images: pd.DataFrame) -> float:
    """Share of the images (columns ``width`` and ``height`` in pixels) that are far from square; 0 of no images."""
    sides = images[["width", "height"]].to_numpy(np.float64)
    ratios: Floats = sides.max(axis=1) / np.maximum(sides.min(axis=1), 1)
    return float((ratios > FAR_FROM_SQUARE).mean()) if len(ratios) else 0.0
