from __future__ import annotations

import subprocess
import sys

import pytest

from topwork.run import provenance
from topwork.run.provenance import is_alive, process_tags


def test_a_process_that_runs_is_alive_and_one_that_ended_is_not() -> None:
    assert is_alive(process_tags())
    program = "import json; from topwork.run.provenance import process_tags; print(json.dumps(process_tags()))"
    import json

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not is_alive(json.loads(told))


def test_another_process_of_the_same_number_is_told_by_when_it_began() -> None:
    assert not is_alive(process_tags() | {"topwork.process_started": "1"})


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"topwork.pid_namespace": "pid:[1]"},
        {"topwork.machine": "another"},
        {"topwork.pid_namespace": "pid:[1]", "topwork.boot": "before"},
    ],
    ids=["another container", "another machine of this name", "another container, another start"],
)
def test_what_cannot_be_seen_from_here_counts_as_alive(elsewhere: dict[str, str]) -> None:
    gone = process_tags() | {"topwork.process_started": "1"}
    assert is_alive(gone | elsewhere)
    assert is_alive({"topwork.pid": "1"})  # from before all of it was noted


def test_the_runs_of_before_the_machine_was_started_anew_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_link", lambda _: provenance._FIRST_NAMESPACE)
    before = process_tags() | {"topwork.boot": "before"}
    assert not is_alive(before)
