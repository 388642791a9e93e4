"""The user's images as a lazy mapping: a folder of class folders, pre-split folders, or a table of paths."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from topwork.core.errors import InputError
from topwork.core.stores import ImageStore, no_attributes
from topwork.data.listing import AUTO, LAYOUTS, from_text, list_files
from topwork.datasets.atomic import appearing_whole
from topwork.datasets.previews import TablePreview
from topwork.datasets.remote import exists, is_url, place
from topwork.datasets.remote_images import load_images, save_images

_MARK = ".written-by-topwork"
_log = logging.getLogger(__name__)


class FolderImages(ImageStore):
    """Images in files; the bytes are read on access."""

    def __init__(self, listing: pd.DataFrame, layout: str, source: str, attributes: pd.DataFrame | None = None) -> None:
        self.listing = listing
        self.attributes = no_attributes() if attributes is None else attributes
        self.layout = layout
        self.source = source

    @cached_property
    def _path_of(self) -> dict[str, str]:
        return dict(zip(self.listing["image_id"], self.listing["path"], strict=True))

    def only(self, image_ids: Sequence[str]) -> FolderImages:
        """Images with these ids alone."""
        paths = [self._path_of[image_id] for image_id in image_ids]
        return FolderImages(pd.DataFrame({"image_id": list(image_ids), "path": paths}), self.layout, self.source)

    def __getitem__(self, image_id: str) -> bytes:
        return Path(from_text(self._path_of[image_id])).read_bytes()


class ImageFolderDataset(AbstractDataset[Iterable[tuple[str, bytes]], ImageStore]):
    """Loads the images of a folder by their listing, without opening a file; saves pairs of relative name and bytes.

    ``layout``: `folders` (each subfolder a class), `split` (`train`, `val` or `validation`, `test`, each with class
    folders), `table` (a CSV or Parquet file with columns `path`, `label`, optionally `group` and `split`, paths
    relative to the table; other columns are attributes of the images), `flat` (all files below the folder, of no known
    class), or `auto`, which recognises the layouts with labels. ``parameter`` is the name of the path in error
    messages. Images of a URL that were read stay on this machine's disk, up to ``cache_gigabytes`` for all runs
    together.
    """

    def __init__(
        self,
        *,
        path: str | None,
        layout: str = "auto",
        parameter: str = "images",
        cache_gigabytes: float = 10,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if layout not in (AUTO, *LAYOUTS):
            raise InputError(f"layout={layout}: known layouts are {', '.join((AUTO, *LAYOUTS))}.")
        self._given = path
        self._layout = layout
        self._parameter = parameter
        self._cache_gigabytes = cache_gigabytes
        self.metadata = metadata

    def load(self) -> ImageStore:
        """The images.

        Raises:
            InputError: no path was given, it does not exist, or it has no files where images should be.

        """
        if is_url(self._given):
            remote, found = load_images(str(self._given), self._layout, self._parameter, self._cache_gigabytes)
            _tell(found.notes)
            return remote
        path = self._path()
        if not path.exists():
            raise InputError(f"{self._parameter}={path}: there is no such folder or table.")
        found = list_files(path, self._layout, self._parameter)
        _tell(found.notes)
        return FolderImages(found.table, found.layout, str(path), found.attributes)

    def save(self, data: Iterable[tuple[str, bytes]]) -> None:
        """Write rendered images, pairs of relative name and bytes; files with equal content are not written again.

        All other files in the folder are deleted.

        Raises:
            InputError: the folder holds files that Topwork did not write.

        """
        if is_url(self._given):
            return save_images(str(self._given), data, _MARK)
        path = self._path()
        mark = path / _MARK
        if path.exists() and any(path.iterdir()) and not mark.exists():
            raise InputError(f"{path} holds files that Topwork did not write: give another `images=DIR`.")
        path.mkdir(parents=True, exist_ok=True)
        mark.touch()
        expected = set()
        for name, content in data:
            file = path / name
            expected.add(file)
            if not (file.exists() and file.read_bytes() == content):
                with appearing_whole(file, durable=False) as partial:  # rendered again if a crash loses it
                    partial.write_bytes(content)
        for file in path.rglob("*"):
            if file.is_file() and file not in expected and file != mark:
                file.unlink()

    def preview(self, nrows: int = 8) -> TablePreview:
        """The first files, for kedro-viz."""
        shown = self.load().listing.head(nrows)[["image_id", "label", "size"]]
        return TablePreview(shown.astype(str).to_dict(orient="split"))

    def _path(self) -> Path:
        if not self._given and self._parameter != "images":
            raise InputError(f"No images given: `--params {self._parameter}=DIR` with a folder of them.")
        if not self._given:
            raise InputError(
                "No images given: `kedro run --params images=DIR` with a folder of class subfolders, "
                "or `make run` for the worked example."
            )
        return Path(self._given)

    def _exists(self) -> bool:
        return bool(self._given) and exists(place(str(self._given)))

    def _describe(self) -> dict[str, Any]:
        return {"path": self._given, "layout": self._layout}


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        _log.warning(note)
