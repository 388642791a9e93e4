from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from topwork.core.parameters import AugmentationParameters
from topwork.images.views import DRAWN_COLUMNS, PRESETS, VIEW_COLUMNS, ViewPlan, draw_views, plan_views

EVERYTHING = ViewPlan(0.1, 30, "both", 1.5, 1.3, 10, 0.5, 0.4, 0.01, 0.3, "mirror")
NEUTRAL = {
    "mirror_x": 1,
    "mirror_y": 1,
    "zoom": 1,
    "aspect": 1,
    "kept": 1,
    "brightness": 1,
    "contrast": 1,
    "saturation": 1,
}


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


SOME = [sha(number) for number in range(1, 400)]


def parameters(**given: object) -> AugmentationParameters:
    none = dict.fromkeys(set(AugmentationParameters.model_fields) & set(ViewPlan.__annotations__) - {"seed"})
    fixed = {"preset": "photo", "views": 2, "average": False, "sheet_images": 2, "sheet_views": 2}
    return AugmentationParameters(**{**none, **fixed, "max_pixels": 10**6, "seed": 0, **given})


def test_the_same_image_has_the_same_views_in_any_company_and_order():
    drawn = draw_views(EVERYTHING, SOME, [1, 2, 3])
    assert tuple(drawn.columns) == VIEW_COLUMNS
    alone = draw_views(EVERYTHING, [SOME[7]], [3])
    row = drawn[(drawn["sha256"] == SOME[7]) & (drawn["view"] == 3)]
    assert row.to_numpy().tolist() == alone.to_numpy().tolist()
    turned = draw_views(EVERYTHING, SOME[::-1], [3, 1, 2]).sort_values(["sha256", "view"])
    assert (turned.to_numpy() == drawn.sort_values(["sha256", "view"]).to_numpy()).all()


def test_another_image_view_or_seed_is_another_draw():
    def row(plan: ViewPlan, sha256: str, view: int) -> np.ndarray:
        return draw_views(plan, [sha256], [view])[list(DRAWN_COLUMNS)].to_numpy()[0]

    first = row(EVERYTHING, SOME[0], 1)
    others = [row(EVERYTHING, SOME[1], 1), row(EVERYTHING, SOME[0], 2), row(replace(EVERYTHING, seed=1), SOME[0], 1)]
    mirrors = [DRAWN_COLUMNS.index("mirror_x"), DRAWN_COLUMNS.index("mirror_y")]
    for other in others:
        assert (np.delete(other, mirrors) != np.delete(first, mirrors)).all()


def test_draws_fill_their_range_evenly_and_independently():
    drawn = draw_views(EVERYTHING, [sha(number) for number in range(1, 5001)], [1, 2])
    assert drawn["angle"].abs().max() <= 30
    assert drawn["kept"].between(0.5, 1).all()
    for name, low, high in (("angle", -30, 30), ("shift_x", -0.1, 0.1), ("kept", 0.5, 1), ("erased", 0, 0.3)):
        counts, _ = np.histogram(drawn[name], bins=10, range=(low, high))
        assert counts.min() > 850, name  # 1,000 expected, standard deviation 30
        assert counts.max() < 1150, name
    assert abs((drawn["mirror_x"] < 0).mean() - 0.5) < 0.025
    correlations = drawn[list(DRAWN_COLUMNS)].corr().to_numpy() - np.eye(len(DRAWN_COLUMNS))
    assert abs(correlations).max() < 0.05


@pytest.mark.parametrize(
    ("kind", "off", "columns"),
    [
        ("translation", 0, ["shift_x", "shift_y"]),
        ("rotation", 0, ["angle"]),
        ("flip", "none", ["mirror_x", "mirror_y"]),
        ("flip", "horizontal", ["mirror_y"]),
        ("flip", "vertical", ["mirror_x"]),
        ("scale", 1, ["zoom"]),
        ("aspect", 1, ["aspect"]),
        ("shear", 0, ["shear"]),
        ("crop", 1, ["kept"]),
        ("colour", 0, ["brightness", "contrast", "saturation"]),
        ("blur", 0, ["blur"]),
        ("erasing", 0, ["erased"]),
    ],
)
def test_every_kind_can_be_switched_off_without_changing_the_others(kind: str, off: object, columns: list[str]):
    every, without = (draw_views(plan, SOME, [1]) for plan in (EVERYTHING, replace(EVERYTHING, **{kind: off})))
    for name in DRAWN_COLUMNS:
        if name in columns:
            assert every[name].nunique() > 1
            assert (without[name] == NEUTRAL.get(name, 0)).all()
        else:
            assert (without[name] == every[name]).all()


def test_a_preset_gives_what_the_parameters_leave_open():
    assert plan_views(parameters()) == PRESETS["photo"]
    assert plan_views(parameters(preset="pattern", rotation=0.0, seed=3)) == replace(
        PRESETS["pattern"], rotation=0, seed=3
    )


def test_presets_keep_the_label():
    assert PRESETS["digits"].flip == "none"
    assert (PRESETS["pattern"].shear, PRESETS["pattern"].aspect) == (0, 1)
    assert PRESETS["pattern"].fill != "mirror"
    assert all(draw_views(PRESETS["none"], SOME[:9], [1])[name].nunique() == 1 for name in ("angle", "zoom", "kept"))


def test_the_name_of_a_view_tells_plans_seeds_and_numbers_apart():
    plans = [*PRESETS.values(), replace(PRESETS["photo"], seed=1), replace(PRESETS["photo"], blur=0.01)]
    assert len({plan.name(view) for plan in plans for view in (1, 2)}) == 2 * len(plans)
