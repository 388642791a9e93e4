from __future__ import annotations

import numpy as np

from topwork.core.arrays import Floats, Integers
from topwork.core.parameters import HeadParameters
from topwork.training.heads import Examples, FittedHead, lda

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
