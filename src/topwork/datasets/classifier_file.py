"""A classifier or an ensemble as `spec.json` and `weights.safetensors`; no pickle."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from topwork.core.classifier import (
    CLASSIFIER_SPEC,
    CLASSIFIER_WEIGHTS,
    AnyClassifier,
    Classifier,
    Decision,
    Ensemble,
    LeastCost,
    Rejection,
)
from topwork.core.digests import arrays_digest, text_digest
from topwork.core.errors import InputError
from topwork.core.heads import LinearHead
from topwork.datasets.atomic import appearing_together
from topwork.datasets.classifier_spec import AnsweringSpec, ClassifierSpec, EnsembleSpec, NetworkSpec
from topwork.datasets.feature_key import key_from_fields
from topwork.datasets.previews import JSONPreview
from topwork.datasets.remote import at_hand, exists, place
from topwork.decisions.strategies import head_types

FORMAT, ENSEMBLE_FORMAT = "topwork-classifier-5", "topwork-ensemble-1"
_SPECS: Mapping[str, type[ClassifierSpec | EnsembleSpec]] = {FORMAT: ClassifierSpec, ENSEMBLE_FORMAT: EnsembleSpec}
_VERSIONS = (
    "topwork",
    "torch",
    "torchvision",
    "timm",
    "pillow",
    "simplejpeg",
    "scikit-learn",
)  # for people: no code reads them
_UNSEALED = {"seal", "mlflow_run"}  # a run adds its id to the copy that it logs
_REJECTION, _REJECTION_PARTS = "rejection.", ("centre", "directions", "whitening", "means")
_HEAD, _MEMBER = "head.", "member"
_READS, _PAUSE = 20, 0.1  # if another process replaces a classifier: times to read it, seconds between them


def read_classifier(folder: Path) -> AnyClassifier:
    """The classifier or ensemble in ``folder``; its two files belong together, even if a process replaces them now.

    Raises:
        InputError: a file is missing, of another format, or not as it was written.

    """
    for _ in range(_READS):
        spec, content = _read_files(folder)
        if hashlib.sha256(content).hexdigest() == spec.weights_sha256:
            tensors = _tensors(folder, content)
            return (
                _ensemble(spec, tensors, folder)
                if isinstance(spec, EnsembleSpec)
                else _classifier(spec, tensors, folder)
            )
        time.sleep(_PAUSE)
    raise InputError(
        f"{folder / CLASSIFIER_WEIGHTS}: does not belong to the {CLASSIFIER_SPEC} beside it (its SHA-256 differs): "
        "train the classifier again, or put back both files from a copy."
    )


def _read_files(folder: Path) -> tuple[ClassifierSpec | EnsembleSpec, bytes]:
    """The spec, checked, and the bytes of the weights; each file is read once."""
    path = folder / CLASSIFIER_SPEC
    try:
        spec = json.loads(at_hand(path).read_text(encoding="utf-8"))
        content = at_hand(folder / CLASSIFIER_WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: no classifier lies here; there is no {Path(error.filename).name} in it."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}: no classifier lies here ({error}).") from error
    kind = _SPECS.get(str(spec.get("format"))) if isinstance(spec, dict) else None
    if kind is None:
        raise InputError(f"{path}: not a Topwork classifier of format {' or '.join(_SPECS)}.")
    if spec.get("seal") != _seal(spec):
        raise InputError(f"{path}: changed since it was written.")
    try:
        return kind.model_validate(spec), content
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise InputError(f"{path}: {where or 'the whole'} cannot be: {problem['msg']}.") from error


def _tensors(folder: Path, content: bytes) -> dict[str, Any]:
    try:
        return dict(sorted(load(content).items()))  # their order in the file is arbitrary
    except SafetensorError as error:
        raise InputError(f"{folder / CLASSIFIER_WEIGHTS}: damaged ({error}).") from error


def _ensemble(spec: EnsembleSpec, tensors: dict[str, Any], folder: Path) -> Ensemble:
    members: list[Classifier] = []
    for number, each in enumerate(spec.members):
        prefix = _prefix(number)
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        member = _classifier(each, own, folder)
        if each.network_of is not None:
            member = replace(member, network=members[each.network_of].network)
        members.append(member)
    return Ensemble(
        tuple(members),
        tuple(each.weight for each in spec.members),
        strategy=spec.strategy,
        training=spec.training,
        decision=_decision(spec),
    )


def _prefix(number: int) -> str:
    return f"{_MEMBER}{number}."


def _classifier(spec: NetworkSpec, tensors: dict[str, Any], folder: Path) -> Classifier:
    rejection = {name: tensors.pop(f"{_REJECTION}{name}", None) for name in _REJECTION_PARTS}
    of_head = {name.removeprefix(_HEAD): tensors.pop(name) for name in [*tensors] if name.startswith(_HEAD)}
    head, known = None, head_types()
    with suppress(ValueError):
        head = known[spec.head].from_tensors(of_head, len(spec.class_names)) if spec.head in known else None
    if head is None:
        raise InputError(
            f"{folder / CLASSIFIER_WEIGHTS}: has no {spec.head} head for the {len(spec.class_names)} classes of "
            f"{CLASSIFIER_SPEC}."
        )
    has_bound = [part is not None for part in rejection.values()]
    if any(has_bound) and not (all(has_bound) and spec.reject_above is not None):
        raise InputError(f"{folder / CLASSIFIER_WEIGHTS}: half of what rejects images is missing.")
    return Classifier(
        strategy=spec.strategy,
        key=key_from_fields(spec.features.model_dump(exclude_unset=True)),
        head=head,
        class_names=spec.class_names,
        temperature=spec.temperature,
        split_digest=spec.split_digest,
        training=spec.training,
        test_views=spec.test_views,
        network=tensors,
        hidden=spec.hidden,
        frozen=spec.frozen,
        data_digest=spec.data_digest,
        rejection=Rejection(**rejection, threshold=float(spec.reject_above or 0)) if all(has_bound) else None,
        decision=_decision(spec),
    )


def _decision(spec: AnsweringSpec) -> Decision | LeastCost | None:
    if spec.costs:
        return LeastCost(spec.costs)
    return Decision(**spec.decision.model_dump()) if spec.decision else None


def write_classifier(classifier: AnyClassifier, folder: Path) -> None:
    """Write the two files into ``folder``; both are complete before the first replaces an older one."""
    tensors, fields = _contents(classifier) if isinstance(classifier, Classifier) else _contents_of_ensemble(classifier)
    form = FORMAT if isinstance(classifier, Classifier) else ENSEMBLE_FORMAT
    with appearing_together(folder / CLASSIFIER_WEIGHTS, folder / CLASSIFIER_SPEC) as (weights, spec_file):
        save_file(tensors, weights)
        written = {"versions": {name: version(name) for name in _VERSIONS}, "weights_sha256": _file_digest(weights)}
        spec = {"format": form, **fields, **written}
        spec_file.write_text(json.dumps({**spec, "seal": _seal(spec)}, indent=2, ensure_ascii=False), encoding="utf-8")


def _contents(classifier: Classifier) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of a classifier by name, and the fields of its spec."""
    head = classifier.head.tensors()
    tensors = {f"{_HEAD}{name}": np.ascontiguousarray(value, np.float32) for name, value in head.items()}
    tensors |= {name: np.ascontiguousarray(value) for name, value in classifier.network.items()}
    for name in _REJECTION_PARTS if classifier.rejection else ():
        tensors[f"{_REJECTION}{name}"] = np.ascontiguousarray(getattr(classifier.rejection, name), np.float32)
    return tensors, _spec(classifier)


