from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from topwork.core import progress
from topwork.core.results import Advice, Evidence, Point, Status, StrategyResult
from topwork.decisions import advisor
from topwork.decisions.advisor import gather_evidence, give_advice, practice, why_stop
from topwork.decisions.strategies import BASIC, STRATEGY
from topwork.scoring.learning_curve import forecast
from topwork.training.linear import fit_head, multinomial_logistic
from topwork.training.linear_models import ClosedRidge

NEAR = Evidence(
    images=500,
    classes=10,
    largest_class=60,
    smallest_class=40,
    median_side=300.0,
    probe="logistic",
    probe_accuracy=0.91,
    probe_low=0.88,
    probe_high=0.94,
    probe_seconds=1.0,
    above_chance=0.9,
    knn_accuracy=0.8,
)


PROBES = {weights: multinomial_logistic(weights, 200) for weights in ("none", "balanced")}


def evidence(**changed: Any) -> Evidence:
    return NEAR.model_copy(update=changed)


def result(**scores: float) -> StrategyResult:
    return StrategyResult("logistic", Status.OK if scores else Status.FAILED, scores=scores)


@pytest.mark.parametrize(
    ("given", "left", "rule"),
    [
        pytest.param(evidence(), ["logistic", "lda", "svm"], "frozen backbone", id="few near"),
        pytest.param(evidence(images=3000), ["logistic", "lda", "finetune"], "replace the head", id="some near"),
        pytest.param(
            evidence(above_chance=0.2), ["logistic", "lda", "svm", "finetune"], "fine-tune deeper.", id="few far"
        ),
        pytest.param(
            evidence(above_chance=0.2, images=20_000),
            ["logistic", "lda", "scratch", "finetune"],
            "or train from scratch",
            id="many far",
        ),
        pytest.param(
            evidence(above_chance=0.2), ["logistic", "lda", "svm", "finetune"], "python:FILE.py", id="own, to try"
        ),
        pytest.param(
            evidence(images=3000, has_layers=False), ["logistic", "lda"], "a linear classifier on them", id="own, good"
        ),
        pytest.param(
            evidence(above_chance=0.2, has_layers=False), ["logistic", "lda", "svm"], "improve it", id="own, bad"
        ),
        pytest.param(
            evidence(median_side=8.0),
            ["logistic", "lda", "svm", "scratch", "finetune"],
            "shallow net",
            id="tiny pictures",
        ),
    ],
)
def test_practice_says_what_is_worth_running(given: Evidence, left: list[str], rule: str) -> None:
    assert [name for name in BASIC if not STRATEGY[name].why_not(given)] == left
    assert rule in practice(given)


def test_nothing_dearer_runs_where_nothing_is_left_to_gain() -> None:
    assert "wrong on 1 of 200" in why_stop([result(oof_accuracy=0.995, oof_images=200)])
    assert why_stop([result(oof_accuracy=0.9, oof_images=200)]) == ""
    assert why_stop([result()]) == ""
    assert why_stop([]) == ""


def clouds(count: int, distance: float) -> tuple[Any, ...]:
    generator = np.random.default_rng(0)
    truth = np.arange(count) % 4
    vectors = (generator.normal(size=(4, 20)) * distance)[truth] + generator.normal(size=(count, 20))
    return (
        vectors.astype(np.float32),
        truth,
        np.arange(count) // 4 % 5,
        np.arange(count).astype(str),
        np.full(count, 200),
    )


def advice_for(distance: float) -> Advice:
    found = gather_evidence(*clouds(400, distance), PROBES, 0.01, 0)
    return give_advice(found, {"finetune": 3.0, "scratch": None})


def test_advice_names_the_rule_the_evidence_the_cost_and_what_more_images_would_bring() -> None:
    advice = advice_for(2.0)
    assert advice.recommended == "logistic"
    assert advice.expected.low < advice.expected.accuracy <= 1
    assert advice.cost_seconds["finetune"] == 180
    assert advice.cost_seconds["scratch"] is None
    assert set(advice.ruled_out) == {"finetune", "scratch"}
    assert "with twice the images" in advice.more_images


def test_features_that_say_nothing_lead_to_fine_tuning_deeper() -> None:
    advice = advice_for(0.2)
    assert advice.recommended == "finetune"
    assert advice.settings == {"finetune.trainable_groups": "all"}
    assert advice.expected.accuracy is None


