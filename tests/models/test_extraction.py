from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from tests.conftest import encode, image_bytes
from topwork.core.features import FeatureKey, FeatureShard
from topwork.core.parameters import FeatureParameters
from topwork.core.stores import FeatureStore
from topwork.datasets.engine_store import EngineStoreDataset, FolderEngineStore
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.images.transforms import Preprocessing, all_crops
from topwork.images.views import PRESETS
from topwork.models.engines import Engine
from topwork.models.extraction import (
    Extraction,
    extract_for_keys,
    extract_missing,
    extract_shards,
    extract_view_shards,
    on_workers,
    view_keys,
)
from topwork.models.feature_key import engine_for, resolved_key
from topwork.workers import hired, is_worker

HOW = Extraction(shard_size=8, threads=2, max_pixels=1_000_000)
ASKED = FeatureParameters(
    backbone="efficientnet_lite0",
    weights="default",
    image_size=64,
    seed=0,
    layers="last",
    pool="average",
    engine="eager",
    number_format="float32",
    batch_size=4,
    shard_size=8,
    threads=2,
    max_pixels=1_000_000,
    white=None,
    fit="crop",
    fit_colour="mean",
)
ENGINES = [("eager", "float32"), ("eager", "bfloat16"), ("openvino", "float32"), ("openvino", "bfloat16")]


def asked(**changes: object) -> FeatureParameters:
    return ASKED.model_copy(update=changes)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> FolderEngineStore:
    return FolderEngineStore(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="module")
def images() -> dict[str, bytes]:
    return {f"{number}.png": image_bytes(number) for number in range(11)}


def shards(
    images: dict[str, bytes], engines: FolderEngineStore, parameters: FeatureParameters = ASKED
) -> list[FeatureShard]:
    wanted = [(name, hashlib.sha256(data).hexdigest()) for name, data in images.items()]
    key = resolved_key(parameters, engines)
    return list(extract_shards(images, wanted, key, engine_for(key, parameters, engines), HOW))


@pytest.mark.parametrize(("engine", "number_format"), ENGINES)
def test_the_same_image_has_the_same_features_in_any_batch(
    images: dict[str, bytes], engines: FolderEngineStore, engine: str, number_format: str
) -> None:
    parameters = asked(engine=engine, number_format=number_format)
    together = {
        sha256: vector
        for shard in shards(images, engines, parameters)
        for sha256, vector in zip(shard.sha256, shard.vectors, strict=True)
    }
    backwards = dict(reversed(images.items()))
    for some in (backwards, {"alone": images["10.png"]}):
        for shard in shards(some, engines, parameters):
            for sha256, vector in zip(shard.sha256, shard.vectors, strict=True):
                np.testing.assert_array_equal(vector, together[sha256])


def test_shards_are_whole_batches_but_for_the_last(images: dict[str, bytes], engines: FolderEngineStore) -> None:
    found = shards(images, engines)
    assert [len(shard.sha256) for shard in found] == [8, 3]
    assert all(shard.vectors.dtype == np.float32 for shard in found)


@pytest.mark.parametrize(("engine", "tolerance"), [("eager", 1e-5), ("openvino", 1e-3)])
def test_several_layers_are_concatenated(
    images: dict[str, bytes], engines: FolderEngineStore, engine: str, tolerance: float
) -> None:
    several = shards(images, engines, asked(layers="blocks.2+last", engine=engine))[0].vectors
    np.testing.assert_allclose(several[:, -1280:], shards(images, engines)[0].vectors, atol=tolerance)
    assert several.shape[1] == 1280 + 40


@pytest.mark.parametrize(
    "change",
    [
        {"layers": "blocks.2"},
        {"number_format": "bfloat16"},
        {"engine": "openvino"},
        {"layers": "blocks.2", "pool": "max"},
        {"weights": "none"},
        {"image_size": 96},
        {"fit": "pad"},
        {"fit": "squash"},
        {"fit": "multicrop"},
    ],
)
def test_the_key_changes_with_what_is_taken(engines: FolderEngineStore, change: dict[str, object]) -> None:
    reference = asked(layers="blocks.2") if "pool" in change else ASKED
    assert resolved_key(asked(**change), engines) != resolved_key(reference, engines)


def test_a_crop_has_the_key_that_it_had_before_there_was_a_choice(engines: FolderEngineStore) -> None:
    assert not {"fit", "colour"} & set(resolved_key(ASKED, engines).preprocessing)


def test_a_colour_is_part_of_the_key_where_there_is_a_canvas(engines: FolderEngineStore) -> None:
    white, mean, spelt = (
        resolved_key(asked(fit="pad", fit_colour=colour), engines) for colour in ("255-255-255", "mean", "128-128-128")
    )
    assert white != mean == spelt  # the mean of this network is half of white
    squashed = (resolved_key(asked(fit="squash", fit_colour=colour), engines) for colour in ("255-255-255", "mean"))
    assert next(squashed) == next(squashed)


