from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from topwork.core.errors import InputError
from topwork.core.parameters import ComparisonParameters
from topwork.scoring import paired
from topwork.scoring.metric import METRICS, Answers, Metric

CLASSES = ("apple", "pear", "rot")
SHARES = (0.6, 0.3, 0.1)
COSTS = {"rot": {"apple": 20.0, "pear": 20.0}}


def asked(name: str, costs: dict[str, dict[str, float]] | None = None) -> Metric:
    parameters = ComparisonParameters(
        metric=name, costs=costs, errors=1, promote="never", significance=0.05, fewest_images=1, seed=0
    )
    return Metric.of(parameters, CLASSES)


ALL = [asked(name, COSTS if name == "cost" else None) for name in (*METRICS, "recall:rot")]


def answers(truth: np.ndarray, noise: float, generator: np.random.Generator) -> Answers:
    """A model that sees each class through noise."""
    scores = np.eye(3)[truth] * 2 + generator.normal(0, noise, (len(truth), 3))
    odds = np.exp(scores)
    return Answers.likeliest(truth, odds / odds.sum(axis=1, keepdims=True))


def drawn(count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.choice(3, count, p=SHARES)


def singles(count: int) -> np.ndarray:
    return np.arange(count).astype(str)


def test_each_metric_is_what_scikit_learn_computes() -> None:
    generator = np.random.default_rng(0)
    found = answers(drawn(400, generator), 2, generator)
    truth, predicted, probabilities = found.truth, found.predicted, found.probabilities
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, predicted),
        "macro_f1": sklearn_metrics.f1_score(truth, predicted, average="macro"),
        "log_loss": -sklearn_metrics.log_loss(truth, probabilities),
        "auc": sklearn_metrics.roc_auc_score(truth, probabilities, multi_class="ovr"),
        "cost": -sum(
            COSTS.get(CLASSES[true], {}).get(CLASSES[said], float(true != said))
            for true, said in zip(truth, predicted, strict=True)
        )
        / len(truth),
        "recall:rot": sklearn_metrics.recall_score(truth, predicted, average=None)[2],
    }
    assert {metric.name: metric.value(found) for metric in ALL} == pytest.approx(expected)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_equal_answers_differ_by_nothing(metric: Metric) -> None:
    generator = np.random.default_rng(1)
    found = answers(drawn(100, generator), 2, generator)
    told = metric.compare(found, found, singles(100), 0)
    assert (told.difference, told.p, told.p_better) == (0, 1, 1)
    assert told.low <= 0 <= told.high


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_the_interval_covers_the_true_difference_and_no_difference_is_rarely_called_one(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models differ in nothing, so every rejection is a false one."""
    monkeypatch.setattr(paired, "_FLIPS", 200)
    generator, covered, rejected = np.random.default_rng(2), [], []
    for seed in range(300):
        truth = drawn(200, generator)
        first, other = (answers(truth, 2, generator) for _ in range(2))
        found = metric.compare(first, other, singles(200), seed)
        covered.append(found.low <= 0 <= found.high)
        rejected.append(found.p_better < 0.05)
    assert np.mean(covered) >= 0.92
    assert np.mean(rejected) <= 0.08


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_much_better_model_is_found_better(metric: Metric) -> None:
    generator = np.random.default_rng(3)
    truth = drawn(300, generator)
    found = metric.compare(answers(truth, 1, generator), answers(truth, 3, generator), singles(300), 0)
    assert found.low > 0
    assert found.p_better < 0.01
    assert found.difference == pytest.approx(found.low / 2 + found.high / 2, abs=0.1)


def test_many_images_are_tested_by_the_normal_distribution_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(5)
    first, other = generator.normal(0.05, 1, 1500), np.zeros(1500)
    by_signs = paired.compare(first, other, singles(1500), 0, scale=None)
    monkeypatch.setattr(paired, "_NORMAL", 1000)
    by_normal = paired.compare(first, other, singles(1500), 0, scale=None)
    assert by_normal.p == pytest.approx(by_signs.p, abs=0.01)
    assert by_normal.p_better == pytest.approx(by_signs.p_better, abs=0.01)


def test_recall_is_compared_on_the_images_of_its_class_alone() -> None:
    truth = np.repeat([0, 2], [900, 10])
    first, other = (Answers(truth, np.where(truth == 2, says, 0), np.empty((910, 0))) for says in (2, 0))
    found = asked("recall:rot").compare(first, other, singles(910), 0)
    assert (found.difference, found.images) == (1, 10)
    assert found.p == pytest.approx(2 / 2**10)


def test_groups_count_once() -> None:
    generator = np.random.default_rng(4)
    truth = np.repeat(drawn(6, generator), 20)
    good, bad = answers(truth, 0.1, generator), Answers.likeliest(truth, np.full((120, 3), 1 / 3))
    alone, together = (
        Metric("balanced_accuracy").compare(good, bad, groups, 0)
        for groups in (singles(120), np.repeat(singles(6), 20))
    )
    assert alone.p < 0.001 < together.p


def test_a_class_in_the_table_of_costs_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no class 'rott'; perhaps rot\?"):
        asked("cost", {"rott": {"apple": 1.0}})


def test_costs_need_a_table() -> None:
    with pytest.raises(ValueError, match=r"comparison.costs=FILE.csv"):
        asked("cost")


def test_a_predicted_class_that_is_none_of_these_is_wrong() -> None:
    truth = np.array([0, 1, 0, 1])
    odd = Answers(truth, np.array([0, -1, 0, 7]), np.empty((4, 0)))
    assert Metric("accuracy").value(odd) == 0.5
    assert Metric("macro_f1").value(odd) == pytest.approx(0.5)
    assert asked("cost", COSTS).value(odd) == -10


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acuracy", "perhaps accuracy"),
        ("recall:pears", "perhaps pear.*apple, pear, rot"),
        ("recall", "recall:CLASS"),
    ],
)
def test_an_unknown_metric_or_class_is_told_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked(name)
