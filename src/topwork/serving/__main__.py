"""`python -m topwork.serving models:/NAME@champion` serves a model of MLflow's registry.

Without a name it serves the champion, if there is only one.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import mlflow
import uvicorn
from mlflow import MlflowClient

from topwork.core.errors import InputError, TopworkError
from topwork.datasets.mlflow_store import check_server, sqlite_uri
from topwork.datasets.model_names import told_of_uri
from topwork.serving.app import ImpatientProtocol, serving_app
from topwork.serving.installed_model import load_installed

_ALIAS = "champion"


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m topwork.serving", description=__doc__)
    parser.add_argument("model", nargs="?", help="a URI of MLflow's, such as models:/NAME@champion")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets others in")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--name", action="append", default=[], help="a name under which others reach this server")
    asked = parser.parse_args()
    if not mlflow.is_tracking_uri_set():
        mlflow.set_tracking_uri(sqlite_uri(Path("mlflow.db").resolve()))
    try:
        check_server(mlflow.get_tracking_uri())
        uri = asked.model or only_champion(MlflowClient())
        model = load_installed(uri)
    except (TopworkError, mlflow.MlflowException) as error:
        sys.exit(f"Error: {str(error).splitlines()[0]}")
    try:
        listening = socket.create_server((asked.host, asked.port))
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        sys.exit(f"Error: {asked.host}:{asked.port} cannot be had ({reason}); give another --port.")
    name = told_of_uri(uri)
    print(f"{name} answers on http://{asked.host}:{asked.port}", flush=True)
    app = serving_app(model, name, (asked.host, *asked.name))
    with suppress(KeyboardInterrupt):  # Ctrl-C stops the server
        uvicorn.Server(uvicorn.Config(app, log_level="warning", http=ImpatientProtocol)).run(sockets=[listening])
    print("Stopped.")


def only_champion(client: MlflowClient) -> str:
    """URI of the only champion in the registry.

    Raises:
        InputError: there is no champion, or there are several.

    """
    names = [each.name for each in client.search_registered_models() if _ALIAS in dict(each.aliases)]
    if len(names) == 1:
        return f"models:/{names[0]}@{_ALIAS}"
    if names:
        raise InputError(f"Which champion? Say MODEL=models:/NAME@{_ALIAS}; there are {', '.join(sorted(names))}.")
    raise InputError("No champion is registered: `kedro run --params images=DIR` trains one.")


if __name__ == "__main__":
    main()
