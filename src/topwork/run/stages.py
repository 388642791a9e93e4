"""The stages of a run: groups of nodes, under names that say what is done, and the seconds that each takes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from kedro.pipeline.node import Node

_NAMES = {
    "wallpaper": "Drawing patterns",
    "digits": "Writing digits",
    "ingestion": "Reading images",
    "augmentation": "Augmented views",
    "splitting": "Splitting",
    "features": "Features",
    "screening": "Choosing features",
    "advice": "Advice",
    "comparison": "Comparison",
    "labels": "Labels",
    "report": "Report",
    "prediction": "Prediction",
    "export": "Export",
    "history": "History",
    "description": "Describing images",
    "labelling": "Label next",
    "monitoring": "Monitoring",
}


def stage_of(node: Node, title: str = "") -> str:
    """The stage of a node: the work in words, or for a strategy its ``title``, which begins with its name."""
    namespace = str(node.namespace or node.short_name).split(".", maxsplit=1)[0]
    return _NAMES.get(namespace) or (title if title.startswith(namespace) else namespace)


def told_seconds(seconds: float) -> str:
    """A duration for people: `2.4 s`, `24 s`, `3 min 5 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Stages:
    """Adds up the seconds of each stage, whose nodes take turns with those of other stages.

    A stage ends with the last of its planned nodes. A node that yields still runs after Kedro reports it as finished;
    here it has ended when the next node starts.
    """

    def __init__(self, ended: Callable[[str, float], None], clock: Callable[[], float] = time.monotonic) -> None:
        """``ended`` is called with the name and the seconds of each stage, at its end."""
        self._ended, self._clock = ended, clock
        self._left, self._seconds = Counter[str](), defaultdict[str, float](float)
        self._started = 0.0
        self.current = ""

    def plan(self, stages: Iterable[str]) -> None:
        """Expect nodes of these stages: a name for each node."""
        self._left = Counter(stages)

    def enter(self, stage: str) -> None:
        """Begin a node of this stage."""
        self.leave()
        self.current, self._started = stage, self._clock()

    def leave(self) -> None:
        """End the present node, and its stage if it was the last one of it."""
        stage, self.current = self.current, ""
        if not stage:
            return
        self._seconds[stage] += self._clock() - self._started
        self._left[stage] -= 1
        if self._left[stage] <= 0:
            self._ended(stage, self._seconds.pop(stage))

    def end(self) -> None:
        """End all stages that have begun, after the last node or an error."""
        self.leave()
        while self._seconds:
            self._ended(*self._seconds.popitem())
