from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topwork.core.errors import InputError
from topwork.data.manifest import SAME_BYTES
from topwork.decisions.label_errors import can_doubt, check_ledger, contradictions, dropped, relabelled, suggest_labels
from topwork.scoring.predictions import likeliest_accuracy

NAMES = ["cat", "dog", "owl"]


def predictions(wrong: dict[int, str], count: int = 90) -> pd.DataFrame:
    """Sure and right about what an image shows; some have another label."""
    shown = [NAMES[number % 3] for number in range(count)]
    generator = np.random.default_rng(0)
    probabilities = [generator.dirichlet([12 if name == each else 0.6 for each in NAMES]) for name in shown]
    table = pd.DataFrame(
        {
            "image_id": [f"i{number:02d}" for number in range(count)],
            "path": [f"/images/i{number:02d}.png" for number in range(count)],
            "label": [wrong.get(number, name) for number, name in enumerate(shown)],
            "predicted": [NAMES[int(np.argmax(each))] for each in probabilities],
            "probabilities": probabilities,
        }
    )
    table.attrs = {"class_names": NAMES}
    return table


def ledger(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "action", "label"])


def test_labels_that_the_predictions_contradict_are_suggested_with_what_they_say() -> None:
    found = suggest_labels(predictions({0: "dog", 7: "cat"}), ledger())
    assert found.sort_values("image_id")[["image_id", "given", "label", "action"]].to_numpy().tolist() == [
        ["i00", "dog", "cat", ""],
        ["i07", "cat", "dog", ""],
    ]
    assert (found["quality"] < 0.3).all()
    assert found["quality"].is_monotonic_increasing


def test_a_classifier_that_is_mostly_wrong_doubts_no_label() -> None:
    assert can_doubt(0.87, 10)
    assert not can_doubt(0.19, 17)


def test_what_the_user_has_settled_is_not_suggested_again() -> None:
    found = suggest_labels(predictions({0: "dog", 7: "cat"}), ledger(("i00", "keep", "")))
    assert found["image_id"].tolist() == ["i07"]


def test_the_ledger_changes_labels_and_leaves_images_out() -> None:
    listing = pd.DataFrame({"image_id": ["a", "b", "c"], "label": ["cat", "dog", "cat"]})
    rows = ledger(("a", "relabel", "dog"), ("b", "drop", ""), ("c", "keep", ""))
    assert relabelled(listing, rows)["label"].tolist() == ["dog", "dog", "cat"]
    assert dropped(rows) == {"b"}
    assert relabelled(listing, ledger()).equals(listing)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "remove", "")], "a: action 'remove' is not keep, relabel or drop"),
        ([("a", "relabel", "catt")], "a: no class 'catt'; perhaps cat?"),
        ([("a", "keep", ""), ("a", "drop", "")], "a stands in it twice"),
    ],
)
def test_a_ledger_that_cannot_be_meant_is_refused(rows: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        check_ledger(ledger(*rows), pd.Series(["cat", "dog"]))


def test_equal_bytes_under_different_labels_are_suggested_without_a_proposal() -> None:
    manifest = pd.DataFrame(
        {
            "image_id": ["b", "a", "c"],
            "path": ["/b", "/a", "/c"],
            "sha256": ["1", "1", "2"],
            "label": ["dog", "cat", "cat"],
            "reason": [SAME_BYTES, SAME_BYTES, ""],
        }
    )
    found = contradictions(manifest)
    assert found[["image_id", "given", "label", "action"]].to_numpy().tolist() == [
        ["a", "cat", "", ""],
        ["b", "dog", "", ""],
    ]


def test_a_relabelling_without_a_label_is_refused() -> None:
    with pytest.raises(InputError, match="relabel needs a label"):
        check_ledger(ledger(("i00", "relabel", "")), pd.Series(NAMES))


def test_a_threshold_or_costs_change_the_answers_and_no_suggestion() -> None:
    plain = predictions({0: "dog", 7: "cat"})
    answered = plain.assign(predicted="owl")
    answered.attrs = plain.attrs
    pd.testing.assert_frame_equal(suggest_labels(answered, ledger()), suggest_labels(plain, ledger()))
    assert likeliest_accuracy(answered) == likeliest_accuracy(plain) > 0.9
