from __future__ import annotations

import mlflow
import pytest
from mlflow import MlflowClient

from topwork.core.errors import InputError
from topwork.run.provenance import is_alive
from topwork.run.recorder import Recorder


@pytest.fixture
def client(tracking_uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    return str(client.create_experiment("topwork"))


def test_the_page_of_runs_opens_as_runs_of_training_on_the_server_that_keeps_them(
    experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"/#/experiments/{experiment}/runs?workflowType=machine_learning"
    assert recorder(experiment).page == f"http://127.0.0.1:5000{page}"
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "https://mlflow.lab/")
    assert recorder(experiment).page == f"https://mlflow.lab{page}"


def recorder(experiment: str) -> Recorder:
    """That of a process of its own."""
    made = Recorder()
    made.use(experiment)
    return made


def begin(experiment: str, key: str = "flowers/monday") -> str:
    return recorder(experiment).begin(key, "flowers", {"version.torch": "2"}, {"seed": 0}, "run: {}")


def strategy(experiment: str, parent: str, status: str, name: str = "svm") -> None:
    """What the process of a strategy records."""
    mine = recorder(experiment)
    mine.join(parent)
    mine.open_child(name, ("efficientnet_lite0", ""), {"seed": 0})
    mine.close_child(name, status)
    mine.close(status)


def statuses(client: MlflowClient, experiment: str) -> dict[str, str]:
    return {run.info.run_name: run.info.status for run in client.search_runs([experiment])}


def test_the_same_key_finds_the_same_run_and_another_key_begins_another(client: MlflowClient, experiment: str) -> None:
    parent = begin(experiment)
    client.set_terminated(parent, "FAILED")
    assert begin(experiment) == parent
    assert begin(experiment, "flowers/tuesday") != parent
    assert client.get_run(parent).info.status == "RUNNING"
    assert client.get_run(parent).data.params == {"seed": "0"}


def test_a_run_that_was_begun_is_no_orphan_of_the_process_that_began_it(client: MlflowClient, experiment: str) -> None:
    parent = begin(experiment)
    assert is_alive(client.get_run(parent).data.tags)
    recorder(experiment).open_parent("another", {}, {}, "run: {}")
    assert client.get_run(parent).info.status == "RUNNING"


def test_a_strategy_that_is_tried_again_goes_on_in_its_run_and_leaves_the_parent_open(
    client: MlflowClient, experiment: str
) -> None:
    parent = begin(experiment)
    strategy(experiment, parent, "FAILED")
    assert statuses(client, experiment) == {"flowers": "RUNNING", "svm": "FAILED"}
    strategy(experiment, parent, "FINISHED")
    strategy(experiment, parent, "FINISHED", "logistic")
    assert len(client.search_runs([experiment])) == 3
    recorder(experiment).end(parent, [], [])
    assert set(statuses(client, experiment).values()) == {"FINISHED"}
    assert "topwork.failed_strategies" not in client.get_run(parent).data.tags


def test_the_end_fails_what_a_killed_process_left_open_and_a_later_end_forgets_it(
    client: MlflowClient, experiment: str
) -> None:
    parent = begin(experiment)
    killed = recorder(experiment)
    killed.join(parent)
    killed.open_child("svm", ("efficientnet_lite0", ""), {})
    recorder(experiment).end(parent, ["report", "svm"], ["svm"])
    assert statuses(client, experiment) == {"flowers": "FAILED", "svm": "FAILED"}
    assert client.get_run(parent).data.tags["topwork.failed_strategies"] == "svm"
    strategy(experiment, parent, "FINISHED")
    assert client.get_run(parent).info.status == "RUNNING"
    recorder(experiment).end(parent, [], [])
    assert set(statuses(client, experiment).values()) == {"FINISHED"}
    assert client.get_run(parent).data.tags["topwork.failed_strategies"] == ""


def test_a_run_that_is_not_there_or_of_another_experiment_is_refused(client: MlflowClient, experiment: str) -> None:
    with pytest.raises(InputError, match="no such run"):
        recorder(experiment).join("0" * 32)
    other = client.create_run("0").info.run_id
    with pytest.raises(InputError, match="another experiment"):
        recorder(experiment).join(other)
