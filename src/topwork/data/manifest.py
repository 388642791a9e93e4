"""Builds the manifest of the files found; each file is inspected once, and again only when it has changed."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from topwork.core.columns import INSPECTION_COLUMNS, MANIFEST_COLUMNS, OK, REJECTED, STAMP_COLUMNS, TEST, VAL
from topwork.core.errors import InputError
from topwork.core.parameters import EvaluationParameters
from topwork.core.progress import report_progress
from topwork.core.stores import ImageStore
from topwork.core.words import counted, perhaps
from topwork.data.readable import check_decoded, known_still
from topwork.images.decode import DECODER, Inspection, inspect
from topwork.workers import current_crew, parts_for, shared_out

SMALLEST_CLASS = 3  # images: one to test on, and two folds that must not be empty
_CHUNK = 2048  # files per chunk: a kill loses at most the current chunk
_NAMED = 5
SAME_BYTES = "same bytes under another label"
"""The reason to reject files with equal bytes and different labels: the correct label is unknown."""


@dataclass(frozen=True)
class Limits:
    """The largest image in pixels, and the largest file in bytes, that is accepted."""

    max_pixels: int
    max_bytes: int


def check_listing(listing: pd.DataFrame, source: str) -> None:
    """Check that a classifier can be trained on the listed files, before any file is opened.

    Raises:
        InputError: fewer than two classes, a class with too few files, a class that is spelt in two ways, or a class
            with all its files in the held-out given split.

    """
    _check_spelling(listing, source)
    _check_given_splits(listing, source)
    _check_classes(listing, source, "files")


def check_two_classes(labels: pd.Series[str], evaluation: EvaluationParameters, source: str) -> None:
    """Check that there are two classes if a threshold is asked for, and that the positive class is one of them.

    Raises:
        InputError: it is not so; the message names the classes.

    """
    asked = {name: getattr(evaluation, name) for name in ("positive", "recall_at_least", "precision_at_least")}
    names = sorted(labels.unique())
    for name, value in asked.items():
        if value is not None and len(names) != 2:
            raise InputError(
                f"evaluation.{name}={value}: is for two classes, and images={source} has {len(names)}. Leave it out."
            )
    if evaluation.positive is not None and evaluation.positive not in names:
        hint = perhaps(evaluation.positive, names)
        raise InputError(
            f"evaluation.positive={evaluation.positive}: no such class; {hint}there are {' and '.join(names)}."
        )


def inspect_new(
    listing: pd.DataFrame, images: ImageStore, known: pd.DataFrame, limits: Limits, threads: int
) -> Iterator[pd.DataFrame]:
    """Chunks of inspections (columns ``INSPECTION_COLUMNS``) of the files that are new or changed since ``known``."""
    new = new_since(_stamped(listing, limits), known)
    done = 0
    report_progress("inspecting", done, len(new), "files")
    for chunk in _inspected_chunks(new, images, limits, threads):
        yield chunk
        done += len(chunk)
        report_progress("inspecting", done, len(new), "files")


def _inspected_chunks(new: pd.DataFrame, images: ImageStore, limits: Limits, threads: int) -> Iterator[pd.DataFrame]:
    """The inspected chunks, in any order: made by the workers, or here if there are none."""
    crew = current_crew()
    if crew is None:
        for start in range(0, len(new), _CHUNK):
            yield _inspected(new.iloc[start : start + _CHUNK], images, limits, threads)
        return

    def job_for(rows: Sequence[int]) -> Callable[[], pd.DataFrame]:
        chunk = new.iloc[list(rows)]
        return partial(_inspected, chunk, images.only(chunk["image_id"].tolist()), limits, crew.threads)

    parts = parts_for(crew, range(len(new)))
    for _, chunk in shared_out(crew, job_for, parts, name_of=lambda row: str(new["image_id"].iloc[row])):
        yield chunk


def _inspected(chunk: pd.DataFrame, images: Mapping[str, bytes], limits: Limits, threads: int) -> pd.DataFrame:
    """The inspections (columns ``INSPECTION_COLUMNS``) of the files of a chunk."""

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
        looked = pool.map(look, chunk["image_id"], chunk["size"], chunk["error"])
        found = pd.DataFrame([asdict(each) for each in looked])
    found.index = chunk.index
    return pd.concat([chunk[list(STAMP_COLUMNS)], found], axis=1)[list(INSPECTION_COLUMNS)]


def new_since(listing: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The files (columns ``STAMP_COLUMNS`` and ``error``) that are new or changed since ``known``, or have an error."""
    stamps, known = list(STAMP_COLUMNS), known_still(known)
    if known.empty:
        return listing
    seen = listing[stamps].merge(known[stamps], how="left", on=stamps, indicator=True)["_merge"].to_numpy() == "both"
    new: pd.DataFrame = listing.loc[~seen | (listing["error"] != "").to_numpy()]
    return new


