"""What the user's table says of the images beside label and split: a column can group them, or slice their scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from topwork.core.errors import InputError
from topwork.core.words import perhaps

EMPTY = "(empty)"
"""Name of the slice of images with an empty cell."""
_MOST_VALUES = 20  # of a column, so that it is cut into slices by value
_QUARTILES = (0.25, 0.5, 0.75)
_ID = "image_id"


def grouped_by(listing: pd.DataFrame, attributes: pd.DataFrame, column: str | None, source: str) -> pd.DataFrame:
    """The listing, in which each cell of the column is the group of its image; None: as it is.

    Raises:
        InputError: there is no such column.

    """
    if column is None or _name(column) == "group":
        return listing
    (found,) = _existing(attributes, [column], "groups", column, source)
    return listing.assign(group=pd.Series([cell or None for cell in attributes[found]], listing.index, dtype=object))


def chosen_columns(attributes: pd.DataFrame, wanted: str | None, source: str) -> list[str]:
    """The columns to slice by: those named in ``wanted``, joined by `+`, or all.

    Raises:
        InputError: there is no such column.

    """
    if wanted is None:
        return [str(name) for name in attributes.columns if name != _ID]
    return _existing(attributes, wanted.split("+"), "slices", wanted, source)


def slice_values(attributes: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The slice that each image belongs to (``image_id`` and a category each), and why columns have none.

    A column of numbers with more than 20 values is cut at its quartiles; one of other texts with so many is left out.
    """
    values, left_out = {_ID: attributes[_ID]}, dict[str, str]()
    for name in columns:
        cells = attributes[name]
        if cells.nunique() > _MOST_VALUES:
            numbers = pd.to_numeric(cells.where(cells != ""), errors="coerce").replace([np.inf, -np.inf], np.nan)
            if (numbers.isna() & (cells != "")).any():
                left_out[name] = f"{cells.nunique():,} values that are not all numbers"
                continue
            cells = _quartiles(numbers)
        if cells.nunique() < 2:
            left_out[name] = "one value alone"
            continue
        named = cells.replace("", EMPTY)
        values[name] = pd.Series(pd.Categorical(named, _in_order(named.unique())), index=cells.index)
    return pd.DataFrame(values), left_out


def _in_order(values: Iterable[str]) -> list[str]:
    """Values of a column, numbers in their order before other texts; what is empty is last."""

    def place(value: str) -> tuple[bool, float, str]:
        try:
            return value == EMPTY, float(value.split(" to ", maxsplit=1)[0]), value
        except ValueError:
            return value == EMPTY, np.inf, value

    return sorted(values, key=place)


def _quartiles(numbers: pd.Series[float]) -> pd.Series[str]:
    """The range that each number lies in, from the lowest to the highest number there; empty without a number."""
    edges = np.unique(numbers.quantile(_QUARTILES))
    part = pd.Series(np.searchsorted(edges, numbers, side="left"), index=numbers.index).where(numbers.notna())
    by_part = numbers.groupby(part)
    low, high = by_part.transform("min"), by_part.transform("max")
    named = [f"{least:.10g} to {most:.10g}" for least, most in zip(low, high, strict=True)]
    return pd.Series(named, index=numbers.index).where(numbers.notna(), "")


def _existing(attributes: pd.DataFrame, wanted: Sequence[str], parameter: str, value: str, source: str) -> list[str]:
    known = [str(name) for name in attributes.columns if name != _ID]
    asked = [_name(name) for name in wanted]
    for name in asked:
        if name not in known:
            has = f"its columns are {', '.join(known)}" if known else "it has none beside path, label, group, split"
            raise InputError(
                f"{parameter}={value}: images={source} names no column {name!r}; {perhaps(name, known)}{has}."
            )
    return list(dict.fromkeys(asked))


def _name(column: str) -> str:
    """The name as it is in `attributes`."""
    return column.strip().lower()
