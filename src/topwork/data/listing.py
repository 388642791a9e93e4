"""Lists the files of a folder or table of images, with labels from its layout; no image is opened.

A layout is a function from a path to rows, and a line in `LAYOUTS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from topwork.core.columns import LISTING_COLUMNS
from topwork.core.errors import InputError
from topwork.core.stores import no_attributes
from topwork.data import image_files
from topwork.data.image_files import Files, FoundFile
from topwork.data.image_table import TABLES, read_image_table
from topwork.data.layouts import recognise

AUTO = "auto"
"""Value for recognising the layout automatically."""


@dataclass(frozen=True)
class Listing:
    """The table of all files (columns ``LISTING_COLUMNS``), the name of the layout, and notes for the user.

    ``attributes`` are the other columns of a table of paths, beside ``image_id``; folders have none.
    """

    table: pd.DataFrame
    layout: str
    notes: tuple[str, ...] = ()
    attributes: pd.DataFrame = field(default_factory=no_attributes)


@dataclass(frozen=True)
class _Layout:
    described: str
    listed: Callable[[Path, Files], Listing]


def list_files(path: Path, layout: str, parameter: str, files: Files = image_files) -> Listing:
    """The files of an existing folder or table.

    Args:
        path: path of the folder or table.
        layout: a name in `LAYOUTS`, or `auto`.
        parameter: name of the path in error messages.
        files: where to look for them.

    Raises:
        InputError: there are no files in the expected places, or the path does not have this layout.

    """
    if layout == AUTO and files.is_file(path):
        layout = "table"
    if layout != "table" and not files.is_folder(path):
        raise InputError(f"{parameter}={path}: expected a folder.")
    found = (_any_folders if layout == AUTO else LAYOUTS[layout].listed)(path, files)
    if found.table.empty and layout == "flat":
        raise InputError(f"{parameter}={path}: there are no files in this folder.")
    if found.table.empty:
        raise InputError(
            f"images={path}: no files in class folders{_loose(path, files)}. Expected one subfolder a class, with its "
            "images inside, or train/ and test/ folders of such, or a CSV with the columns path,label."
        )
    return found


def _any_folders(path: Path, files: Files) -> Listing:
    return _recognised(path, AUTO, files)


def _class_folders(path: Path, files: Files) -> Listing:
    return _recognised(path, "folders", files)


def _split_folders(path: Path, files: Files) -> Listing:
    return _recognised(path, "split", files)


def _recognised(path: Path, wanted: str, files: Files) -> Listing:
    layout = recognise(path, wanted, files)
    return Listing(_as_table(_folder_rows(path, layout.roots, files)), layout.kind, layout.notes)


def _table(path: Path, files: Files) -> Listing:
    if path.suffix.lower() not in TABLES:
        raise InputError(f"images={path}: expected a folder, or a table ({', '.join(sorted(TABLES))}).")
    found = read_image_table(path)
    table = _as_table(_table_rows(path, found.images, files))
    ids = pd.DataFrame({"image_id": table["image_id"]})
    return Listing(table, "table", attributes=pd.concat([ids, found.others.reset_index(drop=True)], axis=1))


def _as_table(rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=pd.Index(LISTING_COLUMNS)).astype({"image_id": "str", "path": "str"})


def _flat(path: Path, files: Files) -> Listing:
    return Listing(_as_table(_row(file, "", None, "") for file in files.walk(str(path), "")), "flat")


LAYOUTS = {
    "folders": _Layout("a folder a class", _class_folders),
    "split": _Layout("pre-split folders", _split_folders),
    "table": _Layout("a table of paths", _table),
    "flat": _Layout("files of no known class", _flat),
}
"""The known layouts: the description in the log, and the function that lists the files."""


def _loose(path: Path, files: Files) -> str:
    """A hint for a folder that contains files directly, or an empty text."""
    loose = len(files.loose_files(path))
    above = f"if it is itself a class, give images={path.parent}; to predict for it, new_images={path}"
    return f" ({loose} files lie loose in it: {above})" if loose else ""


def _folder_rows(path: Path, roots: Iterable[tuple[Path, str]], files: Files) -> Iterator[tuple[Any, ...]]:
    for root, given_split in roots:
        for folder in files.subfolders(root):
            for file in files.walk(str(folder), os.path.relpath(folder, path)):
                yield _row(file, _as_text(folder.name), None, given_split)


def _table_rows(path: Path, table: pd.DataFrame, files: Files) -> Iterator[tuple[Any, ...]]:
    for record in table.to_dict(orient="records"):
        file = _named_file(path.parent, record["path"], files)
        yield _row(file, record["label"], record["group"] or None, record["split"])


def _named_file(root: Path, name: str, files: Files) -> FoundFile:
    """The file with this name; if there is none, backslashes are read as separators, as on Windows."""
    found = files.look_at(name, os.path.normpath(root / name))
    if found.stat is None and "\\" in name:
        forward = name.replace("\\", "/")
        other = files.look_at(name, os.path.normpath(root / forward))
        return other if other.stat else found
    return found


def _row(file: FoundFile, label: str, group: str | None, given_split: str) -> tuple[Any, ...]:
    status = file.stat
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino) if status else (0, 0, 0, 0)
    return (_as_text(file.relative), _as_text(file.path), label, group, given_split, *stamp, file.error)


def _as_text(name: str) -> str:
    """The file name as text; names that are not UTF-8 are escaped, so that different names stay different."""
    if os.name == "nt":  # names are already text there, and contain backslashes
        return name
    return name.replace("\\", "\\\\").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def from_text(name: str) -> str:
    """The file name, from the ``path`` of a listing."""
    if "\\" not in name or os.name == "nt":
        return name
    return name.encode("utf-8").decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
