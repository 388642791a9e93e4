"""Training checkpoints: safetensors files that appear completely; a kill loses only the work after the last one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from topwork.core.arrays import Floats
from topwork.core.errors import DamagedError
from topwork.core.stores import CheckpointStore
from topwork.datasets.checked import open_tensors, read_tensors, write_tensors
from topwork.datasets.previews import JSONPreview
from topwork.datasets.remote import at_hand, exists, listed, place, remove, sent

_log = logging.getLogger(__name__)


class FolderCheckpointStore:
    """A folder of `<name>.safetensors`, with the facts as JSON in the header."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return sent(FolderCheckpointStore, self._folder)

    def get(self, name: str) -> tuple[dict[str, Floats], dict[str, Any]] | None:
        """The checkpoint of this name, or None."""
        try:
            return read_tensors(at_hand(self._path(name)))
        except FileNotFoundError:
            return None
        except (DamagedError, OSError) as error:
            _log.warning("%s is damaged (%s): trained again from the start.", self._path(name), error)
            return None

    def put(self, name: str, tensors: Mapping[str, Floats], facts: Mapping[str, Any]) -> None:
        """Store the checkpoint; it replaces the earlier one of this name."""
        write_tensors(self._path(name), tensors, facts)

    def keep_only(self, names: Sequence[str]) -> None:
        """Remove all checkpoints except those of these names."""
        kept = {self._path(name) for name in names}
        for path in listed(self._folder, "*.safetensors", fetched=False):
            if path not in kept:
                remove(path)

    def facts(self) -> list[dict[str, Any]]:
        """Name and facts of each checkpoint."""
        paths = listed(self._folder, "*.safetensors")
        return [{"name": path.stem, **open_tensors(path)[1]} for path in paths]

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


class CheckpointStoreDataset(AbstractDataset[None, CheckpointStore]):
    """Loads a handle on the folder."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = place(path)
        self.metadata = metadata

    def load(self) -> CheckpointStore:
        """The handle."""
        return FolderCheckpointStore(self._path)

    def save(self, data: None) -> None:
        """Refused: the handle itself adds to the folder.

        Raises:
            DatasetError: always.

        """
        raise DatasetError(f"{self._path} is no output of a node: nodes add to it through the handle that they load.")

    def preview(self) -> JSONPreview:
        """The progress of each training, for kedro-viz."""
        return JSONPreview(json.dumps(FolderCheckpointStore(self._path).facts()))

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
