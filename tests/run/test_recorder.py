from __future__ import annotations

import mlflow
import pytest
from mlflow import MlflowClient

from topwork.core.errors import InputError
from topwork.run.provenance import is_alive
from topwork.run.recorder import Recorder
from topwork.run.registry import check_runs


@pytest.fixture
def client(tracking_uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri)


@pytest.fixture
def experiment(client: MlflowClient) -> str:
    return str(client.create_experiment("topwork"))


def test_the_page_of_runs_opens_as_runs_of_training_on_the_server_that_keeps_them(
    experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"/#/experiments/{experiment}/runs?viewStateShareKey=topwork&workflowType=machine_learning"
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


def test_the_scores_of_a_strategy_come_before_its_seconds(client: MlflowClient, experiment: str) -> None:
    mine = recorder(experiment)
    mine.open_parent("flowers", {}, {}, "run: {}")
    mine.open_child("svm", ("efficientnet_lite0", ""), {})
    run = mine.run_of("svm")
    mine.log_at_the_end("svm", {"train_seconds": 1.0})
    mine.log_metrics(run, {"oof_accuracy": 0.5})
    mine.close("FINISHED")
    assert list(client.get_run(run).data.metrics) == ["oof_accuracy", "train_seconds"]


def test_the_page_of_the_experiment_is_laid_out_and_what_users_wrote_about_it_is_kept(
    client: MlflowClient, experiment: str
) -> None:
    client.set_experiment_tag(experiment, "mlflow.note.content", "Ours.")
    recorder(experiment).open_parent("flowers", {}, {}, "run: {}")
    tags = client.get_experiment(experiment).tags
    assert tags["mlflow.note.content"] == "Ours."
    assert "mlflow.sharedViewState.topwork" in tags


def test_a_model_is_linked_once_to_a_run_that_is_compared_again(client: MlflowClient, experiment: str) -> None:
    mine = recorder(experiment)
    mine.open_parent("flowers", {}, {}, "run: {}")
    model = client.create_logged_model(experiment, "svm").model_id
    for _ in range(2):
        mine.link_model(str(mine.parent), model)
    assert [each.model_id for each in client.get_run(str(mine.parent)).outputs.model_outputs] == [model]


def test_the_model_that_answers_is_named_once(client: MlflowClient, experiment: str) -> None:
    mine = recorder(experiment)
    mine.open_parent("flowers", {}, {}, "run: {}")
    model, asked = client.create_logged_model(experiment, "svm").model_id, list[str]()

    def logged_model() -> str:
        asked.append(model)
        return model

    for _ in range(2):
        mine.log_answering("svm (efficientnet_lite0, 224 px)", "efficientnet_lite0", logged_model)
    assert asked == [model]
    other = recorder(experiment)
    other.join(str(mine.parent))
    other.log_answering("svm (efficientnet_lite0, 224 px)", "efficientnet_lite0", logged_model)
    run = client.get_run(str(mine.parent))
    assert run.data.tags["topwork.model"] == "svm (efficientnet_lite0, 224 px)"
    assert [each.model_id for each in run.inputs.model_inputs] == [model]


def test_a_run_that_is_not_there_or_of_another_experiment_is_refused(client: MlflowClient, experiment: str) -> None:
    with pytest.raises(InputError, match="no such run"):
        recorder(experiment).join("0" * 32)
    other = client.create_run("0").info.run_id
    with pytest.raises(InputError, match="another experiment"):
        recorder(experiment).join(other)


def test_the_run_of_a_command_is_not_compared_as_a_strategy_though_it_has_the_scores_of_one(
    client: MlflowClient, experiment: str, tracking_uri: str
) -> None:
    mine = recorder(experiment)
    mine.open_parent("flowers", {}, {}, "run: {}")
    mine.open_child("svm", ("efficientnet_lite0", ""), {})
    for run in (mine.parent, mine.run_of("svm")):
        mine.log_metrics(str(run), {"accuracy": 0.5})
    check_runs(mine.run_of("svm"), tracking_uri)
    with pytest.raises(InputError, match="The run of a strategy is wanted"):
        check_runs(str(mine.parent), tracking_uri)
