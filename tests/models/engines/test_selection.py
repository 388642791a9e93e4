from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from topwork.images.transforms import Preprocessing
from topwork.models.engines import REFERENCE, Engine, Recipe, available_engines, selection
from topwork.models.engines.selection import Trial, choose_engine

HALF = (0.5, 0.5, 0.5)
SQUARE = Preprocessing(16, 16, "bilinear", HALF, HALF)
RECIPE = Recipe("", "", ("last",), "average", SQUARE, lambda: pytest.fail("built"))


def pooled(pixels: np.ndarray) -> np.ndarray:
    """Colours of the quarters of an image, `[b, 12]`."""
    quarters = pixels.reshape(len(pixels), 2, 8, 2, 8, 3).mean(axis=(2, 4), dtype=np.float32)
    return quarters.reshape(len(pixels), -1)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let these engines stand for the real ones: a function of the reference's features, or an error, for each."""
    monkeypatch.setattr(selection, "_SECONDS", 0.01)

    def install(speeds: dict[tuple[str, str], float], wrong: dict[tuple[str, str], Callable] | None = None) -> None:
        def build(recipe: Recipe) -> Engine:
            change = (wrong or {}).get((recipe.engine, recipe.number_format), lambda features: features)
            engine = Engine(lambda pixels: change(pooled(pixels)), batch_size=8)
            named[id(engine.run)] = (recipe.engine, recipe.number_format)
            kept.append(engine)
            return engine

        named: dict[int, tuple[str, str]] = {}
        kept: list[Engine] = []
        formats = tuple(dict.fromkeys(format_ for _, format_ in speeds if format_ != "float32"))
        monkeypatch.setattr(selection, "build_engine", build)
        monkeypatch.setattr(selection, "available_engines", lambda: ("eager", "compiled", "openvino"))
        monkeypatch.setattr(selection, "native_formats", lambda: formats)
        monkeypatch.setattr(selection, "_speed", lambda engine, _: speeds[named[id(engine.run)]])

    return install


ALL = {
    ("eager", "bfloat16"): 100.0,
    ("openvino", "bfloat16"): 300.0,
    ("eager", "float32"): 50.0,
    ("openvino", "float32"): 150.0,
}


def choice(engine: str = "auto", number_format: str = "auto") -> tuple[tuple[str, str], list[Trial]]:
    recipe, trials = choose_engine(RECIPE, engine, number_format)
    return (recipe.engine, recipe.number_format), trials


def test_the_fastest_of_the_equivalent_is_chosen(engines: Callable[..., None]) -> None:
    engines(ALL)
    chosen, trials = choice()
    assert chosen == ("openvino", "bfloat16")
    assert {(trial.engine, trial.number_format) for trial in trials} == {
        ("eager", "bfloat16"),
        ("openvino", "bfloat16"),
    }


def test_one_that_computes_something_else_is_not_chosen_however_fast(engines: Callable[..., None]) -> None:
    engines(ALL, {("openvino", "bfloat16"): lambda features: features[:, ::-1]})
    chosen, trials = choice()
    assert chosen == ("eager", "bfloat16")
    assert [trial.equivalent for trial in trials] == [True, False]


def test_one_that_changes_predictions_is_not_chosen_though_its_features_look_alike(
    engines: Callable[..., None],
) -> None:
    def coarse(features: np.ndarray) -> np.ndarray:
        return np.round(features / 64) * 64 + 128

    engines(ALL, {("openvino", "bfloat16"): coarse})
    _, trials = choice()
    assert next(trial for trial in trials if trial.engine == "openvino").agreement < selection.SMALLEST_AGREEMENT


def test_float32_is_tried_where_nothing_shorter_computes_the_same(engines: Callable[..., None]) -> None:
    engines(ALL, {pair: np.zeros_like for pair in ALL if pair[1] == "bfloat16"})
    chosen, trials = choice()
    assert chosen == ("openvino", "float32")
    assert len(trials) == 4


def test_an_engine_that_cannot_run_the_network_is_left_out(engines: Callable[..., None]) -> None:
    def fails(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("no such operation")

    engines(ALL, {("openvino", "bfloat16"): fails})
    assert choice()[0] == ("eager", "bfloat16")


def test_where_all_fail_the_reference_is_left(engines: Callable[..., None]) -> None:
    engines(ALL, {pair: np.zeros_like for pair in ALL if pair != REFERENCE})
    assert choice("openvino")[0] == REFERENCE


def test_what_is_named_is_taken_unmeasured(engines: Callable[..., None]) -> None:
    engines(ALL)
    assert choice("compiled", "float32") == (("compiled", "float32"), [])


def test_a_named_format_is_kept_to(engines: Callable[..., None]) -> None:
    engines(ALL)
    assert choice(number_format="float32")[0] == ("openvino", "float32")


def test_the_photographs_are_of_different_classes_and_fit_the_network() -> None:
    pixels, labels = selection._photographs(replace(RECIPE.preprocessing, resize=40, crop=32))
    assert pixels.shape == (32, 32, 32, 3)
    assert np.bincount(labels).tolist() == [4] * 8
    assert len({each.tobytes() for each in pixels}) == 32


def test_there_is_always_an_engine() -> None:
    assert "eager" in available_engines()
