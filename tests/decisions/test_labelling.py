from __future__ import annotations

import numpy as np
import pandas as pd

from topwork.core.stores import no_attributes
from topwork.decisions.labelling import (
    REQUEST_COLUMNS,
    choose_to_label,
    join_labels,
    list_requests,
    margins,
    most_unsure,
    still_to_learn,
)


def unsure_first(count: int) -> np.ndarray:
    """Probabilities of two classes, from undecided to sure."""
    first = np.linspace(0.5, 1, count)
    return np.column_stack([first, 1 - first])


def test_a_margin_is_the_lead_of_the_most_likely_class() -> None:
    np.testing.assert_allclose(margins(np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2]])), [0.5, 0.0], atol=1e-12)
    assert most_unsure(unsure_first(9), 3).tolist() == [0, 1, 2]


def test_chosen_images_are_uncertain_and_unlike_one_another() -> None:
    generator = np.random.default_rng(0)
    centres = 5 * np.eye(4, 20)
    kind = np.repeat(np.arange(4), 25)
    vectors = centres[kind] + generator.normal(0, 0.1, (100, 20))
    probabilities = unsure_first(200)[generator.permutation(100)]
    chosen = choose_to_label(vectors, probabilities, np.arange(100), 4, 20, 0)
    assert sorted(kind[chosen]) == [0, 1, 2, 3]
    assert (np.diff(margins(probabilities)[chosen]) >= 0).all()


def test_certain_images_are_not_chosen_while_there_are_candidates() -> None:
    vectors = np.random.default_rng(1).normal(size=(60, 5))
    assert set(choose_to_label(vectors, unsure_first(60), np.arange(60), 5, 2, 0)) <= set(range(10))


def test_of_near_copies_one_is_chosen_the_most_uncertain() -> None:
    vectors = np.random.default_rng(2).normal(size=(12, 5))
    chosen = choose_to_label(vectors, unsure_first(12), np.repeat(np.arange(4), 3), 8, 10, 0)
    assert chosen.tolist() == [0, 3, 6, 9]


def test_equal_features_and_empty_pools_do_no_harm() -> None:
    same = choose_to_label(np.ones((30, 4)), unsure_first(30), np.arange(30), 5, 4, 0)
    assert len(set(same.tolist())) == 5
    assert len(choose_to_label(np.empty((0, 4)), np.empty((0, 2)), np.arange(0), 5, 4, 0)) == 0


def test_the_choice_is_repeatable() -> None:
    vectors = np.random.default_rng(3).normal(size=(80, 6))
    once, again = (choose_to_label(vectors, unsure_first(80), np.arange(80), 6, 5, 7) for _ in range(2))
    assert once.tolist() == again.tolist()


def test_a_request_says_between_which_classes_the_champion_wavers() -> None:
    images = pd.DataFrame({"image_id": ["a.png", "b.png"], "path": ["/new/a.png", "/new/b.png"]})
    probabilities = np.array([[0.3, 0.4, 0.3], [0.6, 0.0, 0.4]])
    table = list_requests(images, probabilities, np.array([True, False]), ("cat", "dog", "emu"))
    assert list(table.columns) == ["image_id", *REQUEST_COLUMNS]
    assert table["reason"].tolist() == ["dog 0.40, cat 0.30; perhaps none of the classes", "cat 0.60, emu 0.40"]
    assert table["label"].eq("").all() and table["suggested"].tolist() == ["dog", "cat"]


def test_labels_that_were_filled_in_stay_until_a_run_has_learnt_them() -> None:
    requests = pd.DataFrame({"path": ["/a", "/b", "/c", "/d"], "label": ["cat", "", "dog", "cat"]})
    manifest = pd.DataFrame({"path": ["/c"]})
    new_manifest = pd.DataFrame({"path": ["/d", "/a"], "known": [True, False]})
    left = still_to_learn(requests, manifest, new_manifest)
    assert left["path"].tolist() == ["/a"] and tuple(left.columns) == REQUEST_COLUMNS


def test_the_joined_table_keeps_the_test_images_and_adds_the_new_ones_to_the_training() -> None:
    manifest = pd.DataFrame(
        {
            "image_id": ["1", "2", "3"],
            "path": ["/1", "/2", "/3"],
            "label": ["cat", "dog", "dog"],
            "group": ["x", "y", ""],
            "status": ["ok", "ok", "rejected"],
        }
    )
    splits = pd.DataFrame({"image_id": ["1", "2"], "split": ["test", "val"]})
    requests = pd.DataFrame({"path": ["/8", "/9"], "label": ["cat", ""]})
    joined = join_labels(manifest, no_attributes(), splits, requests)
    assert joined.to_dict("list") == {
        "path": ["/1", "/2", "/8"],
        "label": ["cat", "dog", "cat"],
        "group": ["x", "y", ""],
        "split": ["test", "train", "train"],
    }


def test_the_joined_table_keeps_the_columns_of_the_user_and_those_added_while_labelling() -> None:
    manifest = pd.DataFrame(
        {"image_id": ["1", "2"], "path": ["/1", "/2"], "label": "cat", "group": "g", "status": "ok"}
    )
    attributes = pd.DataFrame({"image_id": ["2", "1"], "site": ["B", "A"], "patient": ["p2", "p1"]})
    splits = pd.DataFrame({"image_id": ["1", "2"], "split": ["test", "train"]})
    told = {"path": ["/8"], "label": ["cat"], "suggested": ["dog"], "patient": ["p1"], "group": ["h"], "unnamed: 7": ""}
    joined = join_labels(manifest, attributes, splits, pd.DataFrame(told))
    assert list(joined.columns) == ["path", "label", "group", "split", "site", "patient"]
    assert joined[["group", "site", "patient"]].to_numpy().tolist() == [
        ["g", "A", "p1"],
        ["g", "B", "p2"],
        ["h", "", "p1"],
    ]


def test_columns_that_the_user_adds_while_labelling_stay_until_a_run_has_learnt_them() -> None:
    requests = pd.DataFrame({"path": ["/a"], "label": ["cat"], "patient": ["p1"]})
    left = still_to_learn(requests, pd.DataFrame({"path": []}), pd.DataFrame({"path": ["/a"], "known": [False]}))
    assert left["patient"].tolist() == ["p1"]
