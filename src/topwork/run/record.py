"""What the last complete run was made of, so that `--only-missing-outputs` cannot mistake old results for current ones.

Kedro's option looks at whether a file exists, not at what it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topwork.core.digests import table_digest
from topwork.core.errors import InputError
from topwork.core.parameters import BLOCKS, flattened
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.datasets.report import ReportDataset

_NAME = "last_complete_run.json"


def describe_run(parameters: Mapping[str, Any], images: str, layout: str) -> dict[str, Any]:
    """The parameter blocks, and a digest of the image files by path, size and time."""
    listing = ImageFolderDataset(path=images, layout=layout).load().listing
    return {
        "parameters": _blocks(parameters),
        "files": table_digest(listing, ["path", "label", "size", "mtime_ns", "inode"]),
    }


def check_unchanged(data: Path, now: Mapping[str, Any]) -> None:
    """Refuse to build on results that other parameters or other files made.

    Raises:
        InputError: the message names what differs.
    """
    before = _record(data).load()
    way_out = "Run without --only-missing-outputs: what is unchanged is not computed again anyway."
    if not before:
        raise InputError(f"No complete run has left its results in {data}. {way_out}")
    then, today = (dict(flattened(run["parameters"])) for run in (before, now))
    for name in sorted(then.keys() | today.keys()):
        if then.get(name) != today.get(name):
            raise InputError(f"The results were made with {name}={then.get(name)}, not {today.get(name)}. {way_out}")
    if before["files"] != now["files"]:
        raise InputError(f"The image files have changed since the results were made. {way_out}")


def void_record(data: Path, parameters: Mapping[str, Any]) -> None:
    """Before a run: forget the record if this run will overwrite results with those of other parameters."""
    if _record(data).load().get("parameters") != _blocks(parameters):
        (data / _NAME).unlink(missing_ok=True)


def keep_record(data: Path, now: Mapping[str, Any]) -> None:
    """After a complete run."""
    _record(data).save(dict(now))


def _blocks(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in BLOCKS}


def _record(data: Path) -> ReportDataset:
    return ReportDataset(filepath=str(data / _NAME), missing={})
