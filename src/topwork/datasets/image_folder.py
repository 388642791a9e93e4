"""Somebody's images as a lazy mapping: a folder of class folders, pre-split folders, or a table of paths."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from topwork.datasets.atomic import appearing_whole
from topwork.schemas import LISTING_COLUMNS, TEST, TRAIN, VAL, ImageStore, InputError

LAYOUTS = ("auto", "folders", "split", "table", "flat")
_SPLIT_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "test": TEST,
    "testing": TEST,
}
_TABLES = {".csv", ".tsv", ".parquet"}
_MARK = ".written-by-topwork"


@dataclass(frozen=True)
class _File:
    relative: str
    path: str
    stat: os.stat_result | None
    error: str


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
        layout = self._recognised(path)
        if layout == "flat" and not path.is_dir():
            raise InputError(f"{self._parameter}={path}: expected a folder.")
        rows = _table_rows(path) if layout == "table" else _folder_rows(path, layout)
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

    def _recognised(self, path: Path) -> str:
        if self._layout != "auto":
            return self._layout
        if path.is_file():
            if path.suffix.lower() not in _TABLES:
                raise InputError(f"images={path}: expected a folder, or a table ({', '.join(sorted(_TABLES))}).")
            return "table"
        return "split" if _is_split(path) else "folders"

    def _exists(self) -> bool:
        return bool(self._given) and Path(str(self._given)).exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._given, "layout": self._layout}


def _loose(path: Path) -> str:
    """A hint for a folder whose images lie in it as they are."""
    try:
        loose = sum(entry.is_file() and not entry.name.startswith(".") for entry in os.scandir(path))
    except OSError:
        return ""
    above = f"if it is itself a class, give images={path.parent}; to predict for it, new_images={path}"
    return f" ({loose} files lie loose in it: {above})" if loose else ""


def _is_split(path: Path) -> bool:
    """Whether the subfolders are train, test and the like, with class folders inside.

    Raises:
        InputError: some are and some are not, so that either reading would be wrong.

    """
    folders = _subfolders(path)
    named = [folder for folder in folders if folder.name.lower() in _SPLIT_NAMES and _subfolders(folder)]
    meanings = {_SPLIT_NAMES[folder.name.lower()] for folder in named}
    if len(meanings) < 2 or TRAIN not in meanings:
        return False
    if len(meanings) < len(named) or len(named) < len(folders):
        others = sorted({folder.name for folder in folders} - {folder.name for folder in named})
        raise InputError(
            f"images={path}: {', '.join(sorted(folder.name for folder in named))} look like splits"
            + (f", but {', '.join(others[:5])} do not." if others else ", and two of them mean the same.")
            + " Move what does not belong, or say layout=split or layout=folders."
        )
    return True


def _subfolders(path: Path) -> list[Path]:
    """Visible subfolders that are not empty, by name."""
    try:
        with os.scandir(path) as entries:
            found = sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
    return [folder for folder in found if _has_visible(folder)]


def _has_visible(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(not entry.name.startswith(".") for entry in entries)
    except PermissionError:
        return True  # not empty for all we know; its unreadability is reported as a row


def _folder_rows(path: Path, layout: str) -> Iterator[tuple[Any, ...]]:
    if layout == "flat":
        for file in _walk(str(path), "", frozenset()):
            yield _row(file, "", None, "")
        return
    splits = [(folder, _SPLIT_NAMES.get(folder.name.lower(), "")) for folder in _subfolders(path)]
    roots = [(path, "")] if layout == "folders" else [(folder, split) for folder, split in splits if split]
    for root, given_split in roots:
        for folder in _subfolders(root):
            for file in _walk(str(folder), os.path.relpath(folder, path), frozenset()):
                yield _row(file, _as_text(folder.name), None, given_split)


def _walk(folder: str, relative: str, above: frozenset[tuple[int, int]]) -> Iterator[_File]:
    """Visible files below a folder, by name, links followed; what cannot be listed is a file with an error."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in above:
            yield _File(relative, folder, None, "link that loops")
            return
        with os.scandir(folder) as scan:
            entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        yield _File(relative, folder, None, _reason(error))
        return
    for entry in entries:
        name = f"{relative}/{entry.name}" if relative else entry.name
        if _is_folder(entry):
            yield from _walk(entry.path, name, above | {(status.st_dev, status.st_ino)})
        else:
            yield _stat(name, entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _stat(relative: str, path: str) -> _File:
    try:
        status = os.stat(path)
    except OSError as error:
        return _File(relative, path, None, _reason(error))
    if not stat.S_ISREG(status.st_mode):
        return _File(relative, path, None, "not a regular file")
    return _File(relative, path, status, "")


def _reason(error: OSError) -> str:
    named = {
        errno.ELOOP: "link that loops",
        errno.ENOENT: "file not found",
        errno.EACCES: "unreadable (permission denied)",
        errno.ENAMETOOLONG: "name too long",
    }
    return named.get(error.errno or 0, f"unreadable ({error.strerror})")


def _row(file: _File, label: str, group: str | None, given_split: str) -> tuple[Any, ...]:
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


def _table_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    table = _read_table(path)
    root = path.parent
    for record in table.to_dict(orient="records"):
        relative = record["path"]
        file = _stat(relative, os.path.normpath(root / relative))
        group = record.get("group") or None
        yield _row(file, record["label"], group, _given_split(path, record))


def _given_split(path: Path, record: dict[Any, Any]) -> str:
    given = str(record.get("split") or "").lower()
    if given and given not in _SPLIT_NAMES:
        raise InputError(f"images={path}: split {given!r} of {record['path']}; known are {', '.join(_SPLIT_NAMES)}.")
    return _SPLIT_NAMES.get(given, "")


def _read_table(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, sep=None, engine="python")
    except (ValueError, OSError) as error:
        raise InputError(f"images={path}: cannot be read as a table ({error}).") from error
    table.columns = table.columns.str.strip().str.lower()
    missing = [name for name in ("path", "label") if name not in table]
    if missing:
        raise InputError(
            f"images={path}: no column {' and '.join(missing)}; found {', '.join(map(str, table.columns))}. "
            "Expected path,label and optionally group,split."
        )
    table = table.fillna("").astype(str)
    for name in ("path", "label"):
        empty = table.index[table[name].str.strip() == ""]
        if len(empty):
            raise InputError(f"images={path}: {len(empty)} rows have no {name}, first row {empty[0] + 2}.")
    twice = table["path"][table["path"].duplicated()]
    if len(twice):
        raise InputError(f"images={path}: {len(twice)} paths occur twice, first {twice.iloc[0]!r}.")
    return table