def test_the_engine_is_measured_once_for_all_fits(tmp_path: Path) -> None:
    engines = FolderEngineStore(tmp_path)
    keys = [resolved_key(asked(fit=fit), engines) for fit in ("pad", "crop", "squash")]
    assert len(list(tmp_path.glob("choices/*.json"))) == 1
    assert len({key.digest for key in keys}) == 3


def test_several_crops_have_the_mean_of_their_features(engines: FolderEngineStore) -> None:
    wide, several = np.random.default_rng(0).integers(0, 256, (73, 190, 3), np.uint8), asked(fit="multicrop")
    key = resolved_key(several, engines)
    crops = all_crops(wide, Preprocessing(**key.preprocessing))
    expected = engine_for(key, several, engines)(crops).mean(axis=0)
    found = shards({"wide.png": encode(Image.fromarray(wide))}, engines, several)[0].vectors
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [{"batch_size": 16}, {"shard_size": 64}, {"threads": 1}])
def test_the_key_does_not_change_with_how_it_is_computed(engines: FolderEngineStore, change: dict[str, object]) -> None:
    assert resolved_key(asked(**change), engines) == resolved_key(ASKED, engines)


@pytest.mark.parametrize(("engine", "number_format"), ENGINES[1:])
def test_every_engines_features_point_the_same_way(
    images: dict[str, bytes], engines: FolderEngineStore, engine: str, number_format: str
) -> None:
    exact = shards(images, engines)[0].vectors
    quick = shards(images, engines, asked(engine=engine, number_format=number_format))[0].vectors
    cosine = (exact * quick).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(quick, axis=1)
    assert cosine.min() > (0.999999 if number_format == "float32" else 0.99)


def vectors_of_views(
    images: dict[str, bytes], engines: FolderEngineStore, views: tuple[int, ...] = (1, 2, 3)
) -> dict[tuple[str, str], np.ndarray]:
    wanted = [(name, hashlib.sha256(data).hexdigest()) for name, data in images.items()]
    plan = PRESETS["photo"]
    original = resolved_key(ASKED, engines)
    keys = {view: key for view, key in view_keys(original, plan, 3).items() if view in views}
    engine = engine_for(original, ASKED, engines)
    shards = list(extract_view_shards(images, wanted, keys, engine, plan, HOW))
    assert all(len(shard.sha256) <= HOW.shard_size for shard in shards)
    return {
        (shard.key.view, sha256): vector
        for shard in shards
        for sha256, vector in zip(shard.sha256, shard.vectors, strict=True)
    }


def test_a_view_has_the_same_features_whatever_else_is_computed(
    images: dict[str, bytes], engines: FolderEngineStore
) -> None:
    together = vectors_of_views(images, engines)
    assert len(together) == 3 * len(images)
    for some in (vectors_of_views({"alone": images["9.png"]}, engines), vectors_of_views(images, engines, views=(2,))):
        for of, vector in some.items():
            np.testing.assert_array_equal(vector, together[of])


def test_views_differ_from_each_other_and_from_the_original(
    images: dict[str, bytes], engines: FolderEngineStore
) -> None:
    views = vectors_of_views(images, engines)
    (first, *_) = shards(images, engines)
    same_image = [vector for (_, sha256), vector in views.items() if sha256 == first.sha256[0]]
    vectors = np.stack([first.vectors[0], *same_image])
    assert len({vector.tobytes() for vector in vectors}) == 4


def test_unchanged_views_have_the_features_of_the_original(
    images: dict[str, bytes], engines: FolderEngineStore
) -> None:
    parameters = asked(image_size=56)  # cut from 64 pixels: a margin of whole pixels
    wanted = [(name, hashlib.sha256(data).hexdigest()) for name, data in images.items()]
    key = resolved_key(parameters, engines)
    engine = engine_for(key, parameters, engines)
    (view, *_) = extract_view_shards(images, wanted, view_keys(key, PRESETS["none"], 1), engine, PRESETS["none"], HOW)
    original = shards(images, engines, parameters)[0].vectors
    assert np.corrcoef(view.vectors.ravel(), original.ravel())[0, 1] > 0.98


def test_an_interrupted_extraction_of_views_goes_on_where_it_was(
    images: dict[str, bytes], engines: FolderEngineStore, tmp_path: Path
) -> None:
    contents = {hashlib.sha256(data).hexdigest(): name for name, data in images.items()}
    plan = PRESETS["photo"]
    key = resolved_key(ASKED, engines)
    keys = [key, *view_keys(key, plan, 2).values()]

    def engine() -> Engine:
        return engine_for(key, ASKED, engines)

    def run(store: FolderFeatureStore, shards: int | None = None) -> int:
        computed = 0
        for shard in islice(extract_missing(images, contents, store, key, engine, HOW, plan, 2), shards):
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


