from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topwork.run.configuration import read_configuration
from topwork.run.facts import changed_settings, command_of

PROJECT = Path(__file__).parents[2]
GIVEN = {"images": "/pictures/of flowers", "data": "/results", "seed": 3, "finetune": {"minutes": 2.0}}


def settings(env: str | None, given: dict[str, Any]) -> dict[str, Any]:
    return changed_settings(read_configuration(PROJECT, PROJECT / "conf", env, given))


def test_settings_are_told_where_they_differ_from_the_default() -> None:
    assert settings(None, GIVEN) == {"seed": 3, "finetune.minutes": 2.0}
    assert settings(None, {"seed": 0, "strategies": "all"}) == {}


def test_settings_of_an_environment_are_told_once_by_the_main_parameter() -> None:
    told = settings("digits", {})
    assert told["preset"] == "digits"
    assert not any(name.endswith(".preset") for name in told)


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({"env": None, "params": {}}, "kedro run"),
        ({"env": "digits", "params": {"svm": {"seed": 1}}}, "kedro run --env digits --params svm.seed=1"),
        ({"env": None, "params": {"images": "/my pictures"}}, "kedro run --params 'images=/my pictures'"),
        ({"env": None, "params": {"svm": {"C": [0.1, 1.0]}}}, "kedro run --config run.yml"),
        ({"env": None, "params": {"comparison": {"costs": {"a": {"b": 2}}}}}, "kedro run --config run.yml"),
    ],
)
def test_the_command_can_be_typed_or_names_the_file_that_holds_it(options: dict[str, Any], command: str) -> None:
    assert command_of(options) == command
