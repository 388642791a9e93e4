from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from topwork.core.classifier import Classifier
from topwork.core.digests import split_digest
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey
from topwork.core.heads import LinearHead
from topwork.data.learnt import check_learnt
from topwork.data.splits import content_digest

MANIFEST = pd.DataFrame({"image_id": list("abc"), "sha256": list("123"), "status": ["ok", "ok", "rejected"]})
SPLITS = pd.DataFrame({"image_id": ["a", "b"], "label": ["x", "y"], "split": "train", "fold": [0, 1]})
KEY = FeatureKey("net", "abc", {}, ("last",), "own", "original", "eager", "float32", "one")
HEAD = LinearHead(np.zeros((2, 2)), np.zeros(2))
LEARNT = Classifier("svm", KEY, HEAD, ("x", "y"), 1.0, split_digest(SPLITS), data_digest=content_digest(MANIFEST[:2]))


def test_a_classifier_goes_with_the_images_and_the_split_that_it_learnt_from() -> None:
    check_learnt(LEARNT, MANIFEST, SPLITS)
    check_learnt(replace(LEARNT, data_digest=""), MANIFEST, SPLITS)  # from before images had a digest


def test_a_classifier_of_other_images_or_another_split_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"svm was trained on other images than.*data=DIR.*kedro run --params images"):
        check_learnt(LEARNT, MANIFEST.assign(sha256=list("129")).assign(status="ok"), SPLITS)
    with pytest.raises(InputError, match="svm was trained on another split than"):
        check_learnt(LEARNT, MANIFEST, SPLITS.assign(fold=[1, 0]))
