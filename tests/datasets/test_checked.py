"""Damage of every kind is noticed when a file is read, and a cache that is damaged is made again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from tests.datasets.test_feature_store import KEY
from topwork.core.classifier import CLASSIFIER_SPEC, Classifier
from topwork.core.errors import DamagedError, InputError
from topwork.core.features import Features, FeatureShard
from topwork.core.heads import LinearHead
from topwork.datasets.atomic import remove_abandoned
from topwork.datasets.checked import read_json, read_table, read_tensors, write_json, write_table, write_tensors
from topwork.datasets.checkpoints import FolderCheckpointStore
from topwork.datasets.classifier_file import read_classifier, write_classifier
from topwork.datasets.engine_store import FolderEngineStore
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.features import FeaturesDataset
from topwork.datasets.report import ReportDataset
from topwork.datasets.table import TableDataset

SHA = [f"{number:064x}" for number in range(4)]
VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def zero(path: Path, start: int, length: int) -> None:
    """A block of zeros, as a crash of the machine leaves it."""
    content = bytearray(path.read_bytes())
    content[start : start + length] = bytes(len(content[start : start + length]))
    path.write_bytes(content)


def test_any_flipped_bit_of_a_tensor_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"sha256": np.zeros((2, 4), np.uint8), "vectors": VECTORS}, {"name": 'says "sha256":"0"'})
    tensors, facts = read_tensors(path)
    np.testing.assert_array_equal(tensors["vectors"], VECTORS)
    assert facts == {"name": 'says "sha256":"0"'}
    sound = path.read_bytes()
    for place in range(len(sound)):
        damaged = tmp_path / f"{place}.safetensors"  # a file of its own: what was checked once is not read again
        damaged.write_bytes(sound)
        flip(damaged, place, place % 8)
        with pytest.raises(DamagedError):
            read_tensors(damaged)


def test_a_flipped_bit_of_a_table_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "name": ["x", "y", None, "é"] * 10,
            "number": np.arange(40.0),
            "row": [np.arange(3, dtype=np.float32)] * 40,
            "nullable": pd.array([1, None] * 20, dtype="Int64"),
        }
    )
    table.attrs = {"class_names": ["x", "y"]}
    path = tmp_path / "t.parquet"
    write_table(path, table)
    sound, noticed = path.read_bytes(), 0
    for place in range(len(sound)):
        path.write_bytes(sound)
        flip(path, place, place % 8)
        try:
            found = read_table(path)
        except DamagedError:
            noticed += 1
            continue
        pd.testing.assert_frame_equal(found, table)
        assert found.attrs == table.attrs
    assert noticed > len(sound) / 2


@pytest.mark.parametrize("length", [0, 3, 100])
def test_half_a_file_is_noticed(tmp_path: Path, length: int) -> None:
    write_tensors(tmp_path / "t.safetensors", {"vectors": VECTORS}, {})
    write_table(tmp_path / "t.parquet", pd.DataFrame({"a": [1]}))
    for name, read in {"t.safetensors": read_tensors, "t.parquet": read_table}.items():
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DamagedError):
            read(path)


def test_a_damaged_checkpoint_is_none_and_a_damaged_network_is_converted_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints, engines = FolderCheckpointStore(tmp_path / "c"), FolderEngineStore(tmp_path / "e")
    checkpoints.put("fold-0", {"weights": np.ones(10_000, np.float32)}, {"step": 3})
    engines.keep_network("net", b"<graph/>", bytes(range(256)) * 100)
    assert checkpoints.get("fold-0") is not None
    assert engines.network("net") == (b"<graph/>", bytes(range(256)) * 100)
    for path in (tmp_path / "c/fold-0.safetensors", tmp_path / "e/networks/net.safetensors"):
        zero(path, 5000, 10_000)
    assert checkpoints.get("fold-0") is None
    assert engines.network("net") is None
    assert "trained again from the start" in caplog.text
    assert "converted again" in caplog.text


def test_a_choice_of_engine_that_was_changed_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engines = FolderEngineStore(tmp_path)
    engines.remember({"backbone": "net"}, KEY, [{"engine": "eager"}])
    assert engines.recall({"backbone": "net"}) == KEY
    (path,) = (tmp_path / "choices").glob("*.json")
    path.write_text(path.read_text().replace("eager", "other"))
    assert engines.recall({"backbone": "net"}) is None
    assert "chosen again" in caplog.text


def test_damaged_shards_are_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FolderFeatureStore(tmp_path)
    store.put(FeatureShard(KEY, tuple(SHA[:2]), VECTORS[:2]))
    store.put(FeatureShard(KEY, tuple(SHA[2:]), VECTORS[2:]))
    first = min((tmp_path / KEY.digest).glob("*.safetensors"))
    flip(first, -1)
    lost = store.missing(KEY, SHA)
    assert len(lost) == 2
    assert "computed again" in caplog.text
    store.put(FeatureShard(KEY, tuple(lost), np.stack([VECTORS[SHA.index(name)] for name in lost])))
    np.testing.assert_array_equal(store.get(KEY, SHA), VECTORS)


def test_damaged_features_are_refused_with_the_way_out(tmp_path: Path) -> None:
    dataset = FeaturesDataset(filepath=str(tmp_path / "features.safetensors"))
    dataset.save(Features(KEY, {"views": 0}, "content", ("a", "b", "c", "d"), VECTORS, np.empty((0, 4, 3), np.float32)))
    np.testing.assert_array_equal(dataset.load().vectors, VECTORS)
    flip(tmp_path / "features.safetensors", -5)
    with pytest.raises(DatasetError, match=r"features\.safetensors is damaged .*: run `--pipelines ingestion,features"):
        dataset.load()


@pytest.mark.parametrize(
    "content",
    [{"accuracy": 0.8125, "n": 16, "names": ["é", "b"], "deep": {"x": None}}, [{"seconds": 1.5}, {"seconds": 2}, {}]],
    ids=["object", "list"],
)
def test_a_flipped_bit_of_a_json_file_is_noticed_or_changes_nothing(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "r.json"
    write_json(path, content)
    assert read_json(path) == content
    sound, noticed = path.read_bytes(), 0
    for place in range(len(sound)):
        for bit in range(8):
            path.write_bytes(sound)
            flip(path, place, bit)
            try:
                found = read_json(path)
            except DamagedError:
                noticed += 1
                continue
            assert found == content  # another kind of white space
    assert noticed > 0.9 * 8 * len(sound)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows[:-1], id="fewer"),
        pytest.param(lambda rows: rows[::-1], id="order"),
        pytest.param(lambda rows: rows + rows[:1], id="more"),
        pytest.param(lambda rows: [{"n": 1}, {"n": 2}], id="without"),
        pytest.param(lambda rows: rows[0], id="type"),
    ],
)
def test_a_json_list_whose_objects_are_others_is_noticed(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    path = tmp_path / "r.json"
    write_json(path, [{"n": 1}, {"n": 2}])
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(DamagedError, match="SHA-256"):
        read_json(path)


@pytest.mark.parametrize("content", [{"sha256": "mine"}, {"x": float("nan")}, [1, 2], "text"], ids=str)
def test_what_cannot_carry_a_digest_is_not_written(tmp_path: Path, content: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        write_json(tmp_path / "r.json", content)
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": 1}', b"\xff\xfe", b"[1, 2]", b"[" * 100_000], ids=str)
def test_a_damaged_report_counts_as_not_made_or_is_refused_by_name(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "r.json").write_bytes(content)
    stands_in = ReportDataset(filepath=str(tmp_path / "r.json"), missing={"status": "not run"})
    assert stands_in.load() == {"status": "not run"}
    assert "counts as not made yet" in caplog.text
    with pytest.raises(DatasetError, match=r"r\.json is damaged .*: run again the pipeline that writes it"):
        ReportDataset(filepath=str(tmp_path / "r.json")).load()


def test_damaged_splits_are_never_drawn_anew_in_silence(tmp_path: Path) -> None:
    dataset = TableDataset(
        filepath=str(tmp_path / "splits.parquet"), columns=["image_id"], if_deleted="all images are split anew"
    )
    dataset.save(pd.DataFrame({"image_id": ["a"]}))
    zero(tmp_path / "splits.parquet", 10, 200)
    with pytest.raises(DatasetError, match="put back a copy, or delete it; then all images are split anew"):
        dataset.load()


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx"])
def test_cells_that_a_spreadsheet_would_compute_are_quoted_and_come_back(tmp_path: Path, cell: str) -> None:
    table = pd.DataFrame({"image_id": [cell, "plain"], "number": [-1.5, 2.0]})
    written = TableDataset(filepath=str(tmp_path / "t.csv"), columns=["image_id"], text=True)
    written.save(table)
    assert (tmp_path / "t.csv").read_text().splitlines()[1].lstrip('"')[0] == "'"
    assert written.load()["image_id"].tolist() == [cell, "plain"]
    assert written.load()["number"].tolist() == ["-1.5", "2.0"]
    exact = TableDataset(filepath=str(tmp_path / "t.parquet"))
    exact.save(table)
    pd.testing.assert_frame_equal(exact.load(), table)


def classifier(value: float, classes: tuple[str, ...] = ("cat", "dog")) -> Classifier:
    head = LinearHead(np.full((len(classes), 3), value, np.float32), np.zeros(len(classes), np.float32))
    return Classifier("svm", KEY, head, classes, value, "digest", {"value": value})


def test_a_classifier_read_while_it_is_replaced_is_one_or_the_other(tmp_path: Path) -> None:
    write_classifier(classifier(1.0), tmp_path)
    stop = threading.Event()

    def replace_again_and_again() -> None:
        value = 1.0
        while not stop.is_set():
            value += 1
            write_classifier(classifier(value), tmp_path)

    writer = threading.Thread(target=replace_again_and_again)
    writer.start()
    try:
        for _ in range(50):
            found = read_classifier(tmp_path)
            assert found.head.weight[0, 0] == found.temperature == found.training["value"]
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda spec: spec.update(temperature=0), "temperature cannot be", id="temperature"),
        pytest.param(lambda spec: spec.update(hidden=[10**9]), r"hidden\.0 cannot be", id="120 GB"),
        pytest.param(lambda spec: spec["features"]["preprocessing"].update(crop=10**6), "crop cannot be", id="size"),
        pytest.param(lambda spec: spec.update(class_names=["a", "a"]), "two classes have one name", id="classes"),
        pytest.param(
            lambda spec: spec.update(class_names=["a", "b", "c"]), "no linear head for the 3 classes", id="head"
        ),
        pytest.param(lambda spec: spec.update(command="rm"), "command cannot be", id="unknown field"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_even_with_its_seal(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    from topwork.datasets.classifier_file import _seal

    write_classifier(classifier(1.0), tmp_path)
    spec = json.loads((tmp_path / CLASSIFIER_SPEC).read_text())
    change(spec)
    (tmp_path / CLASSIFIER_SPEC).write_text(json.dumps(spec | {"seal": _seal(spec)}))
    with pytest.raises(InputError, match=message):
        read_classifier(tmp_path)


def test_partial_files_of_killed_processes_go_after_a_day(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    left, kept = tmp_path / "deep" / ".x.123.partial", tmp_path / "x.partial.csv"
    for path in (left, kept):
        path.write_text("half")
    remove_abandoned(tmp_path)
    assert left.exists()  # somebody may be writing it
    remove_abandoned(tmp_path, older_than=-60)
    assert (left.exists(), kept.exists()) == (False, True)
