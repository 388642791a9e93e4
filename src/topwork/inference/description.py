"""The features from which a classifier answers, of any images; they are kept in the feature store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from topwork.core.arrays import Floats
from topwork.core.classifier import Classifier
from topwork.core.digests import arrays_digest, text_digest
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey, FeatureShard
from topwork.core.progress import report_progress
from topwork.core.stores import FeatureStore
from topwork.images.batches import map_batches
from topwork.inference.network_engine import runs_here
from topwork.inference.predictor import NetworkPredictor
from topwork.models.engines import REFERENCE
from topwork.workers import cores

_SHARD = 512  # vectors: a kill loses at most the current shard
_TASK = "features"


def served_key(classifier: Classifier) -> FeatureKey:
    """The key of the features from which this classifier answers.

    For a head on frozen features without views it is the key of its training, so that what the store holds is used. A
    network that was trained has weights of its own, and an image with views has their mean.
    """
    key = classifier.key
    if not runs_here(key):
        key = replace(key, engine=REFERENCE[0], number_format=REFERENCE[1])
    if not classifier.frozen:
        key = replace(key, weights=arrays_digest(classifier.network.values()), engine=f"{key.engine}, served")
    if classifier.test_views:
        key = replace(key, view=f"mean over views {text_digest(str(classifier.test_views))[:16]}")
    return key


def describe_missing(
    images: Mapping[str, bytes], contents: Mapping[str, str], known: FeatureStore, classifier: Classifier
) -> Iterator[FeatureShard]:
    """Shards with the vectors that ``known`` lacks of the images (``contents``: SHA-256 to image id).

    Raises:
        InputError: a file is not what it was when it was inspected.

    """
    key = served_key(classifier)
    wanted = [(contents[sha256], sha256) for sha256 in known.missing(key, list(contents))]
    if not wanted:
        return
    predictor = NetworkPredictor.of_network(classifier)

    def describe(batch: Sequence[tuple[str, str]]) -> Floats:
        vectors, reasons = predictor.describe([_unchanged(images, *each) for each in batch])
        for (image_id, _), reason in zip(batch, reasons, strict=True):
            if reason:
                raise InputError(f"{image_id} cannot be read any more ({reason}): run the same command again.")
        return vectors

    threads, done = cores() + (predictor.streams < cores()), 0
    digests, kept = list[str](), list[Floats]()
    report_progress(_TASK, 0, len(wanted), "images")
    for batch, vectors in map_batches(describe, wanted, predictor.batch_size, threads):
        done += len(batch)
        digests += [sha256 for _, sha256 in batch]
        kept.append(vectors)
        report_progress(_TASK, done, len(wanted), "images")
        if len(digests) >= _SHARD or done == len(wanted):
            yield FeatureShard(key, tuple(digests), np.concatenate(kept).astype(np.float32))
            digests, kept = [], []


def _unchanged(images: Mapping[str, bytes], image_id: str, sha256: str) -> bytes:
    try:
        content = images[image_id]
    except OSError as error:
        raise InputError(f"{image_id} cannot be read any more ({error}): run the same command again.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{image_id} changed in the meantime: run the same command again.")
    return content
