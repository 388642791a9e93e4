"""Bottleneck features of images that have none yet, in finished shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np

from topwork.images.batches import decoded_batches
from topwork.images.decode import DECODER
from topwork.models.backbones import BackboneSpec, load_backbone, resolve_layers
from topwork.models.engines import EAGER, eager_engine, pick_number_format
from topwork.progress import report
from topwork.schemas import FeatureKey, FeatureShard, Floats

ORIGINAL_VIEW = "original"


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
    """What the vectors depend on besides the image; builds the network only to look up other layers than the last."""
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


def extract_shards(
    images: Mapping[str, bytes],
    wanted: Sequence[tuple[str, str]],
    spec: BackboneSpec,
    key: FeatureKey,
    extraction: Extraction,
) -> Iterator[FeatureShard]:
    """Shards of at most ``shard_size`` vectors for ``wanted``, pairs of image id and SHA-256, in their order."""
    backbone = load_backbone(spec)
    engine = eager_engine(backbone, key.layers, extraction.pool, key.number_format, extraction.batch_size)
    batches = decoded_batches(
        images,
        wanted,
        spec.preprocessing,
        extraction.batch_size,
        extraction.decode_threads,
        extraction.max_pixels,
    )
    digests = [sha256 for _, sha256 in wanted]
    done = 0
    report("features", 0, len(wanted), "images")
    for vectors in _rebatched((engine(pixels) for pixels in batches), extraction, len(wanted)):
        yield FeatureShard(key, tuple(digests[done : done + len(vectors)]), vectors)
        done += len(vectors)


def _rebatched(batches: Iterator[Floats], extraction: Extraction, total: int) -> Iterator[Floats]:
    """Whole batches joined into shards, so that a resumed run cuts the same batches as an uninterrupted one."""
    done = 0

    def counted() -> Iterator[Floats]:
        nonlocal done
        for batch in batches:
            done += len(batch)
            report("features", done, total, "images")
            yield batch

    stream = counted()
    while shard := list(islice(stream, max(1, extraction.shard_size // extraction.batch_size))):
        yield np.concatenate(shard)
