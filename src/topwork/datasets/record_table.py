"""Dataset for a list of records as JSON, which kedro-viz shows as a table."""

from __future__ import annotations

from typing import Any

from topwork.datasets.previews import TablePreview
from topwork.datasets.record import RecordDataset


class RecordTableDataset(RecordDataset):
    """A `RecordDataset` whose ``record`` is a list; ``shown`` are the fields that a preview has, in this order."""

    def __init__(
        self,
        *,
        record: str,
        filepath: str,
        shown: list[str],
        missing: Any = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(record=record, filepath=filepath, missing=missing, metadata=metadata)
        self._shown = shown

    def preview(self) -> TablePreview:
        """The records with three decimals, for kedro-viz, which goes by the type that is annotated."""
        records = self.load().model_dump(mode="json")
        rows = [[_told(record.get(name)) for name in self._shown] for record in records]
        return TablePreview({"index": list(range(len(rows))), "columns": self._shown, "data": rows})


def _told(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
