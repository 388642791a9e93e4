"""Bytes as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from topwork.datasets.atomic import appearing_whole
from topwork.datasets.remote import at_hand, exists, place, remove


class BinaryFileDataset(AbstractDataset[bytes, bytes]):
    """A file that is written completely or not at all."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = place(filepath)
        self.metadata = metadata

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._path

    def load(self) -> bytes:
        """The content of the file."""
        return at_hand(self._path).read_bytes()

    def save(self, data: bytes) -> None:
        """Replace the file."""
        with appearing_whole(self._path) as partial:
            partial.write_bytes(data)

    def remove(self) -> None:
        """Delete the file, if it exists."""
        remove(self._path)

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
