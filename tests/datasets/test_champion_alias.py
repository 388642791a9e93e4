from __future__ import annotations

import pytest

from topwork.datasets.champion_alias import name_of_model


@pytest.mark.parametrize(
    ("images", "name"),
    [
        ("/photos/flowers", "flowers"),
        ("/photos/flowers v1.2", "flowers-v1.2"),
        ("/photos/t.csv", "t"),
        ("/photos/labelled.images.PARQUET", "labelled.images"),
        ("s3://bucket/flowers", "flowers"),
    ],
)
def test_a_model_has_the_name_of_its_folder_or_of_its_table_without_the_ending(images: str, name: str) -> None:
    assert name_of_model(images) == name
