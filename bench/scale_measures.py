"""What `bench.scale` measures: functions of the number of rows and a folder, which return the time that counts.

`python -m bench.scale_measures GROUP NAME ROWS FOLDER` prints this, and the process's peak memory in MB. The functions
of a group are called in the order of `GROUPS`, after `prepare`; what one leaves behind, the next may read.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from topwork.core.arrays import Floats, Integers
from topwork.core.columns import INSPECTION_COLUMNS, LISTING_COLUMNS, SPLIT_COLUMNS
from topwork.core.digests import split_digest
from topwork.core.features import FeatureKey, Features, FeatureShard
from topwork.core.parameters import DuplicateParameters, HeadParameters, LinearParameters, SplitParameters
from topwork.data.listing import list_files
from topwork.data.manifest import build_manifest, new_since
from topwork.data.near_duplicates import PAIR_COLUMNS, find_pairs
from topwork.datasets.appended_table import AppendedTableDataset
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.features import FeaturesDataset
from topwork.datasets.image_folder import FolderImages
from topwork.datasets.table import TableDataset

Measure = Callable[[int, Path], Floats]  # seconds, and seconds of the processor

_CLASSES, _WIDTH = 100, 1_280
_CHUNK, _SHARD, _BATCH = 2_048, 512, 32  # files inspected, vectors of a shard, images trained on at a time
_KEY = FeatureKey("synthetic", "none", {}, ("last",), "average", "original", "eager", "float32", "")
_SPLIT = SplitParameters(test_fraction=0.2, folds=5, split_seed=0)
_DUPLICATES = DuplicateParameters(
    merge=True,
    backbone="efficientnet_lite0",
    image_size=None,
    least_cosine=0.85,
    most_bits=20,
    at_most=100_000,
    sheet_pairs=12,
    max_pixels=89_478_485,
    threads=2,
)
_C = {"logistic": [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0], "svm": [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]}
_ITERATIONS = {"logistic": 300, "svm": 1000}


@dataclass(frozen=True)
class _Group:
    prepare: Callable[[int, Path], None]
    measures: dict[str, Measure]


def _prepared(prepare: Callable[[int, Path], None], rows: int, work: Path) -> Floats:
    return _timed(lambda: prepare(rows, work))


def _now() -> Floats:
    return np.array([time.perf_counter(), time.process_time()])


def _timed(work: Callable[[], object]) -> Floats:
    start = _now()
    work()
    return _now() - start


# ---- listing


def _make_files(rows: int, work: Path) -> None:
    """Empty files in class folders, and a table of as many that are not there."""
    for number in range(_CLASSES):
        (work / "images" / f"class-{number}").mkdir(parents=True)
    for number in range(rows):
        os.close(os.open(work / "images" / f"class-{number % _CLASSES}" / f"{number:09d}.jpg", os.O_CREAT))
    listed = ((f"class-{number % _CLASSES}/{number:09d}.png", f"class-{number % _CLASSES}") for number in range(rows))
    pd.DataFrame(listed, columns=["path", "label"]).to_csv(work / "images.csv", index=False)


def _list_folder(_: int, work: Path) -> Floats:
    return _timed(lambda: list_files(work / "images", "auto", "images"))


def _list_table(_: int, work: Path) -> Floats:
    return _timed(lambda: list_files(work / "images.csv", "auto", "images"))


# ---- manifest


def _listing(rows: int) -> pd.DataFrame:
    labels = [f"class-{number % _CLASSES}" for number in range(rows)]
    names = [f"{label}/{number:09d}.jpg" for number, label in enumerate(labels)]
    numbers = np.arange(rows)
    table = {"image_id": names, "path": [f"/data/images/{name}" for name in names], "label": labels, "group": None}
    stamps = {"size": 100_000 + numbers, "mtime_ns": numbers, "ctime_ns": numbers, "inode": numbers, "error": ""}
    return pd.DataFrame({**table, "given_split": "", **stamps})[list(LISTING_COLUMNS)]


def _digests(rows: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(rows)]


def _make_listing(rows: int, work: Path) -> None:
    TableDataset(filepath=str(work / "listing.parquet")).save(_listing(rows))


def _read_listing(work: Path) -> pd.DataFrame:
    return TableDataset(filepath=str(work / "listing.parquet")).load()


def _inspections(work: Path) -> AppendedTableDataset:
    return AppendedTableDataset(path=str(work / "files"), key="path", columns=list(INSPECTION_COLUMNS))


def _stamped(work: Path) -> pd.DataFrame:
    from topwork.data.manifest import _stamped

    return _stamped(_read_listing(work), _limits())


def _limits() -> Any:
    from topwork.data.manifest import Limits

    return Limits(max_pixels=89_478_485, max_bytes=2**28)


def _append(rows: int, work: Path) -> Floats:
    shutil.rmtree(work / "files", ignore_errors=True)
    found: dict[str, Any] = {"width": 500, "height": 375, "format": "JPEG", "mode": "RGB", "status": "ok", "reason": ""}
    table = _stamped(work).assign(sha256=_digests(rows), **found, highest=255.0)[list(INSPECTION_COLUMNS)]
    kept = _inspections(work)
    start = _now()
    for first in range(0, rows, _CHUNK):
        kept.save(table.iloc[first : first + _CHUNK])
    return _now() - start


def _join(_: int, work: Path) -> Floats:
    return _timed(lambda: _inspections(work).load())


def _compare(_: int, work: Path) -> Floats:
    listing, known = _stamped(work), _inspections(work).load()
    return _timed(lambda: new_since(listing, known))


def _build(_: int, work: Path) -> Floats:
    listing, known = _read_listing(work), _inspections(work).load()
    start = _now()
    manifest = build_manifest(listing, known, _limits(), "images")
    seconds = _now() - start
    TableDataset(filepath=str(work / "manifest.parquet")).save(manifest)
    return seconds


def _write_manifest(_: int, work: Path) -> Floats:
    table = TableDataset(filepath=str(work / "manifest.parquet"))
    manifest = table.load()
    return _timed(lambda: table.save(manifest))


def _read_manifest(_: int, work: Path) -> Floats:
    return _timed(lambda: TableDataset(filepath=str(work / "manifest.parquet")).load())


# ---- splits


def _make_manifest(rows: int, work: Path) -> None:
    _make_listing(rows, work)
    _append(rows, work)
    _build(rows, work)


def _split(work: Path, images: slice, previous: pd.DataFrame) -> tuple[Floats, pd.DataFrame]:
    from topwork.pipelines.splitting.nodes import split_images

    manifest = TableDataset(filepath=str(work / "manifest.parquet")).load().iloc[images]
    listed, no_pairs = FolderImages(_read_listing(work), "folders", ""), pd.DataFrame(columns=pd.Index(PAIR_COLUMNS))
    start = _now()
    splits, _ = split_images(listed, manifest, no_pairs, previous, _SPLIT, _DUPLICATES)
    return _now() - start, splits


def _split_first(_: int, work: Path) -> Floats:
    seconds, splits = _split(work, slice(-1), pd.DataFrame(columns=pd.Index(SPLIT_COLUMNS)))
    TableDataset(filepath=str(work / "splits.parquet")).save(splits)
    return seconds


def _split_again(images: slice, _: int, work: Path) -> Floats:
    return _split(work, images, TableDataset(filepath=str(work / "splits.parquet")).load())[0]


def _digest_split(_: int, work: Path) -> Floats:
    splits = TableDataset(filepath=str(work / "splits.parquet")).load()
    return _timed(lambda: split_digest(splits))


# ---- near-duplicates, and everything else on feature vectors


def _make_vectors(rows: int, work: Path, classes: int = 10) -> None:
    """Features like those of a network: a few directions of large spread, and classes that overlap."""
    random, out = np.random.default_rng(0), np.lib.format.open_memmap
    spread = np.linspace(1, 60, _WIDTH)[::-1] ** -0.5 * 8
    mixed = (spread[:, None] * np.linalg.qr(random.normal(size=(_WIDTH, _WIDTH)))[0]).astype(np.float32)
    centres = random.normal(size=(classes, _WIDTH)).astype(np.float32) / 2
    vectors = out(work / "vectors.npy", mode="w+", dtype=np.float32, shape=(rows, _WIDTH))
    for start in range(0, rows, 10_000):
        numbers = np.arange(start, min(rows, start + 10_000))
        noise = random.standard_normal((len(numbers), _WIDTH), np.float32)
        vectors[numbers] = (centres[numbers % classes] + noise) @ mixed


def _find_pairs(rows: int, work: Path) -> Floats:
    vectors, names = np.load(work / "vectors.npy"), [str(number) for number in range(rows)]
    return _timed(lambda: find_pairs(names, vectors, _same, _DUPLICATES.least_cosine, _DUPLICATES.most_bits))


def _store_vectors(rows: int, work: Path) -> None:
    _make_vectors(rows, work)
    vectors, store = np.load(work / "vectors.npy", mmap_mode="r"), FolderFeatureStore(work / "store")
    for start in range(0, rows, _SHARD):
        names = [str(number).encode() for number in range(start, min(rows, start + _SHARD))]
        digests = tuple(hashlib.sha256(name).hexdigest() for name in names)
        store.put(FeatureShard(_KEY, digests, np.array(vectors[start : start + _SHARD])))
    (work / "vectors.npy").unlink()


def _index_pairs(rows: int, work: Path) -> Floats:
    vectors, names = FolderFeatureStore(work / "store").rows(_KEY, _digests(rows)), [str(each) for each in range(rows)]
    least, most = _DUPLICATES.least_cosine, _DUPLICATES.most_bits
    return _timed(lambda: find_pairs(names, vectors, _same, least, most, indexed=True))


def _same(places: Any) -> Any:
    return np.zeros(len(places), np.uint64)


def _shards(rows: int, size: int) -> Iterator[FeatureShard]:
    random = np.random.default_rng(0)
    for start in range(0, rows, size):
        names = [str(number).encode() for number in range(start, min(rows, start + size))]
        vectors = random.standard_normal((len(names), _WIDTH), np.float32)
        yield FeatureShard(_KEY, tuple(hashlib.sha256(name).hexdigest() for name in names), vectors)


def _put(size: int, rows: int, work: Path) -> Floats:
    shutil.rmtree(work / "store", ignore_errors=True)
    store, seconds = FolderFeatureStore(work / "store"), np.zeros(2)
    for shard in _shards(rows, size):
        seconds += _timed(partial(store.put, shard))
    return seconds


def _missing(rows: int, work: Path) -> Floats:
    digests = _digests(rows)
    return _timed(lambda: FolderFeatureStore(work / "store").missing(_KEY, digests))


def _missing_again(rows: int, work: Path) -> Floats:
    """The second look of a process, which checks no SHA-256 any more."""
    digests, store = _digests(rows), FolderFeatureStore(work / "store")
    store.missing(_KEY, digests)
    return _timed(lambda: store.missing(_KEY, digests))


def _get(rows: int, work: Path) -> Floats:
    digests = _digests(rows)
    return _timed(lambda: FolderFeatureStore(work / "store").get(_KEY, digests))


def _open_rows(rows: int, work: Path) -> Floats:
    digests = _digests(rows)
    return _timed(lambda: FolderFeatureStore(work / "store").rows(_KEY, digests))


def _read_batches(rows: int, work: Path) -> Floats:
    """A thousand random batches."""
    kept = FolderFeatureStore(work / "store").rows(_KEY, _digests(rows))
    batches = np.random.default_rng(0).integers(0, rows, (1000, _BATCH))
    return _timed(lambda: [kept[batch] for batch in batches])


def _of_store(size: int) -> _Group:
    put = {f"put, {size:,} a shard": partial(_put, size)}
    get = {"missing": _missing, "missing, again": _missing_again, "rows": _open_rows, "1,000 batches": _read_batches}
    return _Group(_nothing, {**put, **get, "get": _get})


def _save_features(rows: int, work: Path) -> Floats:
    vectors = np.load(work / "vectors.npy")
    names = tuple(_listing(rows)["image_id"])
    features = Features(_KEY, {}, "", names, vectors, np.empty((0, *vectors.shape), np.float32))
    return _timed(lambda: FeaturesDataset(filepath=str(work / "features.safetensors")).save(features))


def _load_features(_: int, work: Path) -> Floats:
    return _timed(lambda: FeaturesDataset(filepath=str(work / "features.safetensors")).load())


def _select_examples(rows: int, work: Path) -> Floats:
    from topwork.training.heads import Examples

    features = FeaturesDataset(filepath=str(work / "features.safetensors")).load()
    table = _listing(rows).assign(fold=np.arange(rows) % 5)
    learnt = table[np.arange(rows) % 5 > 0]
    return _timed(lambda: Examples.of(features, learnt, False))


# ---- heads


def _examples(rows: int, work: Path, classes: int) -> Any:
    from topwork.training.heads import Examples

    truth = np.arange(rows) % classes
    return Examples(np.load(work / "vectors.npy")[None], truth, np.arange(rows) // classes % 5, classes, False)


def _fit(name: str, classes: int, rows: int, work: Path) -> Floats:
    from topwork.training.heads import lda, logistic, svm

    examples = _examples(rows, work, classes)
    if name == "lda":
        return _timed(lambda: lda.fit(examples, HeadParameters(rejected=0.05)))
    how = LinearParameters(C=_C[name], class_weight="none", max_iterations=_ITERATIONS[name], seed=0, rejected=0.05)
    fit = {"svm": svm.fit, "logistic": logistic.fit}[name]
    return _timed(lambda: fit(examples, how))


def _reject(classes: int, rows: int, work: Path) -> Floats:
    from topwork.scoring.rejection import fit_rejection

    examples = _examples(rows, work, classes)
    return _timed(lambda: fit_rejection(examples.vectors, examples.truth, examples.folds, 0.05))


def _heads(classes: int) -> _Group:
    fits = {name: partial(_fit, name, classes) for name in ("lda", "svm", "logistic")}
    return _Group(partial(_make_vectors, classes=classes), {**fits, "rejection": partial(_reject, classes)})


# ---- batches of a training, scores


def _cut_epoch(rows: int, _: Path) -> Floats:
    from topwork.training.loop import TrainingSubset, _batches

    nothing: Integers = np.empty(0, int)
    samples: Any = None
    plan: Any = SimpleNamespace(batch_size=_BATCH, seed=0)
    subset = TrainingSubset("", samples, np.zeros(rows, int), np.arange(rows), nothing)
    return _timed(lambda: _batches(subset, plan, 1))


def _list_contents(rows: int, _: Path) -> Floats:
    from topwork.training.grafting import TrainingImages

    table = _listing(rows).assign(sha256=_digests(rows), fold=np.arange(rows) % 5)
    images = TrainingImages(table)
    return _timed(lambda: images.contents)


def _inner(rows: int, _: Path) -> Floats:
    from topwork.data.splits import inner_split

    table = _listing(rows).assign(group=[digest[:16] for digest in _digests(rows)])
    return _timed(lambda: inner_split(table, 0.1, 0))


def _forecasts(rows: int, classes: int = 10) -> Floats:
    drawn = np.random.default_rng(0).random((rows, classes))
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def _bootstrap(rows: int, _: Path) -> Floats:
    from topwork.scoring.metrics import score

    groups = np.array([digest[:16] for digest in _digests(rows)])
    probabilities, truth = _forecasts(rows), np.arange(rows) % 10
    return _timed(lambda: score(probabilities, truth, groups, 2000, 15, 0))


def _calibrate(rows: int, _: Path) -> Floats:
    from topwork.training.calibration import fit_temperature

    scores = np.log(_forecasts(rows))
    return _timed(lambda: fit_temperature(scores, np.arange(rows) % 10))


def _tell(rows: int, work: Path) -> Floats:
    from topwork.scoring.predictions import prediction_table, stacked_probabilities

    images, probabilities = _listing(rows), _forecasts(rows)
    table = TableDataset(filepath=str(work / "predictions.parquet"))

    def write_and_read() -> None:
        table.save(prediction_table(images, images, probabilities, [str(number) for number in range(10)]))
        stacked_probabilities(table.load())

    return _timed(write_and_read)


def _nothing(_: int, __: Path) -> None:
    pass


GROUPS = {
    "listing": _Group(_make_files, {"folder": _list_folder, "table of absent files": _list_table}),
    "manifest": _Group(
        _make_listing,
        {
            f"shards of {_CHUNK:,} written": _append,
            "shards joined": _join,
            "new_since": _compare,
            "build_manifest": _build,
            "table written": _write_manifest,
            "table read": _read_manifest,
        },
    ),
    "splits": _Group(
        _make_manifest,
        {
            "first time": _split_first,
            "unchanged": partial(_split_again, slice(-1)),
            "one image more": partial(_split_again, slice(None)),
            "split_digest": _digest_split,
        },
    ),
    "near_duplicates": _Group(_make_vectors, {"find_pairs": _find_pairs}),
    "near_duplicates_by_index": _Group(_store_vectors, {"find_pairs": _index_pairs}),
    "store": _of_store(_SHARD),
    "store_of_large_shards": _of_store(10_000),
    "features": _Group(
        _make_vectors, {"saved": _save_features, "loaded": _load_features, "examples of a head": _select_examples}
    ),
    "heads": _heads(10),
    "heads_of_100_classes": _heads(100),
    "batches": _Group(
        _nothing, {"an epoch's rows": _cut_epoch, "ids and SHA-256": _list_contents, "inner split": _inner}
    ),
    "scores": _Group(
        _nothing, {"intervals, 2,000 draws": _bootstrap, "temperature": _calibrate, "predictions table": _tell}
    ),
}


def main(arguments: Iterable[str]) -> None:
    """Print the names of a group's measures, or measure one of them."""
    group, *rest = arguments
    if not rest:
        print(json.dumps(list(GROUPS[group].measures)))
        return
    name, rows, work = rest[0], int(rest[1]), Path(rest[2])
    measures: dict[str, Measure] = {"prepare": partial(_prepared, GROUPS[group].prepare), **GROUPS[group].measures}
    seconds = measures[name](rows, work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e3 if sys.platform == "linux" else 1e6)
    print(json.dumps([*seconds, peak]))


if __name__ == "__main__":
    main(sys.argv[1:])
