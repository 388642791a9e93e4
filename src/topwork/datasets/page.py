"""A web page as one file, which is also logged to MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from topwork.datasets.atomic import appearing_whole
from topwork.datasets.remote import at_hand, exists, place


class PageDataset(AbstractDataset[str, str]):
    """HTML text, written completely or not at all."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = place(filepath)
        self.metadata = metadata

    @property
    def artifacts(self) -> list[Path]:
        """The file to log."""
        return [self._path]

    def load(self) -> str:
        """The text."""
        return at_hand(self._path).read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Replace the file."""
        with appearing_whole(self._path) as partial:
            partial.write_text(data, encoding="utf-8")

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
