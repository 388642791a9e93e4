from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from topwork.core.errors import InputError, MachineError
from topwork.workers import Crew, cores, current_crew, each_on_a_core, hired, is_worker, shared_out

PACKAGE = {"loky": "joblib", "ray": "ray", "dask": "distributed"}
PARTS = [range(start, start + 4) for start in range(0, 24, 4)]


def installed(backend: str) -> pytest.MarkDecorator:
    reason = f"{PACKAGE[backend]} is not installed (`make test-scale` installs it)"
    return pytest.mark.skipif(find_spec(PACKAGE[backend]) is None, reason=reason)


@pytest.fixture(params=[pytest.param(name, marks=installed(name)) for name in PACKAGE], scope="module")
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    with hired(request.param, 2, None, 1):
        found = current_crew()
        assert found
        yield found


def look(items: Sequence[int]) -> tuple[int, int, bool, int]:
    return sum(items), os.getpid(), is_worker(), cores()


def die_at_first(mark: Path, items: Sequence[int]) -> int:
    if 9 in items and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return sum(items)


def refuse(items: Sequence[int]) -> int:
    raise InputError(f"{items[0]} is no image.")


def multiply(left: int, right: int) -> int:
    return left * right


@pytest.mark.parametrize("count", [1, 2])
def test_one_fit_or_one_worker_leaves_this_process_as_it_is(count: int) -> None:
    with hired("loky", count, None, 1):
        assert list(each_on_a_core(multiply, [(3, 7)])) == [21]
        assert list(each_on_a_core(multiply, [(3, 7), (4, 7)])) == [21, 28]
    assert not is_worker()


def test_after_the_run_there_are_no_workers() -> None:
    with hired("loky", 2, None, None):
        assert current_crew()
    assert current_crew() is None


def test_the_parts_are_done_in_other_processes_with_their_share_of_the_cores(crew: Crew) -> None:
    found = {tuple(items): seen for items, seen in shared_out(crew, lambda items: partial(look, items), PARTS)}
    assert {items: total for items, (total, *_) in found.items()} == {tuple(items): sum(items) for items in PARTS}
    assert os.getpid() not in {process for _, process, *_ in found.values()}
    assert {(worker, threads) for *_, worker, threads in found.values()} == {(True, 1)}
    assert not is_worker()


def test_a_killed_worker_costs_its_part_which_is_done_again(crew: Crew, tmp_path: Path) -> None:
    die = partial(die_at_first, tmp_path / "mark")
    found = {tuple(items): total for items, total in shared_out(crew, lambda items: partial(die, items), PARTS)}
    assert (tmp_path / "mark").exists()
    assert found == {tuple(items): sum(items) for items in PARTS}


def test_an_error_of_the_work_crosses_the_border_of_processes(crew: Crew) -> None:
    with pytest.raises(InputError, match="is no image"):
        list(shared_out(crew, lambda items: partial(refuse, items), PARTS))


def test_fits_of_cross_validation_are_done_by_the_workers_in_their_order(crew: Crew) -> None:
    assert list(each_on_a_core(multiply, [(number, 7) for number in range(9)])) == [7 * number for number in range(9)]


HIRES = """
import os, sys, time
from functools import partial
from pathlib import Path
from topwork.workers import current_crew, hired, shared_out

def wait(mark, items):
    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    with hired("loky", 1, None, 1):
        list(shared_out(current_crew(), lambda items: partial(wait, sys.argv[1], items), [[1]]))
"""


def test_workers_end_with_the_process_that_hired_them_even_if_it_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "worker"
    hirer = subprocess.Popen([sys.executable, "-c", HIRES, str(mark)])
    while not (mark.exists() and mark.read_text()):
        assert hirer.poll() is None
        time.sleep(0.1)
    worker = psutil.Process(int(mark.read_text()))
    hirer.kill()
    hirer.wait()
    worker.wait(60)
    assert not worker.is_running()


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_backend_that_is_not_installed_is_refused_with_the_way_to_install_it() -> None:
    with pytest.raises(InputError, match=r"pip install 'topwork\[ray\]'"), hired("ray", 2, None, None):
        pass


@installed("dask")
def test_a_cluster_that_does_not_answer_is_told_in_one_line() -> None:
    with (
        pytest.raises(MachineError, match=r"Dask does not answer .cluster=tcp://127.0.0.1:9"),
        hired("dask", 2, "tcp://127.0.0.1:9", 1),
    ):
        pass
