from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from kedro.io import DatasetError
from mlflow import MlflowClient
from safetensors import SafetensorError

from topwork.core.errors import InputError, MachineError, ServedOtherwiseError, StoreLostError
from topwork.datasets.table import TableDataset
from topwork.run.failures import told_error


def behind_kedro(cause: Exception, dataset: str = "TableDataset(filepath='/here/t.parquet')") -> DatasetError:
    wrapped = DatasetError(f"Failed while saving data to dataset {dataset}.\n{cause}")
    wrapped.__cause__ = cause
    return wrapped


def test_the_users_mistake_is_found_behind_kedros_own_errors() -> None:
    mistake = InputError("no such folder")
    assert told_error(behind_kedro(mistake)) is mistake


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a bug"),
        ServedOtherwiseError("other answers"),
        behind_kedro(KeyError("x")),
        OSError(errno.EPIPE, "Broken pipe"),
        ValueError(),
    ],
)
def test_a_bug_stays_a_bug(error: Exception) -> None:
    assert told_error(error) is None


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
    told = told_error(behind_kedro(cause))
    assert told is not None
    assert "\n" not in str(told)
    assert told.args[0].endswith(
        "Make room, or give other folders (`data=DIR`, `store=DIR`); the same command goes on."
    )
    with pytest.raises(MachineError, match=message):
        raise told


def test_a_file_that_nothing_has_made_yet_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as raised:
        TableDataset(filepath=str(tmp_path / "t.parquet")).load()
    told = told_error(raised.value)
    assert told is not None
    assert str(told).startswith(f"{tmp_path / 't.parquet'} is not there")


def full_database(folder: Path) -> None:
    database = sqlite3.connect(folder / "full.db")
    database.execute("pragma max_page_count = 1")
    database.execute("create table a (b)")


def read_only_database(folder: Path) -> None:
    sqlite3.connect(folder / "read.db").close()
    (folder / "read.db").touch()
    sqlite3.connect(f"file:{folder / 'read.db'}?mode=ro", uri=True).execute("create table a (b)")


def locked_database(folder: Path) -> None:
    holder = sqlite3.connect(folder / "locked.db", isolation_level=None)
    holder.execute("begin exclusive")
    sqlite3.connect(folder / "locked.db", timeout=0).execute("create table a (b)")


def no_database(folder: Path) -> None:
    (folder / "text.db").write_text("some text, which is no database at all" * 100)
    MlflowClient(f"sqlite:///{folder / 'text.db'}").search_experiments()


def newer_database(folder: Path, empty_store: Path) -> None:
    database = folder / "newer.db"
    database.write_bytes(empty_store.read_bytes())
    with sqlite3.connect(database) as connection:
        connection.execute("update alembic_version set version_num = 'ffffffffffff'")
    connection.close()
    MlflowClient(f"sqlite:///{database}").search_experiments()


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (full_database, "MLflow database is on a full disk"),
        (read_only_database, "MLflow database cannot be written"),
        (locked_database, "MLflow database is in use by another program"),
        (lambda folder: sqlite3.connect(folder / "none" / "a.db"), "cannot be opened or made.*MLFLOW_TRACKING_URI="),
        (no_database, "MLflow database is damaged, or no database"),
    ],
    ids=["full", "read-only", "locked", "no folder", "text"],
)
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_wrong_with_mlflows_database_is_told_in_a_line(
    tmp_path: Path, fail: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(Exception) as raised:
        fail(tmp_path)
    told = told_error(behind_kedro(raised.value))
    assert told is not None
    assert "\n" not in str(told)
    with pytest.raises(MachineError, match=message):
        raise told


def test_mlflow_says_in_these_words_that_a_database_is_of_another_version(tmp_path: Path, empty_store: Path) -> None:
    with pytest.raises(Exception) as raised:
        newer_database(tmp_path, empty_store)
    assert "another version of MLflow" in str(told_error(raised.value))


LIMITED = """
import resource, signal, numpy, safetensors.numpy
from topwork.run.failures import told_error
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    safetensors.numpy.save_file({"a": numpy.zeros(1_000_000)}, "large.safetensors")
except safetensors.SafetensorError as error:
    print(told_error(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_safetensors_gives_the_systems_number_in_its_words(tmp_path: Path) -> None:
    found = subprocess.run([sys.executable, "-c", LIMITED], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "file too large" in found.stdout


def test_a_server_that_answers_no_more_is_told_from_a_bug() -> None:
    error = behind_kedro(requests.exceptions.ConnectionError("refused"))
    assert isinstance(told_error(error), StoreLostError)
    assert not isinstance(told_error(behind_kedro(InputError("x"))), StoreLostError)
    assert told_error(behind_kedro(requests.exceptions.HTTPError("403 Forbidden"))) is None  # it did answer


def test_too_many_open_files_are_told_with_the_limit_to_raise() -> None:
    told = told_error(behind_kedro(OSError(errno.EMFILE, "Too many open files", "/there/x")))
    assert "ulimit -n" in str(told)
