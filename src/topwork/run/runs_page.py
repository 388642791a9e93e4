"""How MLflow shows the runs: which columns and charts its page of runs opens with, as tags of the experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

_KEY = "topwork"
_VIEW = f"mlflow.sharedViewState.{_KEY}"
_PRIMARY = "mlflow.experiment.primaryMetric.name"
_SCORES = ("oof_accuracy", "accuracy")
_CHARTS = (*_SCORES, "balanced_accuracy", "macro_f1", "log_loss", "ece")
_PARAMETERS = ("backbone", "image_size")
_NAME_WIDTH, _NOTE_WIDTH = 300, 420  # pixels
_SECTION = "topwork-scores"
_NOTE = (
    "A run is one command of Topwork; its child runs are the strategies. `oof_accuracy`, out of fold, is what models "
    "are chosen by; `accuracy` is that of the test split."
)


def runs_page(server: str, experiment: str) -> str:
    """Address of the table of runs, with the columns of `experiment_tags`.

    MLflow opens another mode, that of language models, unless the address says that these are runs of training.
    """
    return f"{server}/#/experiments/{experiment}/runs?viewStateShareKey={_KEY}&workflowType=machine_learning"


def missing_tags(present: Mapping[str, str]) -> dict[str, str]:
    """The tags that an experiment with the ``present`` tags lacks; what a user has set besides the view is kept."""
    wanted = {_VIEW: json.dumps(_view()), _PRIMARY: _SCORES[0], MLFLOW_RUN_NOTE: _NOTE}
    return {
        name: value
        for name, value in wanted.items()
        if name not in present or (name == _VIEW and present[name] != value)
    }


def _view() -> dict[str, Any]:
    """The state of the page, by the names that MLflow 3.17 gives it; it ignores those that it does not know."""
    metrics = [f"metrics.`{name}`" for name in _SCORES]
    tags = ["tags.`topwork.champion`"]
    parameters = [f"params.`{name}`" for name in _PARAMETERS]
    name, note, models = (f"attributes.`{title}`" for title in ("Run Name", "Description", "Models"))
    return {
        "selectedColumns": [*metrics, *tags, *parameters, note, models],
        "columnOrder": [name, *metrics, *tags, *parameters, note, models],
        "columnWidths": {name: _NAME_WIDTH, note: _NOTE_WIDTH},
        "compareRunSections": [{"uuid": _SECTION, "name": "Scores", "display": True, "isReordered": False}],
        "compareRunCharts": [_chart(metric) for metric in _CHARTS],
    }


def _chart(metric: str) -> dict[str, Any]:
    return {
        "type": "BAR",
        "uuid": f"{_KEY}-{metric}",
        "metricKey": metric,
        "displayName": metric,
        "metricSectionId": _SECTION,
        "deleted": False,
        "isGenerated": True,
    }
