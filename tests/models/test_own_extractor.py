from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
from click.testing import Result

from tests.conftest import image_bytes
from topwork.core.errors import InputError
from topwork.datasets.champion_alias import registered_classifier
from topwork.datasets.classifier_file import read_classifier
from topwork.inference.onnx_export import onnx_model
from topwork.inference.predictor import Predictor
from topwork.models import own_extractor
from topwork.models.backbones import describe_backbone, load_backbone, try_out
from topwork.models.own_extractor import check_may_run, extractor_digest, load_extractor

MEAN_COLOUR = '''"""A worked example: the mean and the spread of each colour."""
import numpy as np


def describe(pixels):
    """The vector [6] of RGB pixels [h, w, 3]."""
    return np.concatenate([pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))])


describe.version = "1"
describe.image_size = 32
'''


@pytest.fixture
def extractor(tmp_path: Path) -> Path:
    path = tmp_path / "mean_colour.py"
    path.write_text(MEAN_COLOUR)
    return path


def code(path: Path, body: str) -> str:
    """The name of an extractor `describe` with this body."""
    path.write_text(f"import numpy as np\n{body}\ndescribe.version = '1'\n")
    return f"python:{path}:describe"


def test_an_extractor_is_a_backbone_whose_features_are_its_vectors(extractor: Path) -> None:
    import torch

    spec = describe_backbone(f"python:{extractor}:describe")
    assert (spec.preprocessing.resize, spec.preprocessing.crop) == (32, 32)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    found = load_backbone(spec).trunk(images).numpy()
    np.testing.assert_allclose(found[:, :3], pixels.mean(axis=(1, 2)), rtol=1e-6)