def _contents_of_ensemble(ensemble: Ensemble) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of all members by name, a shared network once, and the fields of the spec."""
    tensors, members, networks = dict[str, Any](), list[dict[str, Any]](), dict[str, int]()
    for number, (member, weight) in enumerate(zip(ensemble.members, ensemble.weights, strict=True)):
        digest = arrays_digest([member.network[name] for name in sorted(member.network)])
        owner = networks.setdefault(digest, number)
        own, spec = _contents(member if owner == number else replace(member, network={}))
        tensors |= {f"{_prefix(number)}{name}": value for name, value in own.items()}
        members.append({**spec, "weight": weight, **({"network_of": owner} if owner != number else {})})
    fields = {
        "strategy": ensemble.strategy,
        "class_names": ensemble.class_names,
        "training": ensemble.training,
        "members": members,
    }
    return tensors, {**fields, **_answering(ensemble)}


def _spec(classifier: Classifier) -> dict[str, Any]:
    spec = {
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
        "reject_above": classifier.rejection.threshold if classifier.rejection else None,
    }
    if classifier.head.kind != LinearHead.kind:
        spec["head"] = classifier.head.kind
    return {**spec, **_answering(classifier)}


def _answering(classifier: AnyClassifier) -> dict[str, Any]:
    if isinstance(classifier.decision, LeastCost):
        return {"costs": classifier.decision.costs}
    return {"decision": asdict(classifier.decision)} if classifier.decision else {}


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _seal(spec: Mapping[str, Any]) -> str:
    """A checksum of the spec: it detects damage and edits, but is not a signature, since every writer can renew it."""
    sealed = {name: value for name, value in spec.items() if name not in _UNSEALED}
    return text_digest(json.dumps(sealed, sort_keys=True))


class ClassifierDataset(AbstractDataset[AnyClassifier, AnyClassifier]):
    """A folder with `spec.json` and `weights.safetensors`."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = place(path)
        self.metadata = metadata

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self._folder

    def load(self) -> AnyClassifier:
        """The classifier, checked."""
        return read_classifier(self._folder)

    def save(self, data: AnyClassifier) -> None:
        """Replace the classifier."""
        write_classifier(data, self._folder)

    def preview(self) -> JSONPreview:
        """The spec, for kedro-viz."""
        return JSONPreview(at_hand(self._folder / CLASSIFIER_SPEC).read_text(encoding="utf-8"))

    def _exists(self) -> bool:
        return exists(self._folder / CLASSIFIER_SPEC)

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._folder)}
