"""Feature keys as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kedro.io import AbstractDataset

from topwork.core.errors import DamagedError, InputError
from topwork.core.features import FeatureKey
from topwork.datasets.checked import read_json, write_json
from topwork.datasets.previews import JSONPreview
from topwork.datasets.remote import at_hand, exists, place


def key_from_fields(fields: Mapping[str, Any]) -> FeatureKey:
    """The feature key of the fields from `dataclasses.asdict`, after JSON has turned tuples into lists."""
    preprocessing = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields["preprocessing"].items()
    }
    return FeatureKey(**{**fields, "layers": tuple(fields["layers"]), "preprocessing": preprocessing})


class FeatureKeyDataset(AbstractDataset[FeatureKey, FeatureKey]):
    """A feature key as a JSON file, which people can read."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = place(filepath)
        self.metadata = metadata

    def load(self) -> FeatureKey:
        """The key.

        Raises:
            InputError: the file is damaged.

        """
        try:
            return key_from_fields(read_json(at_hand(self._path)))
        except (DamagedError, KeyError, TypeError) as error:
            raise InputError(
                f"{self._path} is damaged ({error}): run `--pipelines features,splitting` again."
            ) from error

    def save(self, data: FeatureKey) -> None:
        """Replace the key."""
        write_json(self._path, asdict(data))

    def preview(self) -> JSONPreview:
        """The key, for kedro-viz."""
        return JSONPreview(json.dumps(asdict(self.load())))

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
