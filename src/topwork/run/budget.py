"""Shares out the time of a run (`minutes`) among its parts, by what the parts so far have taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_CLOSING = 15.0  # seconds for comparison, report and registration, where nothing has been measured yet
_SCORING = 6.0  # seconds to score a strategy, test its serving and draw its figures, likewise
_LEAST = 20.0  # seconds below which it is not worth starting to train a network


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

    def for_network(self, networks: int, test_seconds: float) -> float | None:
        """Seconds for the next of so many networks that are still to be trained; 0 if there is no time for it.

        Args:
            networks: number of networks to train, this one included.
            test_seconds: what a network takes to answer for the test split.

        """
        left = self.left()
        if left is None:
            return None
        share = left / networks - self._scoring() - test_seconds
        return share if share >= _LEAST else 0.0

    def why_no_head(self, seconds: float | None) -> str:
        """The reason why a head that takes so many seconds does not fit any more, or an empty text."""
        left, needed = self.left(), (seconds or 0.0) + self._scoring()
        if left is None or needed <= left:
            return ""
        return f"no time is left for it: it needs about {needed:.0f} s of the {max(0.0, left):.0f} s that are left"

    def _scoring(self) -> float:
        return max(self._scorings, default=_SCORING)

    def _closing(self) -> float:
        """Comparison and report take about twice as long as the scoring of a strategy."""
        return max(_CLOSING if not self._scorings else 0.0, 2.5 * self._scoring())
