"""Somebody's images as a lazy mapping: a folder of class folders, pre-split folders, or a table of paths."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from topwork.core.columns import LISTING_COLUMNS
from topwork.core.errors import InputError
from topwork.core.stores import ImageStore
from topwork.data.image_files import FoundFile, look_at, loose_files, subfolders, walk
from topwork.data.image_table import TABLES, read_image_table
from topwork.data.layouts import recognise
from topwork.datasets.atomic import appearing_whole
from topwork.datasets.previews import TablePreview

LAYOUTS = ("auto", "folders", "split", "table", "flat")
_MARK = ".written-by-topwork"
_log = logging.getLogger(__name__)


class FolderImages(ImageStore):
    """Images that lie as files; bytes are read when asked for."""

    def __init__(self, listing: pd.DataFrame, layout: str, source: str) -> None:
        self.listing = listing
        self.layout = layout
        self.source = source
        self._path_of: dict[str, str] | None = None

    def __getitem__(self, image_id: str) -> bytes:
        if self._path_of is None:
            self._path_of = dict(zip(self.listing["image_id"], self.listing["path"], strict=True))
        return Path(_from_text(self._path_of[image_id])).read_bytes()


class ImageFolderDataset(AbstractDataset[Iterable[tuple[str, bytes]], ImageStore]):
    """Loads as the listing of a folder, without opening a file; saves pairs of relative name and bytes.

    ``layout``: `folders` (each subfolder a class), `split` (`train`, `val` or `validation`, `test`, each with class
    folders), `table` (a CSV or Parquet file with columns `path`, `label`, optionally `group` and `split`, paths
    relative to the table), `flat` (all files below the folder, of no known class), or `auto`, which recognises the
    labelled ones. ``parameter`` is what errors call the path.
    """

    def __init__(
        self,
        *,
        path: str | None,
        layout: str = "auto",
        parameter: str = "images",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if layout not in LAYOUTS:
            raise InputError(f"layout={layout}: known layouts are {', '.join(LAYOUTS)}.")
        self._given = path
        self._layout = layout
        self._parameter = parameter
        self.metadata = metadata

    def load(self) -> ImageStore:
        """The images.

        Raises:
            InputError: nothing was given, it does not exist, or it has no files where images should be.

        """
        path = self._path()
        if not path.exists():
            raise InputError(f"{self._parameter}={path}: there is no such folder or table.")
        layout, rows = self._found(path)
        listing = pd.DataFrame(rows, columns=pd.Index(LISTING_COLUMNS)).astype({"image_id": "str", "path": "str"})
        if listing.empty and layout == "flat":
            raise InputError(f"{self._parameter}={path}: there are no files in this folder.")
        if listing.empty:
            raise InputError(
                f"images={path}: no files in class folders{_loose(path)}. Expected one subfolder a class, with its "
                "images inside, or train/ and test/ folders of such, or a CSV with the columns path,label."
            )
        return FolderImages(listing, layout, str(path))

    def save(self, data: Iterable[tuple[str, bytes]]) -> None:
        """Write rendered images, pairs of relative name and bytes; files that hold them already stay as they are.

        Raises:
            InputError: the folder holds files that Topwork did not write.

        """
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
                with appearing_whole(file, durable=False) as partial:  # rendered again if a crash should lose it
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

    def _found(self, path: Path) -> tuple[str, Iterator[tuple[Any, ...]]]:
        """The kind of the layout, and the rows of the listing."""
        if self._layout == "table" or (self._layout == "auto" and path.is_file()):
            if path.suffix.lower() not in TABLES:
                raise InputError(f"images={path}: expected a folder, or a table ({', '.join(sorted(TABLES))}).")
            return "table", _table_rows(path)
        if not path.is_dir():
            raise InputError(f"{self._parameter}={path}: expected a folder.")
        if self._layout == "flat":
            return "flat", (_row(file, "", None, "") for file in walk(str(path), ""))
        layout = recognise(path, self._layout)
        for note in layout.notes:
            _log.warning(note)
        return layout.kind, _folder_rows(path, layout.roots)

    def _exists(self) -> bool:
        return bool(self._given) and Path(str(self._given)).exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._given, "layout": self._layout}


def _loose(path: Path) -> str:
    """A hint for a folder whose images lie in it as they are."""
    loose = len(loose_files(path))
    above = f"if it is itself a class, give images={path.parent}; to predict for it, new_images={path}"
    return f" ({loose} files lie loose in it: {above})" if loose else ""


def _folder_rows(path: Path, roots: Iterable[tuple[Path, str]]) -> Iterator[tuple[Any, ...]]:
    for root, given_split in roots:
        for folder in subfolders(root):
            for file in walk(str(folder), os.path.relpath(folder, path)):
                yield _row(file, _as_text(folder.name), None, given_split)


def _table_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    for record in read_image_table(path).to_dict(orient="records"):
        file = _named_file(path.parent, record["path"])
        yield _row(file, record["label"], record["group"] or None, record["split"])


def _named_file(root: Path, name: str) -> FoundFile:
    """The file of this name, whose folders may be told apart by backslashes, as Windows does."""
    found = look_at(name, os.path.normpath(root / name))
    if found.stat is None and "\\" in name:
        forward = name.replace("\\", "/")
        other = look_at(name, os.path.normpath(root / forward))
        return other if other.stat else found
    return found


def _row(file: FoundFile, label: str, group: str | None, given_split: str) -> tuple[Any, ...]:
    status = file.stat
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino) if status else (0, 0, 0, 0)
    return (_as_text(file.relative), _as_text(file.path), label, group, given_split, *stamp, file.error)


def _as_text(name: str) -> str:
    """File names are bytes; those that are not UTF-8 become text that no other name becomes."""
    if os.name == "nt":  # names are text there, and full of backslashes
        return name
    return name.replace("\\", "\\\\").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _from_text(name: str) -> str:
    if "\\" not in name or os.name == "nt":
        return name
    return name.encode("utf-8").decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
