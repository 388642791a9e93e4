from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from topwork.scoring.metrics import losses, softmax
from topwork.training.calibration import fit_temperature
from topwork.training.heads import Examples
from topwork.training.linear import Estimator, LinearFit, fit_linear, linear_svm, multinomial_logistic
from topwork.workers import fits

MADE = {"svm": linear_svm, "logistic": multinomial_logistic}
KINDS = {name: made("none", 1000) for name, made in MADE.items()}
GRID = [1e-3, 1e-2, 1e-1]


def blobs(n: int, classes: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    centres = generator.normal(0, 1, (classes, 12)) * 3
    vectors = centres[truth] + generator.normal(0, spread, (n, 12))
    scales = 10.0 ** generator.integers(-3, 3, 12)  # features of very different size
    return (vectors * scales).astype(np.float32), truth, generator.integers(0, 5, n)


@pytest.fixture(params=KINDS)
def estimator(request: pytest.FixtureRequest) -> Estimator:
    return KINDS[request.param]


def fit(estimator: Estimator, vectors: np.ndarray, truth: np.ndarray, folds: np.ndarray) -> LinearFit:
    return fit_linear(estimator, GRID, Examples(vectors[None], truth, folds, int(truth.max()) + 1, average=False))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_head_is_the_scaler_and_scikit_learns_classifier_in_one_matrix(
    kind: str, class_weight: str, classes: int
) -> None:
    vectors, truth, folds = blobs(300, classes, 2.0)
    kept = np.flatnonzero((truth > 0) | (np.arange(300) % 3 > 0))  # the first class is rarer
    vectors, truth, folds = vectors[kept], truth[kept], folds[kept]
    ours = fit(MADE[kind](class_weight, 1000), vectors, truth, folds)
    weight = None if class_weight == "none" else class_weight
    theirs = {
        "svm": LinearSVC(C=ours.C, tol=1e-6, max_iter=100_000, class_weight=weight, random_state=0),
        "logistic": LogisticRegression(C=ours.C, tol=1e-8, max_iter=10_000, class_weight=weight),
    }[kind]
    expected = make_pipeline(StandardScaler(), theirs).fit(vectors, truth).decision_function(vectors)
    scores = ours.head.scores(vectors)
    got = scores[:, 1] - scores[:, 0] if classes == 2 else scores
    np.testing.assert_allclose(got, expected, atol=0.02 * np.abs(expected).max())


def test_well_separated_classes_are_told_apart_out_of_fold(estimator: Estimator) -> None:
    vectors, truth, folds = blobs(400, 4, 0.5)
    ours = fit(estimator, vectors, truth, folds)
    assert (ours.out_of_fold.argmax(1) == truth).mean() > 0.99
    np.testing.assert_allclose(ours.out_of_fold.sum(1), 1)


def test_labels_that_mean_nothing_score_no_better_than_chance_out_of_fold(estimator: Estimator) -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(0, 1, (300, 200)).astype(np.float32)
    truth = generator.integers(0, 3, 300)
    ours = fit(estimator, vectors, truth, generator.integers(0, 5, 300))
    assert (ours.head.scores(vectors).argmax(1) == truth).mean() > 0.6  # it did learn them by heart
    assert (ours.out_of_fold.argmax(1) == truth).mean() < 0.45
    assert losses(ours.out_of_fold, truth).mean() > 0.95 * np.log(3)


def test_the_scored_fold_has_no_say_in_its_own_predictions(estimator: Estimator) -> None:
    vectors, truth, folds = blobs(200, 3, 3.0)
    before = fit(estimator, vectors, truth, folds)
    scrambled = truth.copy()
    scrambled[folds == 2] = (truth[folds == 2] + 1) % 3
    after = fit(estimator, vectors, scrambled, folds)
    np.testing.assert_allclose(after.out_of_fold[folds == 2], before.out_of_fold[folds == 2], atol=1e-6)
    assert after.C_by_fold[2] == before.C_by_fold[2]
    assert not np.allclose(after.out_of_fold[folds != 2], before.out_of_fold[folds != 2])


def test_a_class_that_some_training_folds_lack_does_not_stop_the_others(estimator: Estimator) -> None:
    vectors, truth, folds = blobs(150, 3, 0.5)
    rare = np.flatnonzero(truth == 2)
    kept = np.setdiff1d(np.arange(150), rare[2:])
    folds[rare[:2]] = [0, 1]
    ours = fit(estimator, vectors[kept], truth[kept], folds[kept])
    assert (ours.out_of_fold.argmax(1) == truth[kept])[truth[kept] < 2].mean() > 0.98
    assert ours.head.weight.shape == (3, 12)


def test_the_same_seed_gives_the_same_head(estimator: Estimator) -> None:
    vectors, truth, folds = blobs(150, 3, 2.0)
    first, again = (fit(estimator, vectors, truth, folds) for _ in range(2))
    np.testing.assert_array_equal(first.head.weight, again.head.weight)
    assert first.temperature == again.temperature


def test_the_number_of_threads_changes_no_bit(estimator: Estimator, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    vectors, truth = random.normal(size=(2500, 150)).astype(np.float32), np.arange(2500) % 3
    vectors[:, :3] += np.eye(3, dtype=np.float32)[truth]
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(fits, "cpu_count", lambda threads=threads: threads)
        with threadpool_limits(threads):
            found.append(fit(estimator, vectors, truth, np.arange(2500) // 3 % 3))
    first, second = found
    assert first.head.weight.tobytes() == second.head.weight.tobytes()
    assert first.out_of_fold.tobytes() == second.out_of_fold.tobytes()


def test_memory_beside_the_samples_is_one_copy_of_them(estimator: Estimator) -> None:
    vectors = np.random.default_rng(0).normal(size=(20_000, 200)).astype(np.float32)
    examples = Examples(vectors[None], np.arange(20_000) % 2, np.arange(20_000) // 2 % 3, 2, average=False)
    tracemalloc.start()
    try:
        fit_linear(estimator, [1e-4], examples)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.75 * vectors.nbytes


def test_class_weights_raise_the_recall_of_a_rare_class() -> None:
    vectors, truth, folds = blobs(600, 2, 6.0)
    rare = np.flatnonzero(truth == 1)
    kept = np.setdiff1d(np.arange(600), rare[40:])
    recall = {}
    for weight in ("none", "balanced"):
        ours = fit(multinomial_logistic(weight, 300), vectors[kept], truth[kept], folds[kept])
        recall[weight] = (ours.out_of_fold.argmax(1) == 1)[truth[kept] == 1].mean()
    assert recall["balanced"] > recall["none"]


def test_views_that_are_copies_change_nothing(estimator: Estimator) -> None:
    vectors, truth, folds = blobs(150, 3, 2.0)
    alone = fit_linear(estimator, GRID, Examples(vectors[None], truth, folds, 3, average=False))
    for average in (False, True):
        copied = fit_linear(estimator, GRID, Examples(np.stack([vectors] * 3), truth, folds, 3, average=average))
        assert copied.C == alone.C
        np.testing.assert_allclose(copied.out_of_fold, alone.out_of_fold, atol=0.02)


def test_what_views_vary_is_not_relied_on(estimator: Estimator) -> None:
    vectors, truth, folds = blobs(300, 3, 1.0)

    def disturbed(seed: int) -> np.ndarray:
        """The same images as something would make them that changes the first half of the features at random."""
        noise = np.random.default_rng(seed).normal(0, 20, vectors.shape) * vectors.std(axis=0)
        return vectors + noise * (np.arange(12) < 6)

    alone = fit_linear(estimator, GRID, Examples(vectors[None], truth, folds, 3, average=False)).head
    viewed = fit_linear(
        estimator, GRID, Examples(np.stack([vectors, *map(disturbed, range(6))]), truth, folds, 3, average=False)
    ).head
    new = disturbed(99)
    right = [float((head.scores(new).argmax(axis=1) == truth).mean()) for head in (viewed, alone)]
    assert right[0] > right[1] + 0.2


def test_averaging_scores_an_image_by_the_mean_of_its_samples(estimator: Estimator) -> None:
    vectors, truth, folds = blobs(150, 3, 2.0)
    noise = np.random.default_rng(7).normal(0, 4, vectors.shape) * vectors.std(axis=0)
    averaged = fit_linear(
        estimator, GRID, Examples(np.stack([vectors + noise, vectors - noise]), truth, folds, 3, average=True)
    )
    first = fit_linear(
        estimator, GRID, Examples(np.stack([vectors + noise, vectors - noise]), truth, folds, 3, average=False)
    )
    right = [(each.out_of_fold.argmax(axis=1) == truth).mean() for each in (averaged, first)]
    assert right[0] > right[1] + 0.05


def test_fits_that_stop_early_are_counted() -> None:
    vectors, truth, folds = blobs(200, 3, 3.0)
    assert fit(multinomial_logistic("none", 1), vectors, truth, folds).unconverged > 0


def test_the_temperature_undoes_a_stretch() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(0, 2, (20_000, 4))
    truth = np.array([generator.choice(4, p=row) for row in softmax(scores, 1.0)])
    assert fit_temperature(scores * 5, truth) == pytest.approx(5, rel=0.05)


def test_a_classifier_without_a_mistake_is_as_sure_as_its_images_are_many() -> None:
    truth = np.arange(100) % 4
    scores = np.where(np.arange(4) == truth[:, None], 5.0, 0.0)
    sure = softmax(scores, fit_temperature(scores, truth))[np.arange(100), truth]
    np.testing.assert_allclose(sure, 1 - 1 / 102, atol=1e-3)
