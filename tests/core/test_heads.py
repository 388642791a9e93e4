"""What every head keeps to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import PROJECT
from topwork.core.heads import Head, LinearHead
from topwork.decisions.strategies import REGISTRY, head_types
from topwork.run.configuration import load_configuration
from topwork.training.heads import Examples, FittedHead

FROZEN = [strategy for strategy in REGISTRY if strategy.head]
CLASSES = 3


@pytest.fixture(scope="module", params=FROZEN, ids=lambda strategy: strategy.name)
def fitted(request: pytest.FixtureRequest) -> tuple[FittedHead, Examples]:
    from importlib import import_module

    generator = np.random.default_rng(0)
    truth = np.arange(90) % CLASSES
    vectors = (3 * generator.normal(size=(CLASSES, 8))[truth] + generator.normal(size=(90, 8))).astype(np.float32)
    examples = Examples(vectors[None], truth, np.arange(90) // CLASSES % 3, CLASSES, average=False)
    block = load_configuration(PROJECT / "conf", None, {})["parameters"][request.param.name]
    return import_module(request.param.head).fit(examples, request.param.parameters.model_validate(block)), examples


def test_a_head_learns_and_its_out_of_fold_predictions_are_probabilities(fitted: tuple[FittedHead, Examples]) -> None:
    found, examples = fitted
    assert (found.head.scores(examples.vectors).argmax(axis=1) == examples.truth).mean() > 0.95
    assert (found.out_of_fold.argmax(axis=1) == examples.truth).mean() > 0.9
    np.testing.assert_allclose(found.out_of_fold.sum(axis=1), 1)
    assert found.temperature > 0


def test_a_head_scores_alike_in_numpy_and_in_torch(fitted: tuple[FittedHead, Examples]) -> None:
    head, vectors = fitted[0].head, fitted[1].vectors
    tensors = {name: torch.tensor(np.asarray(value, np.float32)) for name, value in head.tensors().items()}
    np.testing.assert_allclose(head.apply(torch.tensor(vectors), tensors).numpy(), head.scores(vectors), atol=1e-4)


def test_a_head_comes_back_from_its_tensors_and_no_other_ones(fitted: tuple[FittedHead, Examples]) -> None:
    head, vectors = fitted[0].head, fitted[1].vectors
    kind: type[Head] = head_types()[head.kind]
    np.testing.assert_array_equal(kind.from_tensors(head.tensors(), CLASSES).scores(vectors), head.scores(vectors))
    with pytest.raises(ValueError, match="classes"):
        kind.from_tensors(head.tensors(), CLASSES + 1)
    with pytest.raises(ValueError, match="classes"):
        kind.from_tensors({}, CLASSES)


def test_every_kind_of_head_is_known_once() -> None:
    assert head_types()[LinearHead.kind] is LinearHead
