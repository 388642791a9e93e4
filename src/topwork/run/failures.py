"""Which errors are the user's to mend, behind whatever wrapped them: a wrong input, a full disk, a lost server."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator

from topwork.core.errors import InputError


class StoreLostError(InputError):
    """MLflow's server stopped answering in the middle of a run."""

    def __init__(self) -> None:
        super().__init__(
            "The MLflow server does not answer any more. What was finished lies in the data folder; start the server, "
            "and the same command goes on and logs it."
        )


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
_DATABASE = {  # SQLite keeps the error number to itself
    "database or disk is full": "is on a full disk",
    "attempt to write a readonly database": "cannot be written",
    "unable to open database file": "cannot be opened or made",
    "file is not a database": "is damaged, or no database",
    "database disk image is malformed": "is damaged",
    "database is locked": "is in use by another program",
    "disk I/O error": "cannot be read or written",
}
_MOVE_DATABASE = (
    "Give another one, such as MLFLOW_TRACKING_URI=sqlite:////home/me/mlflow.db, or put back a copy. "
    "What was finished is kept; the same command goes on."
)
_NEWER_DATABASE = "out-of-date database schema"
_UNREACHABLE = {"ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "ChunkedEncodingError", "RetryError"}


def input_error(error: BaseException) -> InputError | None:
    """What to tell the user, if the error is theirs to mend; None if it is a bug."""
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, InputError):
            return each
    if missing := _never_made(error):
        return InputError(
            f"{missing} is not there: the pipeline that makes it has not run in this data folder. Run without "
            "--pipelines, name that pipeline too, or give the `data=DIR` of earlier runs."
        )
    return _of_the_store(chain) or _of_the_disk(error, chain)


def is_unreachable(error: BaseException) -> bool:
    """Whether a server did not answer."""
    kinds = (type(each) for each in _chain(error))
    return any(kind.__module__.startswith("requests") and kind.__name__ in _UNREACHABLE for kind in kinds)


def _of_the_store(chain: list[BaseException]) -> InputError | None:
    """What is wrong with MLflow's database or server."""
    if chain and is_unreachable(chain[0]):
        return StoreLostError()
    for each in chain:
        told = next((words for text, words in _DATABASE.items() if text in str(each)), None)
        if told and (isinstance(each, sqlite3.Error) or "sqlite3." in str(each)):
            return InputError(f"The MLflow database {told}. {_MOVE_DATABASE}")
        if _NEWER_DATABASE in str(each):
            return InputError(
                "The MLflow database was made by another version of MLflow. Upgrade it (`mlflow db upgrade URI`, after "
                f"a copy), or leave it to that version. {_MOVE_DATABASE}"
            )
    return None


def _of_the_disk(error: BaseException, chain: list[BaseException]) -> InputError | None:
    number = next(filter(None, map(_disk_error, chain)), None)
    if number is None:
        return None
    if number in _OPEN_FILES:
        return InputError(
            "Too many files are open at once: raise the limit (`ulimit -n 4096`); the same command goes on."
        )
    named = (each.filename for each in chain if isinstance(each, OSError) and each.filename)
    where = next(named, None) or _dataset_path(error) or "a file of this run"
    return InputError(
        f"{where} cannot be read or written: {os.strerror(number).lower()}. What was finished is kept. "
        "Make room, or give other folders (`data=DIR`, `store=DIR`); the same command goes on."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _never_made(error: BaseException) -> str | None:
    """The file that a dataset was asked for before anything wrote it."""
    if "Failed while loading data" not in "".join(map(str, _chain(error))):
        return None
    lost = [each for each in _chain(error) if isinstance(each, FileNotFoundError)]
    return (lost[0].filename or _dataset_path(error)) if lost else None


def _disk_error(error: BaseException) -> int | None:
    known = _DISK | _OPEN_FILES
    if isinstance(error, OSError) and error.errno in known:
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))  # Rust's way
    return int(told[1]) if told and int(told[1]) in known else None


def _dataset_path(error: BaseException) -> str | None:
    """The path in Kedro's description of the dataset that failed."""
    named = re.search(r"path=(?:\w+\()?'([^']+)'", str(error))
    return named[1] if named else None
