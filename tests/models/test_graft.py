from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from topwork.core.classifier import Classifier
from topwork.core.errors import InputError
from topwork.core.heads import LinearHead
from topwork.datasets.classifier_file import read_classifier, write_classifier
from topwork.inference.network_engine import serving_engine
from topwork.models.backbones import BackboneSpec, describe_backbone, feature_function, load_backbone
from topwork.models.graft import Graft, boundary_layer, grafted_key, network_backbone, starting_at_group

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)


def spec(name: str = "efficientnet_lite0") -> BackboneSpec:
    return describe_backbone(name, "none", 64)


def graft(layers: Sequence[str] = ("last",), hidden: Sequence[int] = (), classes: int = 3) -> Graft:
    return Graft(load_backbone(spec()), layers, "average", hidden, 0.0, classes).eval()


@pytest.mark.parametrize("layers", [("last",), ("blocks.2", "last")])
def test_a_planted_head_gives_the_scores_of_the_probe(layers: Sequence[str]) -> None:
    network = graft(layers)
    backbone = load_backbone(spec())
    how = backbone.spec.preprocessing
    normalised = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255 - torch.tensor(how.mean).view(1, 3, 1, 1)
    normalised /= torch.tensor(how.std).view(1, 3, 1, 1)
    with torch.inference_mode():
        features = feature_function(backbone, layers, "average")(normalised).numpy()
    generator = np.random.default_rng(1)
    probe = LinearHead(
        generator.normal(size=(3, features.shape[1])).astype(np.float32), np.array([1, 2, 3], np.float32)
    )
    network.plant(probe)
    with torch.inference_mode():
        scores = network(torch.from_numpy(PIXELS)).numpy()
    expected = probe.scores(features)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_probe_is_not_planted_on_hidden_layers() -> None:
    with pytest.raises(InputError, match="head=random"):
        graft(hidden=[8]).plant(LinearHead(np.zeros((3, 1280), np.float32), np.zeros(3, np.float32)))


@pytest.mark.parametrize("first", [1, 4, 8])
def test_the_suffix_on_what_the_frozen_layers_made_is_the_whole_network(first: int) -> None:
    network = graft()
    taken: list[torch.Tensor] = []
    layer = network.trunk.get_submodule(boundary_layer(network.groups, first))
    handle = layer.register_forward_hook(lambda _module, _inputs, output: taken.append(output))
    with torch.inference_mode():
        whole = network(torch.from_numpy(PIXELS))
        handle.remove()
        with starting_at_group(network.trunk, network.groups, first):
            part = network(taken[0])
        again = network(torch.from_numpy(PIXELS))
    torch.testing.assert_close(part, whole)
    torch.testing.assert_close(again, whole)


@pytest.mark.parametrize("hidden", [(), (16, 8)])
def test_a_network_comes_back_from_its_file_and_serves_the_same_scores(
    hidden: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    network = graft(hidden=hidden)
    classifier = Classifier(
        strategy="finetune",
        key=grafted_key(spec(), ("last",), "own", "pixels", "digest"),
        head=network.current_head(),
        class_names=("a", "b", "c"),
        temperature=1.0,
        split_digest="split",
        network=network.tensors(),
        hidden=hidden,
    )
    folder = tmp_path_factory.mktemp("classifier")
    write_classifier(classifier, folder)
    loaded = read_classifier(folder)
    assert loaded.hidden == hidden
    assert loaded.network.keys() == classifier.network.keys()
    assert network_backbone(loaded).trunk.training is False
    with torch.inference_mode():
        expected = network(torch.from_numpy(PIXELS)).numpy()
    scores = loaded.head.scores(serving_engine(loaded, lambda: network_backbone(loaded))(PIXELS))
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)


def test_a_classifier_is_the_backbone_of_the_next_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    network = graft()
    key = grafted_key(spec(), ("last",), "own", "pixels", "digest")
    folder = tmp_path_factory.mktemp("classifier")
    write_classifier(
        Classifier("finetune", key, network.current_head(), ("a", "b", "c"), 1.0, "split", network=network.tensors()),
        folder,
    )
    regrafted = describe_backbone(str(folder), "default")
    assert (regrafted.architecture, regrafted.preprocessing.crop) == ("efficientnet_lite0", 64)
    trunk = load_backbone(regrafted).trunk
    for name, value in trunk.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), network.tensors()[f"trunk.{name}"])


def test_what_was_white_for_a_classifier_is_so_where_it_is_grafted_on_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    network, twelve_bits = graft(), replace(spec().preprocessing, white=4095.0)
    key = grafted_key(replace(spec(), preprocessing=twelve_bits), ("last",), "own", "pixels", "digest")
    folder = tmp_path_factory.mktemp("deep")
    write_classifier(
        Classifier("finetune", key, network.current_head(), ("a", "b", "c"), 1.0, "split", network=network.tensors()),
        folder,
    )
    assert describe_backbone(str(folder)).preprocessing.white == 4095
    assert describe_backbone(str(folder), white=1023).preprocessing.white == 1023


def test_a_folder_of_something_else_is_no_backbone(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("other")
    (folder / "spec.json").write_text("{}")
    with pytest.raises(InputError, match="no Topwork classifier"):
        describe_backbone(str(folder), "default")
