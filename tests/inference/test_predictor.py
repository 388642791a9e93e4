from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encode, image_bytes, scene
from topwork.core.classifier import Classifier, Decision, Ensemble
from topwork.core.features import FeatureKey
from topwork.core.heads import LinearHead
from topwork.datasets.classifier_file import read_classifier, write_classifier
from topwork.images.decode import RejectedError, decode_pixels
from topwork.images.transforms import Preprocessing, resize_and_crop
from topwork.images.views import PRESETS
from topwork.inference import network_engine
from topwork.inference.network_engine import serving_engine
from topwork.inference.predictor import Predictor
from topwork.models.backbones import describe_backbone, load_backbone
from topwork.models.engines import Engine, Recipe
from topwork.models.graft import with_network
from topwork.scoring.metrics import softmax

PICTURES = [image_bytes(seed) for seed in range(5)]


def a_classifier(weights: str) -> Classifier:
    spec = describe_backbone("efficientnet_lite0", weights, 32, seed=3)
    made = ("last",), "own", "original", "eager", "float32", "any"
    key = FeatureKey(spec.architecture, spec.weights_digest, asdict(spec.preprocessing), *made)
    head = LinearHead(np.random.default_rng(0).normal(size=(3, 1280)).astype(np.float32), np.zeros(3, np.float32))
    return with_network(Classifier("svm", key, head, ("cat", "dog", "owl"), 20.0, "digest"), load_backbone(spec))


def fitted(classifier: Classifier, fit: str) -> Classifier:
    """The classifier with another way to fit images into the square."""
    how = Preprocessing(**classifier.key.preprocessing).fitted(fit)
    return replace(classifier, key=replace(classifier.key, preprocessing=how.fields))


@pytest.mark.parametrize("fit", ["pad", "squash", "multicrop"])
@pytest.mark.parametrize("views", [{}, {"count": 1, "plan": asdict(PRESETS["photo"])}], ids=["original", "views too"])
def test_a_classifier_on_disk_knows_how_images_are_fitted(fit: str, views: dict[str, Any], tmp_path: Path) -> None:
    classifier = replace(fitted(a_classifier("none"), fit), test_views=views)
    write_classifier(classifier, tmp_path)
    kept = read_classifier(tmp_path)
    assert kept.key == classifier.key
    wide = [image_bytes(seed, size=(90, 30)) for seed in range(3)]
    found = Predictor.of(kept).probabilities(wide)
    np.testing.assert_allclose(found, Predictor.of(classifier).probabilities(wide), rtol=1e-5)
    crop = Predictor.of(replace(a_classifier("none"), test_views=views)).probabilities(wide)
    assert np.abs(found - crop).max() > 1e-3


@pytest.mark.parametrize("weights", ["default", "none"])
def test_a_classifier_needs_nothing_but_its_two_files_to_answer(weights: str, tmp_path: Path) -> None:
    classifier = a_classifier(weights)
    write_classifier(classifier, tmp_path)
    spec = describe_backbone("efficientnet_lite0", weights, 32, seed=3)
    pixels = np.stack([resize_and_crop(decode_pixels(each, 10**6, 36), spec.preprocessing) for each in PICTURES])
    features = serving_engine(classifier, lambda: load_backbone(spec))(pixels)
    expected = softmax(classifier.head.scores(features), classifier.temperature)
    found = Predictor.of(read_classifier(tmp_path)).probabilities(PICTURES)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_broken_image_is_named_and_the_rows_of_the_others_stay_where_they_are() -> None:
    predictor = Predictor.of(a_classifier("none"))
    alone = predictor.probabilities(PICTURES)
    answers = predictor.answer([PICTURES[0], b"broken", PICTURES[1], b"", PICTURES[2]])
    assert [bool(reason) for reason in answers.reasons] == [False, True, False, True, False]
    assert np.isnan(answers.probabilities[[1, 3]]).all()
    np.testing.assert_allclose(answers.probabilities[[0, 2, 4]], alone[:3], rtol=1e-6)
    with pytest.raises(RejectedError, match=r"image 2: .*; image 3: empty file"):
        predictor.probabilities([PICTURES[0], b"broken", b""])


