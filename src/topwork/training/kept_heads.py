"""Fitted heads as checkpoints: the same head on the same data is fitted once for all strategies and runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from topwork.core.digests import arrays_digest, code_digest, text_digest
from topwork.core.heads import Head
from topwork.core.parameters import HeadParameters
from topwork.core.stores import CheckpointStore
from topwork.training.heads import Examples, FittedHead

_log = logging.getLogger(__name__)
_HEAD, _OUT_OF_FOLD = "head.", "out_of_fold"
_INDIFFERENT = {"rejected"}  # a parameter that does not change the fit
_LIBRARIES = ("scikit-learn", "scipy", "numpy")  # another version may give other numbers


def fit_once(
    fit: Callable[[Examples, Any], FittedHead],
    examples: Examples,
    parameters: HeadParameters,
    head_types: Mapping[str, type[Head]],
    checkpoints: CheckpointStore,
) -> FittedHead:
    """The result of ``fit(examples, parameters)``: from the checkpoint, or fitted now and kept in its place.

    A checkpoint counts only if examples, parameters, the code of Topwork and the versions of the libraries are equal.

    Args:
        fit: the function of a head's module.
        examples: images to learn from.
        parameters: block of the head.
        head_types: the class of each kind of head.
        checkpoints: where the fitted head is kept.

    """
    name = _name(fit, examples, parameters)
    kept = checkpoints.get(name)
    if kept is not None:
        _log.info("The head was fitted before, on the same features and folds.")
        tensors, told = kept
        of_head = {key.removeprefix(_HEAD): value for key, value in tensors.items() if key.startswith(_HEAD)}
        head = head_types[told["kind"]].from_tensors(of_head, examples.classes)
        return FittedHead(head, told["temperature"], tensors[_OUT_OF_FOLD], told["facts"])
    fitted = fit(examples, parameters)
    tensors = {f"{_HEAD}{key}": value for key, value in fitted.head.tensors().items()}
    told = {"kind": fitted.head.kind, "temperature": fitted.temperature, "facts": dict(fitted.facts)}
    checkpoints.put(name, {**tensors, _OUT_OF_FOLD: fitted.out_of_fold}, told)
    checkpoints.keep_only([name])
    return fitted


def _name(fit: Callable[..., FittedHead], examples: Examples, parameters: HeadParameters) -> str:
    identity = {
        "head": fit.__module__,
        "examples": arrays_digest([examples.samples, examples.truth, examples.folds]),
        "shape": [*examples.samples.shape, examples.classes, examples.average],
        "parameters": parameters.model_dump(mode="json", exclude=_INDIFFERENT),
        "code": code_digest(),
        "versions": {library: version(library) for library in _LIBRARIES},
    }
    return text_digest(json.dumps(identity, sort_keys=True))[:16]
