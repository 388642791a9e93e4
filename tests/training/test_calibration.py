from __future__ import annotations

import numpy as np
import pytest

from topwork.scoring.metrics import softmax
from topwork.training.calibration import fit_temperature


def test_scores_are_calibrated_to_what_a_calibrated_model_tells_of_the_same_images() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(500, 4)) * 3
    told = softmax(scores, 2.5)
    right_everywhere = scores.argmax(axis=1)  # labels that look better than the scores deserve
    assert fit_temperature(scores, right_everywhere, told) == pytest.approx(2.5, rel=1e-3)
    assert fit_temperature(scores, right_everywhere) < 1
