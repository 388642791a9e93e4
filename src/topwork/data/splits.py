"""Splits images into train, val and test: stratified, whole groups together, stable when images are added."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from topwork.core.columns import NO_FOLD, SPLIT_COLUMNS, TEST, TRAIN, VAL
from topwork.core.digests import table_digest
from topwork.core.errors import InputError

_NAMED = 5  # images that a message names
_WHAT_OF_MODELS = (
    "Models trained before are compared with new ones on the images that both were scored on out of fold; for test "
    "accuracies side by side, train them again."
)
_RANK = {"": 0, TRAIN: 0, VAL: 1, TEST: 2}  # if a group has copies in several given splits, those in the highest stay


@dataclass(frozen=True)
class SplitPlan:
    """The share of each class in the test split, the number of folds of the other images, and the seed."""

    test_fraction: float
    folds: int
    split_seed: int


def content_digest(manifest: pd.DataFrame) -> str:
    """Digest of the image ids and of the content of the images."""
    return table_digest(manifest, ["image_id", "sha256"])


def input_digest(images: pd.DataFrame) -> str:
    """Digest of all inputs of a split except the plan: image ids, contents, labels, groups and given splits."""
    return table_digest(images.fillna({"given_split": ""}), ["image_id", "sha256", "label", "group", "given_split"])


def split_rules(images: pd.DataFrame, plan: SplitPlan, duplicates: Mapping[str, Any]) -> dict[str, Any]:
    """The rules of a split: its plan, the names of the given splits, and the settings of the near-duplicate search."""
    given = sorted(set(images["given_split"].fillna("")) - {""})
    return {"plan": vars(plan), "given": given, "duplicates": dict(duplicates)}


def kept_splits(
    images: pd.DataFrame, previous: pd.DataFrame, rules: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The previous splits and their report, if images, labels and rules are the same; else None.

    Args:
        images: as for `assign_splits`, with the groups that they had before near-duplicates were joined.
        previous: the splits of an earlier run, or an empty table.
        rules: as `split_rules` returns them.

    """
    if (previous.attrs.get("rules"), previous.attrs.get("inputs")) != (dict(rules), input_digest(images)):
        return None
    excluded = images.loc[~images["image_id"].isin(previous["image_id"]), "image_id"].tolist()
    return previous, _report(previous, rules, kept=previous["group"].nunique(), excluded=excluded, moved=[])


