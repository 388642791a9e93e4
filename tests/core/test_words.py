from __future__ import annotations

from topwork.core.words import counted


def test_a_noun_follows_its_number() -> None:
    assert [counted(number, "image") for number in (0, 1, 2, 2500)] == [
        "0 images",
        "1 image",
        "2 images",
        "2,500 images",
    ]
