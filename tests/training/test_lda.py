from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from topwork.core.arrays import Floats, Integers
from topwork.core.parameters import HeadParameters
from topwork.training.cross_fitting import cross_fitted, from_samples, left_out
from topwork.training.heads import ABSENT_CLASS, Examples, FittedHead, lda

PARAMETERS = HeadParameters(rejected=0.05)


def clouds(per_class: int, classes: int = 3, width: int = 40, seed: int = 0) -> tuple[Floats, Integers, Integers]:
    """Vectors whose classes differ in direction; lengths say nothing; the noise is strong along one axis."""
    random = np.random.default_rng(seed)
    truth = np.arange(per_class * classes) % classes
    centres = random.normal(size=(classes, width))
    noise = random.normal(size=(len(truth), width)) * np.where(np.arange(width) == 0, 8.0, 0.7)
    lengths = 10.0 ** random.uniform(-2, 2, (len(truth), 1))
    return ((centres[truth] + noise) * lengths).astype(np.float32), truth, np.arange(len(truth)) // classes % 3


def fit(vectors: Floats, truth: Integers, folds: Integers, average: bool = False) -> FittedHead:
    samples = vectors if vectors.ndim == 3 else vectors[None]
    return lda.fit(Examples(samples, truth, folds, 3, average), PARAMETERS)


def test_few_images_are_enough_where_the_noise_is_alike_in_all_classes() -> None:
    fitted = fit(*clouds(6))
    vectors, truth, _ = clouds(200)
    assert (fitted.head.scores(vectors).argmax(axis=1) == truth).mean() > 0.8


def test_the_scored_fold_has_no_say_in_its_own_predictions() -> None:
    vectors, truth, folds = clouds(20)
    before = fit(vectors, truth, folds)
    scrambled = np.where(folds == 1, (truth + 1) % 3, truth)
    after = fit(vectors, scrambled, folds)
    np.testing.assert_allclose(after.out_of_fold[folds == 1], before.out_of_fold[folds == 1], atol=1e-6)
    assert not np.allclose(after.out_of_fold[folds != 1], before.out_of_fold[folds != 1])


def test_a_class_that_a_training_fold_lacks_does_not_stop_the_others() -> None:
    vectors, truth, folds = clouds(20)
    kept = (truth < 2) | (folds == 0)
    fitted = fit(vectors[kept], truth[kept], folds[kept])
    assert np.isfinite(fitted.out_of_fold).all()
    assert (fitted.out_of_fold.argmax(axis=1) == truth[kept])[truth[kept] < 2].mean() > 0.7


def test_a_vector_of_zeros_is_scored_and_views_count_as_samples() -> None:
    vectors, truth, folds = clouds(20)
    alone = fit(vectors, truth, folds)
    copied = fit(np.stack([vectors, vectors]), truth, folds, average=True)
    assert np.isfinite(alone.head.scores(np.zeros((1, 40), np.float32))).all()
    assert (copied.out_of_fold.argmax(axis=1) == alone.out_of_fold.argmax(axis=1)).mean() > 0.95


def fitted_directly(samples: Floats, truth: Integers, classes: int) -> lda.NormalisedHead:
    """The same head from all samples at once, with scikit-learn's covariance."""
    directions = samples.astype(float) / np.linalg.norm(samples.astype(float), axis=1, keepdims=True)
    present, numbers, counts = np.unique(truth, return_inverse=True, return_counts=True)
    means = np.stack([directions[numbers == number].mean(axis=0) for number in range(len(present))])
    covariance, _ = ledoit_wolf(directions - means[numbers], assume_centered=True)
    solved = np.linalg.solve(covariance, means.T).T
    offsets = np.log(counts / len(truth)) - 0.5 * (means * solved).sum(axis=1)
    weight, bias = np.zeros((classes, samples.shape[1])), np.full(classes, ABSENT_CLASS)
    weight[present], bias[present] = solved - solved.mean(axis=0), offsets - offsets.mean()
    return lda.NormalisedHead(weight, bias)


@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("per_class", [8, 500])  # fewer and more images than features; more than one block
def test_sums_give_the_heads_of_a_direct_fit_without_any_folds(per_class: int, views: int) -> None:
    vectors, truth, folds = clouds(per_class)
    noise = np.random.default_rng(1).normal(size=(views, *vectors.shape)) * np.linalg.norm(vectors, axis=1)[:, None]
    examples = Examples(np.stack([vectors, *(vectors + noise).astype(np.float32)]), truth, folds, 3, average=False)
    found, expected = lda.fitted_from_sums(examples), from_samples(fitted_directly, examples)
    for left in left_out(folds):
        for ours, theirs in zip(found(left).tensors().values(), expected(left).tensors().values(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6 * np.abs(theirs).max())


def test_sums_give_the_probabilities_of_a_direct_fit() -> None:
    vectors, truth, folds = clouds(100)
    kept = (truth < 2) | (folds == 0)  # some fits lack a class
    examples = Examples(vectors[None, kept], truth[kept], folds[kept], 3, average=False)
    found, expected = lda.fit(examples, PARAMETERS), cross_fitted(from_samples(fitted_directly, examples), examples)
    np.testing.assert_allclose(found.out_of_fold, expected.out_of_fold, atol=1e-5)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-4)


def test_scores_are_small_enough_for_float32_where_all_images_are_alike() -> None:
    vectors, truth, folds = clouds(100)
    alike = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) + 100).astype(np.float32)
    head = fit(alike, truth, folds).head
    in_float32 = head.apply(alike, head.tensors())
    assert np.abs(head.scores(alike)).max() < 100
    np.testing.assert_allclose(in_float32, head.scores(alike), atol=0.05)


def test_a_single_image_of_each_class_without_two_folds_is_no_trouble() -> None:
    vectors, truth, folds = clouds(3)
    assert np.isfinite(fit(vectors, truth, folds).out_of_fold).all()


def test_memory_beside_the_samples_does_not_grow_with_them() -> None:
    vectors, truth, folds = clouds(20_000)
    tracemalloc.start()
    try:
        lda.fitted_from_sums(Examples(vectors[None], truth, folds, 3, average=False))(())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * vectors.nbytes
