"""The backbone of a Topwork classifier as a pretrained network for other classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from topwork.core.classifier import CLASSIFIER_SPEC, CLASSIFIER_WEIGHTS
from topwork.core.errors import InputError
from topwork.core.features import OWN_EXTRACTOR
from topwork.images.transforms import Preprocessing
from topwork.models.sources.source import Source, head_name
from topwork.models.weights import load_trunk, read_state


@dataclass(frozen=True)
class RegraftSource:
    """The backbone of a Topwork classifier (a folder with `spec.json`), as a pretrained network for other classes."""

    folder: Path
    find: Callable[[str], Source]

    def preprocessing(self, name: str) -> Preprocessing:
        how: dict[str, Any] = self._features["preprocessing"]
        as_it_was: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in how.items()}
        return Preprocessing(**as_it_was)

    def default_file(self, name: str) -> Path:
        return self.folder / CLASSIFIER_WEIGHTS

    def build(self, name: str, side: int) -> nn.Module:
        return self._own.build(self.architecture, side)

    def load_default(self, network: nn.Module, name: str) -> None:
        tensors = read_state(self.default_file(name))
        trunk = {key.removeprefix("trunk."): value for key, value in tensors.items() if key.startswith("trunk.")}
        if not trunk:  # the file has only a head, because the backbone was not trained
            self._own.load_default(network, self.architecture)
            return
        load_trunk(network, trunk, (f"{head_name(network)}.",), f"backbone={name}")

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return self._own.truncate(network)

    @property
    def architecture(self) -> str:
        """Name of the classifier's backbone."""
        return str(self._features["backbone"])

    @property
    def _own(self) -> Source:
        return self.find(self.architecture)

    @cached_property
    def _features(self) -> dict[str, Any]:
        try:
            features: dict[str, Any] = json.loads((self.folder / CLASSIFIER_SPEC).read_text(encoding="utf-8"))[
                "features"
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"backbone={self.folder}: {CLASSIFIER_SPEC} there is no Topwork classifier's.") from error
        if str(features.get("backbone")).startswith(OWN_EXTRACTOR):  # code of somebody's, which nobody asked to run
            raise InputError(
                f"backbone={self.folder}: this classifier stands on the feature extractor {features['backbone']}, not "
                "on a network. Name the extractor itself as the backbone."
            )
        return features
