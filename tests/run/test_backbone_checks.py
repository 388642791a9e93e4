from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import PROJECT
from topwork.core.errors import InputError
from topwork.run.backbone_checks import check_backbones
from topwork.run.configuration import load_configuration


def parameters(**given: Any) -> dict[str, Any]:
    return load_configuration(PROJECT / "conf", None, given)["parameters"]


@pytest.mark.parametrize("network", ["finetune", "scratch"])
def test_a_network_is_not_trained_on_several_crops(network: str) -> None:
    with pytest.raises(InputError, match=f"{network} learns from one crop of an image"):
        check_backbones(["__default__"], ["logistic", network], parameters(fit="multicrop", strategies=network))


def test_heads_are_fitted_on_several_crops_and_auto_leaves_the_networks_out() -> None:
    check_backbones(["__default__"], ["logistic"], parameters(fit="multicrop", strategies="logistic"))
    check_backbones(["__default__"], ["logistic", "scratch"], parameters(fit="multicrop", strategies="auto"))
    check_backbones(["prediction"], ["logistic", "scratch"], parameters(fit="multicrop"))
