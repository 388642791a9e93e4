"""The scoring server over real HTTP, in front of a model that MLflow logged."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import uvicorn
from mlflow import MlflowClient
from PIL import Image

from tests.conftest import encode, image_bytes, tracking_to
from topwork.core.classifier import Classifier
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey
from topwork.core.heads import LinearHead
from topwork.datasets.classifier_file import write_classifier
from topwork.models.backbones import describe_backbone, load_backbone
from topwork.models.graft import with_network
from topwork.serving import app as server_app
from topwork.serving.__main__ import only_champion
from topwork.serving.app import ImpatientProtocol, serving_app
from topwork.serving.installed_model import load_installed
from topwork.serving.logged_model import log_classifier
from topwork.serving.request import MOST_IMAGES
from topwork.serving.request import image_bytes as request_bytes

PICTURE = image_bytes(1)


def a_classifier() -> Classifier:
    """The backbone under a head that has learnt nothing, which answers all the same."""
    spec = describe_backbone("efficientnet_lite0", "default", 32)
    made = ("last",), "own", "original", "eager", "float32", "any"
    key = FeatureKey(spec.architecture, spec.weights_digest, asdict(spec.preprocessing), *made)
    weight = np.random.default_rng(0).normal(size=(3, 1280)).astype(np.float32)
    head = LinearHead(weight, np.zeros(3, np.float32))
    return with_network(Classifier("svm", key, head, ("label", "dog", "owl"), 20.0, "digest"), load_backbone(spec))


@pytest.fixture(scope="module")
def model(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    with tracking_to(f"sqlite:///{folder / 'mlflow.db'}"):
        experiment = mlflow.create_experiment("served", artifact_location=str(folder / "artifacts"))
        write_classifier(a_classifier(), folder / "classifier")
        run = mlflow.MlflowClient().create_run(experiment)
        name = log_classifier("svm", folder / "classifier", run.info.run_id)
        yield mlflow.pyfunc.load_model(f"models:/{name}", model_config={"read_paths": True})


@pytest.fixture(scope="module")
def address(model: Any) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", raising=False)  # which MLflow's server sets
        served = load_installed(f"models:/{model.metadata.model_id}")
        app = serving_app(served, "<cats & dogs>", ["my.lab"])
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", http=ImpatientProtocol))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join()


def ask(address: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def asked(*cells: Any) -> bytes:
    return json.dumps({"dataframe_split": {"columns": ["image"], "data": [[cell] for cell in cells]}}).encode()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_bytes_base64_and_paths_get_the_same_answer(model: Any, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(PICTURE)
    given = [PICTURE, text(PICTURE), f"data:image/png;base64,{text(PICTURE)}", str(tmp_path / "one.png")]
    answers = model.predict(pd.DataFrame({"image": given}))
    assert answers["label"].nunique() == 1
    assert answers["confidence"].nunique() == 1
    assert set(answers["probabilities"][0]) == {"label", "dog", "owl"}


def test_the_logged_model_names_its_run_and_shows_how_it_is_asked(model: Any) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.metadata.model_id}"))
    assert json.loads((folder / "artifacts" / "spec.json").read_text())["mlflow_run"] == model.metadata.run_id
    assert len(model.predict(model.input_example)) == 1


def test_the_server_answers_row_by_row_what_the_model_does(model: Any, address: str) -> None:
    pictures = [image_bytes(seed) for seed in range(5)]
    status, told = ask(address, asked(*map(text, pictures)))
    assert status == 200
    expected = model.predict(pd.DataFrame({"image": pictures}))
    assert [each["label"] for each in told["predictions"]] == expected["label"].tolist()
    np.testing.assert_allclose([each["confidence"] for each in told["predictions"]], expected["confidence"])


@pytest.mark.parametrize(
    "request_body",
    [
        {"dataframe_split": {"columns": ["image"], "data": [[text(PICTURE)]]}},
        {"dataframe_records": [{"image": text(PICTURE)}]},
        {"inputs": {"image": [text(PICTURE)]}},
        {"inputs": [{"image": text(PICTURE)}]},
        {"instances": [{"image": text(PICTURE)}]},
    ],
    ids=["split", "records", "inputs by column", "inputs by row", "instances"],
)
def test_every_form_of_request_that_mlflow_knows_is_answered(
    model: Any, address: str, request_body: dict[str, Any]
) -> None:
    status, told = ask(address, json.dumps(request_body).encode())
    assert status == 200, told
    assert told["predictions"][0]["label"] == model.predict(pd.DataFrame({"image": [PICTURE]}))["label"][0]


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        pytest.param(b"{", "application/json", 400, "", id="no json"),
        pytest.param(b"", "application/json", 400, "", id="nothing"),
        pytest.param(b"[1, 2]", "application/json", 400, "", id="a list"),
        pytest.param(b'{"images": []}', "application/json", 400, "", id="another key"),
        pytest.param(PICTURE, "image/png", 415, "content types", id="an image as it is"),
        pytest.param(
            asked(text(PICTURE), "not base64!"), "application/json", 400, "expected base64 text", id="no base64"
        ),
        pytest.param(asked(text(b"no image")), "application/json", 400, "image 1: not an image", id="no image"),
        pytest.param(asked(text(PICTURE[:200])), "application/json", 400, "image 1: ", id="half an image"),
        pytest.param(b"[" * 100_000, "application/json", 400, "", id="deep"),
        pytest.param(b"PAR1", "application/vnd.apache.parquet", 415, "content types are", id="Parquet"),
        pytest.param(
            asked(*[text(encode(Image.new("1", (9000, 9000))))] * 2),
            "application/json",
            400,
            "pixels in one",
            id="bomb",
        ),
        pytest.param(asked(3), "application/json", 400, "", id="a number"),
        pytest.param(asked(None), "application/json", 400, "", id="null"),
        pytest.param(asked("/etc/passwd"), "application/json", 400, "expected base64 text", id="a file of the server"),
        pytest.param(
            asked("/etc/hosts12"), "application/json", 400, "not an image", id="a file whose name is base64, too"
        ),
        pytest.param(
            asked(*[text(PICTURE)] * (MOST_IMAGES + 1)),
            "application/json",
            400,
            f"{MOST_IMAGES} are the most",
            id="many",
        ),
        pytest.param(
            json.dumps({"dataframe_split": {"columns": ["picture"], "data": [["x"]]}}).encode(),
            "application/json",
            400,
            "",
            id="another column",
        ),
    ],
)
def test_a_malformed_request_is_told_what_is_wrong_and_never_gets_a_trace(
    address: str, body: bytes, kind: str, status: int, reason: str
) -> None:
    found, told = ask(address, body, kind)
    assert found == status, told
    assert set(told) == {"error"}
    assert reason in told["error"]
    assert 0 < len(told["error"]) <= 500
    assert "Traceback" not in told["error"]
    assert ask(address, asked(text(PICTURE)))[0] == 200  # alive


def head_of(address: str, host: str) -> bytes:
    """The first line of the answer to a request for the page under this name."""
    with socket.create_connection(address.removeprefix("http://").split(":"), timeout=30) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return client.recv(100).split(b"\r\n")[0]


@pytest.mark.parametrize("host", ["localhost:5001", "127.0.0.1:5001", "[::1]:5001", "my.lab", "192.168.0.7"])
def test_the_server_is_reached_under_its_names_and_by_addresses(address: str, host: str) -> None:
    assert b" 200 " in head_of(address, host)


def test_a_name_that_somebody_else_pointed_here_is_refused(address: str) -> None:
    assert b" 421 " in head_of(address, "evil.example")


def test_who_never_ends_the_head_or_the_body_is_cut_off(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_app, "PATIENCE", 0.3)
    body = (
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    slow = [socket.create_connection(address.removeprefix("http://").split(":"), timeout=60) for _ in range(20)]
    for number, client in enumerate(slow):
        client.sendall(b"GET / HTTP/1.1\r\nHost: local" if number % 2 else body)
    assert ask(address, asked(text(PICTURE)))[0] == 200  # others are answered meanwhile
    for number, client in enumerate(slow):
        answer = client.recv(1000)
        assert answer == b"" if number % 2 else b" 408 " in answer
        client.close()


def test_more_requests_than_may_wait_are_told_to_come_again(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_app, "MOST_WAITING", 0)
    assert ask(address, asked(text(PICTURE))) == (503, {"error": "too many requests at once; try again"})


def test_code_among_the_artifacts_is_not_run_by_the_server(model: Any, tmp_path: Path) -> None:
    uri = f"models:/{model.metadata.model_id}"
    stored = Path(mlflow.artifacts.download_artifacts(uri))  # on this machine the very file that is stored
    (code,) = stored.glob("*.py")
    sound = code.read_text()
    try:
        code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n{sound}")
        answer = load_installed(uri).predict(pd.DataFrame({"image": [PICTURE]}))
        assert answer["label"].tolist() == model.predict(pd.DataFrame({"image": [PICTURE]}))["label"].tolist()
        assert not (tmp_path / "ran").exists()
    finally:
        code.write_text(sound)


def test_paths_are_read_only_where_who_loads_the_model_says_so(model: Any, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(PICTURE)
    asked_for = pd.DataFrame({"image": [str(tmp_path / "one.png")]})
    assert len(model.predict(asked_for)) == 1
    usual = mlflow.pyfunc.load_model(f"models:/{model.metadata.model_id}")
    with pytest.raises(mlflow.MlflowException, match="neither image bytes nor base64"):
        usual.predict(asked_for)


def test_a_body_that_is_too_large_is_refused_unread(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_app, "MOST_BODY", 1000)
    assert ask(address, b" " * 1001) == (413, {"error": "1,001 bytes; 1,000 are the most"})


def test_the_page_and_the_health_check_are_there(address: str) -> None:
    with urllib.request.urlopen(address) as response:
        page = response.read().decode()
    assert "Ask the classifier" in page
    assert "&lt;cats &amp; dogs&gt;" in page
    with urllib.request.urlopen(f"{address}/ping") as response:
        assert response.status == 200


def test_files_are_read_only_where_nobody_asks_from_afar(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(PICTURE)
    assert request_bytes([str(tmp_path / "one.png")], may_read_files=True) == [PICTURE]
    with pytest.raises(InputError, match="image 1"):
        request_bytes([str(tmp_path / "one.png")], may_read_files=False)


def test_without_a_name_the_only_champion_is_served(tracking_uri: str) -> None:
    client = MlflowClient(tracking_uri)
    with pytest.raises(InputError, match="No champion is registered"):
        only_champion(client)
    for name in ("cats", "dogs"):
        client.create_registered_model(name)
        version = client.create_model_version(name, "/some/folder", run_id=None)
        client.set_registered_model_alias(name, "champion", version.version)
        if name == "cats":
            assert only_champion(client) == "models:/cats@champion"
    with pytest.raises(InputError, match="there are cats, dogs"):
        only_champion(client)
