from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import COLOURS, encode
from tests.run.test_backbone_checks import parameters
from topwork.core.parameters import FeatureParameters


def coloured_end(seed: int, colour: tuple[int, int, int]) -> bytes:
    """A noisy grey picture, three times as wide as high, with the colour at one of its ends."""
    generator = np.random.default_rng(seed)
    pixels = np.full((40, 120, 3), 128.0)
    end = slice(0, 30) if seed % 2 else slice(90, 120)
    pixels[:, end] = colour
    return encode(Image.fromarray(np.clip(pixels + generator.normal(0, 25, pixels.shape), 0, 255).astype(np.uint8)))


@pytest.mark.slow
def test_where_the_class_lies_at_an_end_the_whole_image_is_taken_and_the_advice_says_so(
    kedro: Callable[..., Any], tmp_path: Path
) -> None:
    for number, (label, colour) in enumerate(COLOURS.items()):
        (tmp_path / "images" / label).mkdir(parents=True)
        for seed in range(15):
            content = coloured_end(100 * number + seed, colour)
            (tmp_path / "images" / label / f"{seed}.png").write_bytes(content)
    pipelines = "ingestion,splitting,screening,features,advice"
    result = kedro("--pipelines", pipelines, params=f"images={tmp_path / 'images'},fit=auto,duplicates.merge=false")
    assert result.exit_code == 0, result.output
    data = tmp_path / "data"
    told = json.loads((data / "08_reporting" / "screen.json").read_text())
    chosen = told["candidates"][0]["fit"]
    assert chosen in {"pad", "squash"}
    assert told["fits"].startswith(f"fit=auto takes {chosen}")
    assert told["fits"] in json.loads((data / "08_reporting" / "advice.json").read_text())["says"]
    assert json.loads((data / "04_feature" / "key.json").read_text())["preprocessing"]["fit"] == chosen


def test_a_colour_comes_through_the_command_line_as_it_was_spelt() -> None:
    block = parameters(fit="pad", fit_colour="255-255-255")["features"]
    assert FeatureParameters(**block).fit_colour == "255-255-255"
