from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.scoring.test_paired import answers
from topwork.scoring.metrics import confusion, per_class_scores, proportion_interval, score, softmax, wilson_interval


@pytest.fixture(scope="module")
def predicted() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = generator.choice(7, 400, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    scores = generator.normal(0, 1, (400, 7))
    scores[np.arange(400), truth] += 1.5
    return softmax(scores, 1.0), truth


def own_groups(n: int) -> np.ndarray:
    return np.arange(n).astype(str)


def test_scores_are_those_of_scikit_learn(predicted: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, truth = predicted
    called = probabilities.argmax(1)
    ours = score(probabilities, truth, own_groups(400), 100, 15, 0)
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(truth, called))
    assert ours["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, called))
    assert ours["macro_f1"] == pytest.approx(sk.f1_score(truth, called, average="macro"))
    assert ours["log_loss"] == pytest.approx(sk.log_loss(truth, probabilities))
    assert ours["top5"] == pytest.approx(sk.top_k_accuracy_score(truth, probabilities, k=5))
    np.testing.assert_array_equal(confusion(called, truth, 7), sk.confusion_matrix(truth, called))
    by_class = per_class_scores(called, truth, own_groups(400), tuple("abcdefg"))
    np.testing.assert_allclose([row["f1"] for row in by_class], sk.f1_score(truth, called, average=None))


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.tile([0.8, 0.2], (100, 1))
    truth = np.array([0] * 60 + [1] * 40)
    assert score(probabilities, truth, own_groups(100), 100, 15, 0)["ece"] == pytest.approx(0.2)


def test_every_interval_holds_its_score_and_narrows_with_more_images(
    predicted: tuple[np.ndarray, np.ndarray],
) -> None:
    probabilities, truth = predicted
    all_ = score(probabilities, truth, own_groups(400), 500, 15, 0)
    few = score(probabilities[:80], truth[:80], own_groups(80), 500, 15, 0)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "top5", "log_loss"):
        assert all_[f"{name}_low"] <= all_[name] <= all_[f"{name}_high"]
        assert all_[f"{name}_high"] - all_[f"{name}_low"] < few[f"{name}_high"] - few[f"{name}_low"]


def test_wilsons_interval_is_the_published_one() -> None:
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson_interval(0, 20)[0] == 0
    assert wilson_interval(0, 20)[1] == pytest.approx(0.1611, abs=1e-4)


def test_grouped_images_make_the_interval_wider(predicted: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, truth = (np.repeat(part[:100], 4, axis=0) for part in predicted)
    alone = score(probabilities, truth, own_groups(400), 500, 15, 0)
    grouped = score(probabilities, truth, np.repeat(own_groups(100), 4), 500, 15, 0)
    width = [scores["log_loss_high"] - scores["log_loss_low"] for scores in (grouped, alone)]
    assert width[0] / width[1] == pytest.approx(2, rel=0.25)


def test_top_five_of_five_classes_says_nothing() -> None:
    assert score(np.full((10, 5), 0.2), np.arange(10) % 5, own_groups(10), 100, 15, 0)["top5"] is None


def test_the_seed_decides_the_draws(predicted: tuple[np.ndarray, np.ndarray]) -> None:
    first, again, other = (score(*predicted, own_groups(400), 100, 15, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_the_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        truth = np.arange(120) % 3
        right = generator.random(120) < 0.8
        called = np.where(right, truth, (truth + 1) % 3)
        ours = score(np.eye(3)[called], truth, own_groups(120), 200, 15, seed)
        hits += ours["balanced_accuracy_low"] <= 0.8 <= ours["balanced_accuracy_high"]
    assert 0.89 <= hits / 200 <= 0.99


@pytest.mark.parametrize(("groups", "size"), [(40, 10), (100, 4), (400, 1)])
@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_the_interval_of_an_accuracy_covers_it_whether_groups_are_alike_or_not(
    groups: int, size: int, alike: float
) -> None:
    """Accuracies between 0.6 and 0.9; plain Wilson intervals of 40 groups of 10 alike images cover them in 40 %."""
    generator, names = np.random.default_rng(0), np.repeat(own_groups(groups), size)
    covered = []
    for truth in generator.uniform(0.6, 0.9, 1500):
        low, high = proportion_interval(answers(generator, truth, groups, size, alike), names)
        covered.append(low <= truth <= high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_where_every_group_is_one_image_the_interval_is_wilsons() -> None:
    right = np.arange(263) < 81
    assert proportion_interval(right, own_groups(263)) == wilson_interval(81, 263)


def test_groups_that_are_all_right_count_as_one_image_each() -> None:
    right = np.ones(40, bool)
    low, high = proportion_interval(right, np.repeat(own_groups(4), 10))
    assert low < 0.4
    assert high == 1
    assert proportion_interval(right[:0], own_groups(0)) == (0, 1)


def test_recall_of_a_class_counts_its_groups() -> None:
    truth, called = np.zeros(40, int), np.repeat([0, 1], 20)
    alone, grouped = (
        per_class_scores(called, truth, groups, ("a", "b"))[0]
        for groups in (own_groups(40), np.repeat(own_groups(4), 10))
    )
    assert grouped["recall"] == alone["recall"] == 0.5
    assert grouped["recall_low"] < alone["recall_low"]
