"""Numbers and words as JSON, with a stand-in for what has not been made yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview

from topwork.datasets.atomic import appearing_whole


class ReportDataset(AbstractDataset[Any, Any]):
    """A JSON file, written whole or not at all; with ``missing`` given, an absent file loads as that value."""

    def __init__(self, *, filepath: str, missing: Any = None, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self._missing = missing
        self.metadata = metadata

    def load(self) -> Any:
        """The content."""
        if self._missing is not None and not self._path.exists():
            return self._missing
        return json.loads(self._path.read_text())

    def save(self, data: Any) -> None:
        """Replace the content."""
        with appearing_whole(self._path) as partial:
            partial.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))

    def preview(self) -> JSONPreview:
        """The content, for kedro-viz."""
        return JSONPreview(json.dumps(self.load()))

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
