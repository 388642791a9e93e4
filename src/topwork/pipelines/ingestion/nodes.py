"""Inspects every file once, and lists them in a manifest."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pandas as pd

from topwork.core.columns import OK, REJECTED, TEST, TRAIN, VAL
from topwork.core.greys import fixed
from topwork.core.parameters import PERCENTILES, ComparisonParameters, EvaluationParameters, IngestionParameters
from topwork.core.stores import ImageStore
from topwork.core.words import counted
from topwork.data.attributes import chosen_columns, grouped_by, slice_values
from topwork.data.brightness import describe_pages, doubt_brightness
from topwork.data.grey_range import measure_grey_range
from topwork.data.listing import LAYOUTS
from topwork.data.manifest import (
    Limits,
    build_manifest,
    check_listing,
    check_two_classes,
    describe_manifest,
    inspect_new,
)
from topwork.data.readable import check_names
from topwork.decisions.label_errors import check_ledger, dropped, relabelled
from topwork.scoring.metric import Metric

_log = logging.getLogger(__name__)
_NAMED = 5  # rejected files that are named in the terminal


def keep_attributes(
    images: ImageStore, parameters: IngestionParameters, evaluation: EvaluationParameters
) -> pd.DataFrame:
    """The columns of a table of images beside those that Topwork knows, as text, with the ``image_id``.

    Raises:
        InputError: `groups` or `slices` names a column that there is not, or what is asked for needs two classes.

    """
    check_two_classes(images.listing["label"], evaluation, images.source)
    grouped_by(images.listing, images.attributes, parameters.groups, images.source)
    columns = chosen_columns(images.attributes, evaluation.slices, images.source)
    values, left_out = slice_values(images.attributes, columns)
    if sliced := [f"{name} ({counted(values[name].nunique(), 'value')})" for name in values.columns[1:]]:
        _log.info("scores are sliced by %s", ", ".join(sliced))
    left_out.pop(str(parameters.groups).strip().lower(), None)  # what groups images has many values
    if left_out:
        told = "; ".join(f"{name} ({reason})" for name, reason in left_out.items())
        _log.warning("columns of %s by which no scores are sliced: %s", images.source, told)
    return images.attributes


def inspect_images(
    images: ImageStore, attributes: pd.DataFrame, known_files: pd.DataFrame, parameters: IngestionParameters
) -> Iterator[pd.DataFrame]:
    """Inspections of the files that are new or changed, chunk by chunk.

    Args:
        images: the files.
        attributes: not read; columns that there are not are refused before a file is inspected.
        known_files: inspections that were made before.
        parameters: block `ingestion`.

    Raises:
        InputError: no classifier can be trained on these files, or most of them need a plugin that is not installed.

    """
    given = images.listing["given_split"].value_counts()
    splits = ": " + ", ".join(f"{name} {given[name]:,}" for name in (TRAIN, VAL, TEST) if given.get(name, 0))
    shown = splits if images.layout in {"split", "table"} and splits != ": " else ""
    _log.info("%s: %s, %s%s", images.source, LAYOUTS[images.layout].described, counted(len(images), "file"), shown)
    check_names(images.listing["path"], f"images={images.source}")
    check_listing(images.listing, images.source)
    known = known_files.head(0) if parameters.rehash else known_files
    yield from inspect_new(images.listing, images, known, _limits(parameters), parameters.threads)


def make_manifest(
    images: ImageStore,
    attributes: pd.DataFrame,
    inspected_files: pd.DataFrame,
    label_ledger: pd.DataFrame,
    parameters: IngestionParameters,
    comparison: ComparisonParameters,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per file, usable or rejected with a reason, after the ledger is applied; and a table of rejected files.

    Raises:
        InputError: the ledger has a row that cannot be applied, or the metric names a class that is not there.

    """
    check_ledger(label_ledger, images.listing["label"])
    grouped = grouped_by(images.listing, attributes, parameters.groups, images.source)
    listing, unwanted = relabelled(grouped, label_ledger), dropped(label_ledger)
    _tell_ledger(label_ledger, listing, images.listing["label"])
    manifest = build_manifest(listing, inspected_files, _limits(parameters), images.source, unwanted)
    Metric.of(comparison, sorted(manifest.loc[manifest["status"] == OK, "label"].unique()))
    _log.info(describe_manifest(manifest))
    if pages := describe_pages(manifest, inspected_files):
        _log.info(pages)
    if parameters.white != PERCENTILES:
        for doubt in doubt_brightness(manifest, inspected_files, fixed(parameters.white)):
            _log.warning(doubt)
    rejected = manifest.loc[manifest["status"] == REJECTED, ["image_id", "path", "label", "reason"]]
    for row in rejected.head(_NAMED).itertuples():
        _log.info("rejected: %s (%s)", row.path, row.reason)
    return manifest, rejected


def measure_greys(images: ImageStore, manifest: pd.DataFrame, parameters: IngestionParameters) -> dict[str, Any]:
    """With `white=percentiles`, the values that become black and white (`measure_grey_range`); otherwise nothing."""
    if parameters.white != PERCENTILES:
        return {}
    found = measure_grey_range(manifest, images, parameters.max_pixels, parameters.threads)
    if found["images"]:
        told = (found["black"], found["white"], counted(found["images"], "image"))
        _log.info("white=percentiles: %g is black and %g is white, measured on %s of more than 8 bits", *told)
    else:
        _log.info("white=percentiles: no image has more than 8 bits")
    return found


def _tell_ledger(label_ledger: pd.DataFrame, listing: pd.DataFrame, given: pd.Series[str]) -> None:
    counts = label_ledger.loc[label_ledger["image_id"].isin(listing["image_id"]), "action"].value_counts()
    if len(counts):
        taken = ", ".join(f"{count} to {action}" for action, count in sorted(counts.items()))
        changed = int((listing["label"] != given).sum())
        _log.info("label ledger: %s; %d labels are other ones now", taken, changed)
    strangers = sorted(set(label_ledger["image_id"]) - set(listing["image_id"]))
    if strangers:
        _log.warning("label ledger: %d of its images are not here, first %s", len(strangers), strangers[0])


def _limits(parameters: IngestionParameters) -> Limits:
    return Limits(parameters.max_pixels, parameters.max_bytes)
