"""Large arrays are worked through in blocks of rows, so that no temporary is as large as the features."""

from __future__ import annotations

from collections.abc import Iterator

_ROWS = 1_024  # 10 MB of 1,280 features in float64; a product of larger blocks is no faster


def blocks(count: int) -> Iterator[slice]:
    """Slices of at most 1,024 rows that cover ``count`` rows in their order; an empty one if there are none."""
    for start in range(0, max(count, 1), _ROWS):
        yield slice(start, min(start + _ROWS, count))
