"""Figures by name as a folder of PNG files."""

from __future__ import annotations

import re
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from matplotlib.figure import Figure

from topwork.datasets.picture import DOTS_PER_INCH
from topwork.datasets.remote import place, publish, remove_folder


class PictureFolderDataset(AbstractDataset[dict[str, Figure], Any]):
    """A PNG file for each figure, named after it in characters that are safe in file names; old files are deleted."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.folder = place(path)
        self.metadata = metadata

    def save(self, data: dict[str, Figure]) -> None:
        """Replace the folder's pictures."""
        remove_folder(self.folder)
        if data:
            self.folder.mkdir(parents=True)
        for number, (name, figure) in enumerate(data.items()):
            safe = re.sub(r"[^\w .-]+", "_", name)[:80]
            path = self.folder / f"{number:03d} {safe}.png"
            figure.savefig(path, dpi=DOTS_PER_INCH)
            publish(path, path)

    def load(self) -> Any:
        """Refused: pictures are for people, not for nodes."""
        raise DatasetError(f"{self.folder}: pictures are for people, and only written")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.folder)}
