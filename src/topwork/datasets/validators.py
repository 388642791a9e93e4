"""Checks of the manifest and of the splits, which the catalog makes on every load and save."""

from __future__ import annotations

import pandas as pd

from topwork.core.columns import MANIFEST_COLUMNS, NO_FOLD, OK, REJECTED, SPLIT_COLUMNS, TEST, TRAIN, VAL


def valid_manifest(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest, unchanged.

    Raises:
        ValueError: columns are missing, ids repeat, or a row is neither usable nor rejected for a reason.

    """
    _has_columns(manifest, MANIFEST_COLUMNS)
    _unique_ids(manifest)
    ok = manifest["status"] == OK
    if not (ok | (manifest["status"] == REJECTED)).all():
        raise ValueError(f"manifest: status must be {OK} or {REJECTED}")
    if (manifest.loc[~ok, "reason"] == "").any():
        raise ValueError("manifest: a rejected file has no reason")
    if manifest.loc[ok, ["sha256", "label", "group"]].isin(["", None]).any(axis=None):
        raise ValueError("manifest: a usable image lacks its sha256, label or group")
    return manifest


def valid_splits(splits: pd.DataFrame) -> pd.DataFrame:
    """The splits, unchanged.

    Raises:
        ValueError: columns are missing, ids repeat, a group crosses splits or folds, or folds and splits disagree.

    """
    _has_columns(splits, SPLIT_COLUMNS)
    _unique_ids(splits)
    if not splits["split"].isin([TRAIN, VAL, TEST]).all():
        raise ValueError(f"splits: split must be one of {TRAIN}, {VAL}, {TEST}")
    homes = splits.groupby("group")["fold"].nunique()
    if (homes > 1).any():
        raise ValueError(f"splits: group {homes.idxmax()!r} lies in several folds or splits")
    agrees = (splits["split"] == TEST) == (splits["fold"] == NO_FOLD)
    agrees &= (splits["split"] == VAL) == (splits["fold"] == 0)
    if not agrees.all():
        raise ValueError("splits: val is fold 0, test has no fold")
    return splits


def _has_columns(table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(f"columns missing: {', '.join(missing)}")


def _unique_ids(table: pd.DataFrame) -> None:
    twice = table["image_id"][table["image_id"].duplicated()]
    if len(twice):
        raise ValueError(f"image id {twice.iloc[0]!r} occurs twice")