def test_classes_and_batches_are_extractors_too(tmp_path: Path) -> None:
    body = (
        "class describe:\n    batched = True\n    def __call__(self, pixels): return pixels.mean(axis=(1, 2)) / 255.0"
    )
    spec = describe_backbone(code(tmp_path / "own.py", body))
    assert spec.preprocessing.crop == 224
    try_out(spec, "last", "average")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("python:numpy", "write python:MODULE:NAME"),
        ("python:own_in_this_folder:f", "perhaps python:own_in_this_folder.py:…?"),
        ("python::describe", "write python:MODULE:NAME"),
        ("python:no_such_module_anywhere:f", "there is no module no_such_module_anywhere"),
        ("python:no_such.part:f", "cannot import no_such.part"),
        ("python:/nowhere/own.py:f", "there is no file /nowhere/own.py"),
        ("python:topwork.periodic.descriptor:no_such", "has no callable no_such"),
        ("python:topwork.periodic.descriptor:describe_symmetry", 'Add `describe_symmetry.version = "1"`'),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_with_the_reason(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_in_this_folder.py").touch()
    with pytest.raises(InputError, match=message):
        load_extractor(name)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def describe(pixels): return 1 / 0", "it failed on an image \\(ZeroDivisionError: .*; own.py, line 2"),
        ("def describe(pixels): return pixels.mean(axis=0)", "an array of shape \\[224, 3\\] instead of \\[d\\]"),
        ("def describe(pixels): pixels.mean()", "returned no array \\(is there a `return`"),
        ("def describe(pixels): return np.ones(1 + pixels[0, 0, 0] % 7)", "with the same d for every image"),
        ("def describe(pixels): return [pixels.std() / pixels.std()]", "NaN or infinite"),
        ("def describe(pixels): return np.random.rand(3)", "different vectors when it is asked for again"),
        (
            "def describe(pixels): return pixels.mean((1, 2)) - pixels.mean()\ndescribe.batched = True",
            "different vectors alone and together",
        ),
        ("raise OSError('no licence')", "cannot import .* \\(OSError: no licence\\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_an_extractor_that_cannot_be_relied_on_is_refused_before_any_work(
    tmp_path: Path, body: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        try_out(describe_backbone(code(tmp_path / "own.py", body)), "last", "average")


def test_a_file_without_the_prefix_is_pointed_to_it() -> None:
    with pytest.raises(InputError, match=r"write python:own\.py:describe"):
        describe_backbone("own.py:describe")


def test_another_source_or_version_gives_other_features_and_weights_are_refused(extractor: Path) -> None:
    name = f"python:{extractor}:describe"
    first = extractor_digest(name)
    extractor.write_text(MEAN_COLOUR.replace('"1"', '"2"'))
    second = extractor_digest(name)
    extractor.write_text(MEAN_COLOUR.replace("std", "max"))
    assert len({first, second, extractor_digest(name)}) == 3
    with pytest.raises(InputError, match="leave out weights=none"):
        describe_backbone(name, "none")


def test_a_module_whose_source_changed_after_its_import_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_changing_module.py").write_text(MEAN_COLOUR)
    load_extractor("python:my_changing_module:describe")
    (tmp_path / "my_changing_module.py").write_text(MEAN_COLOUR.replace("std", "max"))
    with pytest.raises(InputError, match="has changed since it was imported: start Python anew"):
        load_extractor("python:my_changing_module:describe")


def test_a_classifier_from_mlflow_executes_no_file_that_the_user_has_not_named(
    extractor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"python:{extractor}:describe"
    check_may_run("python:topwork.periodic.descriptor:describe")
    with pytest.raises(
        InputError, match=r"executes nothing by itself\. If you trust this file, set TOPWORK_EXTRACTORS="
    ):
        check_may_run(name)
    monkeypatch.setenv("TOPWORK_EXTRACTORS", f"/other.py{os.pathsep}{extractor}")
    check_may_run(name)
    monkeypatch.delenv("TOPWORK_EXTRACTORS")
    load_extractor(name)  # as the backbone that the user gave
    check_may_run(name)


@pytest.mark.slow
def test_an_own_extractor_is_trained_served_and_asked_and_its_limits_are_told(
    kedro: Callable[..., Result],
    image_folder: Path,
    extractor: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = f"images={image_folder},backbone=python:{extractor}:describe,features.engine=auto"
    given += ",features.number_format=auto"
    result = kedro(params=f"{given},strategies=logistic")
    assert result.exit_code == 0, result.output
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert all(run.data.params["extractor"].endswith(" version 1") for run in runs)  # the history tells versions apart
    folder = tmp_path / "data/06_models/logistic"
    answers = Predictor.of(read_classifier(folder)).predict([image_bytes(7, (200, 50, 40))])
    assert answers["label"].tolist() == ["red"]

    with pytest.raises(InputError, match=r"an extractor of your own .* cannot be exported"):
        onnx_model(read_classifier(folder))
    for refused, message in [
        (",strategies=finetune", "finetune trains the layers of a network"),
        (",features.engine=openvino", "is called as it is; leave out features.engine"),
        (",strategies=logistic,weights=none", "leave out weights=none"),
    ]:
        result = kedro(params=f"{given}{refused}")
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())

    own_extractor._executed.clear()  # as in another process
    with pytest.raises(InputError, match=r"stands on the feature extractor .* not on a network"):
        describe_backbone(str(folder))
    assert not own_extractor._executed
    with pytest.raises(InputError, match="If you trust this file"):
        registered_classifier("models:/images@champion", "images")

    extractor.write_text(MEAN_COLOUR + "\nraise SystemExit('executed')\n")
    with pytest.raises(InputError, match=r"was trained with .* in another version"):
        Predictor.of(read_classifier(folder))
    extractor.write_text(MEAN_COLOUR)
    moved = extractor.parent / "elsewhere" / extractor.name
    moved.parent.mkdir()
    extractor.rename(moved)
    with pytest.raises(InputError, match=r"which is not here\. Put its source there, or name the file"):
        Predictor.of(read_classifier(folder))
    monkeypatch.setenv("TOPWORK_EXTRACTORS", os.path.relpath(moved))
    answers = Predictor.of(read_classifier(folder)).predict([image_bytes(7, (200, 50, 40))])
    assert answers["label"].tolist() == ["red"]
