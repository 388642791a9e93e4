from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import image_bytes
from topwork.core.classifier import Classifier
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey, FeatureShard
from topwork.core.heads import LinearHead
from topwork.inference import description
from topwork.inference.description import describe_missing, served_key

KEY = FeatureKey("network", "digest", {"crop": 8}, ("last",), "own", "original", "eager", "float32", "decoder")
CLASSIFIER = Classifier("logistic", KEY, LinearHead(np.ones((2, 1)), np.zeros(2)), ("a", "b"), 1.0, "split")


class OneNumber:
    """Describes an image by the number of its bytes."""

    batch_size, streams = 2, 1

    def describe(self, images: list[bytes]) -> tuple[np.ndarray, list[str]]:
        return np.array([[float(len(image))] for image in images]), [""] * len(images)


class Known:
    """A store that has the vectors of these contents."""

    def __init__(self, *sha256: str) -> None:
        self._held = sha256

    def missing(self, _key: FeatureKey, sha256: list[str]) -> list[str]:
        return [each for each in sha256 if each not in self._held]


def described(
    images: dict[str, bytes], contents: dict[str, str], known: Known, patch: pytest.MonkeyPatch
) -> list[FeatureShard]:
    patch.setattr(description.NetworkPredictor, "of_network", lambda _classifier: OneNumber())
    return list(describe_missing(images, contents, known, CLASSIFIER))  # type: ignore[arg-type]


def test_a_head_on_frozen_features_uses_what_the_store_holds_of_its_training() -> None:
    assert served_key(CLASSIFIER) == KEY


def test_trained_networks_and_averaged_views_have_keys_of_their_own() -> None:
    trained = [replace(CLASSIFIER, frozen=False, network={"trunk.w": np.full(3, value)}) for value in (1.0, 2.0)]
    views = replace(CLASSIFIER, test_views={"count": 2, "plan": {}})
    assert len({served_key(each).digest for each in (CLASSIFIER, *trained, views)}) == 4


def test_what_the_store_holds_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    images = {f"{number}.png": image_bytes(number) for number in range(5)}
    contents = {hashlib.sha256(content).hexdigest(): name for name, content in images.items()}
    first, *others = contents
    (shard,) = described(images, contents, Known(first), monkeypatch)
    assert list(shard.sha256) == others
    assert shard.vectors[:, 0].tolist() == [len(images[contents[sha256]]) for sha256 in others]
    assert described(images, contents, Known(*contents), monkeypatch) == []


def test_a_file_that_changed_since_its_inspection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"b\.png changed in the meantime: run the same command again"):
        described({"b.png": b"now"}, {"0" * 64: "b.png"}, Known(), monkeypatch)
