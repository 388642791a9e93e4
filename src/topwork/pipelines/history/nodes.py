"""Lists the runs on these images, with what each changed and how the score changed."""

from __future__ import annotations

import logging

import pandas as pd
from matplotlib.figure import Figure

from topwork.core.columns import OK
from topwork.core.digests import manifest_digest
from topwork.core.errors import InputError
from topwork.core.parameters import ComparisonParameters
from topwork.core.runs import LoggedRuns
from topwork.core.words import counted
from topwork.decisions.history import compare_history
from topwork.reporting.plots import plot_runs

_log = logging.getLogger(__name__)
_SHOWN = 20  # last runs that the terminal shows


def tell_history(
    logged_runs: LoggedRuns, manifest: pd.DataFrame, previous_splits: pd.DataFrame, parameters: ComparisonParameters
) -> pd.DataFrame:
    """A row for each run of a strategy on the present images; images of one group count as one object.

    Raises:
        InputError: there is no such run.

    """
    known = pd.concat(
        [previous_splits[["image_id", "group"]], manifest.loc[manifest["status"] == OK, ["image_id", "group"]]]
    )
    group_of = known.drop_duplicates("image_id").set_index("image_id")[
        "group"
    ]  # the groups of the splits include near-duplicates
    history = compare_history(logged_runs, manifest_digest(manifest), group_of, parameters.seed)
    if history.empty:
        raise InputError("No run on these images is in the MLflow store: `kedro run` makes one.")
    for row in history.tail(_SHOWN).to_dict("records"):
        gained = ""
        if not pd.isna(row["difference"]):
            gained = f", {100 * row['difference']:+.1f} points on {counted(row['images'], 'image')}"
        verdict = f" ({row['verdict']})" if row["verdict"] else ""
        started = row["started"].strftime("%Y-%m-%d %H:%M")
        _log.info("%s %s %.3f%s%s: %s", started, row["strategy"], row["oof_accuracy"], gained, verdict, row["changed"])
    others = len(logged_runs.table) - len(history)
    _log.info(
        "%s in all; %d on other images are left out. The table and its picture are history.csv and history.png "
        "in 08_reporting.",
        *(counted(len(history), "run"), others),
    )
    return history


def draw_history(history: pd.DataFrame) -> Figure:
    """A plot of the scores in the order of the runs."""
    return plot_runs(history)
