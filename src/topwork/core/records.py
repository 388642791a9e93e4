"""Results that are stored as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable result that is stored as JSON."""

    model_config = ConfigDict(frozen=True)
