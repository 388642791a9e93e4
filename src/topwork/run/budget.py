"""Shares out the time of a run (`minutes`) among its parts, by what the parts so far have taken."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kedro.io import DataCatalog

from topwork.core.columns import OK, TEST
from topwork.core.digests import text_digest
from topwork.core.errors import InputError
from topwork.datasets.feature_key import key_from_fields
from topwork.run.configuration import remove_files

_CLOSING = 15.0  # seconds for comparison, report and registration, where nothing has been measured yet
_SCORING = 6.0  # seconds to score a strategy, test its serving and draw its figures, likewise
_SHARES = "granted_minutes"
_SPEED = 60.0  # images a second of an engine whose speed is not known
_SHARE_OF_ENGINE = 0.75  # of the engine's speed, that an extraction reaches with reading and decoding
_LEAST = 20.0  # seconds that a network takes besides its epochs: to load it, and to choose an engine for frozen layers


@dataclass
class Budget:
    """The seconds of a run (None: no limit), counted from ``started``, a time of the clock.

    ``clock`` gives seconds. What the scoring of one strategy takes on this machine now is learnt from the strategies
    that have run, so that a busy machine gets less done but keeps the time.
    """

    seconds: float | None
    started: float
    clock: Callable[[], float] = time.monotonic
    _scorings: list[float] = field(init=False, default_factory=list)

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    def note_scoring(self, seconds: float) -> None:
        """Note the seconds that a strategy took besides its training."""
        self._scorings.append(seconds)

    def left(self) -> float | None:
        """Seconds that are left for training; the rest is needed to compare and to write the report."""
        return None if self.seconds is None else self.seconds - self.used - self._closing()

    def for_head(self) -> float | None:
        """Seconds for the next head."""
        left = self.left()
        return None if left is None else left - self._scoring()

    def for_network(self, networks: int, test_seconds: float, epoch_seconds: float) -> float | None:
        """Seconds for the next of so many networks that are still to be trained; 0 if there is no time for it.

        Args:
            networks: number of networks to train, this one included.
            test_seconds: what a network takes to answer for the test split.
            epoch_seconds: what one epoch of all its models takes, which is the least that is worth starting.

        """
        left = self.left()
        if left is None:
            return None
        share = left / networks - self._scoring() - test_seconds
        return share if share >= _LEAST + epoch_seconds else 0.0

    def _scoring(self) -> float:
        return max(self._scorings, default=_SCORING)

    def _closing(self) -> float:
        """Comparison and report take about twice as long as the scoring of a strategy."""
        return max(_CLOSING if not self._scorings else 0.0, 2.5 * self._scoring())


class Shares:
    """The shares of the networks, which are kept until the run has ended, so that a run that goes on has the same.

    A training continues from its checkpoint only if it has the same minutes.
    """

    def __init__(self, budget: Budget, catalog: DataCatalog, options: Mapping[str, Any]) -> None:
        self._budget, self._catalog = budget, catalog
        self._run = text_digest(json.dumps([options["env"], options["params"]], sort_keys=True, default=str))

    def why_no_head(self, seconds: float | None) -> str:
        """The reason why a head that takes so many seconds does not fit any more, or an empty text."""
        left = self._budget.for_head()
        if left is None or (seconds or 0.0) <= left:
            return ""
        return f"no time is left for it: it takes about {seconds or 0.0:.0f} s, and {max(0.0, left):.0f} s are left"

    def why_no_network(self, networks: int, epoch: Callable[[float], float]) -> str:
        """The reason why the next of so many networks cannot be trained any more, or an empty text.

        Args:
            networks: number of networks to train, this one included.
            epoch: seconds of one epoch of all its models, from the images a second of the engine.

        """
        needed = epoch(_speed(self._catalog, "feature_key") or _SPEED)
        if self._budget.for_network(networks, self._test_seconds(), needed) != 0.0:
            return ""
        left = max(0.0, self._budget.left() or 0.0) / networks
        return (
            f"no time is left for it: it has {left:.0f} s, and takes about {_LEAST + needed:.0f} s for a single epoch, "
            "before it is scored"
        )

    def minutes_for(self, strategy: str, networks: int) -> float:
        """Minutes for the next of so many networks."""
        kept = self._kept()
        if strategy not in kept:
            seconds = self._budget.for_network(networks, self._test_seconds(), 0.0) or _LEAST
            kept[strategy] = round(seconds / 60, 2)
            self._catalog.save(_SHARES, {"run": self._run, "minutes": kept})
        return kept[strategy]

    def forget(self) -> None:
        """Remove the shares at the end of the run that they belong to."""
        if self._kept():
            remove_files(self._catalog, _SHARES)

    def _kept(self) -> dict[str, float]:
        told = self._catalog.load(_SHARES)
        return dict(told["minutes"]) if told.get("run") == self._run else {}

    def _test_seconds(self) -> float:
        """Seconds in which a network answers for the test split."""
        if not self._catalog.exists("splits"):
            return 0.0
        images = int((self._catalog.load("splits")["split"] == TEST).sum())
        return images / (_speed(self._catalog, "feature_key") or _SPEED)


def check_features(budget: Budget, catalog: DataCatalog, keys: Iterable[str]) -> None:
    """Check that the missing features under these keys (names of catalog entries) can be computed in time.

    Raises:
        InputError: they cannot; the message says how many minutes are enough.

    """
    distinct = {catalog.load(name).digest: name for name in keys}
    if not distinct:
        return
    manifest = catalog.load("manifest")
    sha256 = manifest.loc[manifest["status"] == OK, "sha256"].tolist()
    seconds = 0.0
    for name in distinct.values():
        missing = len(catalog.load("known_features").missing(catalog.load(name), sha256))
        seconds += missing / (_SHARE_OF_ENGINE * (_speed(catalog, name) or _SPEED))
    left = budget.for_head()
    if left is not None and seconds > max(0.0, left):
        enough = math.ceil((budget.seconds or 0.0) / 60 + (seconds - left) / 60)
        raise InputError(
            f"minutes={(budget.seconds or 0.0) / 60:g}: the features of {len(sha256):,} images take about "
            f"{seconds:,.0f} s on this machine, and nothing could be trained on them and compared in time. Give "
            f"minutes={enough}, a smaller image_size, or leave minutes out."
        )


def _speed(catalog: DataCatalog, key: str) -> float:
    """Images a second that the engine of a feature key did when it was chosen; 0 if that is not known."""
    if not catalog.exists(key):
        return 0.0
    wanted = catalog.load(key)
    for choice in catalog.load("engines").choices():
        if key_from_fields(choice["key"]) == wanted:
            mine = (wanted.engine, wanted.number_format)
            speeds = [
                trial["images_per_second"]
                for trial in choice["measured"]
                if (trial["engine"], trial["number_format"]) == mine
            ]
            return float(speeds[0]) if speeds else 0.0
    return 0.0
