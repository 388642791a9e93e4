"""Bytes as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from topwork.datasets.atomic import appearing_whole


class BinaryFileDataset(AbstractDataset[bytes, bytes]):
    """A file that is written completely or not at all."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._path

    def load(self) -> bytes:
        """The content of the file."""
        return self._path.read_bytes()

    def save(self, data: bytes) -> None:
        """Replace the file."""
        with appearing_whole(self._path) as partial:
            partial.write_bytes(data)

    def remove(self) -> None:
        """Delete the file, if it exists."""
        self._path.unlink(missing_ok=True)

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
