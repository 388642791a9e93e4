"""Feature keys as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topwork.core.features import FeatureKey


def key_from_fields(fields: Mapping[str, Any]) -> FeatureKey:
    """The feature key of the fields from `dataclasses.asdict`, after JSON has turned tuples into lists."""
    preprocessing = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields["preprocessing"].items()
    }
    return FeatureKey(**{**fields, "layers": tuple(fields["layers"]), "preprocessing": preprocessing})
