from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from topwork.core.classifier import Classifier
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey
from topwork.core.heads import LinearHead
from topwork.inference.explanation import class_heat
from topwork.inference.network_engine import serving_engine
from topwork.models.backbones import describe_backbone, load_backbone
from topwork.models.graft import with_network

SIDE = 128
PHOTOGRAPH = load_sample_images().images[0][100 : 100 + SIDE, 100 : 100 + SIDE]


def a_classifier(name: str = "efficientnet_lite0", weights: str = "default") -> Classifier:
    """Its first class is the photograph rather than plain grey."""
    spec = describe_backbone(name, weights, SIDE)
    made = ("last",), "own", "original", "eager", "float32", "any"
    key = FeatureKey(spec.architecture, spec.weights_digest, asdict(spec.preprocessing), *made)
    blank = Classifier("svm", key, LinearHead(np.zeros((2, 1)), np.zeros(2)), ("photograph", "grey"), 1.0, "digest")
    pixels = np.stack([PHOTOGRAPH, np.full_like(PHOTOGRAPH, 128)])
    of_photograph, of_grey = serving_engine(blank, lambda: load_backbone(spec))(pixels)
    head = LinearHead(np.stack([of_photograph - of_grey, of_grey - of_photograph]), np.zeros(2, np.float32))
    return with_network(replace(blank, head=head), load_backbone(spec))


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_heat_is_where_the_class_is(side: str) -> None:
    pixels = np.full_like(PHOTOGRAPH, 128)
    half = slice(0, SIDE // 2) if side == "left" else slice(SIDE // 2, SIDE)
    pixels[:, half] = PHOTOGRAPH[:, half]
    (heat,) = class_heat(a_classifier())(pixels[None], 0)
    assert heat.shape == (SIDE, SIDE)
    assert heat.min() >= 0
    assert heat.max() == 1
    assert heat[:, half].mean() > 1.5 * (heat.mean() * 2 - heat[:, half].mean())


def test_of_several_crops_the_one_with_the_class_is_the_warmest() -> None:
    grey = np.full_like(PHOTOGRAPH, 128)
    heat = class_heat(a_classifier())(np.stack([grey, PHOTOGRAPH, grey]), 0)
    assert heat.shape == (3, SIDE, SIDE)
    assert heat.max() == heat[1].max() == 1
    assert heat[1].mean() > 2 * heat[0].mean()


def test_a_network_without_feature_maps_is_refused() -> None:
    with pytest.raises(InputError, match="no feature maps"):
        class_heat(a_classifier("timm:vit_tiny_patch16_224", "none"))
