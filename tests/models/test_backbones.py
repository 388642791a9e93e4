"""The verbs are the same for every backbone; the embedded weights compute what their authors' code computes."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

from topwork.core.errors import InputError
from topwork.images.transforms import Preprocessing, resize_and_crop
from topwork.models.backbones import (
    Backbone,
    describe_backbone,
    feature_function,
    load_backbone,
    resolve_layers,
    try_out,
)
from topwork.models.sources import EMBEDDED
from topwork.models.weights import packaged_file, read_state

TOLERANCE = 0.05  # of a logit; the resampling may differ by a grey level here and there
PHOTOS = ("china.jpg", "flower.jpg")
# Logits 0, 25, 50 … of the package `efficientnet-lite-pytorch` (0.1.0) on these photographs.
REFERENCE = json.loads((Path(__file__).parent / "embedded_reference_logits.json").read_text())
FAMILY = {
    "efficientnet_lite0": 1280,
    "resnet18": 512,
    "vgg11": 512,
    "alexnet": 256,
    "squeezenet1_1": 512,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 576,
    "efficientnet_b0": 1280,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "shufflenet_v2_x0_5": 1024,
    "mnasnet0_5": 1280,
    "regnet_y_400mf": 440,
    "googlenet": 1024,
    "swin_t": 768,
    "vit_b_32": 768,
    "shallow": 256,
    "shallow_correlation": 192,
    "timm:resnet10t": 512,
    "timm:mobilenetv3_small_050": 1024,
    "timm:convnext_atto": 320,
    "timm:vit_tiny_patch16_224": 192,
}


@pytest.fixture(scope="module", params=FAMILY)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    weights = "default" if request.param in EMBEDDED else "none"
    return load_backbone(describe_backbone(request.param, weights, image_size=64))


def test_every_backbone_gives_features_of_its_width(backbone: Backbone) -> None:
    with torch.inference_mode():
        features = backbone.trunk(torch.randn(2, 3, 64, 64))
    assert features.shape == (2, FAMILY[backbone.spec.name])


def test_every_backbone_is_in_evaluation_mode(backbone: Backbone) -> None:
    assert not any(module.training for module in backbone.trunk.modules())


def test_every_backbone_has_stages_that_can_be_taken_pooled_and_concatenated(backbone: Backbone) -> None:
    layers = resolve_layers(backbone, "all")
    assert len(layers) >= 4
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        every = feature_function(backbone, layers, "average")(images)
        last = feature_function(backbone, ("last",), "average")(images)
    assert every.shape[1] > last.shape[1]
    torch.testing.assert_close(every[:, -last.shape[1] :], last)


def logits(backbone: Backbone, photo: str, preprocessing: Preprocessing) -> np.ndarray:
    pixels = resize_and_crop(load_sample_image(photo), preprocessing)
    images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (preprocessing.mean, preprocessing.std))
    with torch.inference_mode():
        return backbone.pretrained_head(backbone.trunk((images - mean) / std))[0, ::25].numpy()


def deviation(backbone: Backbone, preprocessing: Preprocessing) -> float:
    return max(
        float(np.abs(logits(backbone, photo, preprocessing) - REFERENCE[backbone.spec.name][photo]).max())
        for photo in PHOTOS
    )


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone(describe_backbone("efficientnet_lite0"))


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_weights_give_the_logits_of_their_authors_code(name: str) -> None:
    backbone = load_backbone(describe_backbone(name))
    assert deviation(backbone, backbone.spec.preprocessing) < TOLERANCE


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": (0.485, 0.456, 0.406)},
        {"std": (0.229, 0.224, 0.225)},
        {"interpolation": "bilinear"},
        {"resize": 224},
        {"keep_aspect": False},
    ],
)
def test_those_logits_tell_when_the_preprocessing_is_wrong(lite0: Backbone, wrong: dict[str, object]) -> None:
    assert deviation(lite0, replace(lite0.spec.preprocessing, **wrong)) > 5 * TOLERANCE  # type: ignore[arg-type]


def test_those_logits_tell_when_padding_or_the_order_of_the_keys_is_wrong(
    lite0: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = lite0.spec
    symmetric = replace(EMBEDDED["efficientnet_lite0"], architecture="efficientnet_lite0")
    with monkeypatch.context() as patch:
        patch.setitem(EMBEDDED, "efficientnet_lite0", symmetric)
        assert deviation(load_backbone(spec), spec.preprocessing) > 5 * TOLERANCE

    def swapped(path: Path) -> dict[str, torch.Tensor]:
        state = read_state(path)
        weight, bias = "_blocks.3._bn1.weight", "_blocks.3._bn1.bias"
        return {name: state[{weight: bias, bias: weight}.get(name, name)] for name in state}

    monkeypatch.setattr("topwork.models.sources.embedded.read_state", swapped)
    assert deviation(load_backbone(spec), spec.preprocessing) > 5 * TOLERANCE


@pytest.fixture
def resnet_file(tmp_path: Path) -> Path:
    from torchvision.models import resnet18

    torch.manual_seed(1)
    path = tmp_path / "resnet18.safetensors"
    save_file(resnet18(num_classes=7).state_dict(), path)
    return path


def test_weights_come_from_a_local_file_whatever_its_head(resnet_file: Path) -> None:
    spec = describe_backbone("resnet18", str(resnet_file))
    backbone = load_backbone(spec)
    expected = read_state(resnet_file)["layer4.1.conv2.weight"]
    torch.testing.assert_close(backbone.trunk.state_dict()["layer4.1.conv2.weight"], expected)


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "net.", "_orig_mod.", "_orig_mod.module.", "module.encoder_q."]
)
@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".safetensors"])
def test_weights_are_found_behind_whatever_wrappers_put_before_their_names(
    resnet_file: Path, tmp_path: Path, prefix: str, suffix: str
) -> None:
    state, path = read_state(resnet_file), tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(prefixed(state, prefix), path)
    else:
        extra = {"criterion.weight": torch.ones(7)} if prefix else {}
        torch.save({"state_dict": {**prefixed(state, prefix), **extra}, "epoch": 3}, path)
    backbone = load_backbone(describe_backbone("resnet18", str(path)))
    torch.testing.assert_close(backbone.trunk.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])


def test_what_training_scripts_keep_beside_the_weights_is_no_hindrance(resnet_file: Path, tmp_path: Path) -> None:
    state = read_state(resnet_file)
    other = {name: torch.zeros_like(value) for name, value in state.items()}
    content = {"args": Namespace(lr=0.1), "best": np.float64(0.5), "state_dict": other, "state_dict_ema": state}
    torch.save(content, tmp_path / "checkpoint.pth")
    found = read_state(tmp_path / "checkpoint.pth")
    torch.testing.assert_close(found["conv1.weight"], state["conv1.weight"])  # the averaged ones


def test_a_file_is_read_by_its_content_whatever_it_is_called(resnet_file: Path, tmp_path: Path) -> None:
    state = read_state(resnet_file)
    save_file(state, tmp_path / "tensors.bin")
    torch.save(state, tmp_path / "checkpoint.safetensors")
    for name in ("tensors.bin", "checkpoint.safetensors"):
        assert read_state(tmp_path / name).keys() == state.keys()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "Keras or HDF5"),
        (b"some text", "no file of PyTorch or safetensors"),
        (b"PK\x03\x04" + bytes(100), "RuntimeError: "),
    ],
)
def test_what_is_no_weight_file_is_told_with_what_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(InputError, match=rf"weights\.pth: cannot be read as weights \(.*({reason})"):
        read_state(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [[torch.ones(3)], torch.ones(3)], ids=["a list", "a tensor"])
def test_tensors_without_names_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="not tensors by name"):
        read_state(tmp_path / "weights.pth")


def test_weights_that_are_no_numbers_are_refused(resnet_file: Path, tmp_path: Path) -> None:
    state = read_state(resnet_file)
    state["layer1.0.conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(InputError, match=r"'layer1\.0\.conv1\.weight' holds numbers that are none"):
        load_backbone(describe_backbone("resnet18", str(tmp_path / "nan.pth")))


@pytest.mark.parametrize(
    ("name", "side", "layers", "message"),
    [
        ("inception_v3", 64, "last", r"inception_v3: cannot take images of image_size=64 .* 128, 224, 299 work"),
        ("vit_b_32", 100, "last", r"vit_b_32: cannot take images of image_size=100 .* 64, 96, 128, 224 work"),
        ("resnet18", 32, "all", None),
        ("timm:xcit_nano_12_p16_224", 64, "all", r"features\.layers=all: .*features\.layers=last"),
    ],
)
def test_a_size_or_layer_that_a_network_cannot_take_is_refused_with_those_that_work(
    name: str, side: int, layers: str, message: str | None
) -> None:
    spec = describe_backbone(name, "none", side)
    if message is None:
        try_out(spec, layers, "average")
        return
    with pytest.raises(InputError, match=message):
        try_out(spec, layers, "average")


def test_weights_of_another_network_are_refused_by_the_first_name_that_differs(resnet_file: Path) -> None:
    with pytest.raises(InputError, match=r"does not fit this backbone, first at .*shape|missing|unknown"):
        load_backbone(describe_backbone("resnet34", str(resnet_file)))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": Path("x")}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read as weights"):
        read_state(tmp_path / "evil.pth")


def test_the_name_of_the_weights_is_their_content(resnet_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(resnet_file.read_bytes())
    digest = describe_backbone("resnet18", str(resnet_file)).weights_digest
    assert describe_backbone("resnet18", str(copy)).weights_digest == digest
    assert describe_backbone("resnet18", "none", seed=1) != describe_backbone("resnet18", "none", seed=2)


def test_random_weights_are_those_of_the_seed() -> None:
    first, again, other = (load_backbone(describe_backbone("resnet18", "none", seed=seed)) for seed in (1, 1, 2))
    same, different = (torch.equal(first.trunk.conv1.weight, net.trunk.conv1.weight) for net in (again, other))
    assert (same, different) == (True, False)


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet81", "resnet18"), ("efficientnet_lit0", "efficientnet_lite0"), ("timm:resnet10", "timm:resnet10t")],
)
def test_an_unknown_backbone_is_refused_with_the_nearest_names(name: str, near: str) -> None:
    with pytest.raises(InputError, match=near):
        describe_backbone(name)


def test_an_unknown_layer_is_refused_with_the_nearest_names(lite0: Backbone) -> None:
    with pytest.raises(InputError, match=r"no layer 'block\.3'; perhaps .*blocks\.3"):
        resolve_layers(lite0, "block.3+last")


def test_without_a_download_the_error_says_which_file_goes_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*arguments: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(InputError) as caught:
        describe_backbone("resnet18")
    message = str(caught.value)
    assert f"put it at {tmp_path}/checkpoints/resnet18-f37072fd.pth" in message
    assert "weights=FILE" in message
    assert "\n" not in message


def test_timm_weights_that_cannot_be_downloaded_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(InputError, match=r"Bring model\.safetensors of the hub's timm/resnet10t"):
        describe_backbone("timm:resnet10t")


def test_a_download_lands_where_the_next_run_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, path: str, hash_prefix: str) -> None:
        assert (url.rsplit("/", 1)[-1], hash_prefix) == ("resnet18-f37072fd.pth", "f37072fd")
        Path(path).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    first = describe_backbone("resnet18")
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    assert describe_backbone("resnet18") == first


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(InputError, match="pip install no-such-package"):
        packaged_file("no_such_package", "x.pth")


def test_another_image_size_keeps_the_share_of_the_crop() -> None:
    spec = describe_backbone("efficientnet_lite0", image_size=112)
    assert (spec.preprocessing.resize, spec.preprocessing.crop) == (128, 112)
