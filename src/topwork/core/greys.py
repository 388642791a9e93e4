"""The parameter `white`: which values of images of more than 8 bits become black and white."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from topwork.core.errors import InputError
from topwork.core.parameters import PERCENTILES, DistilledParameters, FeatureParameters, ScratchParameters

Scale = float | tuple[float, float] | None
"""The value that becomes 255, or those that become 0 and 255; None: 255 is the largest value of the number type."""

P = TypeVar("P", FeatureParameters, ScratchParameters, DistilledParameters)


def measured_scale(grey_range: Mapping[str, Any]) -> Scale:
    """Black and white of the data set as ingestion measured them; None if none of its images has more than 8 bits.

    Raises:
        InputError: they were not measured.

    """
    if not grey_range:
        raise InputError(f"white={PERCENTILES}: not measured here yet; run `--pipelines ingestion` first.")
    return (grey_range["black"], grey_range["white"]) if grey_range["images"] else None


def settled(parameters: P, grey_range: Mapping[str, Any]) -> P:
    """The parameters with black and white in place of `percentiles`; others stay as they are.

    Raises:
        InputError: black and white were not measured.

    """
    return settled_at(parameters, measured_scale(grey_range)) if parameters.white == PERCENTILES else parameters


def settled_at(parameters: P, scale: Scale) -> P:
    """The parameters with this scale in place of `percentiles`; others stay as they are."""
    return parameters.model_copy(update={"white": scale}) if parameters.white == PERCENTILES else parameters


def fixed(white: Scale | str) -> Scale:
    """A scale that is known; `percentiles` must have been settled before."""
    assert not isinstance(white, str), "settled() says which values are black and white"
    return white
