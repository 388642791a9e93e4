"""Checks before new images are looked at: the labelled ones are those that were learnt, and new labels are meant so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from topwork.core.columns import OK
from topwork.core.errors import InputError
from topwork.core.stores import ImageStore
from topwork.data.filled_labels import check_filled_labels
from topwork.run.configuration import Configuration
from topwork.run.preflight import BEFORE

_LOOKED_AT = 20  # files that are read: the names of two folders may be the same (`red/1.jpg`), their contents are not


def check_labelled_images(names: Sequence[str], configuration: Configuration) -> None:
    """Check the `images` and the labels that the user has filled in, if new images are compared with those learnt.

    `images` may be left out for labelling.

    Raises:
        InputError: images that were learnt are not there, or have other contents; or a label is probably mistyped.

    """
    is_listed_now = {"__default__", "ingestion"} & set(names)
    if is_listed_now or not set(names) & set(BEFORE):
        return
    catalog = configuration.open_catalog()
    manifest = catalog.load("manifest")
    learnt = manifest[manifest["status"] == OK]
    if "labelling" in names:
        requests: Any = catalog["earlier_requests"]
        check_filled_labels(requests.load(), set(learnt["label"]), requests.artifacts[0].name)
    if configuration.knobs["images"]:
        check_same_images(catalog.load("images"), learnt)


def check_same_images(images: ImageStore, learnt: pd.DataFrame) -> None:
    """Check that the images hold all that were learnt (``image_id``, ``sha256``); some of the contents are read.

    Raises:
        InputError: an image is missing or another one.

    """
    gone = learnt.loc[~learnt["image_id"].isin(images.listing["image_id"]), "image_id"]
    if len(gone):
        many = f"{len(gone):,} of {len(learnt):,}"
        _refuse(images.source, f"{many} have other names, or are not there, first {gone.iloc[0]}")
    for row in learnt.iloc[:: max(1, len(learnt) // _LOOKED_AT)].itertuples():
        if hashlib.sha256(images[str(row.image_id)]).hexdigest() != row.sha256:
            _refuse(images.source, f"{row.image_id} has another content")


def _refuse(source: str, reason: str) -> None:
    raise InputError(
        f"images={source}: these are not the images that the run in this data folder learnt from ({reason}). Give "
        "`images=` as that run had it (a folder, or the table that it learnt from), or the `data=DIR` of a run that "
        "learnt from these."
    )
