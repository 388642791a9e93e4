from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT
from topwork.core.features import FeatureKey, Features, FeatureShard
from topwork.datasets.feature_store import FeatureStoreDataset, FolderFeatureStore
from topwork.datasets.features import FeaturesDataset

KEY = FeatureKey(
    backbone="net",
    weights="abc",
    preprocessing={
        "resize": 256,
        "crop": 224,
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "keep_aspect": True,
    },
    layers=("last",),
    pool="own",
    view="original",
    engine="eager",
    number_format="float32",
    decoder="one",
)
OTHER = {"preprocessing": {"resize": 257}, "layers": ("blocks.1",)}


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def shard(numbers: range, key: FeatureKey = KEY) -> FeatureShard:
    vectors = np.stack([np.full(4, number, np.float32) for number in numbers])
    return FeatureShard(key, tuple(map(sha, numbers)), vectors)


def test_vectors_come_back_in_the_order_asked_for_over_several_shards(tmp_path: Path) -> None:
    store = FolderFeatureStore(tmp_path)
    store.put(shard(range(5)))
    store.put(shard(range(5, 12)))
    asked = [11, 0, 6, 6, 4]
    assert store.get(KEY, [sha(number) for number in asked])[:, 0].tolist() == asked
    assert store.missing(KEY, [sha(3), sha(40), sha(11), sha(41), sha(40)]) == [sha(40), sha(41)]


def test_what_is_not_there_is_an_error_not_another_row(tmp_path: Path) -> None:
    store = FolderFeatureStore(tmp_path)
    store.put(shard(range(5)))
    with pytest.raises(KeyError, match=sha(9)):
        store.get(KEY, [sha(1), sha(9)])


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(FeatureKey)])
def test_a_change_in_any_part_of_the_key_makes_everything_missing(tmp_path: Path, field: str) -> None:
    store = FolderFeatureStore(tmp_path)
    store.put(shard(range(3)))
    changed = dataclasses.replace(KEY, **{field: OTHER.get(field, "another")})
    assert store.missing(changed, [sha(1)]) == [sha(1)]


def test_half_a_shard_is_left_aside_with_a_warning_and_counts_as_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = FolderFeatureStore(tmp_path)
    store.put(shard(range(3)))
    (path,) = (tmp_path / KEY.digest).glob("*.safetensors")
    store.put(shard(range(3, 6)))
    path.write_bytes(path.read_bytes()[:-5])
    assert store.missing(KEY, [sha(1), sha(4)]) == [sha(1)]
    assert "computed again" in caplog.text


WRITER = """
import sys
from pathlib import Path
from tests.datasets.test_feature_store import KEY, shard, sha
from topwork.datasets.feature_store import FolderFeatureStore
store, first = FolderFeatureStore(Path(sys.argv[1])), int(sys.argv[2])
for start in range(first, first + 200, 10):
    store.put(shard(range(start, start + 10)))
    vectors = store.get(KEY, [sha(number) for number in range(first, start + 10)])
    assert vectors[:, 0].tolist() == list(range(first, start + 10))
"""


def test_two_runs_may_write_and_read_at_once(tmp_path: Path) -> None:
    # they overlap: half of what the second computes, the first computes too
    runs = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(first)], cwd=PROJECT) for first in (0, 100)]
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    store = FolderFeatureStore(tmp_path)
    assert store.missing(KEY, [sha(number) for number in range(301)]) == [sha(300)]
    numbers = np.random.default_rng(0).permutation(300).tolist()
    assert store.get(KEY, [sha(number) for number in numbers])[:, 0].tolist() == numbers
    assert store.contents()[0]["images"] == 300


def test_a_store_that_cannot_be_written_to_is_read_all_the_same(tmp_path: Path) -> None:
    store = FolderFeatureStore(tmp_path)
    store.put(shard(range(3)))
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o555)
    assert store.missing(KEY, [sha(1)]) == []
    assert store.get(KEY, [sha(2)])[0, 0] == 2
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o755)


def test_the_store_tells_what_it_holds(tmp_path: Path) -> None:
    dataset = FeatureStoreDataset(path=str(tmp_path))
    dataset.save(shard(range(3)))
    dataset.save(shard(range(2, 6)))
    (content,) = dataset.load().contents()  # type: ignore[attr-defined]
    assert (content["backbone"], content["images"], content["bytes"]) == ("net", 6, 7 * 16)
    assert dataset.load().bytes_held(KEY) == 7 * 16
    assert '"net"' in dataset.preview()


def test_features_come_back_with_their_key(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).random((3, 2, 3), np.float32)
    features = Features(KEY, {"backbone": "net"}, "digest", ("a/ü.png", "b"), vectors[0], vectors[1:])
    dataset = FeaturesDataset(filepath=str(tmp_path / "features.safetensors"))
    dataset.save(features)
    loaded = dataset.load()
    assert loaded.key == KEY
    assert (loaded.requested, loaded.content, loaded.image_id) == ({"backbone": "net"}, "digest", ("a/ü.png", "b"))
    np.testing.assert_array_equal(loaded.vectors[loaded.positions(["b", "a/ü.png"])], features.vectors[[1, 0]])
    np.testing.assert_array_equal(loaded.views, features.views)
    np.testing.assert_allclose(loaded.averaged(), vectors.mean(axis=0), rtol=1e-6)
