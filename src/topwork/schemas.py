"""Names and small frozen types that every layer shares; nothing here imports the rest of Topwork."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

LISTING_COLUMNS = (
    "image_id",
    "path",
    "label",
    "group",
    "given_split",
    "size",
    "mtime_ns",
    "ctime_ns",
    "inode",
    "error",
)
STAMP_COLUMNS = ("path", "size", "mtime_ns", "ctime_ns", "inode", "rules")  # equal: not looked at again
INSPECTION_COLUMNS = (*STAMP_COLUMNS, "sha256", "width", "height", "format", "mode", "status", "reason", "highest")
MANIFEST_COLUMNS = (
    "image_id",
    "path",
    "sha256",
    "label",
    "width",
    "height",
    "format",
    "mode",
    "status",
    "reason",
    "group",
)
SPLIT_COLUMNS = ("image_id", "label", "group", "split", "fold")
PREDICTION_COLUMNS = ("image_id", "path", "label", "predicted", "confidence", "probabilities")
ANSWER_COLUMNS = (*STAMP_COLUMNS, "status", "reason", "distance", "probabilities")

OK, REJECTED = "ok", "rejected"
TRAIN, VAL, TEST = "train", "val", "test"
NO_FOLD = -1  # `fold` of a test image
CLASSIFIER_SPEC, CLASSIFIER_WEIGHTS = "spec.json", "weights.safetensors"  # the files of a classifier


class InputError(ValueError):
    """Something that the user gave cannot be used; the message names it and says what to do."""


class ImageStore(Mapping[str, bytes]):
    """Read-only mapping from image id to the bytes of its file, read when asked for.

    ``listing`` is the table of all files found (columns ``LISTING_COLUMNS``), ``layout`` how the folder was understood,
    ``source`` what the user gave.
    """

    listing: pd.DataFrame
    layout: str
    source: str

    def __len__(self) -> int:
        return len(self.listing)

    def __iter__(self) -> Iterator[str]:
        return iter(self.listing["image_id"])


@dataclass(frozen=True)
class FeatureKey:
    """Everything besides an image's bytes that a feature vector depends on.

    Two vectors may be exchanged for one another exactly if their images' SHA-256 and their keys are equal.
    """

    backbone: str
    weights: str  # digest of the weights
    preprocessing: Mapping[str, Any]
    layers: tuple[str, ...]
    pool: str
    view: str
    engine: str
    number_format: str
    decoder: str

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all fields, the name of the key's folder in the feature store."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FeatureShard:
    """Finished feature vectors ``[n, d]`` of ``n`` distinct images, named by the SHA-256 of their bytes.

    They are float32, or float16 where whole maps are kept.
    """

    key: FeatureKey
    sha256: tuple[str, ...]
    vectors: Floats


@dataclass(frozen=True)
class Features:
    """Bottleneck features ``vectors`` ``[n, d]`` (float32), row ``i`` of image ``image_id[i]``.

    ``views`` ``[k, n, d]`` are those of the augmented views number 1 to k of the same images. They carry the ``key``
    they were made under, what was ``requested`` by the parameters, and the digest of the images' ids and ``content``,
    so that who uses them can tell whether they are still the right ones.
    """

    key: FeatureKey
    requested: Mapping[str, Any]
    content: str
    image_id: tuple[str, ...]
    vectors: Floats
    views: Floats

    def positions(self, image_ids: Sequence[str]) -> Integers:
        """Row numbers of the images asked for, ``[len(image_ids)]``.

        Raises:
            InputError: an image has no features.

        """
        position = {image_id: row for row, image_id in enumerate(self.image_id)}
        absent = [image_id for image_id in image_ids if image_id not in position]
        if absent:
            raise InputError(
                f"{len(absent)} images have no features, for instance {absent[0]!r}: run `--pipelines features` again."
            )
        return np.array([position[image_id] for image_id in image_ids], int)

    def averaged(self) -> Floats:
        """The mean ``[n, d]`` over originals and views: a linear head's score of it is the mean of its scores."""
        return np.asarray((self.vectors + self.views.sum(axis=0)) / np.float32(1 + len(self.views)))


class FeatureStore(Protocol):
    """Handle on cached feature vectors; where they lie is the handle's own affair."""

    def missing(self, key: FeatureKey, sha256: Sequence[str]) -> list[str]:
        """Those of ``sha256``, each once and in their order, that have no vector under ``key``."""
        ...

    def get(self, key: FeatureKey, sha256: Sequence[str]) -> Floats:
        """Vectors ``[len(sha256), d]`` in the order asked for."""
        ...

    def rows(self, key: FeatureKey, sha256: Sequence[str]) -> FeatureRows:
        """The same without reading them yet."""
        ...

    def put(self, shard: FeatureShard) -> None:
        """Add a shard; nothing that is already there changes."""
        ...

    def bytes_held(self, key: FeatureKey) -> int:
        """Bytes of all vectors under ``key``."""
        ...


class FeatureRows(Protocol):
    """Cached vectors of some images, read as they are asked for; memory holds no more than a batch."""

    def __getitem__(self, rows: Integers) -> Floats:
        """Vectors ``[len(rows), d]`` of the images at these places."""
        ...


