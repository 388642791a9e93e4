from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from topwork.core.columns import MANIFEST_COLUMNS
from topwork.datasets.appended_table import AppendedTableDataset
from topwork.datasets.atomic import appearing_whole
from topwork.datasets.report import ReportDataset
from topwork.datasets.table import TableDataset
from topwork.datasets.validators import valid_manifest, valid_splits


def test_a_table_keeps_its_rows_and_attributes(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2]})
    table.attrs = {"rules": {"seed": 1}}
    dataset = TableDataset(filepath=str(tmp_path / "deep" / "table.parquet"))
    dataset.save(table)
    pd.testing.assert_frame_equal(dataset.load(), table)
    assert dataset.load().attrs == {"rules": {"seed": 1}}


def test_a_table_with_columns_is_empty_before_it_is_written(tmp_path: Path) -> None:
    assert TableDataset(filepath=str(tmp_path / "t.parquet"), columns=["a", "b"]).load().columns.tolist() == ["a", "b"]
    with pytest.raises(Exception, match=r"t\.parquet"):
        TableDataset(filepath=str(tmp_path / "t.parquet")).load()


def test_of_rows_with_one_key_the_newest_counts(tmp_path: Path) -> None:
    dataset = AppendedTableDataset(path=str(tmp_path), key="path", columns=["path", "size"])
    assert dataset.load().empty
    dataset.save(pd.DataFrame({"path": ["a", "b"], "size": [1, 2]}))
    dataset.save(pd.DataFrame({"path": ["b", "c"], "size": [9, 3]}))
    assert dict(zip(*dataset.load().sort_values("path")[["path", "size"]].to_numpy().T, strict=True)) == {
        "a": 1,
        "b": 9,
        "c": 3,
    }


def test_a_damaged_shard_loses_only_its_own_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = AppendedTableDataset(path=str(tmp_path), key="path", columns=["path"])
    dataset.save(pd.DataFrame({"path": ["a"]}))
    dataset.save(pd.DataFrame({"path": ["b"]}))
    sorted(tmp_path.glob("*.parquet"))[0].write_bytes(b"PAR1 broken")
    assert dataset.load()["path"].tolist() == ["b"]
    assert "made again" in caplog.text


def test_an_error_in_mid_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), appearing_whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_that_is_not_there_loads_as_its_stand_in(tmp_path: Path) -> None:
    dataset = ReportDataset(filepath=str(tmp_path / "r.json"), missing={"status": "not run"})
    assert dataset.load() == {"status": "not run"}
    dataset.save({"status": "ok", "name": "ü"})
    assert dataset.load() == {"status": "ok", "name": "ü"}


def test_a_report_with_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not JSON compliant"):
        ReportDataset(filepath=str(tmp_path / "r.json")).save({"loss": float("nan")})


@pytest.fixture
def manifest() -> pd.DataFrame:
    row = dict.fromkeys(MANIFEST_COLUMNS, "x") | {"width": 1, "height": 1, "status": "ok", "reason": ""}
    return pd.DataFrame([row | {"image_id": name} for name in "ab"])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("image_id", "a", "image id 'a' occurs twice"),
        ("status", "maybe", "status must be"),
        ("status", "rejected", "no reason"),
        ("sha256", "", "lacks its sha256"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(manifest: pd.DataFrame, column: str, value: str, message: str) -> None:
    assert valid_manifest(manifest) is manifest
    with pytest.raises(ValueError, match=message):
        valid_manifest(manifest.assign(**{column: value}))
    with pytest.raises(ValueError, match=column):
        valid_manifest(manifest.drop(columns=column))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": ["g", "g", "h", "i"]}, "group 'g' lies in several"),
        ({"fold": [0, 1, 2, 2]}, "test has no fold"),
        ({"fold": [1, 1, 2, -1]}, "val is fold 0"),
        ({"split": ["val", "train", "train", "dev"]}, "split must be one of"),
    ],
)
def test_splits_that_leak_are_refused(change: dict[str, list[object]], message: str) -> None:
    splits = pd.DataFrame(
        {
            "image_id": list("abcd"),
            "label": "x",
            "group": list("efgh"),
            "split": ["val", "train", "train", "test"],
            "fold": [0, 1, 2, -1],
        }
    )
    assert valid_splits(splits) is splits
    with pytest.raises(ValueError, match=message):
        valid_splits(splits.assign(**change))


@pytest.mark.parametrize("text", ["a;b\n007;x,y\n", '\ufeffA,b\n007,"x,y"\n', "a\tb\n007\tx,y\n"])
def test_a_table_that_people_write_is_read_as_their_spreadsheet_left_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.csv").write_text(text, encoding="utf-8")
    table = TableDataset(filepath=str(tmp_path / "ledger.csv"), columns=["a", "b"], text=True).load()
    assert table[["a", "b"]].to_numpy().tolist() == [["007", "x,y"]]


def test_a_column_that_is_missing_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.csv").write_text("image,b\n1,2\n")
    with pytest.raises(Exception, match="no column a; found image, b"):
        TableDataset(filepath=str(tmp_path / "ledger.csv"), columns=["a", "b"], text=True).load()


def test_a_table_that_people_write_finds_its_folder_ready(tmp_path: Path) -> None:
    ledger = tmp_path / "data" / "01_raw" / "label_ledger.csv"
    assert TableDataset(filepath=str(ledger), columns=["image_id"], text=True).load().empty
    ledger.write_text("image_id\nrose/1.jpg\n", encoding="utf-8")


def test_a_table_that_a_spreadsheet_wrote_in_other_letters_is_refused_with_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "label_these.csv"
    path.write_bytes("path;label\na.png;Hündin\n".encode("cp1252"))
    with pytest.raises(DatasetError, match=r"label_these\.csv is not UTF-8 text: save it as CSV UTF-8"):
        TableDataset(filepath=str(path), columns=["path", "label"], text=True).load()


def test_a_table_for_people_to_edit_is_marked_as_utf_8_so_that_spreadsheets_show_its_letters(tmp_path: Path) -> None:
    dataset = TableDataset(filepath=str(tmp_path / "label_these.csv"), columns=["path", "label"], text=True)
    dataset.save(pd.DataFrame({"path": ["a.png"], "label": ["Hündin"]}))
    assert (tmp_path / "label_these.csv").read_bytes().startswith(b"\xef\xbb\xbfpath,label")
    assert dataset.load()["label"].tolist() == ["Hündin"]
