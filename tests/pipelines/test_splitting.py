from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import encode, scene
from tests.datasets.test_feature_store import KEY
from topwork.core.features import FeatureShard
from topwork.core.parameters import DuplicateParameters, FeatureParameters
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.pipelines.splitting import nodes
from topwork.pipelines.splitting.nodes import describe_for_duplicates, find_near_duplicates

COUNT = 12


def at_most(images: int) -> DuplicateParameters:
    return DuplicateParameters(
        merge=True,
        backbone="efficientnet_lite0",
        image_size=None,
        least_cosine=0.85,
        most_bits=20,
        at_most=images,
        sheet_pairs=1,
        max_pixels=10**8,
        threads=1,
    )


@pytest.fixture
def images() -> dict[str, bytes]:
    """Each picture twice, at two qualities."""
    return {f"{number}": encode(scene(number // 2), "JPEG", quality=90 - number % 2) for number in range(COUNT)}


@pytest.fixture
def manifest(images: dict[str, bytes]) -> pd.DataFrame:
    digests = [hashlib.sha256(content).hexdigest() for content in images.values()]
    return pd.DataFrame({"image_id": list(images), "sha256": digests, "status": "ok"})


@pytest.fixture
def store(manifest: pd.DataFrame, tmp_path: Path) -> FolderFeatureStore:
    kept = FolderFeatureStore(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(COUNT // 2, 40)).repeat(2, axis=0).astype(np.float32)
    kept.put(FeatureShard(KEY, tuple(manifest["sha256"]), vectors))
    return kept


def found(images: Any, manifest: pd.DataFrame, store: FolderFeatureStore, most: int) -> list[tuple[str, str]]:
    pairs = find_near_duplicates(images, manifest, store, KEY, at_most(most))
    return list(zip(pairs["image_id"], pairs["other"], strict=True))


TWINS = [(str(number), str(number + 1)) for number in range(0, COUNT, 2)]


def test_of_more_images_than_all_pairs_are_compared_of_the_warning_names_what_finds_them(
    images: Any,
    manifest: pd.DataFrame,
    store: FolderFeatureStore,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes, "has_index", lambda: False)
    assert found(images, manifest, store, COUNT) == TWINS
    assert "pip install" not in caplog.text
    assert found(images, manifest, store, COUNT - 1) == []
    assert "pip install 'topwork[faiss]'" in caplog.text
    features: FeatureParameters = None  # type: ignore[assignment]  # read only if there is anything to describe
    shards = describe_for_duplicates(images, manifest, store, None, KEY, features, at_most(COUNT - 1))  # type: ignore[arg-type]
    assert list(shards) == []


@pytest.mark.skipif(find_spec("faiss") is None, reason="faiss is not installed: pip install 'topwork[faiss]'")
def test_of_more_images_the_index_finds_the_pairs(
    images: Any, manifest: pd.DataFrame, store: FolderFeatureStore
) -> None:
    assert found(images, manifest, store, COUNT - 1) == TWINS
