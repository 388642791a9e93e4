from __future__ import annotations

import pandas as pd

from topwork.core.digests import split_digest, table_digest

TABLE = pd.DataFrame({"image_id": ["a", "b"], "label": ["x", "y"], "split": "train", "fold": [0, 1]})


def test_the_order_of_the_rows_does_not_matter_but_their_content_does() -> None:
    assert table_digest(TABLE[::-1], ["image_id", "label"]) == table_digest(TABLE, ["image_id", "label"])
    assert table_digest(TABLE.assign(label="x"), ["image_id", "label"]) != table_digest(TABLE, ["image_id", "label"])
    assert table_digest(TABLE, ["image_id"]) != table_digest(TABLE, ["label"])


def test_scores_compare_only_on_the_same_split_and_labels() -> None:
    digests = {split_digest(TABLE), split_digest(TABLE.assign(fold=[1, 0])), split_digest(TABLE.assign(split="test"))}
    assert len(digests) == 3
    assert split_digest(TABLE.assign(group="other")) == split_digest(TABLE)
