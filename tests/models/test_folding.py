from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from topwork.models.backbones import describe_backbone, load_backbone
from topwork.models.folding import foldable_norms, folded
from topwork.models.layer_groups import freeze, layer_groups

NETWORKS = ["shallow", "resnet18", "efficientnet_lite0", "mobilenet_v3_small", "vgg11_bn"]


def network_of(name: str) -> nn.Module:
    """With statistics and scales of its own in every norm."""
    trunk = load_backbone(describe_backbone(name, "none", 64)).trunk.double()
    generator = torch.Generator().manual_seed(0)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low in ((module.running_mean, -0.5), (module.running_var, 0.5), (module.weight, 0.5)):
                value.data.uniform_(low, low + 1, generator=generator)  # type: ignore[union-attr]
    return trunk


def gradients(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    network(inputs).square().sum().backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_norms_compute_and_learn_the_same(name: str) -> None:
    network, inputs = network_of(name), torch.rand(2, 3, 64, 64, dtype=torch.float64)
    groups = layer_groups(network)
    network.train()
    freeze(network, groups, 0, "all")
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    pairs = foldable_norms(network, inputs)
    assert len(pairs) == norms
    names = list(network.state_dict())
    torch.manual_seed(1)
    plain, expected = network(inputs), gradients(network, inputs)
    torch.manual_seed(1)
    with folded(network, pairs):
        torch.testing.assert_close(network(inputs), plain)
        found = gradients(network, inputs)
        assert list(network.state_dict()) == names
    assert found.keys() == expected.keys()
    for each, gradient in expected.items():
        torch.testing.assert_close(found[each], gradient, rtol=1e-6, atol=1e-9 * float(gradient.abs().max()) + 1e-12)
    torch.testing.assert_close(network(inputs), plain) if not _drops(network) else None


def _drops(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Dropout) and module.p for module in network.modules())


def test_norms_that_adapt_are_left_alone() -> None:
    network, inputs = network_of("shallow"), torch.rand(4, 3, 64, 64, dtype=torch.float64)
    pairs = foldable_norms(network, inputs)
    network.train()
    with folded(network, pairs):
        found = network(inputs)
    assert any(module.num_batches_tracked for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    torch.testing.assert_close(found, network(inputs))


class Detour(nn.Module):
    """The convolution's own output is used beside the norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_mean = torch.arange(4.0)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.conv(inputs)
        result: Tensor = maps + self.norm(maps)
        return result


def test_nothing_is_folded_where_that_would_change_the_network() -> None:
    network = Detour()
    network.train()
    assert foldable_norms(network, torch.rand(1, 3, 8, 8)) == {}
    assert network.training and network.norm.training