class CheckpointStore(Protocol):
    """Handle on what trainings have reached, by a name that says which: tensors, and facts beside them."""

    def get(self, name: str) -> tuple[dict[str, Floats], dict[str, Any]] | None:
        """The checkpoint of this name, if there is one."""
        ...

    def put(self, name: str, tensors: Mapping[str, Floats], facts: Mapping[str, Any]) -> None:
        """Put it in the place of the one before."""
        ...

    def keep_only(self, names: Sequence[str]) -> None:
        """Remove the checkpoints of other trainings."""
        ...


class NetworkStore(Protocol):
    """Handle on networks converted to another form, each a graph and its weights."""

    def network(self, name: str) -> tuple[bytes, bytes] | None:
        """The network kept under this name, if there is one."""
        ...

    def keep_network(self, name: str, graph: bytes, weights: bytes) -> None:
        """Keep it for later runs."""
        ...


class EngineStore(NetworkStore, Protocol):
    """Handle on what this machine found out about engines: choices made, and networks converted."""

    def recall(self, request: Mapping[str, Any]) -> FeatureKey | None:
        """The key that an equal request was resolved to, if one was."""
        ...

    def remember(self, request: Mapping[str, Any], key: FeatureKey, measured: Sequence[Mapping[str, Any]]) -> None:
        """Keep the key, and what was measured to choose it."""
        ...


@dataclass(frozen=True)
class Head:
    """A linear head: ``scores = features @ weight.T + bias`` with ``weight`` ``[c, d]`` and ``bias`` ``[c]``."""

    weight: Floats
    bias: Floats

    def scores(self, features: Floats) -> Floats:
        """Class scores ``[n, c]`` (float64) of features ``[n, d]``."""
        return np.asarray(features, np.float64) @ np.asarray(self.weight, np.float64).T + self.bias


@dataclass(frozen=True)
class Rejection:
    """How far features are from all that was learnt from, and from where on they are of none of the classes.

    Features ``[n, d]`` less the ``centre`` ``[d]`` are taken along ``directions`` ``[k, d]``, with the length of the
    rest as one more coordinate; ``whitening`` ``[k + 1, k + 1]`` makes the classes round, ``means`` ``[c, k + 1]`` are
    theirs.
    """

    centre: Floats
    directions: Floats
    whitening: Floats
    means: Floats
    threshold: float

    def distances(self, features: Floats) -> Floats:
        """To the nearest class mean, ``[n]``."""
        places = self.coordinates(features) @ self.whitening.T
        squared = (places**2).sum(1)[:, None] - 2 * places @ self.means.T + (self.means**2).sum(1)
        return np.asarray(np.sqrt(np.maximum(squared.min(axis=1), 0)))

    def coordinates(self, features: Floats) -> Floats:
        """Along the directions, and the length of what lies outside them, ``[n, k + 1]``."""
        centred = np.asarray(features, np.float64) - self.centre
        along = centred @ self.directions.T
        outside = np.sqrt(np.maximum((centred**2).sum(1) - (along**2).sum(1), 0))
        return np.column_stack([along, outside])

    def rejecting_above(self, threshold: float) -> Rejection:
        """The same with another bound."""
        return replace(self, threshold=threshold)


@dataclass(frozen=True)
class Classifier:
    """A backbone with a head grafted on: what every strategy ends in, and all that is needed to answer.

    ``probabilities = softmax(scores / temperature)``, columns in the order of ``class_names``; ``training`` is what the
    training reports, numbers and words. With ``test_views`` (``count`` and ``plan``) an image's scores are the mean
    over the original and so many of its augmented views. ``network`` holds the backbone's tensors: those of the trunk
    (``trunk.…``) and of the dense layers of ``hidden`` sizes before the head (``neck.…``). If it is ``frozen``, the
    head was fitted on features that ``key`` names, else the network has learnt too. ``rejection`` tells images of none
    of the classes; ``data_digest`` names the images.
    """

    strategy: str
    key: FeatureKey
    head: Head
    class_names: tuple[str, ...]
    temperature: float
    split_digest: str
    training: Mapping[str, Any] = field(default_factory=dict)
    test_views: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Floats] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    frozen: bool = True
    data_digest: str = ""
    rejection: Rejection | None = None


@dataclass(frozen=True)
class RegisteredChampion:
    """The model that the registry calls champion, and what it is known by.

    ``out_of_fold`` are its predictions on images that its fold models had not seen, ``learnt`` the SHA-256 of all that
    the model itself learnt from, None where nobody kept them; ``classes`` names the set of its classes
    (`digests.classes_digest`), and is empty where nobody kept that; ``classifier`` reads it.
    """

    version: str
    model_id: str
    strategy: str
    split_digest: str
    out_of_fold: pd.DataFrame
    learnt: Set[str] | None
    classes: str
    classifier: Callable[[], Classifier]


@dataclass(frozen=True)
class Promotion:
    """Whether the alias moves to a logged model, why, and what the next newcomer must know of it."""

    moves: bool
    reason: str
    model_id: str
    run_id: str
    strategy: str
    split_digest: str
    class_names: tuple[str, ...]
    learnt: Set[str]


RUN_COLUMNS = ("run_id", "started", "strategy", "split_digest", "data_digest", "commit", "parameters", "metrics")


@dataclass(frozen=True)
class LoggedRuns:
    """Earlier runs of strategies, a row each (columns ``RUN_COLUMNS``), oldest first.

    ``out_of_fold`` gives the out-of-fold predictions of the run of an id, or None where none were kept.
    """

    table: pd.DataFrame
    out_of_fold: Callable[[str], pd.DataFrame | None]
