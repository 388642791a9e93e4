from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import image_bytes
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.images.views import PRESETS
from topwork.models.backbones import BackboneSpec, describe_backbone
from topwork.models.extraction import (
    Extraction,
    extract_missing,
    extract_shards,
    extract_view_shards,
    feature_key,
    view_keys,
)
from topwork.schemas import FeatureShard

HOW = Extraction("last", "average", "float32", 4, 8, 2, 1_000_000)


@pytest.fixture(scope="module")
def spec() -> BackboneSpec:
    return describe_backbone("efficientnet_lite0", image_size=64)


@pytest.fixture(scope="module")
def images() -> dict[str, bytes]:
    return {f"{number}.png": image_bytes(number) for number in range(11)}


def shards(images: dict[str, bytes], spec: BackboneSpec, how: Extraction = HOW) -> list[FeatureShard]:
    wanted = [(name, hashlib.sha256(data).hexdigest()) for name, data in images.items()]
    return list(extract_shards(images, wanted, spec, feature_key(spec, how), how))


@pytest.mark.parametrize("number_format", ["float32", "bfloat16"])
def test_the_same_image_has_the_same_features_in_any_batch(
    images: dict[str, bytes], spec: BackboneSpec, number_format: str
) -> None:
    how = replace(HOW, number_format=number_format)
    together = {
        sha256: vector
        for shard in shards(images, spec, how)
        for sha256, vector in zip(shard.sha256, shard.vectors, strict=True)
    }
    backwards = dict(reversed(images.items()))
    for some in (backwards, {"alone": images["10.png"]}):
        for shard in shards(some, spec, how):
            for sha256, vector in zip(shard.sha256, shard.vectors, strict=True):
                np.testing.assert_array_equal(vector, together[sha256])


def test_shards_are_whole_batches_but_for_the_last(images: dict[str, bytes], spec: BackboneSpec) -> None:
    assert [len(shard.sha256) for shard in shards(images, spec)] == [8, 3]
    assert all(shard.vectors.dtype == np.float32 for shard in shards(images, spec))


def test_several_layers_are_concatenated(images: dict[str, bytes], spec: BackboneSpec) -> None:
    several = shards(images, spec, replace(HOW, layers="blocks.2+last"))[0].vectors
    np.testing.assert_allclose(several[:, -1280:], shards(images, spec)[0].vectors, atol=1e-5)
    assert several.shape[1] == 1280 + 40


@pytest.mark.parametrize(
    "change",
    [
        {"layers": "blocks.2"},
        {"number_format": "bfloat16"},
        {"layers": "blocks.2", "pool": "max"},
    ],
)
def test_the_key_changes_with_what_is_taken(spec: BackboneSpec, change: dict[str, str]) -> None:
    reference = replace(HOW, layers="blocks.2") if "pool" in change else HOW
    assert feature_key(spec, replace(HOW, **change)) != feature_key(spec, reference)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"batch_size": 16}, {"shard_size": 64}, {"decode_threads": 1}])
def test_the_key_does_not_change_with_how_it_is_computed(spec: BackboneSpec, change: dict[str, int]) -> None:
    assert feature_key(spec, replace(HOW, **change)) == feature_key(spec, HOW)  # type: ignore[arg-type]


def test_the_key_changes_with_weights_and_size(spec: BackboneSpec) -> None:
    keys = {
        feature_key(describe_backbone("efficientnet_lite0", weights, size), HOW).digest
        for weights, size in (("default", 64), ("none", 64), ("default", 96))
    }
    assert len(keys) == 3


def test_bfloat16_features_point_the_same_way(images: dict[str, bytes], spec: BackboneSpec) -> None:
    exact = shards(images, spec)[0].vectors
    quick = shards(images, spec, replace(HOW, number_format="bfloat16"))[0].vectors
    cosine = (exact * quick).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(quick, axis=1)
    assert cosine.min() > 0.995


def vectors_of_views(
    images: dict[str, bytes], spec: BackboneSpec, views: tuple[int, ...] = (1, 2, 3)
) -> dict[tuple[str, str], np.ndarray]:
    wanted = [(name, hashlib.sha256(data).hexdigest()) for name, data in images.items()]
    plan = PRESETS["photo"]
    keys = {view: key for view, key in view_keys(feature_key(spec, HOW), plan, 3).items() if view in views}
    shards = list(extract_view_shards(images, wanted, spec, keys, plan, HOW))
    assert all(len(shard.sha256) <= HOW.shard_size for shard in shards)
    return {
        (shard.key.view, sha256): vector
        for shard in shards
        for sha256, vector in zip(shard.sha256, shard.vectors, strict=True)
    }


def test_a_view_has_the_same_features_whatever_else_is_computed(images: dict[str, bytes], spec: BackboneSpec) -> None:
    together = vectors_of_views(images, spec)
    assert len(together) == 3 * len(images)
    for some in (vectors_of_views({"alone": images["9.png"]}, spec), vectors_of_views(images, spec, views=(2,))):
        for of, vector in some.items():
            np.testing.assert_array_equal(vector, together[of])


def test_views_differ_from_each_other_and_from_the_original(images: dict[str, bytes], spec: BackboneSpec) -> None:
    views = vectors_of_views(images, spec)
    (first, *_) = shards(images, spec)
    same_image = [vector for (_, sha256), vector in views.items() if sha256 == first.sha256[0]]
    vectors = np.stack([first.vectors[0], *same_image])
    assert len({vector.tobytes() for vector in vectors}) == 4


def test_unchanged_views_have_the_features_of_the_original(images: dict[str, bytes]) -> None:
    spec = describe_backbone("efficientnet_lite0", image_size=56)  # cut from 64 pixels: a margin of whole pixels
    wanted = [(name, hashlib.sha256(data).hexdigest()) for name, data in images.items()]
    keys = view_keys(feature_key(spec, HOW), PRESETS["none"], 1)
    (view, *_) = extract_view_shards(images, wanted, spec, keys, PRESETS["none"], HOW)
    original = shards(images, spec)[0].vectors
    assert np.corrcoef(view.vectors.ravel(), original.ravel())[0, 1] > 0.98


def test_an_interrupted_extraction_of_views_goes_on_where_it_was(
    images: dict[str, bytes], spec: BackboneSpec, tmp_path: Path
) -> None:
    contents = {hashlib.sha256(data).hexdigest(): name for name, data in images.items()}
    plan = PRESETS["photo"]
    key = feature_key(spec, HOW)
    keys = [key, *view_keys(key, plan, 2).values()]

    def run(store: FolderFeatureStore, shards: int | None = None) -> int:
        computed = 0
        for shard in islice(extract_missing(images, contents, store, spec, HOW, plan, 2), shards):
            store.put(shard)
            computed += len(shard.sha256)
        return computed

    interrupted, whole = FolderFeatureStore(tmp_path / "interrupted"), FolderFeatureStore(tmp_path / "whole")
    done = run(interrupted, shards=5)  # in the middle of a batch of which one view is kept and the other not
    assert sorted(len(interrupted.missing(each, list(contents))) for each in keys) == [0, 3, 7]
    assert done + run(interrupted) == run(whole) == 3 * len(images)
    assert run(interrupted) == 0
    for each in keys:
        np.testing.assert_array_equal(interrupted.get(each, list(contents)), whole.get(each, list(contents)))
