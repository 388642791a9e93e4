from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topwork.core.columns import SPLIT_COLUMNS, TEST, TRAIN, VAL
from topwork.core.errors import InputError
from topwork.data.splits import (
    SplitPlan,
    assign_splits,
    describe_change,
    describe_splits,
    inner_split,
    input_digest,
    kept_splits,
    split_rules,
)
from topwork.datasets.validators import valid_splits

PLAN = SplitPlan(test_fraction=0.2, folds=5, split_seed=0)
NONE_BEFORE = pd.DataFrame(columns=pd.Index(SPLIT_COLUMNS))


def table(counts: dict[str, int], given: str = "", start: int = 0) -> pd.DataFrame:
    rows = [f"{label}/{number}" for label, count in counts.items() for number in range(start, start + count)]
    return pd.DataFrame(
        {
            "image_id": rows,
            "sha256": rows,
            "label": [row.split("/")[0] for row in rows],
            "group": rows,
            "given_split": given,
        }
    )


def split(
    images: pd.DataFrame, previous: pd.DataFrame = NONE_BEFORE, plan: SplitPlan = PLAN
) -> tuple[pd.DataFrame, dict[str, object]]:
    splits, report = assign_splits(images, previous, plan)
    return valid_splits(splits), report


def test_every_class_is_held_out_by_its_share_and_spread_over_the_folds() -> None:
    splits, _ = split(table({"a": 100, "b": 50, "c": 10}))
    held_out = splits[splits["split"] == TEST].groupby("label").size()
    assert held_out.to_dict() == {"a": 20, "b": 10, "c": 2}
    folds = splits[splits["split"] != TEST].groupby(["label", "fold"]).size()
    assert folds["a"].tolist() == [16] * 5
    assert folds["b"].tolist() == [8] * 5
    assert folds["c"].max() == 2


def test_the_smallest_class_has_one_to_test_and_two_folds() -> None:
    splits, _ = split(table({"a": 100, "tiny": 3}))
    tiny = splits[splits["label"] == "tiny"]
    assert (tiny["split"] == TEST).sum() == 1
    assert tiny.loc[tiny["split"] != TEST, "fold"].nunique() == 2


def test_a_class_that_is_too_small_is_named() -> None:
    with pytest.raises(InputError, match=r"too few groups to split: 'tiny' \(2 images in 2 groups\)"):
        split(table({"a": 100, "tiny": 2}))


def test_another_seed_holds_out_others() -> None:
    images = table({"a": 100})
    ours, _ = split(images)
    again, _ = split(images.sample(frac=1, random_state=1))
    theirs, _ = split(images, plan=SplitPlan(0.2, 5, 1))
    pd.testing.assert_frame_equal(ours, again.sort_index().set_index("image_id").loc[ours["image_id"]].reset_index())
    assert not ours["fold"].equals(theirs["fold"])


def test_added_images_leave_every_earlier_assignment_as_it_was() -> None:
    before, _ = split(table({"a": 60, "b": 30}))
    more = pd.concat([table({"a": 60, "b": 30}), table({"a": 25, "b": 40, "c": 12}, start=1000)], ignore_index=True)
    after, report = split(more, before)
    kept = after.set_index("image_id").loc[before["image_id"]].reset_index()
    pd.testing.assert_frame_equal(kept, before, check_like=True)
    share = (after["split"] == TEST).groupby(after["label"]).mean()
    assert share.between(0.15, 0.26).all()
    assert (report["kept_from_before"], report["moved"]) == (90, [])


def test_a_renamed_image_stays_where_its_content_was() -> None:
    before, _ = split(table({"a": 40}))
    renamed = table({"a": 40}).assign(image_id=lambda images: "new/" + images["image_id"])
    after, _ = split(renamed, before)
    assert after["fold"].tolist() == before["fold"].tolist()


def test_another_plan_starts_anew() -> None:
    before, _ = split(table({"a": 50}))
    _, report = split(table({"a": 50}), before, SplitPlan(0.3, 5, 0))
    assert report["kept_from_before"] == 0


