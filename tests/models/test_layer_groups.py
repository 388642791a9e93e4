from __future__ import annotations

import pytest
import torch
from torch import nn

from topwork.core.errors import InputError
from topwork.models.backbones import describe_backbone, load_backbone
from topwork.models.graft import can_start_from
from topwork.models.layer_groups import (
    check_frozen,
    first_trainable,
    freeze,
    frozen_digests,
    group_numbers,
    layer_groups,
)

NETWORKS = (
    "efficientnet_lite0",
    "shallow",
    "resnet18",
    "mobilenet_v2",
    "vgg11_bn",
    "densenet121",
    "convnext_tiny",
    "squeezenet1_1",
    "googlenet",
    "shufflenet_v2_x0_5",
    "vit_b_16",
    "swin_t",
    "timm:resnetv2_50",
)


def trunk(name: str, side: int = 64) -> nn.Module:
    return load_backbone(describe_backbone(name, "none", side)).trunk


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_of_every_network_is_in_one_group(name: str) -> None:
    network = trunk(name)
    groups = layer_groups(network)
    assert len(groups) >= 5
    numbers = group_numbers(network, groups)
    assert set(numbers) == set(network.state_dict())
    assert set(numbers.values()) == set(range(len(groups)))
    ordered = [numbers[key] for key, _ in network.named_parameters() if any(group.holds(key) for group in groups)]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize("name", NETWORKS)
def test_freezing_leaves_the_last_groups_to_learn_and_the_audit_agrees(name: str) -> None:
    network = trunk(name)
    groups = layer_groups(network)
    first = len(groups) - 2
    freeze(network, groups, first, "frozen")
    before = frozen_digests(network, groups, first, "frozen")
    learning = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1)
    network(torch.randn(4, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    check_frozen(network, before)
    with pytest.raises(RuntimeError, match="have moved"):
        check_frozen(network, frozen_digests(trunk(name), groups, len(groups), "frozen"))
    assert all(value.grad is None for value in network.parameters() if not value.requires_grad)


def test_the_audit_catches_a_norm_that_was_left_unfrozen() -> None:
    network = trunk("resnet18")
    groups = layer_groups(network)
    freeze(network, groups, 3, "frozen")
    before = frozen_digests(network, groups, 3, "frozen")
    network.layer1[0].bn1.training = True  # the slip that most fine-tuning scripts make
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))
    with pytest.raises(RuntimeError, match=r"frozen parameters or buffers have moved.*layer1\.0\.bn1\.running_mean"):
        check_frozen(network, before)


@pytest.mark.parametrize(("policy", "adapting"), [("frozen", {3, 4}), ("all", set()), ("none", {0, 1, 2, 3, 4})])
def test_the_policy_says_whose_statistics_adapt(policy: str, adapting: set[int]) -> None:
    network = trunk("resnet18")
    groups = layer_groups(network)
    freeze(network, groups, 3, policy)
    numbers = group_numbers(network, groups)
    found = {
        numbers[f"{name}.running_mean"]
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.training
    }
    assert found == adapting


def test_groups_are_asked_for_by_number_by_name_or_all() -> None:
    groups = layer_groups(trunk("resnet18"))
    assert [first_trainable(groups, wanted) for wanted in ("all", "1", "5", "layer3")] == [0, 4, 0, 3]
    with pytest.raises(InputError, match="perhaps layer3"):
        first_trainable(groups, "layr3")
    with pytest.raises(InputError, match="has 5 groups"):
        first_trainable(groups, "6")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_is_a_chain_can_start_from_what_its_frozen_layers_made(name: str) -> None:
    backbone = load_backbone(describe_backbone(name, "none", 64))
    names = [module for module, _ in backbone.trunk.named_modules()]
    found = can_start_from(backbone, ("last",), len(layer_groups(backbone.trunk)) - 1)
    # GoogLeNet transforms its input by itself, a vision transformer adds tokens and places: they train the plain way
    assert found == (name not in {"googlenet", "vit_b_16"})
    assert [module for module, _ in backbone.trunk.named_modules()] == names
    assert not can_start_from(backbone, ("last",), 0)
