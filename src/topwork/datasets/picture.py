"""Datasets for figures as PNG files, which are logged to MLflow too."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets.matplotlib import MatplotlibDataset
from matplotlib.figure import Figure
from PIL import Image

from topwork.datasets.previews import ImagePreview
from topwork.datasets.remote import at_hand, exists, place, publish

DOTS_PER_INCH = 110


class PictureDataset(MatplotlibDataset):
    """A Matplotlib figure as PNG file, with the resolution of the project."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=str(place(filepath)), save_args={"dpi": DOTS_PER_INCH}, metadata=metadata)
        self._path = place(filepath)

    def save(self, data: Figure) -> None:
        """Replace the file."""
        super().save(data)
        publish(self._path, self._path)

    def preview(self) -> ImagePreview:
        """The picture, for kedro-viz."""
        at_hand(self._path)
        return super().preview()

    @property
    def artifacts(self) -> list[Path]:
        """The file to log, because rendering the figure again takes a third of a second."""
        return [self._path]


class PicturesDataset(AbstractDataset[Mapping[str, Figure], Any]):
    """Figures with these ``names``, each as a PNG file; other datasets may use the same folder."""

    def __init__(self, *, path: str, names: list[str], metadata: dict[str, Any] | None = None) -> None:
        self._path_of = {name: place(path) / f"{name}.png" for name in names}
        self.metadata = metadata

    @property
    def artifacts(self) -> list[Path]:
        """The files to log."""
        return list(self._path_of.values())

    def save(self, data: Mapping[str, Figure]) -> None:
        """Write a file for each figure."""
        for name, figure in data.items():
            path = self._path_of[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=DOTS_PER_INCH)
            publish(path, path)

    def load(self) -> Any:
        """Raise an error, because the pictures are only written.

        Raises:
            DatasetError: always.

        """
        raise DatasetError(f"{self.artifacts[0]}: pictures are for people, and only written")

    def preview(self) -> ImagePreview:
        """All pictures in one column, for kedro-viz."""
        pictures = [Image.open(at_hand(path)).convert("RGB") for path in self.artifacts]
        width, height = max(each.width for each in pictures), sum(each.height for each in pictures)
        sheet, top = Image.new("RGB", (width, height), "white"), 0
        for each in pictures:
            sheet.paste(each, (0, top))
            top += each.height
        buffer = io.BytesIO()
        sheet.save(buffer, format="PNG")
        return ImagePreview(base64.b64encode(buffer.getvalue()).decode())

    def _exists(self) -> bool:
        return all(exists(path) for path in self.artifacts)

    def _describe(self) -> dict[str, Any]:
        return {"files": [str(path) for path in self.artifacts]}
