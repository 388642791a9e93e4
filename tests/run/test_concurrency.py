from __future__ import annotations

from typing import Any

import pytest

from topwork.core.errors import InputError
from topwork.run.concurrency import Concurrency, checked_concurrency


def knobs(**given: Any) -> dict[str, Any]:
    return {"backend": None, "workers": None, "cluster": None, "worker_threads": None, "processes": None, **given}


def test_without_a_wish_the_run_works_in_its_own_process() -> None:
    assert checked_concurrency(knobs()) == Concurrency(workers=0, processes=1)


def test_workers_are_processes_of_this_machine_unless_a_cluster_is_named() -> None:
    assert checked_concurrency(knobs(workers=2)) == Concurrency(2)
    assert checked_concurrency(knobs(workers=8, backend="ray", cluster="auto")) == Concurrency(8, "ray", "auto")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"workers": 0}, "workers=0: give a number from 1 on"),
        ({"workers": True}, "workers=True"),
        ({"workers": "two"}, "workers=two"),
        ({"workers": 2, "worker_threads": 0}, "worker_threads=0"),
        ({"workers": 2, "backend": "rey"}, "backend=rey: perhaps ray[?] known are loky, ray, dask"),
        ({"workers": 2, "cluster": "auto"}, "cluster=auto: say which kind of cluster"),
        ({"processes": 0}, "processes=0: give a number"),
        ({"backend": "ray"}, "How many workers[?] Give workers=N"),
    ],
)
def test_a_wrong_wish_is_refused_with_what_is_right(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        checked_concurrency(knobs(**given))


def test_processes_are_refused_where_a_launcher_has_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="torchrun or Slurm started the processes already"):
        checked_concurrency(knobs(processes=2))
