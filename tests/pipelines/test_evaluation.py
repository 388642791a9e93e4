from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from topwork.core.classifier import Classifier
from topwork.core.features import FeatureKey
from topwork.core.heads import LinearHead
from topwork.core.parameters import EvaluationParameters
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.pipelines.evaluation.nodes import draw_mistakes

KEY = FeatureKey("net", "abc", {}, ("last",), "own", "original", "eager", "float32", "one")
CLASSIFIER = Classifier("svm", KEY, LinearHead(np.zeros((2, 2)), np.zeros(2)), ("blue", "red"), 1.0, "split")


def test_a_file_that_is_gone_leaves_a_blank_in_the_sheet_of_mistakes(image_folder: Path) -> None:
    images = ImageFolderDataset(path=str(image_folder)).load()
    shown = images.listing[images.listing["label"] == "blue"].head(3)
    predictions = shown[["image_id", "path", "label"]].assign(predicted="red", confidence=[0.9, 0.8, 0.7])
    Path(shown["path"].iloc[1]).unlink()
    parameters = EvaluationParameters(
        resamples=100,
        calibration_bins=5,
        slices=None,
        sheet_images=3,
        served_images=8,
        served_tolerance=0.02,
        positive=None,
        recall_at_least=None,
        precision_at_least=None,
        certainty=0.9,
        max_pixels=10**6,
        seed=0,
    )
    sheet = draw_mistakes(images, pd.DataFrame(predictions), CLASSIFIER, parameters)
    pictures = [np.asarray(axes.get_images()[0].get_array()) for axes in sheet.axes if axes.get_images()]
    assert len(pictures) == 3
    assert [picture.std() > 5 for picture in pictures] == [True, False, True]
