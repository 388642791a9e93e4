"""Whether a classifier learnt from the images that a data folder lists."""

from __future__ import annotations

import pandas as pd

from topwork.core.classifier import AnyClassifier
from topwork.core.columns import OK
from topwork.core.digests import split_digest
from topwork.core.errors import InputError
from topwork.data.splits import content_digest


def check_learnt(classifier: AnyClassifier, manifest: pd.DataFrame, splits: pd.DataFrame) -> None:
    """Check that new images are compared with what this classifier learnt from.

    Args:
        classifier: the classifier that is asked; without a ``data_digest`` its split alone is compared.
        manifest: manifest of the data folder.
        splits: splits of the data folder.

    Raises:
        InputError: the data folder lists other images than the classifier learnt from, or splits them otherwise.

    """
    listed = content_digest(manifest[manifest["status"] == OK])
    if classifier.data_digest in {"", listed} and classifier.split_digest == split_digest(splits):
        return
    what = "another split" if classifier.data_digest in {"", listed} else "other images"
    raise InputError(
        f"{classifier.strategy} was trained on {what} than this data folder has: give the `data=DIR` of the run that "
        "trained it, or train on the images that are listed here now (`kedro run --params images=DIR`)."
    )
