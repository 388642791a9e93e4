from __future__ import annotations

import pytest

from topwork.core.parameters import each_once, value_of

FOLLOWING = frozenset({"svm.seed", "features.image_size"})


@pytest.mark.parametrize(
    ("block", "kept"),
    [({"seed": 0}, {}), ({"seed": 7}, {"svm.seed": 7}), ({"C": 1.0}, {"svm.C": 1.0}), ({"size": 0}, {"svm.size": 0})],
    ids=["follows", "has its own value", "is of the block alone", "has another name"],
)
def test_a_parameter_that_follows_a_main_one_is_listed_once(block: dict[str, object], kept: dict[str, object]) -> None:
    assert each_once({"seed": 0, "svm": block}, FOLLOWING) == {"seed": 0, **kept}


def test_a_parameter_that_only_happens_to_have_the_value_of_a_main_one_is_listed() -> None:
    values = {"image_size": None, "duplicates": {"image_size": None}, "features": {"image_size": None}}
    assert each_once(values, FOLLOWING) == {"image_size": None, "duplicates.image_size": None}


def test_what_is_listed_once_is_found_under_both_names() -> None:
    listed = each_once({"seed": 3, "svm": {"seed": 3, "C": 1.0}}, FOLLOWING)
    assert [value_of(listed, name) for name in ("svm.seed", "seed", "svm.C")] == [3, 3, 1.0]
    assert value_of(listed, "svm.kernel", "none") == "none"
