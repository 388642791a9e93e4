"""Labels that the user has filled in: those that are new classes, and those that are probably mistyped."""

from __future__ import annotations

from collections.abc import Set

import pandas as pd

from topwork.core.errors import InputError
from topwork.core.words import is_one_slip
from topwork.data.manifest import SMALLEST_CLASS

_FIRST_ROW = 2  # of a table, below its header, as spreadsheets count


def check_filled_labels(requests: pd.DataFrame, classes: Set[str], file: str) -> None:
    """Check for labels that are new and one slip of a letter away from a class.

    With as many rows as a class needs, a label is taken as the new class that it may be.

    Args:
        requests: rows of the table that the user fills in, with the column ``label``.
        classes: the classes that there are.
        file: name of the table, for the message.

    Raises:
        InputError: there is such a label; the message names the row and the class.

    """
    for label, count in new_classes(requests, classes).items():
        near = [name for name in sorted(classes) if is_one_slip(label, name)]
        if near and count < SMALLEST_CLASS:
            row = int((requests["label"] == label).to_numpy().argmax()) + _FIRST_ROW
            raise InputError(
                f'{file}, row {row}: label "{label}" is none of the classes; perhaps "{near[0]}"? A new class with so '
                f"similar a name is taken from {SMALLEST_CLASS} rows on."
            )


def new_classes(requests: pd.DataFrame, classes: Set[str]) -> dict[str, int]:
    """The labels that are none of the classes, with the number of their rows."""
    filled = requests.loc[requests["label"] != "", "label"]
    counts = filled[~filled.isin(list(classes))].value_counts(sort=False)
    return {str(label): int(count) for label, count in counts.items()}