def assign_splits(
    images: pd.DataFrame,
    previous: pd.DataFrame,
    plan: SplitPlan,
    duplicates: Mapping[str, Any] | None = None,
    inputs: str = "",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Splits and folds of usable images, and a report of what was kept, excluded and moved.

    Args:
        images: columns ``image_id``, ``sha256``, ``label``, ``group``, ``given_split``.
        previous: the splits of an earlier run, or an empty table; kept if the rules are the same.
        plan: fractions, folds and seed.
        duplicates: settings of the near-duplicate search, a part of the rules.
        inputs: the `input_digest` of the images, for `kept_splits`.

    Splits given by the user are kept: ``test`` is the test split, ``val`` is fold 0. If there is no ``test``, ``val``
    is the test split, and choices are made on folds of ``train``. Copies of an image (or members of its group) in a
    lower split are excluded and reported.

    Raises:
        InputError: a class cannot be split, or only some images have a given split; the message names one.

    """
    given = _given(images)
    kept_rows, excluded = _without_lower_copies(images.assign(given_split=given))
    groups = _group_table(kept_rows)
    rules = split_rules(images, plan, duplicates or {})
    old = _previous_folds(kept_rows, previous) if previous.attrs.get("rules") == rules else {}
    fold_of = _place(groups, old, plan)
    fold = kept_rows["group"].map(fold_of)
    split = np.select([fold == NO_FOLD, fold == 0], [TEST, VAL], TRAIN)
    splits = kept_rows.assign(fold=fold, split=split)[list(SPLIT_COLUMNS)].reset_index(drop=True)
    _check_every_class(splits, brought=bool(rules["given"]))
    moved = _moved(splits, previous) if old else []
    splits.attrs = {"rules": rules, "content": content_digest(images), "inputs": inputs}
    kept = sum(group in old for group in groups.index)
    return splits, _report(splits, rules, kept=kept, excluded=excluded, moved=moved)


def _report(
    splits: pd.DataFrame, rules: Mapping[str, Any], *, kept: int, excluded: Sequence[str], moved: Sequence[str]
) -> dict[str, Any]:
    return {
        "images": {str(name): int(count) for name, count in splits["split"].value_counts().items()},
        "classes": int(splits["label"].nunique()),
        "brought": rules["given"],
        "kept_from_before": kept,
        "excluded_copies": list(excluded),
        "moved": list(moved),
    }


def describe_change(previous: pd.DataFrame, splits: pd.DataFrame, moved: Sequence[str]) -> str:
    """Why the splits differ from those of the previous run, and what this means for earlier models; else empty."""
    if previous.empty or not previous.attrs:
        return ""
    before, now = previous.attrs.get("rules", {}), splits.attrs["rules"]
    changed = [
        f"{name}: {before.get(part, {}).get(name)} → {value}"
        for part in ("plan", "duplicates")
        for name, value in now[part].items()
        if before.get(part, {}).get(name) != value
    ]
    if before.get("given") != now["given"]:
        if now["given"] and not changed:
            given = " and ".join(now["given"])
            return f"Images are {given} as images= says now; the folds are divided anew. {_WHAT_OF_MODELS}"
        changed.append(f"given splits: {before.get('given')} → {now['given']}")
    if changed:
        return f"All images are split anew, since the rules changed ({', '.join(changed)}). {_WHAT_OF_MODELS}"
    if moved:
        named = ", ".join(moved[:_NAMED]) + (f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else "")
        return (
            f"{len(moved)} images moved to another fold or split, since images or labels changed and their groups were "
            f"joined with others: {named}. {_WHAT_OF_MODELS}"
        )
    return ""


def describe_splits(report: dict[str, Any]) -> str:
    """A summary of the splits in one line, for the terminal."""
    counts = ", ".join(f"{name} {report['images'].get(name, 0):,}" for name in (TRAIN, VAL, TEST))
    line = f"{counts} images" + (f", as the {'/'.join(report['brought'])} splits given" if report["brought"] else "")
    if report["brought"] and TEST not in report["brought"]:
        line += " (no test given: val is the test split)"
    if report["excluded_copies"]:
        line += f"; {len(report['excluded_copies']):,} copies of held-out images excluded from the lower splits"
    return line


def _given(images: pd.DataFrame) -> pd.Series[str]:
    given = images["given_split"].fillna("").astype(str)
    if (given != "").any() and (given == "").any():
        missing = images.loc[given == "", "image_id"].iloc[0]
        raise InputError(f"Some images have a split and some have none, first {missing!r}: give all or none.")
    if (given != "").any() and TEST not in set(given):
        return given.replace({VAL: TEST})
    return given


def _without_lower_copies(images: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    rank = images["given_split"].map(_RANK)
    highest = rank.groupby(images["group"]).transform("max")
    lower = rank < highest
    return images[~lower], images.loc[lower, "image_id"].tolist()


def _group_table(images: pd.DataFrame) -> pd.DataFrame:
    """One row per group: its most frequent label, its size, its given split."""
    by_group = images.groupby("group", sort=True)
    labels = images.groupby(["group", "label"]).size().reset_index(name="n")
    label = labels.sort_values(["group", "n", "label"], ascending=[True, False, True]).drop_duplicates("group")
    return pd.DataFrame(
        {
            "label": label.set_index("group")["label"],
            "size": by_group.size(),
            "given": by_group["given_split"].first(),
        }
    )


def _previous_folds(images: pd.DataFrame, previous: pd.DataFrame) -> dict[str, int]:
    """Previous fold of each known group, found by its images or else by its name; the fold of most images wins."""
    by_name = previous.drop_duplicates("group").set_index("group")["fold"]
    by_image = previous.set_index("image_id")["fold"]
    fold = images["image_id"].map(by_image).fillna(images["group"].map(by_name))
    known = images.assign(fold=fold).dropna(subset=["fold"])
    votes = known.groupby(["group", "fold"]).size().reset_index(name="n")
    votes = votes.sort_values(["group", "n", "fold"], ascending=[True, False, True]).drop_duplicates("group")
    return {str(group): int(fold) for group, fold in zip(votes["group"], votes["fold"], strict=True)}


def _place(groups: pd.DataFrame, old: dict[str, int], plan: SplitPlan) -> dict[str, int]:
    """Fold of each group (``NO_FOLD`` for test).

    New groups are placed in the order of a seeded hash, each in the fold (or test) where its class lacks most images.
    """
    order = sorted(groups.index, key=lambda group: _hash(plan.split_seed, group))
    label, size, given = (groups[name].to_dict() for name in ("label", "size", "given"))
    class_size = groups.groupby("label")["size"].sum().to_dict()
    targets = _targets(plan, set(groups["given"]))
    filled: dict[Any, dict[int, int]] = defaultdict(lambda: dict.fromkeys((NO_FOLD, *range(plan.folds)), 0))
    overall = dict.fromkeys((NO_FOLD, *range(plan.folds)), 0)
    placed: dict[str, int] = {}

    def put(group: str, fold: int) -> None:
        placed[group] = fold
        filled[label[group]][fold] += size[group]
        overall[fold] += size[group]

    for group in order:
        if group in old:
            put(group, old[group])
    for group in order:
        if group not in old:
            share, counts = targets[given[group]], filled[label[group]]
            total = class_size[label[group]]
            put(group, min(share, key=lambda fold: (counts[fold] - share[fold] * total, overall[fold], fold)))
    return placed


def _targets(plan: SplitPlan, given: set[str]) -> dict[str, dict[int, float]]:
    """For each given split, the folds that its groups may go to and the share of the class that each should hold."""
    if given == {""}:
        share = (1 - plan.test_fraction) / plan.folds
        return {"": {NO_FOLD: plan.test_fraction, **dict.fromkeys(range(plan.folds), share)}}
    folds = range(1 if VAL in given else 0, plan.folds)
    return {TEST: {NO_FOLD: 1.0}, VAL: {0: 1.0}, TRAIN: dict.fromkeys(folds, 1 / len(folds))}


def _hash(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode("utf-8", "backslashreplace")).digest()


def _moved(splits: pd.DataFrame, previous: pd.DataFrame) -> list[str]:
    both = splits.merge(previous[["image_id", "fold"]], on="image_id", suffixes=("", "_before"))
    return both.loc[both["fold"] != both["fold_before"], "image_id"].tolist()


def _check_every_class(splits: pd.DataFrame, *, brought: bool) -> None:
    held_out = splits[splits["split"] == TEST].groupby("label").size()
    folds = splits[splits["split"] != TEST].groupby("label")["fold"].nunique()
    if not len(held_out):
        raise InputError("No image is left to test on.")
    short = [
        label
        for label in sorted(splits["label"].unique())
        if folds.get(label, 0) < 2 or (not brought and label not in held_out)
    ]
    if not short:
        return
    counts = splits.groupby("label").agg(images=("image_id", "size"), groups=("group", "nunique"))
    named = ", ".join(
        f"{label!r} ({counts.loc[label, 'images']} images in {counts.loc[label, 'groups']} groups)"
        for label in short[:_NAMED]
    )
    more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
    needed = "two in train and val for the folds" if brought else "three, one to test on and two for the folds"
    raise InputError(
        f"Classes with too few groups to split: {named}{more}. Images of one group are never torn apart: "
        "near-duplicates (near_duplicates.png shows them), equal files, and the groups that a table gives. A class "
        f"needs at least {needed}. Add other images of it, move it away, or say duplicates.merge=false where the pairs "
        "are none."
    )


def inner_split(images: pd.DataFrame, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Mask ``[n]`` of the images (columns ``label``, ``group``) for inner validation; the others are for training.

    Whole groups are taken in the order of a seeded hash until their class has its share ``fraction``. The last group of
    a class always stays for training.
    """
    sizes = images.groupby("group", sort=False).agg(label=("label", "first"), size=("label", "size"))
    sizes = sizes.loc[sorted(sizes.index, key=lambda group: _hash(seed, f"inner {group}"))]
    wanted = (fraction * sizes.groupby("label")["size"].transform("sum")).clip(lower=1)
    before = sizes.groupby("label")["size"].cumsum() - sizes["size"]
    last = sizes.groupby("label").cumcount(ascending=False) == 0
    chosen = sizes.index[(before < wanted.round()) & ~last]
    return images["group"].isin(chosen).to_numpy()
