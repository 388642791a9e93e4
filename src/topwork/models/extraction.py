"""Computes bottleneck features of images that have none yet, in complete shards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from typing import TypeVar

import numpy as np

from topwork.core.arrays import Floats
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey, FeatureShard
from topwork.core.parameters import FeatureParameters
from topwork.core.progress import report_progress
from topwork.core.stores import EngineStore, FeatureStore, ImageStore
from topwork.core.words import counted
from topwork.images.batches import Wanted, decode_for_all, map_batches
from topwork.images.transforms import Preprocessing
from topwork.images.views import ViewPlan, draw_views
from topwork.models.engines import Engine
from topwork.models.engines.hardware import begin_worker
from topwork.models.feature_key import engine_for
from topwork.workers import cores, current_crew, parts_for, shared_out

_log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
Extract = Callable[[Mapping[str, bytes], Mapping[str, str], FeatureStore], Iterator[FeatureShard]]
"""From images, their contents (SHA-256 to image id) and a store to the shards that the store lacks."""

_Batch = tuple[Wanted, list[Floats]]  # some images, and their vectors `[b, d]` for each view


@dataclass(frozen=True)
class Extraction:
    """Vectors per shard, number of threads (None: by the number of cores), and the largest image in pixels."""

    shard_size: int
    threads: int | None
    max_pixels: int


def view_keys(key: FeatureKey, plan: ViewPlan, count: int) -> dict[int, FeatureKey]:
    """Feature keys of views number 1 to ``count``, by view number; ``key`` is the key of the originals."""
    return {view: replace(key, view=plan.name(view)) for view in range(1, count + 1)}


def extract_missing(
    images: Mapping[str, bytes],
    contents: Mapping[str, str],
    known: FeatureStore,
    key: FeatureKey,
    engine: Callable[[], Engine],
    extraction: Extraction,
    plan: ViewPlan,
    views: int,
) -> Generator[FeatureShard, None, tuple[int, int]]:
    """Shards with the vectors that ``known`` lacks of the images (``contents``: SHA-256 to image id) and their views.

    ``engine`` is called only if any vector is missing. At its end, returns how many images and how many views lacked
    their vectors.
    """

    def missing(of: FeatureKey) -> list[tuple[str, str]]:
        return [(contents[sha256], sha256) for sha256 in known.missing(of, list(contents))]

    if originals := missing(key):
        yield from extract_shards(images, originals, key, engine(), extraction)
    keys = view_keys(key, plan, views)
    lacking = {view: missing(of) for view, of in keys.items()}
    for wanted, numbers in _alike(lacking):
        of_these = {view: keys[view] for view in numbers}
        yield from extract_view_shards(images, wanted, of_these, engine(), plan, extraction)
    return len(originals), sum(map(len, lacking.values()))


def on_workers(
    extract: Extract, keys: Sequence[FeatureKey], images: ImageStore, contents: Mapping[str, str], known: FeatureStore
) -> Iterator[FeatureShard]:
    """Shards as ``extract`` gives them; with workers, none: each extracts from some images and stores its shards.

    Args:
        extract: can be sent to another process.
        keys: of all features that it computes.
        images: all images.
        contents: SHA-256 to image id.
        known: the store.

    """
    crew, lacking = current_crew(), list[str]()
    if crew:
        lacking = list(dict.fromkeys(sha256 for key in keys for sha256 in known.missing(key, list(contents))))
    if crew is None or not lacking:
        yield from extract(images, contents, known)
        return

    def job_for(part: Sequence[str]) -> Callable[[], None]:
        of_part = {sha256: contents[sha256] for sha256 in part}
        return partial(_store, extract, images.only(list(of_part.values())), of_part, known)

    done = 0
    report_progress("features", done, len(lacking), "images")
    for part, _ in shared_out(crew, job_for, parts_for(crew, lacking), name_of=contents.__getitem__):
        done += len(part)
        report_progress("features", done, len(lacking), "images")
    _tell(keys[0], "image", len(contents), done)


def _store(extract: Extract, images: Mapping[str, bytes], contents: Mapping[str, str], known: FeatureStore) -> None:
    begin_worker()
    for shard in extract(images, contents, known):
        known.put(shard)


def extract_with(
    key: FeatureKey,
    parameters: FeatureParameters,
    engines: EngineStore,
    plan: ViewPlan,
    views: int,
    images: Mapping[str, bytes],
    contents: Mapping[str, str],
    known: FeatureStore,
) -> Iterator[FeatureShard]:
    """`extract_missing` with the engine of the key; `functools.partial` with all but the last three is an `Extract`."""
    how = Extraction(parameters.shard_size, parameters.threads, parameters.max_pixels)
    engine = cache(lambda: engine_for(key, parameters, engines))
    computed = yield from extract_missing(images, contents, known, key, engine, how, plan, views)
    for what, wanted, of_these in zip(("image", "view"), (1, views), computed, strict=True):
        if wanted:
            _tell(key, what, len(contents) * wanted, of_these)
    _log.debug("the store holds %.1f MB of features of %s", known.bytes_held(key) / 1e6, key.backbone)


def extract_shards(
    images: Mapping[str, bytes], wanted: Wanted, key: FeatureKey, engine: Engine, extraction: Extraction
) -> Iterator[FeatureShard]:
    """Shards of at most ``shard_size`` vectors for ``wanted``, pairs of image id and SHA-256, in their order."""
    preprocessing = Preprocessing(**key.preprocessing)

    def features(batch: Wanted) -> list[Floats]:
        return [engine.mean(decode_for_all(images, batch, [preprocessing], extraction.max_pixels)[0])]

    for sha256, vectors in _shards(features, wanted, [engine], extraction, parts=1):
        yield _finite(FeatureShard(key, sha256, _kept(vectors[0], key)))


def extract_for_keys(
    images: Mapping[str, bytes],
    contents: Mapping[str, str],
    known: FeatureStore,
    engines: Sequence[tuple[FeatureKey, Callable[[], Engine]]],
    extraction: Extraction,
) -> Iterator[FeatureShard]:
    """Shards with the vectors that ``known`` lacks under several keys; an image is read once for all of them.

    It is decoded once too, where the sizes allow it (`decode_for_sides`). The function beside a key builds its engine;
    it is called only if any vector of the key is missing.
    """
    lacking = {
        place: [(contents[sha256], sha256) for sha256 in known.missing(key, list(contents))]
        for place, (key, _) in enumerate(engines)
    }
    for wanted, places in _alike(lacking):
        keys, built = [engines[place][0] for place in places], [engines[place][1]() for place in places]
        hows = [Preprocessing(**key.preprocessing) for key in keys]

        def features(batch: Wanted, hows: list[Preprocessing] = hows, built: list[Engine] = built) -> list[Floats]:
            pixels = decode_for_all(images, batch, hows, extraction.max_pixels)
            return [engine.mean(each) for engine, each in zip(built, pixels, strict=True)]

        for sha256, vectors in _shards(features, wanted, built, extraction, len(keys)):
            for key, each in zip(keys, vectors, strict=True):
                yield _finite(FeatureShard(key, sha256, _kept(each, key)))


def extract_view_shards(
    images: Mapping[str, bytes],
    wanted: Wanted,
    keys: Mapping[int, FeatureKey],
    engine: Engine,
    plan: ViewPlan,
    extraction: Extraction,
) -> Iterator[FeatureShard]:
    """Shards with the vectors of the views numbered in ``keys``; an image is decoded once for all of its views."""
    from topwork.images.augmentation import view_crops

    views = list(keys)
    preprocessing = Preprocessing(**keys[views[0]].preprocessing)

    def features(batch: Wanted) -> list[Floats]:
        canvases = decode_for_all(images, batch, [preprocessing.canvas], extraction.max_pixels)[0]
        drawn = draw_views(plan, [sha256 for _, sha256 in batch], views)
        by_view = (drawn[drawn["view"] == view] for view in views)
        return [engine.mean(view_crops(canvases, rows, plan.fill, preprocessing.crop)) for rows in by_view]

    for sha256, vectors in _shards(features, wanted, [engine], extraction, len(views)):
        for key, each in zip(keys.values(), vectors, strict=True):
            yield _finite(FeatureShard(key, sha256, _kept(each, key)))


def _finite(shard: FeatureShard) -> FeatureShard:
    """The shard, if all its numbers are finite; others are never stored.

    Raises:
        InputError: a number is NaN or infinite.

    """
    if not np.isfinite(shard.vectors).all():
        key = shard.key
        raise InputError(
            f"backbone={key.backbone}: features are not finite numbers ({key.engine} in {key.number_format}). "
            "Try features.number_format=float32; if they still are not, its weights are damaged."
        )
    return shard


def _kept(vectors: Floats, key: FeatureKey) -> Floats:
    """The vectors as they are stored: whole feature maps in float16, to halve their disk space.

    Layers are trained on the maps once more, so this precision is enough.
    """
    return vectors.astype(np.float16) if key.pool == "none" else vectors


def _alike(lacking: Mapping[K, list[tuple[str, str]]]) -> Iterator[tuple[list[tuple[str, str]], list[K]]]:
    """Pairs of images and the views, or keys, that lack all of them: one pair, unless some are at hand already."""
    for wanted in {tuple(images): None for images in lacking.values() if images}:
        yield list(wanted), [what for what, images in lacking.items() if tuple(images) == wanted]


def _tell(key: FeatureKey, what: str, wanted: int, computed: int) -> None:
    told, rest = "all from the store", ", the others from the store" if computed < wanted else ""
    if computed:
        amount = f"{computed:,}" if rest else "all"
        told = f"{amount} computed by {key.backbone} ({key.engine}, {key.number_format}){rest}"
    _log.info("features of %s: %s", counted(wanted, what), told)


def _shards(
    features: Callable[[Wanted], list[Floats]],
    wanted: Wanted,
    engines: Sequence[Engine],
    extraction: Extraction,
    parts: int,
) -> Iterator[tuple[tuple[str, ...], list[Floats]]]:
    """Shards of whole batches: the SHA-256 of their images, and their vectors for each part (view or key)."""
    threads = extraction.threads or cores() + any(engine.streams < cores() for engine in engines)
    batch_size = min(engine.batch_size for engine in engines)
    batches = _counted(map_batches(features, wanted, batch_size, threads), len(wanted) * parts)
    room = max(1, extraction.shard_size // (batch_size * parts))
    while shard := list(islice(batches, room)):
        by_part = zip(*(vectors for _, vectors in shard), strict=True)
        yield tuple(sha256 for batch, _ in shard for _, sha256 in batch), [np.concatenate(each) for each in by_part]


def _counted(batches: Iterator[_Batch], total: int) -> Iterator[_Batch]:
    done = 0
    report_progress("features", 0, total, "images")
    for batch, vectors in batches:
        done += len(batch) * len(vectors)
        report_progress("features", done, total, "images")
        yield batch, vectors