def build_manifest(
    listing: pd.DataFrame, inspected: pd.DataFrame, limits: Limits, source: str, left_out: Set[str] = frozenset()
) -> pd.DataFrame:
    """One row per file (columns ``MANIFEST_COLUMNS``), usable or rejected for a reason; equal bytes share a group.

    Files with equal bytes and different labels are rejected, because the correct label is unknown. The image ids in
    ``left_out`` are rejected too.

    Raises:
        InputError: a file is not inspected, most files need a plugin, no image is usable, there are fewer than two
            classes, or a class has too few usable images.

    """
    manifest = with_inspection(listing, inspected, limits, "run `--pipelines ingestion` as a whole")
    unwanted = (manifest["status"] == OK) & manifest["image_id"].isin(list(left_out))
    manifest.loc[unwanted, ["status", "reason"]] = [REJECTED, "dropped in the label ledger"]
    ok = manifest["status"] == OK
    labels = manifest[ok].groupby("sha256")["label"].nunique()
    torn = ok & manifest["sha256"].isin(labels.index[labels > 1])
    manifest.loc[torn, "reason"] = SAME_BYTES
    manifest.loc[torn, "status"] = REJECTED
    manifest["group"] = _groups(manifest, manifest["status"] == OK)
    check_decoded(manifest, source)
    usable = manifest[manifest["status"] == OK]
    if usable.empty:
        reason = manifest["reason"].value_counts().index[0]
        same = manifest[manifest["reason"] == reason]
        raise InputError(
            f"images={source}: none of {len(manifest):,} files is a usable image; {len(same):,} are rejected as "
            f"{reason!r}, for instance {same['path'].iloc[0]}."
        )
    _check_classes(usable, source, "usable images")
    if not (listing["given_split"].fillna("") != "").any():
        _check_classes(usable.drop_duplicates(["label", "group"]), source, "different images or groups")
    return manifest[list(MANIFEST_COLUMNS)]


def with_inspection(listing: pd.DataFrame, inspected: pd.DataFrame, limits: Limits, way_out: str) -> pd.DataFrame:
    """The listing with the inspection of each file.

    Raises:
        InputError: a file is not inspected, or has changed since; the message ends with the ``way_out``.

    """
    table = _stamped(listing, limits).merge(inspected, how="left", on=list(STAMP_COLUMNS), validate="one_to_one")
    if table["status"].isna().any():
        path = table.loc[table["status"].isna(), "path"].iloc[0]
        raise InputError(f"{path} has not been inspected: {way_out}.")
    return table


def describe_manifest(manifest: pd.DataFrame) -> str:
    """A summary in one line: numbers of images and classes, and of rejected files by reason."""
    ok = manifest[manifest["status"] == OK]
    rejected = manifest.loc[manifest["status"] == REJECTED, "reason"]
    kinds = rejected.str.replace(r" \(.*\)$", "", regex=True).value_counts().sort_index()
    kinds = kinds.sort_values(ascending=False, kind="stable")
    line = f"{len(ok):,} images of {ok['label'].nunique()} classes; {counted(len(rejected), 'file')} rejected"
    return line + (": " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) if len(kinds) else "")


def _stamped(listing: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    return listing.assign(rules=f"{DECODER}, at most {limits.max_pixels} pixels, {limits.max_bytes} bytes")


def _unread(reason: str) -> Inspection:
    return Inspection("", 0, 0, "", "", REJECTED, reason)


def _groups(manifest: pd.DataFrame, ok: pd.Series[bool]) -> pd.Series[str]:
    """The user's groups, joined if they contain equal bytes; an image without a group is grouped by its bytes."""
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


def _check_spelling(listing: pd.DataFrame, source: str) -> None:
    """Refuse class names that are probably one class.

    These are names that differ only in their Unicode composition, and names that differ only in case or outer spaces
    and do not all occur together in one split.
    """
    by_label: dict[str, set[str]] = {}
    for label, split in listing[["label", "given_split"]].fillna("").drop_duplicates().itertuples(index=False):
        by_label.setdefault(str(label), set()).add(str(split))
    spellings: dict[str, list[str]] = {}
    for label in sorted(by_label):
        spellings.setdefault(unicodedata.normalize("NFC", label).casefold().strip(), []).append(label)
    wrong = [
        names
        for names in spellings.values()
        if len(names) > 1
        and (
            len({unicodedata.normalize("NFC", name) for name in names}) < len(names)
            or not set.intersection(*(by_label[name] for name in names))
        )
    ]
    if wrong:
        named = "; ".join(" and ".join(map(_spelt, names)) for names in wrong[:_NAMED])
        raise InputError(
            f"images={source}: classes that are spelt in several ways: {named}{_more(len(wrong))}. "
            "Give all their folders (or labels) one name."
        )


def _spelt(label: str) -> str:
    decomposed = unicodedata.normalize("NFC", label) != label
    return f"{label!r}" + (" (with combining accents)" if decomposed else "")


def _check_given_splits(listing: pd.DataFrame, source: str) -> None:
    """Check that each class has images outside the held-out split, if the user gives splits."""
    given = set(listing["given_split"].fillna("")) - {""}
    if not given:
        return
    held_out = TEST if TEST in given else VAL
    learnt = set(listing.loc[listing["given_split"] != held_out, "label"])
    lost = sorted(set(listing["label"]) - learnt)
    if lost:
        raise InputError(
            f"images={source}: classes with images in {held_out} alone, so that nothing can be learnt of them: "
            f"{', '.join(map(repr, lost[:_NAMED]))}{_more(len(lost))}. Add some of their images to train, or move "
            f"their {held_out} images away."
        )


def _more(count: int) -> str:
    return f" and {count - _NAMED} more" if count > _NAMED else ""


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
        raise InputError(
            f"images={source}: too few {what} to split: {named}{_more(len(small))}. "
            f"Each class needs at least {SMALLEST_CLASS} different images: add some, or move the folder away."
        )
