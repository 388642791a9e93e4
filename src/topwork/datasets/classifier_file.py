"""A classifier as `spec.json` and `weights.safetensors`; no pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from topwork.datasets.atomic import appearing_whole
from topwork.datasets.feature_key import key_from_fields
from topwork.digests import text_digest
from topwork.schemas import CLASSIFIER_SPEC, CLASSIFIER_WEIGHTS, Classifier, Head, InputError, Rejection

FORMAT = "topwork-classifier-5"
_VERSIONS = (
    "topwork",
    "torch",
    "torchvision",
    "timm",
    "pillow",
    "simplejpeg",
    "scikit-learn",
)  # for people: nothing reads them
_UNSEALED = {"seal", "mlflow_run"}  # a run is noted on the copy that it logs
_REJECTION, _REJECTION_PARTS = "rejection.", ("centre", "directions", "whitening", "means")


def read_classifier(folder: Path) -> Classifier:
    """The classifier that lies in ``folder``.

    Raises:
        InputError: a file is missing, foreign, or not as it was written.

    """
    try:
        spec = json.loads((folder / CLASSIFIER_SPEC).read_text())
        content = (folder / CLASSIFIER_WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: no classifier lies here; there is no {Path(error.filename).name} in it."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no classifier lies here ({error}).") from error
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise InputError(f"{folder / CLASSIFIER_SPEC}: not a Topwork classifier of format {FORMAT}.")
    if spec.get("seal") != _seal(spec):
        raise InputError(f"{folder / CLASSIFIER_SPEC}: changed since it was written.")
    if hashlib.sha256(content).hexdigest() != spec["weights_sha256"]:
        raise InputError(
            f"{folder / CLASSIFIER_WEIGHTS}: does not belong to the {CLASSIFIER_SPEC} beside it (its SHA-256 differs)."
        )
    try:
        tensors = load_file(folder / CLASSIFIER_WEIGHTS)
    except SafetensorError as error:
        raise InputError(f"{folder / CLASSIFIER_WEIGHTS}: damaged ({error}).") from error
    kept = [name for name in _REJECTION_PARTS if f"{_REJECTION}{name}" in tensors]
    rejection = {name: tensors.pop(f"{_REJECTION}{name}") for name in kept}
    return Classifier(
        strategy=spec["strategy"],
        key=key_from_fields(spec["features"]),
        head=Head(tensors.pop("head.weight"), tensors.pop("head.bias")),
        class_names=tuple(spec["class_names"]),
        temperature=spec["temperature"],
        split_digest=spec["split_digest"],
        training=spec["training"],
        test_views=spec["test_views"],
        network=tensors,
        hidden=tuple(spec["hidden"]),
        frozen=spec["frozen"],
        data_digest=spec["data_digest"],
        rejection=Rejection(**rejection, threshold=spec["reject_above"]) if rejection else None,
    )


def write_classifier(classifier: Classifier, folder: Path) -> None:
    """Put the two files into ``folder``, the weights first."""
    head = {"head.weight": classifier.head.weight, "head.bias": classifier.head.bias}
    tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in head.items()}
    tensors |= {name: np.ascontiguousarray(value) for name, value in classifier.network.items()}
    for name in _REJECTION_PARTS if classifier.rejection else ():
        tensors[f"{_REJECTION}{name}"] = np.ascontiguousarray(getattr(classifier.rejection, name), np.float32)
    with appearing_whole(folder / CLASSIFIER_WEIGHTS) as partial:
        save_file(tensors, partial)
        digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    spec = {
        "format": FORMAT,
        "strategy": classifier.strategy,
        "class_names": classifier.class_names,
        "temperature": classifier.temperature,
        "features": asdict(classifier.key),
        "split_digest": classifier.split_digest,
        "training": classifier.training,
        "test_views": classifier.test_views,
        "hidden": classifier.hidden,
        "frozen": classifier.frozen,
        "data_digest": classifier.data_digest,
        "versions": {name: version(name) for name in _VERSIONS},
        "reject_above": classifier.rejection.threshold if classifier.rejection else None,
        "weights_sha256": digest,
    }
    spec["seal"] = _seal(spec)
    with appearing_whole(folder / CLASSIFIER_SPEC) as partial:
        partial.write_text(json.dumps(spec, indent=2, ensure_ascii=False))


def _seal(spec: Mapping[str, Any]) -> str:
    sealed = {name: value for name, value in spec.items() if name not in _UNSEALED}
    return text_digest(json.dumps(sealed, sort_keys=True))


class ClassifierDataset(AbstractDataset[Classifier, Classifier]):
    """A folder with `spec.json` and `weights.safetensors`."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(path)
        self.metadata = metadata

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._folder

    def load(self) -> Classifier:
        """The classifier, checked."""
        return read_classifier(self._folder)

    def save(self, data: Classifier) -> None:
        """Replace the classifier."""
        write_classifier(data, self._folder)

    def preview(self) -> JSONPreview:
        """The spec, for kedro-viz."""
        return JSONPreview((self._folder / CLASSIFIER_SPEC).read_text())

    def _exists(self) -> bool:
        return (self._folder / CLASSIFIER_SPEC).exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._folder)}
