from __future__ import annotations

import dataclasses
import gc
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from tests.conftest import PROJECT
from topwork.core.features import FeatureKey, Features, FeatureShard
from topwork.datasets.checked import open_tensors
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


def paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


def mapped() -> list[str]:
    return [each.path for each in psutil.Process().memory_maps() if each.path.endswith(".safetensors")]


def test_shards_that_are_known_are_not_opened_again_and_new_ones_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(
        "topwork.datasets.shard_index.open_tensors", lambda path: opened.append(path) or open_tensors(path)
    )
    store, another = FolderFeatureStore(tmp_path), FolderFeatureStore(tmp_path)
    store.put(shard(range(3)))
    folder = tmp_path / KEY.digest
    for _ in range(2):
        assert store.missing(KEY, [sha(0), sha(4)]) == [sha(4)]
        assert another.bytes_held(KEY) == 3 * 16
    assert len(opened) == 1
    time = folder.stat().st_mtime_ns
    another.put(shard(range(3, 6)))
    os.utime(folder, ns=(time, time))  # as if within the resolution of its clock
    assert store.missing(KEY, [sha(0), sha(4)]) == []
    assert len(opened) == 2
    opened[0].unlink()
    assert store.missing(KEY, [sha(0), sha(4)]) == [sha(0)]


def test_the_shard_whose_name_comes_first_answers_in_every_process(tmp_path: Path) -> None:
    store = FolderFeatureStore(tmp_path)
    for value in range(8):  # one image, with vectors that differ as those of two machines may
        store.put(dataclasses.replace(shard(range(1)), vectors=np.full((1, 4), value, np.float32)))
        first = load_file(paths(tmp_path)[0])["vectors"]
        np.testing.assert_array_equal(store.get(KEY, [sha(0)]), first)
        np.testing.assert_array_equal(store.rows(KEY, [sha(0)])[np.array([0])], first)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the files that the process has mapped")
def test_rows_from_more_shards_than_stay_mapped_are_the_same_in_threads_and_in_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topwork.datasets.feature_store._OPEN", 3)
    store, random = FolderFeatureStore(tmp_path), np.random.default_rng(0)
    for start in range(0, 60, 3):
        store.put(shard(range(start, start + 5)))  # neighbours overlap
    numbers = random.permutation(60)
    digests = [sha(number) for number in numbers]
    np.testing.assert_array_equal(store.get(KEY, digests)[:, 0], numbers)
    assert not mapped()
    batches = random.integers(0, 60, (200, 16))
    for rows in (kept := store.rows(KEY, digests), pickle.loads(pickle.dumps(kept))):
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(rows.__getitem__, batches))
        np.testing.assert_array_equal(np.stack(read)[:, :, 0], numbers[batches])
        assert 1 <= len(mapped()) <= 3 * 2
    del kept, rows
    gc.collect()
    assert not mapped()


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-5])])
def test_what_a_lost_shard_held_comes_from_another_or_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], object]
) -> None:
    monkeypatch.setattr("topwork.datasets.feature_store._OPEN", 1)
    store, digests = FolderFeatureStore(tmp_path), [sha(number) for number in range(6)]
    for numbers in (range(4), range(4), range(3, 6)):
        store.put(shard(numbers))
    rows = store.rows(KEY, digests)
    everything = np.arange(6)
    assert rows[everything][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    one, other = [path for path in paths(tmp_path) if load_file(path)["vectors"][0, 0] == 0]
    harm(one)
    assert store.get(KEY, digests)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert rows[everything][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    harm(other)
    with pytest.raises(KeyError, match=sha(0)):
        store.get(KEY, digests)
    with pytest.raises(KeyError, match=sha(0)):
        rows[everything]
    assert store.missing(KEY, digests) == digests[:3]


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
