"""A table that grows by complete shards, so that a kill loses at most the current shard."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from topwork.core.errors import DamagedError
from topwork.datasets.checked import read_table, write_table
from topwork.datasets.previews import TablePreview
from topwork.datasets.remote import listed, place

_log = logging.getLogger(__name__)


class AppendedTableDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A folder of Parquet shards: ``save`` adds one, ``load`` joins them and keeps the newest row of each ``key``.

    ``absent`` has the values of columns that earlier versions did not write.
    """

    def __init__(
        self,
        *,
        path: str,
        key: str,
        columns: list[str],
        absent: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._folder = place(path)
        self._key = key
        self._columns = columns
        self._absent = absent or {}
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """All rows, one per key."""
        tables = [table for table in map(self._read, self._shards()) if len(table)]
        if not tables:
            return pd.DataFrame(columns=pd.Index(self._columns))
        return pd.concat(tables, ignore_index=True).drop_duplicates(self._key, keep="last", ignore_index=True)

    def save(self, data: pd.DataFrame) -> None:
        """Add the rows; they replace earlier rows with the same key."""
        serial = max((int(shard.name.split("-")[0]) for shard in self._shards(fetched=False)), default=0) + 1
        write_table(self._folder / f"{serial:09d}-{uuid.uuid4().hex[:8]}.parquet", data)

    def preview(self, nrows: int = 8) -> TablePreview:
        """The first rows, for kedro-viz."""
        return TablePreview(self.load().head(nrows).astype(str).to_dict(orient="split"))

    def _shards(self, *, fetched: bool = True) -> list[Path]:
        return [path for path in listed(self._folder, "*.parquet", fetched=fetched) if not path.name.startswith(".")]

    def _read(self, shard: Path) -> pd.DataFrame:
        try:
            table = read_table(shard)
            return table.assign(**{name: v for name, v in self._absent.items() if name not in table})[self._columns]
        except (OSError, DamagedError, KeyError) as error:
            _log.warning("%s is damaged (%s): its rows are made again.", shard, error)
            return pd.DataFrame(columns=pd.Index(self._columns))

    def _exists(self) -> bool:
        return bool(self._shards(fetched=False))

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._folder), "key": self._key}
