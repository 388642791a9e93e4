"""Dataset for a typed result (`core/results.py`) as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro.utils import load_obj
from pydantic import BaseModel, ValidationError

from topwork.core.errors import DamagedError, InputError
from topwork.datasets.checked import read_json, write_json
from topwork.datasets.previews import JSONPreview
from topwork.datasets.remote import at_hand, exists, place


class RecordDataset(AbstractDataset[BaseModel, Any]):
    """A JSON file of one type; ``record`` is the type's import path, and writing is atomic.

    ``missing`` is the content if there is no file.
    """

    def __init__(
        self, *, record: str, filepath: str, missing: Any = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._type: type[BaseModel] = load_obj(record)
        self._missing = missing
        self._path = place(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """The record.

        Raises:
            InputError: the file is damaged, or was written by another version.
            FileNotFoundError: there is no file, and no content for this case.

        """
        if self._missing is not None and not exists(self._path):
            return self._type.model_validate(self._missing)
        try:
            return self._type.model_validate(read_json(at_hand(self._path)))
        except (DamagedError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{self._path} is damaged ({reason}): run again the pipeline that writes it, or all of them."
            ) from error

    def save(self, data: BaseModel) -> None:
        """Replace the content of the file."""
        write_json(self._path, data.model_dump(mode="json"))

    @property
    def artifacts(self) -> list[Path]:
        """The file to log."""
        return [self._path]

    def preview(self) -> JSONPreview:
        """The content, for kedro-viz."""
        return JSONPreview(json.dumps(self.load().model_dump(mode="json")))

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "record": self._type.__name__}
