from __future__ import annotations

import pytest

from topwork.core.words import counted, is_one_slip, perhaps


def test_a_noun_follows_its_number() -> None:
    assert [counted(number, "image") for number in (0, 1, 2, 2500)] == [
        "0 images",
        "1 image",
        "2 images",
        "2,500 images",
    ]


@pytest.mark.parametrize("word", ["cta", "caat", "catt", "cut", "Cat", "scat", "ca t"])
def test_a_slip_is_a_letter_too_many_too_few_another_one_or_two_in_the_wrong_order(word: str) -> None:
    assert is_one_slip(word, "cat") and is_one_slip("cat", word)


@pytest.mark.parametrize(
    ("word", "other"), [("cat", "cat"), ("cow", "cat"), ("class 1", "class 2"), ("a", "b"), ("ct", "cat")]
)
def test_equal_words_others_numbers_and_short_ones_are_no_slips(word: str, other: str) -> None:
    assert not is_one_slip(word, other)


def test_a_near_name_is_asked_for_whatever_its_capitals_are() -> None:
    assert perhaps("pateint", ["site", "Patient"]) == "perhaps Patient? "
    assert perhaps("camera", ["site", "Patient"]) == ""
