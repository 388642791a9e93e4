from __future__ import annotations

from pathlib import Path

import pytest

from topwork.core.errors import InputError
from topwork.run.cost_table import with_costs


def test_the_table_takes_the_place_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_text("true,healthy,ill\n\nhealthy,0,2\nill, 20 ,\n")
    found = with_costs({"seed": 1, "comparison": {"costs": "costs.csv", "metric": "cost"}}, tmp_path)
    costs = {"healthy": {"healthy": 0.0, "ill": 2.0}, "ill": {"healthy": 20.0}}
    assert found == {"seed": 1, "comparison": {"costs": costs, "metric": "cost"}}
    assert with_costs(found, tmp_path) == found  # as a run that is repeated gives it


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "is no table"),
        ("true,healthy,ill\n", "is no table.*Expected a row for each true class"),
        ("true,healthy\nill,1,2\n", r", row 2 \(ill\): 2 costs for 1 answer in the first row"),
        ("true,healthy,ill\n\nill,1\n", r", row 3 \(ill\): 1 cost for 2 answers in the first row"),
        ("true,healthy,ill\nhealthy,0,-1\n", r", row 2 \(healthy\): '-1' is no cost; give a number from 0"),
        ("true,healthy,ill\nhealthy,0,nan\n", r"row 2 \(healthy\): 'nan' is no cost"),
        ("true,healthy,ill\nill,5,0\nill,7,0\n", "ill has two rows or columns"),
        ("true,healthy\nill,dear\n", r"row 2 \(ill\): 'dear' is no cost"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_with_an_example(
    content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "costs.csv").write_text(content)
    with pytest.raises(InputError, match=f"comparison.costs=.*costs.csv.*{message}"):
        with_costs({"comparison": {"costs": "costs.csv"}}, tmp_path)
