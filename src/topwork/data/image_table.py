"""Reads a table of paths and labels, as spreadsheets and scripts write it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from topwork.core.errors import InputError
from topwork.data.layouts import split_meaning

TABLES = {".csv", ".tsv", ".parquet"}
_EXPECTED = "Expected the columns path,label and optionally group,split."
_BETWEEN_LABELS = "|;,"
_IN_NAMES = ";,"  # these occur in honest names too: they divide labels where a part is the label of another row
_ONE_LABEL = (
    "Topwork knows one label an image. For several, make one table for each label, with yes or no in the column label, "
    "and one run for each table: they share the features."
)
_NAMES = ("path", "label", "group", "split")
_SEPARATORS = ",;\t|"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class ImageTable:
    """The images of a table, and what else it says of them, row by row.

    ``images`` has the text columns ``path``, ``label``, ``group``, ``split`` (`train`, `val`, `test` or empty);
    ``others`` has all other columns of the file as text, with their names in lower case.
    """

    images: pd.DataFrame
    others: pd.DataFrame


def read_image_table(path: Path) -> ImageTable:
    """The table at this path.

    Raises:
        InputError: the table cannot be used; the message names the file, the row, and the problem.

    """
    table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    table.columns = pd.Index([str(name).strip().lower() for name in table.columns])
    _check_one_label(path, table)
    missing = [name for name in ("path", "label") if name not in table]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise InputError(f"images={path}: no column {' and '.join(missing)}; found {found}. {_EXPECTED}")
    if table.empty:
        raise InputError(f"images={path}: has no rows. {_EXPECTED}")
    others = _other_columns(table)
    columns = {name: table[name].map(_text) if name in table else "" for name in _NAMES}
    table = pd.DataFrame(columns, index=table.index)
    for name in ("path", "label"):
        empty = table.index[table[name] == ""]
        if len(empty):
            raise InputError(f"images={path}: {len(empty)} rows have no {name}, first row {empty[0]}.")
    twice = table["path"][table["path"].duplicated()]
    if len(twice):
        raise InputError(f"images={path}: {len(twice)} paths occur twice, first {twice.iloc[0]!r}.")
    meaning = table["split"].map(split_meaning)
    strange = table.index[(table["split"] != "") & (meaning == "")]
    if len(strange):
        row = table.loc[strange[0]]
        raise InputError(f"images={path}: split {row['split']!r} of {row['path']}; known are train, val, test.")
    return ImageTable(table.assign(split=meaning), others)


def _other_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The columns with a name that Topwork does not know, as text; the first one where a name occurs twice."""
    once = table.loc[:, ~table.columns.duplicated()]
    kept = [name for name in once.columns if name and name not in {*_NAMES, "image_id"}]
    others: pd.DataFrame = once[kept].map(_text)
    return others


def _check_one_label(path: Path, table: pd.DataFrame) -> None:
    """Refuse several labels an image (docs/decisions/0028-one-label-an-image.md)."""
    if "labels" in table and "label" not in table:
        raise InputError(f"images={path}: has a column labels. {_ONE_LABEL}")
    if "label" in table:
        labels = table["label"].map(_text)
        several = [row for mark in _BETWEEN_LABELS for row in labels.index[_joined_by(mark, labels)]]
        if several:
            found = f"row {min(several)}: the label {labels[min(several)]!r} looks like several"
            raise InputError(f"images={path}: {found}; if it is one class, name it without that mark. {_ONE_LABEL}")


def _joined_by(mark: str, labels: pd.Series[str]) -> pd.Series[bool]:
    """Which labels look like several with this mark between them: a part is, or with `|` occurs in, another label."""
    names = set(labels)
    within = {name: [part.strip() for part in name.split(mark)] for name in names if mark in name}
    alone = names - set(within)
    parts = Counter(part for each in within.values() for part in each)
    known = alone if mark in _IN_NAMES else alone | {part for part, count in parts.items() if count > 1}
    joined = {name for name, each in within.items() if known.intersection(filter(None, each))}
    return labels.isin(list(joined))


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # readers raise different errors for files of other types
        raise InputError(f"images={path}: cannot be read as Parquet ({str(error).splitlines()[0]}).") from error
    table = table.astype(object).reset_index(drop=True)
    return table.set_axis(table.index + 1)


def _read_text(path: Path) -> pd.DataFrame:
    """The table, indexed by row number in the file; spaces around cells are removed."""
    text = _decoded(path)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), skipinitialspace=True)
    try:
        numbered = [(lines.line_num, [cell.strip() for cell in row]) for row in lines]
    except csv.Error as error:
        raise InputError(f"images={path}: cannot be read as CSV, row {lines.line_num} ({error}).") from error
    rows = [(number, _without_empty_end(row)) for number, row in numbered if any(row)]
    if not rows:
        raise InputError(f"images={path}: is empty. {_EXPECTED}")
    header = rows[0][1]
    table: dict[int, list[str]] = {}
    for number, cells in rows[1:]:
        if len(cells) > len(header):
            raise InputError(
                f"images={path}: row {number} has {len(cells)} cells, the first row {len(header)}. "
                "Put a cell that holds the separator in double quotes."
            )
        table[number] = cells + [""] * (len(header) - len(cells))
    return pd.DataFrame.from_dict(table, orient="index", columns=pd.Index(header), dtype=object)


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"images={path}: is not UTF-8 text (byte {error.start}). Save it as CSV in UTF-8.") from error


def _separator(text: str) -> str:
    """The separator that occurs most often in the first line that is not blank."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(_SEPARATORS, key=first.count)


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _text(cell: Any) -> str:
    return "" if cell is None or cell is pd.NA or cell != cell else str(cell).strip()  # noqa: PLR0124 - not a number