def test_a_resolved_request_is_recalled_without_looking_at_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderEngineStore(tmp_path)
    key = resolved_key(ASKED, store)
    monkeypatch.setattr("topwork.models.feature_key._resolved", lambda *_: pytest.fail("it was looked at again"))
    assert resolved_key(ASKED, store) == key


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"key": {"backbone": 3}}'])
def test_a_damaged_memory_is_renewed(tmp_path: Path, damage: str) -> None:
    store = FolderEngineStore(tmp_path)
    key = resolved_key(ASKED, store)
    (choice,) = (tmp_path / "choices").iterdir()
    choice.write_text(damage)
    assert resolved_key(ASKED, store) == key
    assert len(store.choices()) == 1


def test_what_is_complete_in_the_store_needs_no_torch(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from topwork.datasets.engine_store import EngineStoreDataset, FolderEngineStore
from topwork.models.extraction import extract_missing
from topwork.models.feature_key import resolved_key
from topwork.core.parameters import FeatureParameters
resolved_key(FeatureParameters(**{ASKED.model_dump()!r}), FolderEngineStore(Path({str(tmp_path)!r})))
print("torch" in sys.modules)
"""
    said = [subprocess.check_output([sys.executable, "-c", script], text=True) for _ in range(2)]
    assert said == ["True\n", "False\n"]


def test_a_converted_network_is_kept_and_used_again(
    images: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, parameters = FolderEngineStore(tmp_path), asked(engine="openvino")
    first = shards(images, store, parameters)[0].vectors
    monkeypatch.setattr("topwork.models.backbones.load_backbone", lambda _: pytest.fail("it was built again"))
    np.testing.assert_array_equal(shards(images, store, parameters)[0].vectors, first)


def test_the_engine_store_is_no_output_of_a_node(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="through the handle"):
        EngineStoreDataset(path=str(tmp_path)).save("a choice")  # type: ignore[arg-type]


def test_several_features_come_from_one_reading_of_the_files(
    images: dict[str, bytes], engines: FolderEngineStore, tmp_path: Path
) -> None:
    read: list[str] = []

    class Counted(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            read.append(name)
            return super().__getitem__(name)

    contents = {hashlib.sha256(data).hexdigest(): name for name, data in images.items()}
    requests = [ASKED, asked(image_size=32), asked(layers="middle")]
    keys = [resolved_key(each, engines) for each in requests]
    builders = [(key, partial(engine_for, key, each, engines)) for key, each in zip(keys, requests, strict=True)]
    store = FolderFeatureStore(tmp_path)
    for shard in extract_for_keys(Counted(images), contents, store, builders, HOW):
        store.put(shard)
    assert sorted(read) == sorted(images)
    for key, request in zip(keys, requests, strict=True):
        for alone in shards(images, engines, request):
            np.testing.assert_array_equal(store.get(key, alone.sha256), alone.vectors)
    assert list(extract_for_keys(Counted(images), contents, store, builders, HOW)) == []


OPENVINO = asked(engine="openvino")  # which is what a CPU gets; eager float32 depends on the number of threads


def test_workers_compute_the_same_vectors_to_the_byte_and_do_the_part_of_a_killed_one_again(
    engines: FolderEngineStore, image_folder: Path, tmp_path: Path
) -> None:
    images = ImageFolderDataset(path=str(image_folder)).load()
    contents = {hashlib.sha256(images[image_id]).hexdigest(): image_id for image_id in images}
    key = resolved_key(OPENVINO, engines)
    here, there = FolderFeatureStore(tmp_path / "here"), FolderFeatureStore(tmp_path / "there")
    extract = partial(_extract_or_die, key, engines, tmp_path / "mark")
    with hired("loky", 2, None, None):
        assert list(on_workers(extract, [key], images, contents, there)) == []
    assert (tmp_path / "mark").exists()
    for shard in on_workers(extract, [key], images, contents, here):
        here.put(shard)
    assert there.get(key, list(contents)).tobytes() == here.get(key, list(contents)).tobytes()


def _extract_or_die(
    key: FeatureKey,
    engines: FolderEngineStore,
    mark: Path,
    images: Mapping[str, bytes],
    contents: Mapping[str, str],
    known: FeatureStore,
) -> Iterator[FeatureShard]:
    lacking = [(contents[sha256], sha256) for sha256 in known.missing(key, list(contents))]
    for number, shard in enumerate(extract_shards(images, lacking, key, engine_for(key, OPENVINO, engines), HOW)):
        yield shard
        if is_worker() and number == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
