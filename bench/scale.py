"""Seconds and peak memory against the number of images: `python -m bench.scale --rows 1000000 [--only listing …]`.

Synthetic data, written by the project's own writers. Each measurement has a process of its own, whose peak of resident
memory counts its input and the mapped pages of files too; one above `--memory` or `--minutes` is stopped. The law comes
from two sizes: the power of the number of rows by which the processor's seconds (of all threads) grow, and the bytes
that a row adds.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import psutil
from rich.table import Table

from bench.measure import console

_ROUNDS, _SHORT = 3, 10.0  # rounds of a measurement that takes fewer seconds
_MEDIANS = ("seconds", "processor", "peak_mb")
_LOOK = 0.1  # seconds between readings of a process's memory

_DECADES, _LARGE = (0.1, 1.0), 10**9
_SIZES: dict[str, tuple[tuple[float, ...], int]] = {  # shares of `--rows`, and the most rows that end within minutes
    "listing": (_DECADES, _LARGE),
    "manifest": (_DECADES, _LARGE),
    "splits": (_DECADES, _LARGE),
    "near_duplicates": ((0.01, 0.03, 0.1), 100_000),
    "near_duplicates_by_index": (_DECADES, _LARGE),
    "store": (_DECADES, _LARGE),
    "store_of_large_shards": (_DECADES, _LARGE),
    "features": (_DECADES, _LARGE),
    "heads": ((0.003, 0.01, 0.03, 0.1), 100_000),
    "heads_of_100_classes": ((0.01,), 10_000),
    "batches": (_DECADES, _LARGE),
    "scores": (_DECADES, _LARGE),
}


@dataclass(frozen=True)
class Measured:
    """One measurement; ``stopped`` says why it did not end."""

    what: str
    rows: int
    seconds: float
    processor: float
    peak_mb: float
    stopped: str = ""


def main() -> None:
    """Measure all groups, or those that are named, and print the table."""
    asked = _arguments()
    found: list[Measured] = []
    for group in asked.only or _SIZES:
        shares, most = _SIZES[group]
        for rows in sorted({min(most, round(share * asked.rows)) for share in shares}):
            found += _measure_group(group, rows, asked)
    _show(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="images of the largest size")
    parser.add_argument("--only", nargs="*", choices=_SIZES, help="groups of measurements")
    parser.add_argument("--memory", type=float, default=10.0, help="GiB of one process")
    parser.add_argument("--minutes", type=float, default=10.0, help="of one process")
    parser.add_argument("--folder", type=Path, help="folder for the data, on the disk to measure")
    return parser.parse_args()


def _measure_group(group: str, rows: int, asked: argparse.Namespace) -> list[Measured]:
    work, found = Path(mkdtemp(prefix="topwork-scale-", dir=asked.folder)), []
    try:
        _run(group, "prepare", rows, work, asked)
        for name in _names(group):
            rounds = [_run(group, name, rows, work, asked)]
            while len(rounds) < _ROUNDS and rounds[0].seconds < _SHORT and not rounds[0].stopped:
                rounds.append(_run(group, name, rows, work, asked))
            found.append(_median(f"{group}: {name}", rounds))
            console.print(f"{found[-1]}")
    finally:
        shutil.rmtree(work)
    return found


def _median(what: str, rounds: list[Measured]) -> Measured:
    medians = {name: statistics.median(getattr(each, name) for each in rounds) for name in _MEDIANS}
    return replace(rounds[0], what=what, **medians)


def _names(group: str) -> list[str]:
    answer = subprocess.check_output([sys.executable, "-m", "bench.scale_measures", group], text=True)
    names: list[str] = json.loads(answer)
    return names


def _run(group: str, name: str, rows: int, work: Path, asked: argparse.Namespace) -> Measured:
    """One measurement in a new process, which is stopped where it takes too much."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.scale_measures", group, name, str(rows), str(work)]
    start, highest, stopped = time.perf_counter(), 0.0, ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watched = psutil.Process(process.pid)
        while not stopped and process.poll() is None:
            highest = max(highest, watched.memory_info().rss)
            if highest > asked.memory * 2**30:
                stopped = f"stopped above {asked.memory:g} GiB"
            elif time.perf_counter() - start > 60 * asked.minutes:
                stopped = f"stopped after {asked.minutes:g} min"
            time.sleep(_LOOK)
        if stopped:
            process.kill()
            return Measured(name, rows, time.perf_counter() - start, math.nan, highest / 1e6, stopped)
        answer = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"no measurement: {' '.join(command)}")
    return Measured(name, rows, *json.loads(answer.splitlines()[-1]))


def _show(found: list[Measured]) -> None:
    table = Table(title="What grows with the number of images")
    for column in ("what", "rows", "seconds", "processor", "peak MB", "law"):
        table.add_column(column, justify="left" if column in {"what", "law"} else "right")
    for each in found:
        smaller = [other for other in found if other.what == each.what and other.rows < each.rows and not other.stopped]
        law = each.stopped or (_law(smaller[-1], each) if smaller else "")
        table.add_row(each.what, f"{each.rows:,}", *_cells(each), law)
    console.print(table)


def _cells(each: Measured) -> tuple[str, str, str]:
    return f"{each.seconds:,.3g}", f"{each.processor:,.3g}", f"{each.peak_mb:,.0f}"


def _law(smaller: Measured, larger: Measured) -> str:
    power = math.log(larger.processor / smaller.processor) / math.log(larger.rows / smaller.rows)
    bytes_a_row = 1e6 * (larger.peak_mb - smaller.peak_mb) / (larger.rows - smaller.rows)
    return f"n^{power:.2f}, {bytes_a_row:,.0f} bytes a row"


if __name__ == "__main__":
    main()
