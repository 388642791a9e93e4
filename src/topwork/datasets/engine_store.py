"""What this machine found out about engines: which was fastest for a network, and networks in their converted form."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import JSONPreview

from topwork.datasets.atomic import appearing_whole
from topwork.datasets.feature_key import key_from_fields
from topwork.digests import text_digest
from topwork.schemas import EngineStore, FeatureKey

_GRAPH, _WEIGHTS = "network.xml", "network.bin"

_log = logging.getLogger(__name__)


class FolderEngineStore:
    """`choices/<digest of the request>.json`, and `networks/<name>/` with a graph and its weights.

    Both can be deleted at any time: what is missing is measured or converted again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, request: Mapping[str, Any]) -> FeatureKey | None:
        """The key that an equal request was resolved to, if one was."""
        path = self._choice(request)
        try:
            return key_from_fields(json.loads(path.read_text())["key"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s cannot be read (%s): the engine is chosen again.", path, error)
            return None

    def remember(self, request: Mapping[str, Any], key: FeatureKey, measured: Sequence[Mapping[str, Any]]) -> None:
        """Keep the key, and what was measured to choose it."""
        content = {"request": request, "key": asdict(key), "measured": measured}
        with appearing_whole(self._choice(request)) as partial:
            partial.write_text(json.dumps(content, indent=2))

    def network(self, name: str) -> tuple[bytes, bytes] | None:
        """The network kept under this name, if there is one."""
        folder = self._folder / "networks" / name
        try:
            return (folder / _GRAPH).read_bytes(), (folder / _WEIGHTS).read_bytes()
        except FileNotFoundError:
            return None

    def keep_network(self, name: str, graph: bytes, weights: bytes) -> None:
        """Keep it for later runs, the graph last: it tells that the weights are whole."""
        folder = self._folder / "networks" / name
        for file, content in ((_WEIGHTS, weights), (_GRAPH, graph)):
            with appearing_whole(folder / file) as partial:
                partial.write_bytes(content)

    def choices(self) -> list[dict[str, Any]]:
        """Every choice made, with what was measured."""
        return [json.loads(path.read_text()) for path in sorted((self._folder / "choices").glob("*.json"))]

    def _choice(self, request: Mapping[str, Any]) -> Path:
        return self._folder / "choices" / f"{text_digest(json.dumps(request, sort_keys=True))}.json"


class EngineStoreDataset(AbstractDataset[None, EngineStore]):
    """Loads as a handle on the folder."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._store = FolderEngineStore(Path(path))
        self._path = Path(path)
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
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
