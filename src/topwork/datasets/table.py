"""A table that is written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from topwork.datasets.atomic import appearing_whole
from topwork.schemas import InputError


class TableDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A Parquet file as a DataFrame, with its ``attrs``; or a CSV file, for people to read.

    With ``columns`` a missing file loads as an empty table of these columns: the first run has no earlier results to
    read; a ``logged`` table is kept by MLflow too; the cells of a CSV file stay ``text`` if asked, `007` and all.
    kedro-datasets' own class writes in place, so a kill would leave half a table for the next run to trip over.
    """

    def __init__(
        self,
        *,
        filepath: str,
        columns: list[str] | None = None,
        text: bool = False,
        logged: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._path = Path(filepath)
        self._columns = columns
        self._text = text
        self._logged = logged
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """The table."""
        if self._columns is not None and not self._path.exists():
            return pd.DataFrame(columns=pd.Index(self._columns))
        if not self._is_csv:
            return pd.read_parquet(self._path)
        if not self._text:
            return pd.read_csv(self._path, keep_default_na=False)
        return self._as_text()

    def save(self, data: pd.DataFrame) -> None:
        """Replace the table."""
        with appearing_whole(self._path) as partial:
            if self._is_csv:
                data.to_csv(partial, index=False)
            else:
                data.to_parquet(partial, index=False)

    def _as_text(self) -> pd.DataFrame:
        """A table that people write: with a byte order mark, or semicolons, if their spreadsheet likes them."""
        with self._path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = next((each for each in ",;\t" if each in header), ",")
        table = pd.read_csv(self._path, sep=separator, keep_default_na=False, dtype=str, encoding="utf-8-sig")
        table.columns = table.columns.str.strip().str.lower()
        if missing := [name for name in self._columns or [] if name not in table]:
            raise InputError(
                f"{self._path}: no column {' and '.join(missing)}; found {', '.join(map(str, table.columns))}."
            )
        return table

    @property
    def artifact(self) -> Path | None:
        """The file to log, if it is to be."""
        return self._path if self._logged else None

    def preview(self, nrows: int = 8) -> TablePreview:
        """The first rows, for kedro-viz."""
        return TablePreview(self.load().head(nrows).astype(str).to_dict(orient="split"))

    @property
    def _is_csv(self) -> bool:
        return self._path.suffix == ".csv"

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "columns": self._columns}
