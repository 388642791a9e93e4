from __future__ import annotations

from pathlib import Path

from topwork.core.candidates import backbone_names, told_apart


def test_backbones_are_joined_by_a_plus_unless_it_belongs_to_a_path(tmp_path: Path) -> None:
    assert backbone_names("") == []
    assert backbone_names("resnet18+timm:vgg11") == ["resnet18", "timm:vgg11"]
    folder = tmp_path / "a+b"
    folder.mkdir()
    (folder / "c+d.py").write_text("")
    assert backbone_names(str(folder)) == [str(folder)]
    extractor = f"python:{folder}/c+d.py:describe"
    assert backbone_names(extractor) == [extractor]


def test_features_are_named_by_what_tells_them_apart() -> None:
    assert told_apart([("lite0", 224, "last"), ("lite1", 240, "last")]) == ["lite0", "lite1"]
    assert told_apart([("lite0", 224, "last"), ("lite0", 128, "last")]) == ["224 px", "128 px"]
    assert told_apart([("lite0", None, "last"), ("lite0", None, "a+last")]) == ["last", "a+last"]
    assert told_apart([("lite0", None, "last"), ("data/06_models/finetune", 128, "last")]) == ["lite0", "finetune"]
    assert told_apart([("lite0", 224, "last"), ("lite0", 224, "a+b+c+d+last")]) == ["last", "5 layers"]
    assert told_apart([("lite0", 224, "last")]) == [""]
    assert told_apart([("a/finetune", 64, "last"), ("b/finetune", 64, "last")]) == ["a/finetune", "b/finetune"]
