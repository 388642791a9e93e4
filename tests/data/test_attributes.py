from __future__ import annotations

import pandas as pd
import pytest

from topwork.core.errors import InputError
from topwork.data.attributes import chosen_columns, grouped_by, slice_values


def attributes(**columns: list[str]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"image_id": [f"{number}.png" for number in range(size)], **columns})


def test_few_values_are_slices_and_what_is_empty_is_one_too() -> None:
    values, left_out = slice_values(
        attributes(site=["B", "A", "", "B"], stage=["10", "9", "9", "10"]), ["site", "stage"]
    )
    assert list(values["site"].cat.categories) == ["A", "B", "(empty)"]
    assert list(values["stage"].cat.categories) == ["9", "10"]
    assert left_out == {}


def test_many_numbers_are_cut_at_their_quartiles() -> None:
    ages = [str(age) for age in range(1, 41)]
    values, _ = slice_values(attributes(age=[*ages, ""]), ["age"])
    assert list(values["age"].cat.categories) == ["1 to 10", "11 to 20", "21 to 30", "31 to 40", "(empty)"]
    assert values["age"].value_counts().max() == 10


def test_numbers_that_are_mostly_equal_are_cut_where_they_differ() -> None:
    values, _ = slice_values(attributes(dose=[*["0"] * 60, *(str(dose) for dose in range(1, 31))]), ["dose"])
    assert list(values["dose"].cat.categories) == ["0 to 0", "1 to 7", "8 to 30"]


def test_many_texts_and_one_value_alone_are_left_out_with_the_reason() -> None:
    table = attributes(note=[f"n{number}" for number in range(30)], site=["A"] * 30)
    values, left_out = slice_values(table, ["note", "site"])
    assert list(values.columns) == ["image_id"]
    assert left_out == {"note": "30 values that are not all numbers", "site": "one value alone"}


def test_columns_are_named_in_any_case_and_unknown_ones_are_refused_with_those_that_exist() -> None:
    table = attributes(site=["A", "B"], camera=["x", "y"])
    assert chosen_columns(table, None, "t.csv") == ["site", "camera"]
    assert chosen_columns(table, "Camera", "t.csv") == ["camera"]
    with pytest.raises(InputError, match=r"slices=site\+lens: images=t.csv names no column 'lens'; .* site, camera"):
        chosen_columns(table, "site+lens", "t.csv")
    with pytest.raises(InputError, match=r"groups=patient: .*'patient'; its columns are site, camera"):
        grouped_by(pd.DataFrame(), table, "patient", "t.csv")
    with pytest.raises(InputError, match=r"'kamera'; perhaps camera\? its columns are site, camera"):
        grouped_by(pd.DataFrame(), table, "Kamera", "t.csv")
    with pytest.raises(InputError, match="it has none beside"):
        chosen_columns(attributes(image_id=["a"]), "site", "folder")


def test_any_column_can_group_the_images() -> None:
    listing = pd.DataFrame({"image_id": ["0.png", "1.png", "2.png"], "group": [None, "g", "g"]})
    table = attributes(patient=["7", "7", ""])
    assert grouped_by(listing, table, "Patient", "t.csv")["group"].tolist() == ["7", "7", None]
    assert grouped_by(listing, table, None, "t.csv") is listing
    assert grouped_by(listing, table, "group", "t.csv") is listing
