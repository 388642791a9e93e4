"""Rows of the table: two things measured in turn, medians, ratios."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

_HERE = Path(__file__).parent

console = Console(width=None if sys.stdout.isatty() else 170)


@dataclass(frozen=True)
class Row:
    """One comparison; ``ratio`` is ours to the rival's, ``goal`` a least or (``at_most``) greatest ratio."""

    what: str
    ours: float
    rival: float
    unit: str
    ratio: float
    against: str
    goal: float | None = None
    at_most: bool = False
    spread: tuple[float, float] | None = None  # smallest and largest ratio of the rounds

    @property
    def state(self) -> bool | None:
        """Whether the goal holds, if there is one."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    def as_dict(self) -> dict[str, object]:
        """The row as `bench.json` has it."""
        return asdict(self) | {"reached": self.state}


def alternated(
    ours: Callable[[], float], rival: Callable[[], float], rounds: int
) -> tuple[float, float, float, tuple[float, float]]:
    """Medians of what both give, in turn; median and range of the ratios; after a round that does not count."""
    ours(), rival()
    pairs = [(ours(), rival()) for _ in range(rounds)]
    ratios = [first / second for first, second in pairs]
    medians = (statistics.median(each) for each in zip(*pairs, strict=True))
    return (*medians, statistics.median(ratios), (min(ratios), max(ratios)))


class Rival:
    """A rival's process, which makes one pass over the folder whenever asked."""

    def __init__(self, python: Path, name: str, network: str, folder: Path) -> None:
        command = [str(python), str(_HERE / "rivals.py"), name, network, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        if self._answer() != "ready":
            raise RuntimeError(f"the rival {name!r} does not start: {' '.join(command)}")

    def images_per_second(self) -> float:
        """Speed of one pass."""
        seconds, images = self.one_pass()
        return images / seconds

    def one_pass(self) -> tuple[float, int]:
        """Seconds of one pass, and its images."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        seconds, images = self._answer().split()
        return float(seconds), int(images)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Rival:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def write_rows(rows: list[Row], path: Path) -> None:
    """`bench.json`, after every row, so that an interrupted bench keeps what it measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.as_dict() for row in rows], indent=2))


def show(rows: list[Row]) -> None:
    """The table."""
    table = Table(title="Topwork against its rivals and limits")
    for name, side in (("what", "left"), ("ours", "right"), ("against", "left"), ("theirs", "right"), ("unit", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for name in ("ratio", "range", "goal"):
        table.add_column(name, justify="right")
    for row in rows:
        spread = f"{row.spread[0]:.3g} to {row.spread[1]:.3g}" if row.spread else ""
        mark = {None: "", True: " reached", False: " missed"}[row.state]
        goal = f"{'≤' if row.at_most else '≥'} {row.goal:g}{mark}" if row.goal is not None else ""
        cells = (row.what, f"{row.ours:.3g}", row.against, f"{row.rival:.3g}", row.unit, f"{row.ratio:.3g}")
        table.add_row(*cells, spread, goal)
    console.print(table)
