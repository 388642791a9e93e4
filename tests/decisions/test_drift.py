from __future__ import annotations

import numpy as np

from tests.conftest import PROJECT
from topwork.core.parameters import MonitoringParameters
from topwork.core.results import ClassShift
from topwork.decisions.drift import Sample, compare_classes, compare_far, conclude, describe_classes
from topwork.run.configuration import load_configuration


def parameters() -> MonitoringParameters:
    block = load_configuration(PROJECT / "conf", None, {})["parameters"]["monitoring"]
    return MonitoringParameters(**{**block, "permutations": 199})


def sample(values: np.ndarray) -> Sample:
    return Sample(values, np.arange(len(values)).astype(str))


def test_without_a_difference_the_sentence_says_what_would_have_been_seen() -> None:
    shifted, p, sentence = conclude({"features": 0.2, "classes": 0.9}, {}, 0.312, 0.05)
    assert (shifted, p) == (False, 0.4)
    assert sentence == "No sign of a shift (p = 0.40; a shift of 0.31 sd would be seen with 80 % power)."


def test_several_tests_are_corrected_together() -> None:
    said = {"features": "in their features", "classes": "predicted classes"}
    assert not conclude({"features": 0.03, "classes": 0.9, "none": 0.8}, said, 0.3, 0.05)[0]
    shifted, p, sentence = conclude({"features": 0.001, "classes": 0.9, "none": 0.8}, said, 0.3, 0.05)
    assert shifted and p == 0.003
    assert sentence == "These images differ from those that were learnt: in their features (p = 0.003)."


def test_the_classes_that_changed_come_first() -> None:
    new, before = np.repeat([0, 1, 2], [30, 5, 5]), np.repeat([0, 1, 2], [40, 80, 40])
    p, shifts = compare_classes(sample(new), sample(before), ("cat", "dog", "emu"), parameters())
    assert p < 0.02 and {shifts[0].label, shifts[1].label} == {"cat", "dog"}
    assert all(each.low <= each.difference <= each.high for each in shifts)
    assert "cat 75 % instead of 25 %" in describe_classes(shifts, 0.05)


def test_only_more_strange_images_are_an_alarm_and_not_fewer() -> None:
    many, few = sample(np.arange(100) < 30), sample(np.arange(100) < 5)
    assert compare_far(many, few, parameters()) < 0.02
    assert compare_far(few, many, parameters()) > 0.9
    none = sample(np.zeros(50, bool))
    assert compare_far(none, none, parameters()) == 1.0


def test_of_many_changed_classes_three_are_named() -> None:
    shifts = [
        ClassShift(label=name, share=0.5, expected=0.1, difference=0.4, low=0.3, high=0.5, p=0.001) for name in "abcde"
    ]
    assert describe_classes(shifts, 0.05).endswith("c 50 % instead of 10 % and 2 more")


def test_large_samples_are_drawn_from_with_their_groups() -> None:
    some = sample(np.arange(50)).at_most(10, 0)
    assert len(some.values) == 10 and some.groups.tolist() == some.values.astype(str).tolist()