def test_groups_stay_together() -> None:
    images = table({"a": 90, "b": 90})
    images["group"] = images["label"] + (np.arange(180) % 90 // 3).astype(str)
    splits, _ = split(images)
    assert splits.groupby("group")["fold"].nunique().max() == 1
    assert (splits["split"] == TEST).groupby(splits["label"]).sum().tolist() == [18, 18]


def test_groups_that_were_joined_move_together_and_are_listed() -> None:
    images = table({"a": 40})
    before, _ = split(images)
    fold = before.set_index("image_id")["fold"]
    one, other = fold.index[fold == -1][0], fold.index[fold == 2][0]
    images.loc[images["image_id"].isin([one, other]), "group"] = "joined"
    after, report = split(images, before)
    assert after.set_index("image_id").loc[[one, other], "fold"].nunique() == 1
    assert len(report["moved"]) == 1
    told = describe_change(before, after, report["moved"])
    assert told.startswith("1 images moved to another fold or split, since images or labels changed")
    assert report["moved"][0] in told
    assert "Models trained before are compared with new ones" in told


def test_splits_that_the_user_brings_are_honoured_and_leaks_are_excluded() -> None:
    images = pd.concat([table({"a": 40, "b": 40}, TRAIN), table({"a": 8, "b": 8}, VAL, 100)], ignore_index=True)
    images = pd.concat([images, table({"a": 10, "b": 10}, TEST, 200)], ignore_index=True)
    images.loc[0, "group"] = "a/200"  # a copy of a test image lies in train
    images.loc[1, "group"] = "a/100"  # and one of a val image
    splits, report = split(images)
    by_id = splits.set_index("image_id")
    assert set(by_id.index[by_id["split"] == TEST]) == set(images.loc[images["given_split"] == TEST, "image_id"])
    assert set(by_id.index[by_id["split"] == VAL]) == set(images.loc[images["given_split"] == VAL, "image_id"])
    assert sorted(by_id.loc[by_id["split"] == TRAIN, "fold"].unique()) == [1, 2, 3, 4]
    assert report["excluded_copies"] == ["a/0", "a/1"]
    assert "2 copies of held-out images excluded" in describe_splits(report)


def test_with_train_and_val_alone_val_is_what_is_held_out() -> None:
    images = pd.concat([table({"a": 40, "b": 40}, TRAIN), table({"a": 8, "b": 8}, VAL, 100)], ignore_index=True)
    splits, report = split(images)
    assert (splits["split"] == TEST).sum() == 16
    assert sorted(splits.loc[splits["split"] != TEST, "fold"].unique()) == [0, 1, 2, 3, 4]
    assert "val is the test split" in describe_splits(report)


def test_a_split_for_some_images_only_is_refused() -> None:
    images = table({"a": 10}, TRAIN)
    images.loc[3, "given_split"] = ""
    with pytest.raises(InputError, match="first 'a/3'"):
        split(images)


def test_the_inner_split_takes_whole_groups_of_every_class_and_empties_none() -> None:
    images = pd.DataFrame(
        {
            "label": ["big"] * 40 + ["pairs"] * 20 + ["two"] * 2 + ["one"],
            "group": [f"b{n}" for n in range(40)] + [f"p{n // 2}" for n in range(20)] + ["t0", "t1"] + ["o"],
        }
    )
    chosen = inner_split(images, 0.2, seed=0)
    counts = images[chosen].groupby("label").size().to_dict()
    assert counts == {"big": 8, "pairs": 4, "two": 1}
    assert not set(images["group"][chosen]) & set(images["group"][~chosen])
    assert (inner_split(images, 0.2, seed=0) == chosen).all()
    assert (inner_split(images, 0.2, seed=1) != chosen).any()
    more = pd.concat([images, images.assign(group=images["group"] + "x", label="new")], ignore_index=True)
    assert (inner_split(more, 0.2, seed=0)[: len(images)] == chosen).all()


def test_equal_images_labels_and_rules_keep_the_splits_whatever_near_duplicates_are_found_this_time() -> None:
    images, how = table({"a": 40, "b": 40}), {"merge": True}
    before, _ = assign_splits(images, NONE_BEFORE, PLAN, how, input_digest(images))
    rules = split_rules(images, PLAN, how)
    found = kept_splits(images.sample(frac=1, random_state=0), before, rules)
    assert found is not None
    pd.testing.assert_frame_equal(found[0], before)
    assert found[1]["kept_from_before"] == 80
    assert describe_change(before, found[0], found[1]["moved"]) == ""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"label": "b"}, id="a label"),
        pytest.param({"sha256": "other"}, id="an image"),
        pytest.param({"group": "other"}, id="a group"),
        pytest.param({"given_split": "test"}, id="a given split"),
    ],
)
def test_other_images_or_labels_are_split_again(change: dict[str, str]) -> None:
    images = table({"a": 40, "b": 40})
    before, _ = assign_splits(images, NONE_BEFORE, PLAN, {}, input_digest(images))
    images.loc[3, list(change)] = list(change.values())
    assert kept_splits(images, before, split_rules(images, PLAN, {})) is None


def test_other_rules_are_told_with_what_becomes_of_earlier_models() -> None:
    images = table({"a": 40, "b": 40})
    before, _ = assign_splits(images, NONE_BEFORE, PLAN, {"merge": True}, "inputs")
    other = SplitPlan(test_fraction=0.2, folds=4, split_seed=0)
    assert kept_splits(images, before, split_rules(images, other, {"merge": True})) is None
    after, report = assign_splits(images, before, other, {"merge": False}, "inputs")
    told = describe_change(before, after, report["moved"])
    assert told.startswith("All images are split anew, since the rules changed (folds: 5 → 4, merge: True → False).")
    assert "train them again" in told
    assert describe_change(NONE_BEFORE, after, []) == ""


def test_all_classes_that_near_duplicates_leave_too_few_groups_are_named_with_the_way_out() -> None:
    images = table({"a": 30, "frames": 20, "one": 9})
    images.loc[images["label"] == "frames", "group"] = "burst"
    images.loc[images["label"] == "one", "group"] = "other burst"
    with pytest.raises(InputError) as raised:
        split(images)
    told = str(raised.value)
    assert "'frames' (20 images in 1 groups), 'one' (9 images in 1 groups)" in told
    assert "duplicates.merge=false" in told


def test_splits_that_the_images_bring_are_told_as_such() -> None:
    rules = {"plan": {"folds": 5}, "duplicates": {"merge": True}}
    before, after = pd.DataFrame({"image_id": ["a"]}), pd.DataFrame({"image_id": ["a"]})
    before.attrs, after.attrs = {"rules": {**rules, "given": []}}, {"rules": {**rules, "given": ["test", "train"]}}
    assert describe_change(before, after, []).startswith("Images are test and train as images= says now; the folds")
    assert "given splits: ['test', 'train'] → []" in describe_change(after, before, [])
