"""The classifiers that the strategies of a data folder have trained, read one by one as they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from topwork.core.classifier import Classifier
from topwork.core.errors import InputError
from topwork.core.stores import TrainedStore
from topwork.datasets.classifier_file import read_classifier
from topwork.datasets.remote import place
from topwork.datasets.table import TableDataset


class TrainedFolders:
    """Classifiers and distances by strategy and slot, in folders as the catalog names them for each strategy."""

    def __init__(self, models: Path, outputs: Path) -> None:
        self._models, self._outputs = models, outputs

    def classifier(self, strategy: str, slot: str) -> Classifier:
        """The classifier of the strategy.

        Raises:
            InputError: there is none, or it is damaged.

        """
        folder = self._models / slot / strategy
        found = read_classifier(folder)
        if not isinstance(found, Classifier):
            raise InputError(f"{folder}: an ensemble cannot be the member of another one.")
        return found

    def distances(self, strategy: str, slot: str) -> pd.DataFrame:
        """The distances of the test images to the training images."""
        return TableDataset(filepath=str(self._outputs / slot / strategy / "distances.parquet")).load()


class TrainedClassifiersDataset(AbstractDataset[Any, TrainedStore]):
    """A handle on the classifiers in ``models`` and on their output in ``outputs``; the strategies write them."""

    def __init__(self, *, models: str, outputs: str, metadata: dict[str, Any] | None = None) -> None:
        self._models, self._outputs = place(models), place(outputs)
        self.metadata = metadata

    def load(self) -> TrainedStore:
        """The handle."""
        return TrainedFolders(self._models, self._outputs)

    def save(self, data: Any) -> None:
        """Refused: each strategy writes its own classifier."""
        raise DatasetError("trained is only read: the strategies write their classifiers")

    def _describe(self) -> dict[str, Any]:
        return {"models": str(self._models)}
