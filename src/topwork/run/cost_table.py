"""Reads the user's table of the costs of confusions, before the run."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topwork.core.errors import InputError
from topwork.core.words import counted

_SEPARATORS = ",;\t"
_EXAMPLE = "Expected a row for each true class and a column for each answer: `true,healthy,ill`, `ill,20,0`."


def with_costs(params: Mapping[str, Any], working_folder: Path) -> dict[str, Any]:
    """The parameters, with the content of the table in place of `comparison.costs=FILE`, so that a run records it."""
    block = params.get("comparison")
    given = block.get("costs") if isinstance(block, Mapping) else None
    if not isinstance(given, str):
        return dict(params)
    assert isinstance(block, Mapping)
    path = working_folder / Path(given).expanduser()
    return {**params, "comparison": {**block, "costs": read_costs(path)}}


def read_costs(path: Path) -> dict[str, dict[str, float]]:
    """The cost of each answer, by the true class and then by the answer; an empty cell is left out.

    Raises:
        InputError: the file cannot be used, or a cost is no number from 0 on; the message names the row and an example.

    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"comparison.costs={path}: cannot be read ({reason}). {_EXAMPLE}") from error
    separator = max(_SEPARATORS, key=next((line for line in lines if line.strip()), "").count)
    table = csv.reader(lines, delimiter=separator)
    numbered = [(table.line_num, [cell.strip() for cell in row]) for row in table if "".join(row).strip()]
    rows = [row for _, row in numbered]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise InputError(f"comparison.costs={path}: is no table. {_EXAMPLE}")
    answers, names = rows[0][1:], [row[0] for row in rows[1:]]
    for twice in sorted({name for name in (*names, *answers) if names.count(name) > 1 or answers.count(name) > 1}):
        raise InputError(f"comparison.costs={path}: {twice} has two rows or columns. {_EXAMPLE}")
    of_file = f"comparison.costs={path}"
    return {row[0]: _costs_of(f"{of_file}, row {number} ({row[0]})", row[1:], answers) for number, row in numbered[1:]}


def _costs_of(row: str, cells: list[str], answers: list[str]) -> dict[str, float]:
    if len(cells) != len(answers):
        told = f"{counted(len(cells), 'cost')} for {counted(len(answers), 'answer')} in the first row"
        raise InputError(f"{row}: {told}. {_EXAMPLE}")
    return {answer: _cost(row, cell) for answer, cell in zip(answers, cells, strict=True) if cell}


def _cost(row: str, cell: str) -> float:
    try:
        cost = float(cell)
    except ValueError:
        cost = math.nan
    if not 0 <= cost < math.inf:
        raise InputError(f"{row}: {cell!r} is no cost; give a number from 0 on. {_EXAMPLE}")
    return cost
