from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from topwork.training.class_balance import ClassWeight, balanced_order, class_weights
from topwork.training.criterion import Criterion, Loss

COUNTS = np.array([900, 90, 10])


@pytest.mark.parametrize("how", ["none", "balanced", "effective"])
def test_the_mean_weight_of_an_image_is_one(how: str) -> None:
    weights = class_weights(COUNTS, how)  # type: ignore[arg-type]
    assert (weights * COUNTS).sum() == pytest.approx(COUNTS.sum())


def test_balanced_classes_weigh_the_same_together_and_effective_ones_nearly() -> None:
    balanced, effective = (class_weights(COUNTS, how) * COUNTS for how in ("balanced", "effective"))
    np.testing.assert_allclose(balanced, COUNTS.sum() / 3)
    assert effective[0] > effective[1] > effective[2] > COUNTS[2]


def test_a_class_without_images_has_no_weight() -> None:
    assert class_weights(np.array([4, 0, 4]), "balanced").tolist() == [1, 0, 1]


def test_images_of_classes_with_many_thousands_weigh_nearly_the_same() -> None:
    weights = class_weights(np.array([20_000, 10_000]), "effective")
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-3)


def test_a_balanced_epoch_has_as_many_images_and_the_same_number_of_each_class() -> None:
    truth = np.repeat([0, 1, 2], COUNTS)
    rows = balanced_order(truth, np.arange(1000), np.random.default_rng(0))
    assert len(rows) == 1000
    drawn = np.bincount(truth[rows])
    assert drawn.max() - drawn.min() <= 2
    of_small = np.bincount(rows[truth[rows] == 2] - 990)
    assert of_small.max() - of_small.min() <= 3
    assert len(np.unique(rows[truth[rows] == 0])) == drawn[0]  # a large class is not repeated


def scores() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(60, 3, generator=generator), torch.arange(60) % 3


def test_the_usual_loss_is_cross_entropy() -> None:
    logits, truth = scores()
    usual = Criterion.of("cross_entropy", "none", 0.1, np.arange(60) % 3, 3)
    assert usual(logits, truth) == functional.cross_entropy(logits, truth, label_smoothing=0.1)


def test_the_loss_of_a_weighted_class_counts_as_often_as_its_weight_says() -> None:
    logits, truth = scores()
    of_images = np.repeat([0, 1, 2], COUNTS)
    weighted = Criterion.of("cross_entropy", "balanced", 0.0, of_images, 3)(logits, truth)
    each = functional.cross_entropy(logits, truth, reduction="none")
    expected = (torch.tensor(1000 / 3 / COUNTS)[truth] * each).mean()
    torch.testing.assert_close(weighted, expected.float())


def test_the_focal_loss_looks_less_at_what_is_classified_well() -> None:
    truth = torch.tensor([0])
    losses = [
        Criterion.of("focal", "none", 0, np.array([0, 1]), 2)(torch.tensor([[gap, 0.0]]), truth) for gap in (0, 4)
    ]
    plain = [functional.cross_entropy(torch.tensor([[gap, 0.0]]), truth) for gap in (0, 4)]
    assert losses[1] / losses[0] < 0.01 * plain[1] / plain[0]


def test_the_adjusted_loss_estimates_classes_as_if_they_were_equally_frequent() -> None:
    of_images = np.repeat([0, 1], [90, 10])
    adjusted = Criterion.of("logit_adjusted", "none", 0, of_images, 2)
    same = torch.zeros(1, 2, requires_grad=True)  # equal features: without the offsets no class is more likely
    loss = adjusted(same.expand(100, 2), torch.from_numpy(of_images))
    loss.backward()
    torch.testing.assert_close(same.grad, torch.zeros(1, 2))


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "logit_adjusted"])
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_a_teacher_that_is_certain_teaches_what_the_label_does(kind: Loss, class_weight: ClassWeight) -> None:
    truth = np.array([0, 1, 1, 2, 1])
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3)))
    criterion = Criterion.of(kind, class_weight, 0.1, truth, 3)
    by_label = criterion(scores, torch.from_numpy(truth))
    by_teacher = criterion(scores, torch.eye(3)[truth])
    torch.testing.assert_close(by_teacher, by_label)


def test_the_loss_of_soft_targets_is_lowest_where_the_network_answers_as_its_teacher() -> None:
    told = torch.tensor([[0.7, 0.2, 0.1]])
    criterion = Criterion()
    best = criterion(told.log(), told)
    for shift in np.eye(3):
        assert criterion(told.log() + torch.from_numpy(shift).float(), told) > best
