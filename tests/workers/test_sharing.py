from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

import pytest

from topwork.core.errors import DefectError, InputError
from topwork.workers import Crew, parts_for, shared_out
from topwork.workers.crew import Outcome


class DiedError(Exception):
    """The worker of a test died."""


class OneProcess:
    """Workers that are none: a job is done when it is submitted, and dies where the test says."""

    def __init__(self, dies: Callable[[Sequence[int]], bool]) -> None:
        self.dies = dies
        self.tries = Counter[tuple[int, ...]]()
        self.crew = Crew(2, 1, self.submit, lambda error: isinstance(error, DiedError), "threading")

    def submit(self, job: Callable[[], int]) -> Future[Outcome]:
        assert isinstance(job, partial)
        (items,) = job.args
        self.tries[tuple(items)] += 1
        future: Future[Outcome] = Future()
        if self.dies(items):
            future.set_exception(DiedError())
        else:
            future.set_result(Outcome.of(job))
        return future

    def sums(self, parts: Sequence[Sequence[int]]) -> dict[tuple[int, ...], int]:
        return {tuple(items): total for items, total in shared_out(self.crew, lambda items: partial(sum, items), parts)}


PARTS = [range(start, start + 8) for start in range(0, 32, 8)]


def test_every_part_is_done_once() -> None:
    workers = OneProcess(dies=lambda items: False)
    assert workers.sums(PARTS) == {tuple(items): sum(items) for items in PARTS}
    assert set(workers.tries.values()) == {1}


def test_the_part_of_a_worker_that_dies_is_done_again(caplog: pytest.LogCaptureFixture) -> None:
    workers = OneProcess(dies=lambda items: 9 in items and workers.tries[tuple(items)] == 1)
    assert workers.sums(PARTS) == {tuple(items): sum(items) for items in PARTS}
    assert workers.tries[tuple(PARTS[1])] == 2
    assert "8 and 7 more are done again" in caplog.text


def test_an_item_that_ends_every_worker_is_named_after_all_others_are_finished() -> None:
    workers, done = OneProcess(dies=lambda items: 13 in items), []
    with pytest.raises(InputError, match=r"1 item ended every process that worked on them.*: 13[.]"):
        for items, _ in shared_out(workers.crew, lambda items: partial(sum, items), PARTS):
            done += items
    assert sorted(done) == [item for item in range(32) if item != 13]
    assert workers.tries[tuple(PARTS[1])] == 3
    assert workers.tries[(13,)] == 3


def test_a_part_that_killers_from_outside_hit_three_times_is_finished_all_the_same() -> None:
    workers = OneProcess(dies=lambda items: 9 in items and workers.tries.total() < 8)
    assert sorted(item for items in workers.sums(PARTS) for item in items) == list(range(32))


def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    def refuse(items: Sequence[int]) -> int:
        raise InputError(f"{items[0]} is no image.")

    workers = OneProcess(dies=lambda items: False)
    with pytest.raises(InputError, match=r"^(0|8) is no image"):
        list(shared_out(workers.crew, lambda items: partial(refuse, items), PARTS))


def test_an_error_that_no_one_foresaw_is_a_defect_with_the_traceback_of_the_worker() -> None:
    def fail(items: Sequence[int]) -> float:
        return 1 / (len(items) - len(items))

    workers = OneProcess(dies=lambda items: False)
    with pytest.raises(DefectError, match="ZeroDivisionError"):
        list(shared_out(workers.crew, lambda items: partial(fail, items), PARTS))


@pytest.mark.parametrize(("items", "size"), [(10, 64), (1_600, 100), (10_000_000, 10_000)])
def test_parts_are_neither_tiny_nor_so_large_that_much_is_lost(items: int, size: int) -> None:
    parts = parts_for(OneProcess(dies=lambda items: False).crew, range(items))
    assert max(map(len, parts)) == min(size, items)
    assert [item for part in parts for item in part] == list(range(items))
