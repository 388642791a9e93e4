from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
import requests
from kedro.io import DatasetError
from safetensors import SafetensorError

from topwork.core.errors import InputError
from topwork.datasets.table import TableDataset
from topwork.run.failures import StoreLostError, input_error


def behind_kedro(cause: Exception, dataset: str = "TableDataset(filepath='/here/t.parquet')") -> DatasetError:
    wrapped = DatasetError(f"Failed while saving data to dataset {dataset}.\n{cause}")
    wrapped.__cause__ = cause
    return wrapped


def test_the_users_mistake_is_found_behind_kedros_own_errors() -> None:
    mistake = InputError("no such folder")
    assert input_error(behind_kedro(mistake)) is mistake


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), behind_kedro(KeyError("x")), OSError(errno.EPIPE, "Broken pipe"), ValueError()]
)
def test_a_bug_stays_a_bug(error: Exception) -> None:
    assert input_error(error) is None


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "/here/t.parquet cannot .* no space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/there/x"), "/there/x cannot .* read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/there/x"), "/there/x cannot .* permission denied"),
        (
            SafetensorError("I/O error: No space left on device (os error 28)"),
            "/here/t.parquet cannot .* no space",
        ),
        (OSError(errno.EFBIG, "File too large", "/there/x"), "/there/x cannot .* file too large"),
    ],
)
def test_a_disk_that_takes_no_more_is_told_in_a_line_with_the_way_out(cause: Exception, message: str) -> None:
    told = input_error(behind_kedro(cause))
    assert told is not None
    assert "\n" not in str(told)
    assert told.args[0].endswith(
        "Make room, or give other folders (`data=DIR`, `store=DIR`); the same command goes on."
    )
    with pytest.raises(InputError, match=message):
        raise told


def test_a_file_that_nothing_has_made_yet_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as raised:
        TableDataset(filepath=str(tmp_path / "t.parquet")).load()
    told = input_error(raised.value)
    assert told is not None
    assert str(told).startswith(f"{tmp_path / 't.parquet'} is not there")


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), "MLflow database is on a full disk"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "MLflow database cannot be written"),
        (sqlite3.OperationalError("unable to open database file"), "cannot be opened or made.*MLFLOW_TRACKING_URI="),
        (sqlite3.DatabaseError("file is not a database"), "MLflow database is damaged, or no database"),
        (RuntimeError("Detected out-of-date database schema (found version a, but expected b)"), "another version"),
    ],
)
def test_what_is_wrong_with_mlflows_database_is_told_in_a_line(cause: Exception, message: str) -> None:
    told = input_error(behind_kedro(cause))
    assert told is not None
    assert "\n" not in str(told)
    with pytest.raises(InputError, match=message):
        raise told


def test_a_server_that_answers_no_more_is_told_from_a_bug() -> None:
    error = behind_kedro(requests.exceptions.ConnectionError("refused"))
    assert isinstance(input_error(error), StoreLostError)
    assert not isinstance(input_error(behind_kedro(InputError("x"))), StoreLostError)


def test_too_many_open_files_are_told_with_the_limit_to_raise() -> None:
    told = input_error(behind_kedro(OSError(errno.EMFILE, "Too many open files", "/there/x")))
    assert "ulimit -n" in str(told)
