"""From the files found to the manifest: every file looked at once, and again only when it changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from topwork.images.decode import DECODER, Inspection, inspect
from topwork.progress import report
from topwork.schemas import (
    INSPECTION_COLUMNS,
    MANIFEST_COLUMNS,
    OK,
    REJECTED,
    STAMP_COLUMNS,
    InputError,
)

SMALLEST_CLASS = 3  # images: one to test on, and two folds that must not be empty
_CHUNK = 2048  # files a chunk: what a kill may cost
_NAMED = 5
SAME_BYTES = "same bytes under another label"
"""Why a file is rejected of which nobody can tell the label."""


@dataclass(frozen=True)
class Limits:
    """The largest image in pixels, and the largest file in bytes, that is looked at."""

    max_pixels: int
    max_bytes: int


def check_listing(listing: pd.DataFrame, source: str) -> None:
    """Refuse a folder from which nothing can be learnt, before any file is opened.

    Raises:
        InputError: fewer than two classes, or a class with too few files.

    """
    _check_classes(listing, source, "files")


def inspect_new(
    listing: pd.DataFrame, images: Mapping[str, bytes], known: pd.DataFrame, limits: Limits, threads: int
) -> Iterator[pd.DataFrame]:
    """Chunks of inspections (columns ``INSPECTION_COLUMNS``) of the files that are new or changed since ``known``."""
    new = new_since(_stamped(listing, limits), known)

    def look(image_id: str, size: int, error: str) -> Inspection:
        if error:
            return _unread(error)
        if size > limits.max_bytes:
            return _unread(f"too many bytes ({size:,}, limit {limits.max_bytes:,})")
        try:
            return inspect(images[image_id], limits.max_pixels)
        except FileNotFoundError:
            return _unread("file not found")  # it was there when the folder was listed
        except OSError as failure:
            return _unread(f"unreadable ({failure.strerror})")

    with ThreadPoolExecutor(threads, thread_name_prefix="inspect") as pool:
        for start in range(0, len(new), _CHUNK):
            report("inspecting", start, len(new), "files")
            chunk = new.iloc[start : start + _CHUNK]
            found = pd.DataFrame(
                [asdict(each) for each in pool.map(look, chunk["image_id"], chunk["size"], chunk["error"])]
            )
            found.index = chunk.index
            yield pd.concat([chunk[list(STAMP_COLUMNS)], found], axis=1)[list(INSPECTION_COLUMNS)]
            report("inspecting", start + len(chunk), len(new), "files")


def new_since(listing: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The files (columns ``STAMP_COLUMNS`` and ``error``) that are not in ``known`` as they are now."""
    stamps = list(STAMP_COLUMNS)
    if known.empty:
        return listing
    seen = listing[stamps].merge(known[stamps], how="left", on=stamps, indicator=True)["_merge"].to_numpy() == "both"
    new: pd.DataFrame = listing.loc[~seen | (listing["error"] != "").to_numpy()]
    return new


def build_manifest(
    listing: pd.DataFrame, inspected: pd.DataFrame, limits: Limits, source: str, left_out: Set[str] = frozenset()
) -> pd.DataFrame:
    """One row a file (columns ``MANIFEST_COLUMNS``), usable or rejected for a reason; equal bytes share a group.

    Equal bytes under different labels are rejected: nobody can tell which label is right. So are those ``left_out``.

    Raises:
        InputError: fewer than two classes, or a class with too few usable images.

    """
    stamped = _stamped(listing, limits)
    manifest = stamped.merge(inspected, how="left", on=list(STAMP_COLUMNS), validate="one_to_one")
    if manifest["status"].isna().any():
        path = manifest.loc[manifest["status"].isna(), "path"].iloc[0]
        raise InputError(f"{path} has not been inspected: run `--pipelines ingestion` as a whole.")
    unwanted = (manifest["status"] == OK) & manifest["image_id"].isin(list(left_out))
    manifest.loc[unwanted, ["status", "reason"]] = [REJECTED, "dropped in the label ledger"]
    ok = manifest["status"] == OK
    labels = manifest[ok].groupby("sha256")["label"].nunique()
    torn = ok & manifest["sha256"].isin(labels.index[labels > 1])
    manifest.loc[torn, "reason"] = SAME_BYTES
    manifest.loc[torn, "status"] = REJECTED
    manifest["group"] = _groups(manifest, manifest["status"] == OK)
    usable = manifest[manifest["status"] == OK]
    _check_classes(usable, source, "usable images")
    if not (listing["given_split"].fillna("") != "").any():
        _check_classes(usable.drop_duplicates(["label", "group"]), source, "different images or groups")
    return manifest[list(MANIFEST_COLUMNS)]


def describe_manifest(manifest: pd.DataFrame) -> str:
    """One line: how many images of how many classes, and what was rejected for which reasons."""
    ok = manifest[manifest["status"] == OK]
    rejected = manifest.loc[manifest["status"] == REJECTED, "reason"]
    kinds = rejected.str.replace(r" \(.*\)$", "", regex=True).value_counts().sort_index()
    kinds = kinds.sort_values(ascending=False, kind="stable")
    files = "file" if len(rejected) == 1 else "files"
    line = f"{len(ok):,} images of {ok['label'].nunique()} classes; {len(rejected):,} {files} rejected"
    return line + (": " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) if len(kinds) else "")


def _stamped(listing: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    return listing.assign(rules=f"{DECODER}, at most {limits.max_pixels} pixels, {limits.max_bytes} bytes")


def _unread(reason: str) -> Inspection:
    return Inspection("", 0, 0, "", "", REJECTED, reason)


def _groups(manifest: pd.DataFrame, ok: pd.Series[bool]) -> pd.Series[str]:
    """The user's groups, joined where they share bytes; an image without one is grouped by its bytes."""
    given = manifest["group"].fillna("").astype(str)
    own = given.where(given != "", manifest["sha256"].str[:16])
    if not (given != "").any():
        return own.where(ok, "")
    usable = manifest[ok]
    group, names = pd.factorize(own[ok], sort=True)
    content, _ = pd.factorize(usable["sha256"])
    size = len(names) + int(content.max(initial=-1)) + 1
    links = coo_array((np.ones(len(group)), (group, len(names) + content)), shape=(size, size))
    component = connected_components(links, directed=False)[1][: len(names)]
    first = pd.Series(names).groupby(component).transform("first").to_numpy()  # names are sorted
    joined = own.where(ok, "")
    joined[ok] = first[group]
    return joined


def _check_classes(table: pd.DataFrame, source: str, what: str) -> None:
    counts = table.groupby("label").size()
    if len(counts) == 0:
        raise InputError(f"images={source}: no {what}.")
    if len(counts) == 1:
        raise InputError(
            f"images={source}: only one class with {what} ({counts.index[0]!r}). "
            "A classifier needs at least two: one subfolder for each, side by side."
        )
    small = counts[counts < SMALLEST_CLASS]
    if len(small):
        named = ", ".join(f"{label!r} has {count}" for label, count in small.head(_NAMED).items())
        more = f" and {len(small) - _NAMED} more" if len(small) > _NAMED else ""
        raise InputError(
            f"images={source}: too few {what} to split: {named}{more}. "
            f"Each class needs at least {SMALLEST_CLASS} different images: add some, or move the folder away."
        )
