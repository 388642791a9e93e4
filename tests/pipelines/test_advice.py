from __future__ import annotations

import pytest

from tests.conftest import PROJECT
from tests.decisions.test_advisor import evidence
from topwork.core.parameters import FinetuneParameters, LinearParameters, ScratchParameters
from topwork.core.results import Forecast
from topwork.pipelines.advice.nodes import advise
from topwork.run.configuration import load_configuration

FORECAST = tuple(Forecast(images=images, accuracy=0.8, low=0.7, high=0.9) for images in (100, 200, 400))
UNEVEN = evidence(balanced_accuracy=0.70, balanced_accuracy_weighted=0.80, weighting_error=0.01, forecast=FORECAST)


@pytest.mark.parametrize(("present", "advised"), [("none", {"logistic.class_weight": "balanced"}), ("balanced", {})])
def test_what_is_set_already_is_not_advised(present: str, advised: dict[str, str]) -> None:
    blocks = load_configuration(PROJECT / "conf", None, {})["parameters"]
    found = advise(
        UNEVEN,
        FinetuneParameters.model_validate(blocks["finetune"]),
        ScratchParameters.model_validate(blocks["scratch"]),
        LinearParameters.model_validate({**blocks["logistic"], "class_weight": present}),
        LinearParameters.model_validate(blocks["svm"]),
    )
    assert found.settings == advised
