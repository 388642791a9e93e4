from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topwork.core.parameters import LinearParameters, ScreeningParameters
from topwork.core.results import Candidate, Screen
from topwork.decisions.screen import rank, sample_rows

CLASSES, COUNT = 4, 400
LINEAR = LinearParameters(C=[1e-3, 1e-2], class_weight="none", max_iterations=100, seed=0, rejected=0.05)
TRUTH = np.arange(COUNT) % CLASSES


def features(distance: float, seed: int) -> np.ndarray:
    """Class means at a distance from one another, in noise of one."""
    generator = np.random.default_rng(seed)
    return (distance * np.eye(CLASSES, 8)[TRUTH] + generator.normal(size=(COUNT, 8))).astype(np.float32)


def screened(
    *distances: float, keep: int = 3, seeds: tuple[int, ...] = (1, 2, 3, 4), names: Sequence[Candidate] = ()
) -> Screen:
    names = names or [Candidate(backbone=f"net{place}", layers="last", image_size=None) for place in range(4)]
    vectors = [features(distance, seed) for distance, seed in zip(distances, seeds, strict=False)]
    groups, folds = np.arange(COUNT).astype(str), np.arange(COUNT) // CLASSES % 5
    screening = ScreeningParameters(images=2000, significance=0.05, keep=keep, seed=0)
    return rank(names[: len(distances)], vectors, TRUTH, folds, groups, LINEAR, screening)


def test_the_best_features_come_first_and_the_worse_are_left_out() -> None:
    screen = screened(1.0, 4.0, 2.0)
    assert [each.backbone for each in screen.candidates] == ["net1", "net2", "net0"]
    assert [each.kept for each in screen.candidates] == [True, False, False]
    assert (screen.chosen.behind, screen.chosen.p) == (0.0, None)
    assert screen.candidates[1].behind < 0
    assert screen.images == COUNT


def test_what_cannot_be_told_from_the_best_is_kept_up_to_a_number() -> None:
    alike = screened(3.0, 3.0, 3.0)
    assert len(alike.others) == 2
    assert len(screened(3.0, 3.0, 3.0, keep=2).others) == 1
    assert len(screened(3.0, 3.0, 3.0, keep=1).others) == 0


def test_the_last_layer_of_the_best_backbone_is_kept_for_networks() -> None:
    names = [
        Candidate(backbone=backbone, layers=layers, image_size=None)
        for backbone, layers in (("a", "all"), ("a", "last"), ("b", "last"))
    ]
    screen = screened(4.0, 2.0, 2.0, names=names)
    assert [(each.backbone, each.layers) for each in screen.others] == [("a", "last")]


def fits(*distances: float, backbones: tuple[str, ...] = ("a",)) -> Screen:
    names = [
        Candidate(backbone=backbone, layers="last", image_size=None, fit=fit)
        for backbone in backbones
        for fit in ("crop", "pad", "squash")
    ]
    return screened(*distances, names=names, seeds=(1, 2, 3, 4, 5, 6), keep=6)


def test_a_crop_is_taken_unless_another_fit_is_better() -> None:
    screen = fits(3.0, 3.1, 2.9)
    assert (screen.chosen.fit, screen.others) == ("crop", ())
    assert all("not shown to be better than crop" in each.why_not for each in screen.candidates[1:])
    assert screen.fits.startswith("fit=auto takes crop: compared with a crop, out of fold on 400 images, pad ")


def test_the_most_accurate_of_the_better_fits_is_taken() -> None:
    screen = fits(1.0, 2.0, 4.0)
    assert (screen.chosen.fit, screen.others) == ("squash", ())
    reasons = {each.fit: each.why_not for each in screen.candidates}
    assert reasons["crop"].startswith("squash is better: +")
    assert reasons["pad"] == "squash is taken in place of crop"


def test_each_backbone_has_a_fit_of_its_own() -> None:
    screen = fits(1.0, 4.0, 1.0, 4.0, 1.0, 1.0, backbones=("a", "b"))
    assert {(each.backbone, each.fit) for each in screen.candidates if each.kept} == {("a", "pad"), ("b", "crop")}
    assert "takes pad for a last" in screen.fits
    assert "takes crop for b last" in screen.fits


def test_without_a_choice_of_fits_nothing_is_said_of_them() -> None:
    assert screened(3.0, 3.0).fits == ""


def test_of_equals_the_first_in_the_users_order_is_chosen() -> None:
    screen = screened(3.0, 3.0, seeds=(1, 1))
    assert [each.backbone for each in screen.candidates] == ["net0", "net1"]


def test_the_sample_has_its_share_of_every_class_and_at_least_five() -> None:
    truth = np.repeat([0, 1, 2], [900, 90, 6])
    rows = sample_rows(truth, 100, seed=0)
    assert np.bincount(truth[rows]).tolist() == [91, 10, 5]
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, sample_rows(truth, 100, seed=0))


def test_the_sample_is_a_quarter_within_bounds() -> None:
    sizes = {count: len(sample_rows(np.zeros(count, int), 2000, seed=0)) for count in (200, 900, 2400, 6000, 50_000)}
    assert sizes == {200: 200, 900: 300, 2400: 600, 6000: 1500, 50_000: 2000}
