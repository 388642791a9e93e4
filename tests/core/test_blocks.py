from __future__ import annotations

import numpy as np
import pytest

from topwork.core.blocks import blocks


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 5000])
def test_blocks_cover_each_row_once_in_order_and_are_small(count: int) -> None:
    rows = np.arange(count)
    parts = [rows[block] for block in blocks(count)]
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    assert max(map(len, parts)) <= 1024
