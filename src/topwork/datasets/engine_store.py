"""Results about engines on this machine: which was fastest for a network, and networks in converted form."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset, DatasetError

from topwork.core.digests import text_digest
from topwork.core.errors import DamagedError
from topwork.core.features import FeatureKey
from topwork.core.stores import EngineStore
from topwork.datasets.checked import read_json, read_tensors, write_json, write_tensors
from topwork.datasets.feature_key import key_from_fields
from topwork.datasets.previews import JSONPreview
from topwork.datasets.remote import at_hand, exists, listed, place, sent

_GRAPH, _WEIGHTS = "graph", "weights"

_log = logging.getLogger(__name__)


class FolderEngineStore:
    """`choices/<digest of the request>.json`, and `networks/<name>.safetensors` with a graph and its weights as bytes.

    Both can be deleted at any time: missing files are measured or converted again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return sent(FolderEngineStore, self._folder)

    def recall(self, request: Mapping[str, Any]) -> FeatureKey | None:
        """The key that was chosen for an equal request, or None."""
        path = self._choice(request)
        try:
            return key_from_fields(read_json(at_hand(path))["key"])
        except FileNotFoundError:
            return None
        except (DamagedError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s is damaged (%s): the engine is chosen again.", path, error)
            return None

    def remember(self, request: Mapping[str, Any], key: FeatureKey, measured: Sequence[Mapping[str, Any]]) -> None:
        """Store the key that was chosen for a request, and the measurements."""
        write_json(self._choice(request), {"request": request, "key": asdict(key), "measured": measured})

    def network(self, name: str) -> tuple[bytes, bytes] | None:
        """Graph and weights of the network stored under this name, or None."""
        path = self._network(name)
        try:
            tensors, _ = read_tensors(at_hand(path))
            return tensors[_GRAPH].tobytes(), tensors[_WEIGHTS].tobytes()
        except FileNotFoundError:
            return None
        except (DamagedError, OSError, KeyError) as error:
            _log.warning("%s is damaged (%s): the network is converted again.", path, error)
            return None

    def keep_network(self, name: str, graph: bytes, weights: bytes) -> None:
        """Store a network for later runs."""
        parts = {_GRAPH: np.frombuffer(graph, np.uint8), _WEIGHTS: np.frombuffer(weights, np.uint8)}
        write_tensors(self._network(name), parts, {})

    def choices(self) -> list[dict[str, Any]]:
        """All choices, with their measurements."""
        return [read_json(path) for path in listed(self._folder / "choices", "*.json")]

    def _choice(self, request: Mapping[str, Any]) -> Path:
        return self._folder / "choices" / f"{text_digest(json.dumps(request, sort_keys=True))}.json"

    def _network(self, name: str) -> Path:
        return self._folder / "networks" / f"{name}.safetensors"


class EngineStoreDataset(AbstractDataset[None, EngineStore]):
    """Loads a handle on the folder."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._store = FolderEngineStore(place(path))
        self._path = place(path)
        self.metadata = metadata

    def load(self) -> EngineStore:
        """The handle."""
        return self._store

    def save(self, data: None) -> None:
        """Refused: the handle itself adds to the folder.

        Raises:
            DatasetError: always.

        """
        raise DatasetError(f"{self._path} is no output of a node: nodes add to it through the handle that they load.")

    def preview(self) -> JSONPreview:
        """The choices made, for kedro-viz."""
        return JSONPreview(json.dumps(self._store.choices()))

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
