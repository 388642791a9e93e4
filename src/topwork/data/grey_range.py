"""Measures black and white of a data set's images of more than 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from topwork.core.columns import OK
from topwork.core.errors import InputError
from topwork.images.batches import unchanged_values
from topwork.images.greys import is_deep

_IMAGES = 256  # in the sample
_VALUES = 10_000  # of each image; the outer 0.1 % of the sample are then 2,500 values or more on each side
_ENDS = (0.1, 99.9)  # percentiles: a few dead or hot pixels of a sensor do not count


def measure_grey_range(
    manifest: pd.DataFrame, images: Mapping[str, bytes], max_pixels: int, threads: int
) -> dict[str, Any]:
    """The values ``black`` and ``white`` of the usable images of more than 8 bits, and the number of ``images`` read.

    They are the 0.1 and 99.9 percentile over a sample of all images, which is taken before there is a split. No label
    is used. The sample is that of the smallest SHA-256 of the contents: it depends on no seed, and hardly changes when
    images are added.

    Raises:
        InputError: integers and floating point are mixed, or (nearly) all values are equal.

    """
    usable = manifest[(manifest["status"] == OK) & manifest["mode"].map(is_deep)].drop_duplicates("sha256")
    if usable.empty:
        return {"images": 0}
    _check_one_type(usable)
    sample = usable.sort_values("sha256").head(_IMAGES)
    read = partial(unchanged_values, images, max_pixels=max_pixels, at_most=_VALUES)
    with ThreadPoolExecutor(threads, thread_name_prefix="greys") as pool:
        values = np.concatenate(list(pool.map(read, sample["image_id"], sample["sha256"])))
    black, white = np.percentile(values, _ENDS, method="nearest") if len(values) else (0.0, 0.0)
    if not white > black:
        raise InputError(f"white=percentiles: nearly all values are {black:g}. Give white=NUMBER.")
    return {"black": float(black), "white": float(white), "images": len(sample)}


def _check_one_type(usable: pd.DataFrame) -> None:
    floating = usable["mode"].str.startswith("F")
    if floating.any() and not floating.all():
        raise InputError(
            f"white=percentiles: {usable.loc[floating, 'path'].iloc[0]} holds floating point and "
            f"{usable.loc[~floating, 'path'].iloc[0]} integers, which have no scale in common. Give one of the kinds."
        )
