from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topwork.core.candidates import has_choice
from topwork.core.errors import InputError
from topwork.core.parameters import FeatureParameters
from topwork.models.backbones import describe_backbone, load_backbone, resolve_layers
from topwork.models.candidates import list_candidates


def asked(**changes: Any) -> FeatureParameters:
    plain: dict[str, Any] = {
        **{"backbone": "efficientnet_lite0", "weights": "default", "image_size": None, "layers": "last"},
        **{
            "fit": "crop",
            "fit_colour": "mean",
            "white": None,
            "seed": 0,
            "pool": "average",
            "engine": "eager",
            "number_format": "float32",
        },
        **{"batch_size": None, "shard_size": 8, "threads": 1, "max_pixels": 10**6},
    }
    return FeatureParameters(**{**plain, **changes})


def test_one_of_each_is_no_choice() -> None:
    assert not has_choice(asked())
    assert [vars(each) for each in list_candidates(asked(image_size=64), 500.0)] == [
        {
            **{"backbone": "efficientnet_lite0", "layers": "last", "image_size": 64, "fit": "crop"},
            **{"name": "efficientnet_lite0", "slot": "efficientnet_lite0-64-last"},
        }
    ]


def test_every_backbone_comes_with_all_layers_and_sizes() -> None:
    parameters = asked(backbone="efficientnet_lite0+resnet18", layers="last|middle", image_size="auto")
    assert has_choice(parameters)
    found = list_candidates(parameters, 130.0)
    assert [(each.backbone, each.image_size, each.layers) for each in found] == [
        (backbone, size, layers)
        for backbone in ("efficientnet_lite0", "resnet18")
        for layers in ("last", "middle")
        for size in (224, 128)
    ]
    assert len({each.name for each in found}) == len({each.slot for each in found}) == 8


@pytest.mark.parametrize(("side", "sizes"), [(600.0, [224]), (200.0, [224]), (96.0, [224, 96]), (8.0, [224, 64])])
def test_the_size_of_the_files_is_tried_where_they_are_much_smaller(side: float, sizes: list[int]) -> None:
    found = list_candidates(asked(image_size="auto"), side)
    assert [each.image_size for each in found] == sizes


def test_fits_are_tried_where_many_images_are_far_from_square() -> None:
    assert has_choice(asked(fit="auto"))
    assert [each.fit for each in list_candidates(asked(fit="auto"), 300.0, uneven=0.19)] == ["crop"]
    found = list_candidates(asked(fit="auto"), 300.0, uneven=0.2)
    assert [each.name for each in found] == [each.fit for each in found] == ["crop", "pad", "squash"]
    assert [each.slot for each in found] == [f"efficientnet_lite0-last{fit}" for fit in ("", "-pad", "-squash")]


def test_a_fit_that_is_given_is_taken_whatever_the_shapes() -> None:
    assert [each.fit for each in list_candidates(asked(fit="pad"), 300.0, uneven=0.9)] == ["pad"]


@pytest.mark.parametrize("colour", ["white", "256-0-0", "1-2", "#ffffff"])
def test_what_is_no_colour_is_refused(colour: str) -> None:
    with pytest.raises(ValueError, match="fit_colour"):
        asked(fit_colour=colour)


def test_layers_auto_are_the_last_a_middle_one_and_all() -> None:
    found = list_candidates(asked(layers="auto"), None)
    backbone = load_backbone(describe_backbone("efficientnet_lite0", "none"))
    layers = [resolve_layers(backbone, each.layers) for each in found]
    assert layers[:2] == [("last",), ("blocks.3", "last")]
    assert layers[2] == (*backbone.stages, "last")


def test_an_extractor_has_one_size_and_no_layers() -> None:
    name = "python:topwork.periodic.descriptor:describe"
    found = list_candidates(asked(backbone=f"{name}+efficientnet_lite0", layers="auto", image_size="auto"), 100.0)
    assert [(each.layers, each.image_size) for each in found if each.backbone == name] == [("last", None)]


def test_installed_are_those_whose_weights_are_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    before = [each.backbone for each in list_candidates(asked(backbone="installed"), None)]
    assert "efficientnet_lite0" in before
    assert "resnet18" not in before
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(b"")
    assert [each.backbone for each in list_candidates(asked(backbone="installed"), None)] == [*before, "resnet18"]


def test_one_file_of_weights_is_not_taken_for_several_backbones() -> None:
    with pytest.raises(InputError, match="a file of weights belongs to one backbone, not to 2"):
        list_candidates(asked(backbone="resnet18+resnet34", weights="own.pth"), None)


@pytest.mark.parametrize("wrong", ["resnet18+", "+resnet18", "resnet18++resnet34"])
def test_a_missing_name_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="a name is missing"):
        list_candidates(asked(backbone=wrong), None)


def test_folders_of_one_name_keep_their_results_apart_and_a_path_may_hold_pluses(tmp_path: Path) -> None:
    found = list_candidates(asked(backbone="/one/finetune+/two/finetune"), None)
    assert len({each.slot for each in found}) == len({each.name for each in found}) == 2
    folder = tmp_path / "c++"
    folder.mkdir()
    assert [each.backbone for each in list_candidates(asked(backbone=str(folder)), None)] == [str(folder)]
