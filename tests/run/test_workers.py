from __future__ import annotations

from typing import Any

import pytest

from topwork.core.errors import InputError
from topwork.run.workers import AskedWorkers, checked_workers


def knobs(**given: Any) -> dict[str, Any]:
    return {"backend": None, "workers": None, "cluster": None, "worker_threads": None, **given}


def test_without_a_wish_the_run_works_in_its_own_process() -> None:
    assert checked_workers(knobs()) is None


def test_workers_are_processes_of_this_machine_unless_a_cluster_is_named() -> None:
    assert checked_workers(knobs(workers=2)) == AskedWorkers("loky", 2, None, None)
    assert checked_workers(knobs(workers=8, backend="ray", cluster="auto")) == AskedWorkers("ray", 8, "auto", None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"workers": 0}, "workers=0: give a number from 1 on"),
        ({"workers": True}, "workers=True"),
        ({"workers": "two"}, "workers=two"),
        ({"workers": 2, "worker_threads": 0}, "worker_threads=0"),
        ({"workers": 2, "backend": "rey"}, "backend=rey: perhaps ray[?] known are loky, ray, dask"),
        ({"workers": 2, "cluster": "auto"}, "cluster=auto: say which kind of cluster"),
        ({"backend": "ray"}, "How many workers[?] Give workers=N"),
    ],
)
def test_a_wrong_wish_is_refused_with_what_is_right(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        checked_workers(knobs(**given))
