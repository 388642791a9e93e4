from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from topwork.core.runs import LoggedRuns
from topwork.decisions.history import compare_history, what_changed

COUNT = 100
NO_GROUPS = pd.Series(dtype=str)


def run(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "run_id": f"r{number}",
        "command": f"c{number}",
        "started": pd.Timestamp(2026, 1, 1 + number),
        "strategy": "svm",
        "split_digest": "split",
        "data_digest": "images",
        "commit": "abcdef1234",
        "parameters": {"svm.C": "1", "data": f"folder{number}"},
        "metrics": {"accuracy": 0.5, "oof_accuracy": 0.5},
        **changed,
    }


def predictions(wrong: int) -> pd.DataFrame:
    names = [f"i{number}" for number in range(COUNT)]
    return pd.DataFrame({"image_id": names, "label": "x", "predicted": np.where(np.arange(COUNT) < wrong, "y", "x")})


def runs_of(*runs: tuple[dict[str, Any], int | None]) -> LoggedRuns:
    kept = {each["run_id"]: None if wrong is None else predictions(wrong) for each, wrong in runs}
    return LoggedRuns(pd.DataFrame([each for each, _ in runs]), kept.__getitem__)


def test_each_run_is_held_against_the_one_before_it() -> None:
    runs = runs_of(
        (run(0), 40),
        (run(1, parameters={"svm.C": "2"}), 38),
        (run(2, parameters={"svm.C": "4"}), 10),
        (run(3, parameters={"svm.C": "4"}, strategy="logistic"), 50),
        (run(4, data_digest="other images"), 0),
    )
    history = compare_history(runs, "images", NO_GROUPS, 0)
    assert history["run_id"].tolist() == ["r0", "r1", "r2", "r3"]
    assert history["changed"].tolist() == ["first run", "svm.C: 1 → 2", "svm.C: 2 → 4", "first run"]
    assert history["verdict"].tolist() == ["", "noise", "better", ""]
    assert history["difference"].iloc[2] == 0.28


def test_runs_over_the_same_folder_stay_together_when_labels_were_mended() -> None:
    here, there = {"images": "/photos", "svm.C": "1"}, {"images": "/elsewhere"}
    runs = runs_of(
        (run(0, parameters=here), 40),
        (run(1, parameters=here, data_digest="mended", split_digest="mended"), 10),
        (run(2, parameters=there, data_digest="other"), 10),
    )
    history = compare_history(runs, "mended", NO_GROUPS, 0)
    assert history["changed"].tolist() == ["first run", "images or labels"]
    assert history["verdict"].tolist() == ["", "better"]


def test_a_run_whose_predictions_were_not_kept_is_not_compared() -> None:
    history = compare_history(runs_of((run(0), None), (run(1), 3)), "images", NO_GROUPS, 0)
    assert history["verdict"].tolist() == ["", "not comparable"]


def test_changes_are_named_a_few_of_them_and_places_are_none() -> None:
    before = run(0)
    assert what_changed(run(1), before) == "the same settings again"
    many = run(1, parameters={f"p{number}": "1" for number in range(5)}, split_digest="new", commit="fedcba9876")
    assert what_changed(many, before) == (
        "p0: none → 1; p1: none → 1; p2: none → 1; 3 more parameters; splits; code abcdef1 → fedcba9"
    )


def test_a_main_parameter_is_named_once_and_not_again_for_each_block_that_takes_it() -> None:
    def seeded(seed: str, **other: str) -> dict[str, Any]:
        return run(0, parameters={"seed": seed, "scratch.seed": seed, "svm.seed": seed, **other})

    assert what_changed(seeded("3"), seeded("0")) == "seed: 0 → 3"
    own = seeded("3", **{"scratch.seed": "7"})
    assert what_changed(own, seeded("0")) == "scratch.seed: 0 → 7; seed: 0 → 3"


def test_images_of_one_group_count_as_one_object() -> None:
    """Thirty right answers more are a gain; if they are three objects in ten views each, they may be luck."""
    runs = runs_of((run(0), 40), (run(1), 10))
    objects = pd.Series({f"i{number}": f"g{number // 10}" for number in range(COUNT)})
    apart, together = (compare_history(runs, "images", groups, 0).iloc[1] for groups in (NO_GROUPS, objects))
    assert (apart["verdict"], together["verdict"]) == ("better", "noise")
    assert (together["images"], together["difference"]) == (COUNT, 0.3)


def test_a_repeat_for_which_the_machine_had_more_time_says_so() -> None:
    before = run(0, metrics={"accuracy": 0.5, "oof_accuracy": 0.5, "training.epochs": 3.2})
    after = run(1, metrics={"accuracy": 0.5, "oof_accuracy": 0.5, "training.epochs": 8.06})
    assert what_changed(after, before) == "epochs that fitted into the minutes: 3.2 → 8.1"
    assert what_changed(before, before) == "the same settings again"


def test_minutes_that_the_run_shared_out_are_no_change_of_the_user() -> None:
    first, second = ({"minutes": "5", "finetune.minutes": given} for given in ("2.37", "2.41"))
    assert what_changed(run(1, parameters=second), run(0, parameters=first)) == "the same settings again"
    first, second = ({"minutes": "None", "finetune.minutes": given} for given in ("3.0", "6.0"))
    assert what_changed(run(1, parameters=second), run(0, parameters=first)) == "finetune.minutes: 3.0 → 6.0"


def test_a_parameter_that_an_earlier_version_did_not_have_is_no_change_while_it_is_not_used() -> None:
    assert what_changed(run(1, parameters={"minutes": "None"}), run(0, parameters={})) == "the same settings again"
    assert what_changed(run(1, parameters={"minutes": "5"}), run(0, parameters={})) == "minutes: none → 5"


def test_runs_on_several_features_are_held_against_those_on_the_same_features() -> None:
    def on(number: int, command: str, backbone: str) -> dict[str, Any]:
        return run(number, command=command, parameters={"features.backbone": backbone, "backbone": backbone})

    runs = runs_of(
        (on(0, "first", "one"), 40),
        (on(1, "first", "two"), 30),
        (on(2, "second", "one"), 20),
        (on(3, "second", "two"), 10),
        (on(4, "third", "other"), 5),
    )
    history = compare_history(runs, "images", NO_GROUPS, 0)
    assert history["changed"].tolist()[:4] == ["first run", "first run", *2 * ["the same settings again"]]
    assert history["difference"].tolist()[2:] == [0.2, 0.2, 0.05]
