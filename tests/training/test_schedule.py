from __future__ import annotations

import itertools

import pytest

from topwork.training import defaults
from topwork.training.schedule import first_learning, group_rates, rate_factor


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    factors = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors.index(max(factors)) == 10
    assert max(factors) == 1
    assert all(a < b for a, b in itertools.pairwise(factors[:11]))
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert 0 < factors[0] < 0.1
    assert factors[-1] < 0.001
    assert rate_factor(0, 1, 0.1) > 0  # a single step learns too


def test_rates_decay_towards_the_first_layers() -> None:
    assert group_rates(3, 1.0, 0.1, 0.5) == pytest.approx([0.025, 0.05, 0.1])


def test_groups_are_unfrozen_one_at_a_time_from_the_end() -> None:
    assert [first_learning(epoch, 2, 5, 2) for epoch in range(9)] == [5, 5, 4, 4, 3, 3, 2, 2, 2]
    assert first_learning(0, 2, 5, 0) == 2


def test_few_images_are_seen_more_often() -> None:
    assert [defaults.epochs(n, scratch=False) for n in (100, 10_000, 100_000, 10**6)] == [30, 26, 3, 3]
    assert [defaults.epochs(n, scratch=True) for n in (100, 10_000, 10**6)] == [200, 100, 10]
    assert (defaults.mixup(1000), defaults.mixup(50_000)) == (0, 0.1)


def test_the_first_layers_learn_where_the_probe_says_that_the_domain_is_far() -> None:
    assert defaults.is_far(probe_accuracy=0.2, classes=17)
    assert not defaults.is_far(probe_accuracy=0.86, classes=10)
    assert defaults.is_far(probe_accuracy=0.6, classes=2)  # a fifth of what there is above chance
    assert [defaults.trainable_groups(9, far=far) for far in (True, False)] == ["all", "3"]
    assert defaults.backbone_rates(300, far=True) == (1.0, 1.0)


def test_few_images_near_the_domain_change_the_backbone_little() -> None:
    assert defaults.backbone_rates(300, far=False) == (0.1, 0.8)
    assert defaults.backbone_rates(3_000, far=False) == (1.0, 0.8)
