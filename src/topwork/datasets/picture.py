"""A figure as a PNG file, which MLflow keeps too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro_datasets.matplotlib import MatplotlibDataset

DOTS_PER_INCH = 110


class PictureDataset(MatplotlibDataset):
    """Matplotlib's figure at the one resolution that the project uses."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, save_args={"dpi": DOTS_PER_INCH}, metadata=metadata)
        self._path = Path(filepath)

    @property
    def artifact(self) -> Path:
        """The file to log: rendering the figure once more takes a third of a second."""
        return self._path
