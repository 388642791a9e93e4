"""JSON files with a digest, and a default value for a file that does not exist yet."""

from __future__ import annotations

import json
import logging
from typing import Any

from kedro.io import AbstractDataset

from topwork.core.errors import DamagedError, InputError
from topwork.datasets.checked import read_json, write_json
from topwork.datasets.previews import JSONPreview
from topwork.datasets.remote import at_hand, exists, place, remove

_log = logging.getLogger(__name__)
_JSON_NAMES: dict[type, str] = {dict: "object", list: "array"}


class ReportDataset(AbstractDataset[Any, Any]):
    """A JSON file, written completely or not at all; ``missing`` is the value for a file that is absent or damaged.

    ``missing`` also sets the type: content of another type counts as damaged.
    """

    def __init__(self, *, filepath: str, missing: Any = None, metadata: dict[str, Any] | None = None) -> None:
        self._path = place(filepath)
        self._missing = missing
        self.metadata = metadata

    def load(self) -> Any:
        """The content.

        Raises:
            InputError: the file is damaged, and ``missing`` is not given.
            FileNotFoundError: there is no file, and ``missing`` is not given.

        """
        try:
            content = read_json(at_hand(self._path))
            if self._missing is not None and not isinstance(content, type(self._missing)):
                raise DamagedError(f"expected a JSON {_JSON_NAMES.get(type(self._missing), 'value')}")
        except FileNotFoundError:
            if self._missing is None:
                raise
            return self._missing
        except DamagedError as error:
            if self._missing is None:
                raise InputError(
                    f"{self._path} is damaged ({error}): run again the pipeline that writes it, or all of them."
                ) from error
            _log.warning("%s is damaged (%s): it counts as not made yet.", self._path, error)
            return self._missing
        return content

    def save(self, data: Any) -> None:
        """Replace the content."""
        write_json(self._path, data)

    def preview(self) -> JSONPreview:
        """The content, for kedro-viz."""
        return JSONPreview(json.dumps(self.load()))

    def remove(self) -> None:
        """Delete the file, if it exists."""
        remove(self._path)

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