@pytest.mark.parametrize(
    ("changed", "warned"),
    [
        pytest.param({"far_from_square": 0.25}, True, id="many are far from square"),
        pytest.param({"far_from_square": 0.15}, False, id="few are"),
        pytest.param({"far_from_square": 0.25, "fit": "pad"}, False, id="nothing is cut away"),
        pytest.param({"far_from_square": 0.25, "fits": "fit=auto takes crop."}, False, id="it was compared"),
    ],
)
def test_advice_warns_where_a_crop_loses_much_of_many_images(changed: dict[str, Any], warned: bool) -> None:
    advice = give_advice(advice_for(2.0).evidence.model_copy(update=changed), {"finetune": 3.0, "scratch": None})
    said = "25% of the images lose more than 33% of their long side to the centre crop: try fit=auto."
    assert (said in advice.says) is warned
    assert (advice.settings == {"fit": "auto"}) is warned
    assert changed.get("fits", "") in advice.says


def test_networks_are_ruled_out_where_features_of_several_crops_are_averaged() -> None:
    small = evidence(median_side=8.0, fit="multicrop")
    assert [name for name in BASIC if not STRATEGY[name].why_not(small)] == ["logistic", "lda", "svm"]


def test_a_power_law_is_continued() -> None:
    def point(images: int) -> Point:
        right = round(100_000 * (1 - 0.05 - 0.4 * (images / 100) ** -0.5))
        return Point(images=images, right=right, tested=100_000)

    points = [point(images) for images in (100, 200, 400, 800)]
    for found in forecast(points, [1600, 3200], 0):
        truth = point(found.images)
        assert found.accuracy == pytest.approx(truth.right / truth.tested, abs=0.01)
        assert found.low <= truth.right / truth.tested <= found.high


def test_sizes_that_are_all_the_same_forecast_no_gain() -> None:
    (found,) = forecast([Point(images=34, right=right, tested=51) for right in (5, 6, 7)], [68], 0)
    assert found.accuracy == pytest.approx(6 / 51, abs=0.01)
    assert found.low <= found.accuracy <= found.high


def test_few_tested_images_make_a_wide_forecast_and_a_flat_curve_a_flat_one() -> None:
    sure, unsure = (
        forecast([Point(images=size, right=round(0.8 * n), tested=n) for size in (50, 100, 200, 400)], [1600], 0)[0]
        for n in (50_000, 50)
    )
    assert sure.accuracy == pytest.approx(0.8, abs=0.01)
    assert unsure.high - unsure.low > 5 * (sure.high - sure.low)
    assert 0 <= unsure.low <= unsure.accuracy <= unsure.high <= 1


@pytest.mark.parametrize(("spread", "worth"), [(0.5, False), (4.0, True)], ids=["easy", "hard"])
def test_weights_for_classes_are_advised_where_they_were_seen_to_help(spread: float, worth: bool) -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1], [360, 40])
    vectors = (3.0 * truth[:, None] + generator.normal(0, spread, (400, 8))).astype(np.float32)
    found = gather_evidence(
        vectors, truth, np.arange(400) % 5, np.arange(400).astype(str), np.full(400, 200), PROBES, 0.01, 0
    )
    advice = give_advice(found.model_copy(update={"above_chance": 0.9}), {"finetune": 3.0, "scratch": None})
    assert "weights that make them count alike" in advice.says
    assert ("logistic.class_weight" in advice.settings) is worth


def test_many_classes_are_told_by_a_probe_in_closed_form_with_progress(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = clouds(400, 2.0)
    usual = gather_evidence(*given, PROBES, 0.01, 0)
    monkeypatch.setattr(advisor, "_LARGE", 1000)
    never: Any = {weights: lambda _C: pytest.fail("logistic regression") for weights in ("none", "balanced")}
    seen: list[progress.Progress] = []
    monkeypatch.setattr(advisor, "report_progress", lambda *event: seen.append(progress.Progress(*event)))
    found = gather_evidence(*given, never, 0.01, 0)
    assert (usual.probe, found.probe) == ("logistic", "ridge")
    assert found.probe_accuracy == pytest.approx(usual.probe_accuracy, abs=0.03)
    assert [event.done for event in seen] == sorted(event.done for event in seen)
    assert (seen[0].done, seen[-1].done) == (0, seen[-1].total)
    assert give_advice(found, {"finetune": 3.0, "scratch": None}).recommended == "logistic"


@pytest.mark.parametrize("classes", [2, 3])
def test_the_closed_form_is_that_of_scikit_learn(classes: int) -> None:
    generator = np.random.default_rng(0)
    vectors, truth = generator.normal(size=(60, 5)).astype(np.float32), np.arange(60) % classes
    vectors[np.arange(60), truth] += 1
    head = fit_head(ClosedRidge(1.0), vectors[None], truth, classes)
    standard = StandardScaler().fit_transform(vectors)
    targets = np.eye(classes)[truth]
    reference = Ridge(alpha=6.0).fit(standard, targets)
    ours, theirs = head.scores(vectors), reference.predict(standard)
    np.testing.assert_allclose(ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=1e-4)
