"""A table that is written completely or not at all."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from topwork.core.errors import DamagedError, InputError
from topwork.core.visible import quoted, unquoted
from topwork.datasets.atomic import appearing_whole
from topwork.datasets.checked import read_table, write_table
from topwork.datasets.previews import TablePreview
from topwork.datasets.remote import at_hand, exists, place


class TableDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A Parquet file as a DataFrame, with its ``attrs``; or a CSV file, for people to read.

    With ``columns`` a missing file loads as an empty table of these columns, because the first run has no earlier
    results. With ``text`` the cells of a CSV file stay text, so that `007` keeps its zeros. People write such a file,
    and find its folder ready after the first load.
    ``if_deleted`` says what happens after the user deletes the file, for the error message of a damaged file.
    Cells that a spreadsheet would compute get an apostrophe in CSV; Parquet stores them as they are.
    The class of kedro-datasets writes in place, so that a kill would leave an incomplete table for the next run.
    """

    def __init__(
        self,
        *,
        filepath: str,
        columns: list[str] | None = None,
        text: bool = False,
        if_deleted: str = "a run without --pipelines makes it anew",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._path = place(filepath)
        self._columns = columns
        self._text = text
        self._if_deleted = if_deleted
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """The table.

        Raises:
            InputError: the file is damaged.

        """
        if self._columns is not None and not exists(self._path):
            if self._text:
                with suppress(OSError):  # where nothing can be written, it can still be read
                    self._path.parent.mkdir(parents=True, exist_ok=True)
            return pd.DataFrame(columns=pd.Index(self._columns))
        try:
            at_hand(self._path)
            if not self._is_csv:
                return read_table(self._path)
            return self._as_text() if self._text else pd.read_csv(self._path, keep_default_na=False)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self._path} is not UTF-8 text: save it as CSV UTF-8 (in Excel: Save as, *CSV UTF-8*). What was "
                "written into it stays."
            ) from error
        except (DamagedError, pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
            raise InputError(
                f"{self._path} is damaged ({str(error).splitlines()[0]}): put back a copy, or delete it; "
                f"then {self._if_deleted}."
            ) from error

    def save(self, data: pd.DataFrame) -> None:
        """Replace the table."""
        if not self._is_csv:
            write_table(self._path, data)
            return
        shown = data.map(lambda cell: quoted(cell) if isinstance(cell, str) else cell)
        with appearing_whole(self._path) as partial:
            # Excel takes a file for UTF-8 by the mark at its start alone, and would save other letters back
            shown.to_csv(partial, index=False, encoding="utf-8-sig" if self._text else "utf-8")

    def _as_text(self) -> pd.DataFrame:
        """A CSV table that people edit; spreadsheets may write a byte order mark, and semicolons or tabs."""
        with self._path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = next((each for each in ",;\t" if each in header), ",")
        table = pd.read_csv(
            self._path, sep=separator, keep_default_na=False, dtype=str, encoding="utf-8-sig", index_col=False
        )
        table.columns = table.columns.str.strip().str.lower()
        if missing := [name for name in self._columns or [] if name not in table]:
            raise InputError(
                f"{self._path}: no column {' and '.join(missing)}; found {', '.join(map(str, table.columns))}."
            )
        return table.map(lambda cell: unquoted(cell.strip()))

    @property
    def artifacts(self) -> list[Path]:
        """The file to log."""
        return [self._path]

    def preview(self, nrows: int = 8) -> TablePreview:
        """The first rows, for kedro-viz."""
        return TablePreview(self.load().head(nrows).astype(str).to_dict(orient="split"))

    @property
    def _is_csv(self) -> bool:
        return self._path.suffix == ".csv"

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "columns": self._columns}
