from __future__ import annotations

import pandas as pd
import pytest

from topwork.core.errors import InputError
from topwork.data.filled_labels import check_filled_labels, new_classes

CLASSES = {"cat", "dog"}


def filled(*labels: str) -> pd.DataFrame:
    return pd.DataFrame({"path": [f"/{number}" for number in range(len(labels))], "label": labels})


def test_a_mistyped_label_is_told_with_its_row_and_the_class_that_is_meant() -> None:
    message = r'^label_these.csv, row 4: label "cta" is none of the classes; perhaps "cat"\?'
    with pytest.raises(InputError, match=message):
        check_filled_labels(filled("dog", "", "cta"), CLASSES, "label_these.csv")


def test_a_new_class_is_allowed_and_counted() -> None:
    rows = filled("cat", "owl", "", "owl", "emu")
    check_filled_labels(rows, CLASSES, "label_these.csv")
    assert new_classes(rows, CLASSES) == {"owl": 2, "emu": 1}


def test_a_new_class_with_a_similar_name_is_allowed_with_the_images_that_a_class_needs() -> None:
    check_filled_labels(filled("cut", "cut", "cut"), CLASSES, "label_these.csv")
