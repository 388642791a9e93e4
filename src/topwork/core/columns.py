"""Columns of the tables that nodes exchange, and the words used in them."""

from __future__ import annotations

LISTING_COLUMNS = (
    "image_id",
    "path",
    "label",
    "group",
    "given_split",
    "size",
    "mtime_ns",
    "ctime_ns",
    "inode",
    "error",
)
STAMP_COLUMNS = ("path", "size", "mtime_ns", "ctime_ns", "inode", "rules")  # if equal, a file is not read again
INSPECTION_COLUMNS = (
    *STAMP_COLUMNS,
    "sha256",
    "width",
    "height",
    "format",
    "mode",
    "status",
    "reason",
    "highest",
    "several_pages",
)
MANIFEST_COLUMNS = (
    "image_id",
    "path",
    "sha256",
    "label",
    "width",
    "height",
    "format",
    "mode",
    "status",
    "reason",
    "group",
)
SPLIT_COLUMNS = ("image_id", "label", "group", "split", "fold")
PREDICTION_COLUMNS = ("image_id", "path", "label", "predicted", "confidence", "probabilities")
ANSWER_COLUMNS = (*STAMP_COLUMNS, "status", "reason", "distance", "probabilities")
RUN_COLUMNS = (
    "run_id",
    "command",
    "started",
    "strategy",
    "split_digest",
    "data_digest",
    "commit",
    "parameters",
    "metrics",
)
OK, REJECTED = "ok", "rejected"
TRAIN, VAL, TEST = "train", "val", "test"
NO_FOLD = -1  # `fold` of a test image
