"""A record of the inputs of the last complete run, so that `--only-missing-outputs` does not reuse outdated results.

Kedro's option only checks whether a file exists, and not from which inputs it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kedro.io import DataCatalog

from topwork.core.digests import table_digest
from topwork.core.errors import InputError
from topwork.core.parameters import flattened
from topwork.datasets.remote import in_urls
from topwork.decisions.strategies import BLOCKS
from topwork.run.configuration import Configuration, remove_files

_RECORD = "complete_run"


def describe_run(configuration: Configuration, catalog: DataCatalog) -> dict[str, Any]:
    """The parameter blocks, and a digest of the image files by path, label, size, time and inode."""
    listing = catalog.load("images").listing
    return {
        "parameters": _blocks(configuration),
        "files": table_digest(listing, ["path", "label", "size", "mtime_ns", "inode"]),
    }


def check_unchanged(configuration: Configuration, catalog: DataCatalog) -> None:
    """Check that the existing results were made with the same parameters and image files.

    Raises:
        InputError: they were not, or there is no record; the message names the difference.
    """
    now, before = describe_run(configuration, catalog), catalog.load(_RECORD)
    way_out = "Run without --only-missing-outputs: what is unchanged is not computed again anyway."
    if not before:
        raise InputError(f"No complete run has left its results in {in_urls(str(configuration.data))}. {way_out}")
    then, today = (dict(flattened(run["parameters"])) for run in (before, now))
    for name in sorted(then.keys() | today.keys()):
        if then.get(name) != today.get(name):
            raise InputError(f"The results were made with {name}={then.get(name)}, not {today.get(name)}. {way_out}")
    if before["files"] != now["files"]:
        raise InputError(f"The image files have changed since the results were made. {way_out}")


def void_record(configuration: Configuration, catalog: DataCatalog) -> None:
    """Remove the record before a run with other parameters, which will overwrite results."""
    if catalog.load(_RECORD).get("parameters") != _blocks(configuration):
        remove_files(catalog, _RECORD)


def keep_record(catalog: DataCatalog, now: Mapping[str, Any]) -> None:
    """Save the record after a complete run."""
    catalog.save(_RECORD, dict(now))


def _blocks(configuration: Configuration) -> dict[str, Any]:
    return {name: value for name, value in configuration.parameters.items() if name in BLOCKS}