@pytest.mark.parametrize("frozen", [True, False], ids=["a head on frozen features", "a network that has learnt"])
def test_an_image_alone_gets_the_answer_that_it_gets_in_a_batch(frozen: bool) -> None:
    classifier = replace(a_classifier("none"), frozen=frozen)
    alone = Predictor.of(classifier, one_by_one=True)
    together = Predictor.of(classifier).probabilities(PICTURES)
    one_by_one = np.concatenate([alone.probabilities([each]) for each in PICTURES])
    np.testing.assert_allclose(one_by_one, together, atol=1e-6)
    np.testing.assert_allclose(alone.probabilities(PICTURES), together, atol=1e-6)


def test_a_network_that_openvino_does_not_know_is_run_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = replace(a_classifier("none"), frozen=False)
    expected = Predictor.of(classifier).probabilities(PICTURES)
    build = network_engine.build_engine

    def unknown(recipe: Recipe) -> Engine:
        if recipe.engine == "openvino":
            raise RuntimeError("no such operation")
        return build(recipe)

    monkeypatch.setattr(network_engine, "build_engine", unknown)
    np.testing.assert_allclose(Predictor.of(classifier).probabilities(PICTURES), expected, atol=1e-5)


def test_a_threshold_decides_the_label_and_confidence_stays_its_probability() -> None:
    classifier = a_classifier("none")
    head = LinearHead(classifier.head.weight[:2], classifier.head.bias[:2])
    two = replace(classifier, head=head, class_names=("cat", "dog"))
    chance = Predictor.of(two).probabilities(PICTURES)[:, 1]
    threshold = float(np.median(chance))
    found = Predictor.of(replace(two, decision=Decision("dog", threshold, ""))).predict(PICTURES)
    is_dog = chance >= threshold
    assert found["label"].tolist() == np.where(is_dog, "dog", "cat").tolist()
    np.testing.assert_allclose(found["confidence"], np.where(is_dog, chance, 1 - chance))


def test_an_ensemble_answers_with_the_weighted_mean_of_its_members(tmp_path: Path) -> None:
    one = a_classifier("none")
    same_features = replace(one, head=LinearHead(-one.head.weight, one.head.bias), temperature=5.0)
    squashed = fitted(one, "squash")
    ensemble = Ensemble((one, squashed, same_features), (0.5, 0.3, 0.2))
    write_classifier(ensemble, tmp_path)
    predictor = Predictor.of(read_classifier(tmp_path), one_by_one=True)
    wide = [*PICTURES[:2], b"broken", image_bytes(9, size=(90, 30))]
    answers = predictor.answer(wide)
    parts = [Predictor.of(member).answer(wide) for member in ensemble.members]
    expected = 0.5 * parts[0].probabilities + 0.3 * parts[1].probabilities + 0.2 * parts[2].probabilities
    np.testing.assert_allclose(answers.probabilities, expected, rtol=1e-5)
    assert answers.reasons == parts[0].reasons
    heads = 2 * 4 * 3 * 1281 / 1e6  # the second and the third member; the network of the third is that of the first
    of_networks = Predictor.of(one).megabytes + Predictor.of(squashed).megabytes
    assert predictor.megabytes == pytest.approx(of_networks + heads / 2)


def test_a_photograph_in_heic_is_answered_as_its_pixels_are() -> None:
    heic = encode(scene(1), "HEIF", quality=90)
    same = encode(Image.fromarray(decode_pixels(heic, 10**6)))
    predictor = Predictor.of(a_classifier("none"))
    np.testing.assert_allclose(predictor.probabilities([heic]), predictor.probabilities([same]), rtol=1e-6)
