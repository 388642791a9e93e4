"""Finds errors to show in one line, even inside other errors: wrong input, full disk, lost server."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence

from kedro.io import DatasetError
from mlflow.exceptions import MlflowException
from requests import exceptions as http
from safetensors import SafetensorError

from topwork.core.errors import InputError, MachineError, StoreLostError, TopworkError
from topwork.datasets.remote import in_urls

_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EIO,
    errno.ENAMETOOLONG,
}
_OPEN_FILES = {errno.EMFILE, errno.ENFILE}
# an error that a server answers is none of these
_UNREACHABLE = (http.ConnectionError, http.Timeout, http.ChunkedEncodingError, http.RetryError)
_DATABASE = {
    sqlite3.SQLITE_FULL: "is on a full disk",
    sqlite3.SQLITE_READONLY: "cannot be written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened or made",
    sqlite3.SQLITE_NOTADB: "is damaged, or no database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_BUSY: "is in use by another program",
    sqlite3.SQLITE_LOCKED: "is in use by another program",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
}
_MOVE_DATABASE = (
    "Give another one, such as MLFLOW_TRACKING_URI=sqlite:////home/me/mlflow.db, or put back a copy. "
    "What was finished is kept; the same command goes on."
)
# Two errors that can be recognised only by their text; `tests/run/test_failures.py` raises them.
_NEWER_DATABASE = "out-of-date database schema"
_RUST_NUMBER = re.compile(r"\(os error (\d+)\)")


def told_error(error: BaseException) -> InputError | MachineError | None:
    """The error to show to the user instead of a traceback; None if the error is a defect."""
    told = _told_error(error)
    return type(told)(in_urls(str(told))) if told and in_urls(str(told)) != str(told) else told


def _told_error(error: BaseException) -> InputError | MachineError | None:
    chain = list(_chain(error))
    ours = next((each for each in chain if isinstance(each, TopworkError)), None)
    if ours is not None:
        return ours if isinstance(ours, InputError | MachineError) else None
    if missing := _never_made(error, chain):
        return InputError(
            f"{missing} is not there: the pipeline that makes it has not run in this data folder. Run without "
            "--pipelines, name that pipeline too, or give the `data=DIR` of earlier runs."
        )
    return _of_the_store(chain) or _of_the_disk(error, chain)


def is_unreachable(error: BaseException) -> bool:
    """Whether the error, or one of its causes, is that a server did not answer."""
    return any(isinstance(each, _UNREACHABLE) for each in _chain(error))


def _of_the_store(chain: Sequence[BaseException]) -> MachineError | None:
    """The error to show for a problem with MLflow's database or server, or None."""
    if is_unreachable(chain[0]):
        return StoreLostError()
    for each in chain:
        if isinstance(each, sqlite3.Error) and (told := _DATABASE.get(getattr(each, "sqlite_errorcode", 0) & 0xFF)):
            return MachineError(f"The MLflow database {told}. {_MOVE_DATABASE}")
        if isinstance(each, MlflowException) and _NEWER_DATABASE in str(each):
            return MachineError(
                "The MLflow database was made by another version of MLflow. Upgrade it (`mlflow db upgrade URI`, after "
                f"a copy), or leave it to that version. {_MOVE_DATABASE}"
            )
    return None


def _of_the_disk(error: BaseException, chain: Sequence[BaseException]) -> MachineError | None:
    number = next(filter(None, map(_disk_error, chain)), None)
    if number is None:
        return None
    if number in _OPEN_FILES:
        return MachineError(
            "Too many files are open at once: raise the limit (`ulimit -n 4096`); the same command goes on."
        )
    named = (each.filename for each in chain if isinstance(each, OSError) and each.filename)
    where = next(named, None) or _dataset_path(error) or "a file of this run"
    return MachineError(
        f"{where} cannot be read or written: {os.strerror(number).lower()}. What was finished is kept. "
        "Make room, or give other folders (`data=DIR`, `store=DIR`); the same command goes on."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _never_made(error: BaseException, chain: Sequence[BaseException]) -> str | None:
    """Path of a file that was loaded before a pipeline wrote it, or None."""
    if not any(isinstance(each, DatasetError) for each in chain):
        return None
    lost = [each for each in chain if isinstance(each, FileNotFoundError)]
    return (lost[0].filename or _dataset_path(error)) if lost else None


def _disk_error(error: BaseException) -> int | None:
    known = _DISK | _OPEN_FILES
    if isinstance(error, OSError) and error.errno in known:
        return error.errno
    told = _RUST_NUMBER.search(str(error)) if isinstance(error, SafetensorError) else None
    return int(told[1]) if told and int(told[1]) in known else None


def _dataset_path(error: BaseException) -> str | None:
    """The path in Kedro's description of the failed dataset, or None."""
    named = re.search(r"path=(?:\w+\()?'([^']+)'", str(error))
    return named[1] if named else None
