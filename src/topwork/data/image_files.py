"""Finds the files below a folder, without opening them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_LITTER = {
    "__macosx",  # Finder's zip files
    "@eadir",  # thumbnails of Synology
    "#recycle",
    "@recycle",
    "@recently-snapshot",
    "#snapshot",
    "$recycle.bin",
    "recycler",
    "system volume information",
    "lost+found",
    "network trash folder",
    "temporary items",
    "__pycache__",
    "thumbs.db",
    "desktop.ini",
    "icon\r",
}
"""Names in lower case of files and folders that systems and file servers create."""


@dataclass(frozen=True)
class FoundFile:
    """A file: relative name, path, and its ``stat`` result, or the reason why it cannot be read."""

    relative: str
    path: str
    stat: os.stat_result | None
    error: str


class Files(Protocol):
    """Where files are looked for; this module is the one for the disk."""

    def is_file(self, path: Path) -> bool:
        """Whether there is a file."""
        ...

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder."""
        ...

    def subfolders(self, folder: Path) -> list[Path]:
        """Subfolders that hold anything, sorted by name."""
        ...

    def loose_files(self, folder: Path) -> list[str]:
        """Names of the files directly in a folder, sorted."""
        ...

    def walk(self, folder: str, relative: str) -> Iterator[FoundFile]:
        """Files below a folder, sorted by name; ``relative`` is the prefix of their names."""
        ...

    def look_at(self, relative: str, path: str) -> FoundFile:
        """The file at this path, or the reason why there is none."""
        ...


def is_litter(name: str) -> bool:
    """Whether a file or folder with this name is hidden, or was created by a system."""
    return name.startswith(".") or name.lower() in _LITTER


def is_file(path: Path) -> bool:
    """Whether there is a file."""
    return path.is_file()


def is_folder(path: Path) -> bool:
    """Whether there is a folder."""
    return path.is_dir()


def subfolders(folder: Path) -> list[Path]:
    """Subfolders that are not empty and not created by a system, sorted by name; empty if the folder is unreadable."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(Path(entry.path) for entry in entries if _is_folder(entry) and not is_litter(entry.name))
    except OSError:
        return []
    return [each for each in found if _holds_anything(each)]


def loose_files(folder: Path) -> list[str]:
    """Names of the files directly in a folder, sorted."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file() and not is_litter(entry.name))
    except OSError:
        return []


def walk(folder: str, relative: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[FoundFile]:
    """Files below a folder, sorted by name; links are followed, and unreadable folders are files with an error.

    Args:
        folder: folder to search.
        relative: prefix of the names of the files.
        above: device and inode of the folders above this one.

    """
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in above:
            yield FoundFile(relative, folder, None, "link that loops")
            return
        with os.scandir(folder) as scan:
            entries = sorted((entry for entry in scan if not is_litter(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        yield FoundFile(relative, folder, None, _reason(error))
        return
    for entry in entries:
        name = f"{relative}/{entry.name}" if relative else entry.name
        if _is_folder(entry):
            yield from walk(entry.path, name, above | {(status.st_dev, status.st_ino)})
        else:
            yield look_at(name, entry.path)


def look_at(relative: str, path: str) -> FoundFile:
    """The file at this path, with an error if it cannot be read or is not a regular file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: the name has a null character
        return FoundFile(relative, path, None, _reason(error) if isinstance(error, OSError) else "file not found")
    if not stat.S_ISREG(status.st_mode):
        return FoundFile(relative, path, None, "not a regular file")
    return FoundFile(relative, path, status, "")


def _holds_anything(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(not is_litter(entry.name) for entry in entries)
    except PermissionError:
        return True  # it may have files; the error is reported as a row later


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _reason(error: OSError) -> str:
    named = {
        errno.ELOOP: "link that loops",
        errno.ENOENT: "file not found",
        errno.ENOTDIR: "file not found",
        errno.EACCES: "unreadable (permission denied)",
        errno.ENAMETOOLONG: "name too long",
    }
    return named.get(error.errno or 0, f"unreadable ({error.strerror})")
