"""Bottleneck features of images that have none yet, in finished shards."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from topwork.images.batches import decoded_batches
from topwork.images.decode import DECODER
from topwork.images.transforms import Preprocessing
from topwork.images.views import ViewPlan, draw_views
from topwork.models.backbones import BackboneSpec, load_backbone, resolve_layers
from topwork.models.engines import EAGER, Engine, eager_engine, pick_number_format
from topwork.progress import report
from topwork.schemas import FeatureKey, FeatureShard, FeatureStore, Floats

ORIGINAL_VIEW = "original"

_log = logging.getLogger(__name__)

_Batch = tuple[tuple[str, ...], list[Floats]]  # SHA-256 of some images, and their vectors `[b, d]` view by view


@dataclass(frozen=True)
class Extraction:
    """How features are taken: the layers, their pooling, the number format, and the sizes of batches and shards."""

    layers: str
    pool: str
    number_format: str
    batch_size: int
    shard_size: int
    decode_threads: int
    max_pixels: int


def feature_key(spec: BackboneSpec, extraction: Extraction) -> FeatureKey:
    """What the vectors of the originals depend on besides the image.

    The network is built only to look up other layers than the last.
    """
    layers: tuple[str, ...] = (extraction.layers,)
    if extraction.layers != "last":
        layers = resolve_layers(load_backbone(spec), extraction.layers)
    return FeatureKey(
        backbone=spec.name,
        weights=spec.weights_digest,
        preprocessing=asdict(spec.preprocessing),
        layers=layers,
        pool=extraction.pool if layers != ("last",) else "own",  # the network's own pooling
        view=ORIGINAL_VIEW,
        engine=EAGER,
        number_format=pick_number_format(extraction.number_format),
        decoder=DECODER,
    )


def view_keys(key: FeatureKey, plan: ViewPlan, count: int) -> dict[int, FeatureKey]:
    """The keys of the vectors of views number 1 to ``count``, beside that of the originals."""
    return {view: replace(key, view=plan.name(view)) for view in range(1, count + 1)}


def extract_missing(
    images: Mapping[str, bytes],
    contents: Mapping[str, str],
    known: FeatureStore,
    spec: BackboneSpec,
    extraction: Extraction,
    plan: ViewPlan,
    views: int,
) -> Iterator[FeatureShard]:
    """Shards with what ``known`` lacks of the images (``contents``: SHA-256 to image id) and of their views."""
    key = feature_key(spec, extraction)

    def missing(of: FeatureKey) -> list[tuple[str, str]]:
        return [(contents[sha256], sha256) for sha256 in known.missing(of, list(contents))]

    if originals := missing(key):
        yield from extract_shards(images, originals, spec, key, extraction)
    _tell(spec.name, "images", len(contents), len(originals), known.bytes_held(key))

    keys = view_keys(key, plan, views)
    lacking = {view: missing(of) for view, of in keys.items()}
    for wanted, numbers in _alike(lacking):
        of_these = {view: keys[view] for view in numbers}
        yield from extract_view_shards(images, wanted, spec, of_these, plan, extraction)
    if keys:
        held = sum(known.bytes_held(of) for of in keys.values())
        _tell(spec.name, "views", len(contents) * views, sum(map(len, lacking.values())), held)


def extract_shards(
    images: Mapping[str, bytes],
    wanted: Sequence[tuple[str, str]],
    spec: BackboneSpec,
    key: FeatureKey,
    extraction: Extraction,
) -> Iterator[FeatureShard]:
    """Shards of at most ``shard_size`` vectors for ``wanted``, pairs of image id and SHA-256, in their order."""
    engine = _engine(spec, key, extraction)
    batches = _batches(images, wanted, spec.preprocessing, extraction)
    for sha256, vectors in _joined(((names, [engine(pixels)]) for names, pixels in batches), extraction, len(wanted)):
        yield FeatureShard(key, sha256, vectors[0])


def extract_view_shards(
    images: Mapping[str, bytes],
    wanted: Sequence[tuple[str, str]],
    spec: BackboneSpec,
    keys: Mapping[int, FeatureKey],
    plan: ViewPlan,
    extraction: Extraction,
) -> Iterator[FeatureShard]:
    """Shards with the vectors of the views numbered in ``keys``; an image is decoded once for all of its views."""
    from topwork.images.augmentation import apply_views

    views = list(keys)
    engine = _engine(spec, keys[views[0]], extraction)

    def seen(sha256: Sequence[str], canvases: NDArray[np.uint8]) -> list[Floats]:
        drawn = draw_views(plan, sha256, views)
        by_view = (drawn[drawn["view"] == view] for view in views)
        return [engine(apply_views(canvases, rows, plan.fill, spec.preprocessing.crop)) for rows in by_view]

    batches = _batches(images, wanted, spec.preprocessing.canvas, extraction)
    computed = ((names, seen(names, canvases)) for names, canvases in batches)
    for sha256, vectors in _joined(computed, extraction, len(wanted) * len(views)):
        yield from (FeatureShard(key, sha256, each) for key, each in zip(keys.values(), vectors, strict=True))


def _alike(lacking: Mapping[int, list[tuple[str, str]]]) -> Iterator[tuple[list[tuple[str, str]], list[int]]]:
    """Views that the same images lack, together with these: all of them, unless an earlier run was interrupted."""
    for wanted in {tuple(images): None for images in lacking.values() if images}:
        yield list(wanted), [view for view, images in lacking.items() if tuple(images) == wanted]


def _tell(backbone: str, what: str, wanted: int, misses: int, held: int) -> None:
    _log.info(
        "features of %s, %s: %d hits, %d misses; the store holds %.1f MB of them",
        *(backbone, what, wanted - misses, misses, held / 1e6),
    )


def _engine(spec: BackboneSpec, key: FeatureKey, extraction: Extraction) -> Engine:
    return eager_engine(load_backbone(spec), key.layers, extraction.pool, key.number_format, extraction.batch_size)


def _batches(
    images: Mapping[str, bytes],
    wanted: Sequence[tuple[str, str]],
    preprocessing: Preprocessing,
    extraction: Extraction,
) -> Iterator[tuple[tuple[str, ...], NDArray[np.uint8]]]:
    """Batches of pixels, each with the SHA-256 of its images."""
    threads, max_pixels = extraction.decode_threads, extraction.max_pixels
    done = 0
    for pixels in decoded_batches(images, wanted, preprocessing, extraction.batch_size, threads, max_pixels):
        yield tuple(sha256 for _, sha256 in wanted[done : done + len(pixels)]), pixels
        done += len(pixels)


def _joined(batches: Iterator[_Batch], extraction: Extraction, total: int) -> Iterator[_Batch]:
    """Whole batches joined into shards, so that a resumed run cuts the same batches as an uninterrupted one."""
    counted = _counted(batches, total)
    while first := next(counted, None):
        room = extraction.shard_size // (extraction.batch_size * len(first[1])) - 1
        shard = [first, *islice(counted, max(0, room))]
        by_view = zip(*(vectors for _, vectors in shard), strict=True)
        yield tuple(name for names, _ in shard for name in names), [np.concatenate(parts) for parts in by_view]


def _counted(batches: Iterator[_Batch], total: int) -> Iterator[_Batch]:
    done = 0
    report("features", 0, total, "images")
    for names, vectors in batches:
        done += len(names) * len(vectors)
        report("features", done, total, "images")
        yield names, vectors
