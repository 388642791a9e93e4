"""The address of MLflow's store: a database file, or a server."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from topwork.core.errors import MachineError

_SQLITE = "sqlite:///"
_MAKING = 120.0  # seconds that making the database may take
_PROBE = 5.0  # seconds in which a server has to answer


def sqlite_uri(database: Path) -> str:
    """The address of a database file; `%` and `?` are escaped for SQLAlchemy."""
    return _SQLITE + str(database).replace("%", "%25").replace("?", "%3F")


def database_of(tracking_uri: str) -> Path | None:
    """The database file at this address, or None if the address is a server or another database."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(unquote(tracking_uri.removeprefix(_SQLITE).partition("?")[0]))


@contextmanager
def sole_maker(tracking_uri: str) -> Iterator[None]:
    """Hold a lock while MLflow's database is made, if it is a file, so that two processes do not both make its tables.

    Raises:
        MachineError: the folder of the database cannot be written, or another process holds the lock for too long.

    """
    database = database_of(tracking_uri)
    if database is None:
        yield
        return
    lock = FileLock(database.with_name(f"{database.name}.lock"), timeout=_MAKING)
    try:
        lock.acquire()
    except Timeout as error:
        raise MachineError(
            f"{database}: another process has been making the MLflow database for {_MAKING:.0f} seconds. If there is "
            f"none, delete {lock.lock_file}."
        ) from error
    except OSError as error:
        raise MachineError(
            f"{database}: the MLflow database cannot be written there ({error.strerror or error}). Give another one: "
            "MLFLOW_TRACKING_URI=sqlite:////home/me/mlflow.db."
        ) from error
    try:
        yield
    finally:
        lock.release()


def check_server(tracking_uri: str) -> None:
    """Check once that the server answers, if the address is a server; MLflow itself would try for minutes.

    Raises:
        MachineError: the server does not answer.

    """
    if urlsplit(tracking_uri).scheme not in {"http", "https"}:
        return
    try:
        with urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=_PROBE):
            return
    except urllib.error.HTTPError:
        return  # it answers; the first real request will show what is wrong
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise MachineError(
            f"MLFLOW_TRACKING_URI={tracking_uri}: the MLflow server does not answer ({reason}). Start it, or log to a "
            "file: MLFLOW_TRACKING_URI=sqlite:////home/me/mlflow.db, or unset it for mlflow.db in the project's folder."
        ) from error
