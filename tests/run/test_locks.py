from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from topwork.core.errors import InputError, MachineError
from topwork.datasets.mlflow_store import check_server, sole_maker, sqlite_uri
from topwork.run.locks import sole_run

HOLD = """
import sys, time
from pathlib import Path
from topwork.run.locks import sole_run

with sole_run(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_in_a_folder_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match=rf"another run \(process {holder.pid}\) works here"),
            sole_run(tmp_path, "run"),
        ):
            pass
        with sole_run(tmp_path, "prediction"), sole_run(tmp_path / "other", "run"):
            pass  # other work, another folder
        holder.kill()  # nothing is tidied up
        holder.wait()
    with sole_run(tmp_path, "run"):
        pass


def test_a_run_that_fails_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), sole_run(tmp_path, "run"):
        raise RuntimeError
    with sole_run(tmp_path, "run"):
        pass


@pytest.mark.parametrize("name", ["50%25", "a?b", "a%20b", "it's", "ü", "a#b"])
def test_a_database_lies_where_it_is_asked_for_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    from sqlalchemy import create_engine, text

    (tmp_path / name).mkdir()
    uri = sqlite_uri(tmp_path / name / "mlflow.db")
    with sole_maker(uri), create_engine(uri).connect() as connection:
        connection.execute(text("create table t(x int)"))
    assert (tmp_path / name / "mlflow.db").exists()


def test_a_database_that_cannot_be_written_is_told_with_its_own_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project on a read-only disk is no reason to move `data`."""

    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    monkeypatch.setattr(FileLock, "acquire", refused)
    message = r"mlflow\.db: .* \(Read-only file system\).* MLFLOW_TRACKING_URI=sqlite"
    with pytest.raises(MachineError, match=message), sole_maker(sqlite_uri(tmp_path / "mlflow.db")):
        pass


def test_a_server_that_does_not_answer_is_told_at_once_and_one_that_does_is_not() -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # answers 501 to everything
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    uri = f"http://127.0.0.1:{server.server_port}"
    check_server(uri)
    server.shutdown()
    thread.join()
    server.server_close()
    with pytest.raises(MachineError, match=rf"MLFLOW_TRACKING_URI={uri}: the MLflow server does not answer"):
        check_server(uri)
    check_server(f"sqlite:///{os.devnull}")  # no server
