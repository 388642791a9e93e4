from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.datasets.test_feature_store import KEY
from topwork.core.classifier import CLASSIFIER_SPEC as SPEC
from topwork.core.classifier import CLASSIFIER_WEIGHTS as WEIGHTS
from topwork.core.classifier import Classifier, Decision, Ensemble, LeastCost, the_only
from topwork.core.errors import InputError
from topwork.core.heads import LinearHead
from topwork.datasets.classifier_file import read_classifier, write_classifier


@pytest.fixture
def classifier() -> Classifier:
    head = LinearHead(np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, -1], np.float32))
    return Classifier("svm", KEY, head, ("cat", "Hündin"), 0.7, "digest", {"C": 0.1})


def test_a_classifier_comes_back_as_it_was(tmp_path: Path, classifier: Classifier) -> None:
    write_classifier(classifier, tmp_path)
    loaded = read_classifier(tmp_path)
    assert (loaded.key, loaded.class_names, loaded.temperature) == (KEY, ("cat", "Hündin"), 0.7)
    np.testing.assert_array_equal(loaded.head.weight, classifier.head.weight)
    assert {path.name for path in tmp_path.iterdir()} == {SPEC, WEIGHTS}


def test_a_threshold_is_kept_and_a_classifier_without_one_is_written_as_before(
    tmp_path: Path, classifier: Classifier
) -> None:
    write_classifier(classifier, tmp_path)
    assert "decision" not in json.loads((tmp_path / SPEC).read_text())
    assert read_classifier(tmp_path).decision is None
    decision = Decision("Hündin", 0.21, "recall >= 0.9")
    write_classifier(replace(classifier, decision=decision), tmp_path)
    loaded = read_classifier(tmp_path)
    assert loaded.decision == decision
    assert loaded.called(np.array([[0.7, 0.3], [0.9, 0.1], [0.79, 0.21]])).tolist() == [1, 0, 1]
    prices = LeastCost(((0.0, 1.0), (20.0, 0.0)))
    write_classifier(replace(classifier, decision=prices), tmp_path)
    assert read_classifier(tmp_path).decision == prices
    write_classifier(replace(classifier, decision=LeastCost(((0.0,),))), tmp_path)
    with pytest.raises(InputError, match="the costs are not those of its classes"):
        read_classifier(tmp_path)
    write_classifier(replace(classifier, decision=Decision("owl", 0.21, "")), tmp_path)
    with pytest.raises(InputError, match="'owl' is not one between its classes"):
        read_classifier(tmp_path)


def test_weights_that_were_tampered_with_are_refused(tmp_path: Path, classifier: Classifier) -> None:
    write_classifier(classifier, tmp_path)
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(InputError, match="SHA-256 differs"):
        read_classifier(tmp_path)


def test_a_spec_that_was_tampered_with_is_refused(tmp_path: Path, classifier: Classifier) -> None:
    write_classifier(classifier, tmp_path)
    text = (tmp_path / SPEC).read_text()
    (tmp_path / SPEC).write_text(text.replace('"cat"', '"cow"'))
    with pytest.raises(InputError, match="changed since it was written"):
        read_classifier(tmp_path)
    (tmp_path / SPEC).write_text(json.dumps(json.loads(text) | {"mlflow_run": "noted later"}))
    assert read_classifier(tmp_path).class_names == ("cat", "Hündin")


def test_foreign_and_missing_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no classifier lies here"):
        read_classifier(tmp_path)
    (tmp_path / SPEC).write_text(json.dumps({"model": "other"}))
    (tmp_path / WEIGHTS).write_bytes(b"")
    with pytest.raises(InputError, match="not a Topwork classifier"):
        read_classifier(tmp_path)


@pytest.fixture
def ensemble(classifier: Classifier) -> Ensemble:
    """Three members, of which the first two share a network."""
    shared = {"trunk.weight": np.arange(4, dtype=np.float32)}
    first = replace(classifier, strategy="logistic", network=shared)
    trained = replace(classifier, strategy="finetune", network={"trunk.weight": np.ones(4, np.float32)}, frozen=False)
    members = (first, replace(classifier, network={**shared}, temperature=2.0), trained)
    return Ensemble(members, (0.5, 0.3, 0.2), training={"members": "three"})


def test_an_ensemble_comes_back_as_it_was_and_holds_a_shared_network_once(tmp_path: Path, ensemble: Ensemble) -> None:
    write_classifier(ensemble, tmp_path)
    loaded = read_classifier(tmp_path)
    assert isinstance(loaded, Ensemble)
    assert (loaded.weights, loaded.class_names, loaded.training) == (
        ensemble.weights,
        ("cat", "Hündin"),
        ensemble.training,
    )
    assert [each.strategy for each in loaded.members] == ["logistic", "svm", "finetune"]
    assert [each.temperature for each in loaded.members] == [0.7, 2.0, 0.7]
    for mine, theirs in zip(loaded.members, ensemble.members, strict=True):
        np.testing.assert_array_equal(mine.network["trunk.weight"], theirs.network["trunk.weight"])
    with safe_open(tmp_path / WEIGHTS, "numpy") as weights:
        assert [name for name in sorted(weights.keys()) if "trunk" in name] == [
            "member0.trunk.weight",
            "member2.trunk.weight",
        ]


def test_an_ensemble_keeps_how_it_answers(tmp_path: Path, ensemble: Ensemble) -> None:
    decision = Decision("Hündin", 0.21, "recall >= 0.9")
    write_classifier(replace(ensemble, decision=decision), tmp_path)
    assert read_classifier(tmp_path).decision == decision


def test_an_ensemble_of_members_that_know_other_classes_is_refused(tmp_path: Path, ensemble: Ensemble) -> None:
    stranger = replace(ensemble.members[2], class_names=("cat", "owl"))
    write_classifier(replace(ensemble, members=(*ensemble.members[:2], stranger)), tmp_path)
    with pytest.raises(InputError, match="a member knows other classes"):
        read_classifier(tmp_path)


def test_an_ensemble_is_refused_where_one_network_is_wanted(ensemble: Ensemble) -> None:
    with pytest.raises(InputError, match=r"monitoring works on one network.*`model=data/06_models/logistic`"):
        the_only(ensemble, "monitoring")
    assert the_only(ensemble.members[0], "monitoring") is ensemble.members[0]
