"""Which errors are the user's to mend, behind whatever wrapped them: a wrong input, or a disk that takes no more."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from topwork.schemas import InputError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_OTHER_WORDS = {  # of libraries that keep the error number to themselves
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
}


def input_error(error: BaseException) -> InputError | None:
    """What to tell the user, if the error is theirs to mend; None if it is a bug."""
    for each in _chain(error):
        if isinstance(each, InputError):
            return each
    if missing := _never_made(error):
        return InputError(
            f"{missing} is not there: it comes from a pipeline that has not run with this `data=DIR`. "
            "Name that pipeline too (`kedro run` without --pipelines runs all), or give that of the earlier runs."
        )
    number = next(filter(None, map(_disk_error, _chain(error))), None)
    if number is None:
        return None
    named = (each.filename for each in _chain(error) if isinstance(each, OSError) and each.filename)
    where = next(named, None) or _dataset_path(error) or "a file of this run"
    return InputError(
        f"{where} cannot be read or written: {os.strerror(number).lower()}. What was finished is kept. "
        "Make room, or give other folders (`data=DIR`, `store=DIR`); the same command goes on."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _never_made(error: BaseException) -> str | None:
    """The file that a dataset was asked for before anything wrote it."""
    if "Failed while loading data" not in "".join(map(str, _chain(error))):
        return None
    lost = [each for each in _chain(error) if isinstance(each, FileNotFoundError)]
    return (lost[0].filename or _dataset_path(error)) if lost else None


def _disk_error(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno in _DISK:
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))  # Rust's way
    if told and int(told[1]) in _DISK:
        return int(told[1])
    return next((number for words, number in _OTHER_WORDS.items() if words in str(error)), None)


def _dataset_path(error: BaseException) -> str | None:
    """The path in Kedro's description of the dataset that failed."""
    named = re.search(r"path=(?:\w+\()?'([^']+)'", str(error))
    return named[1] if named else None
