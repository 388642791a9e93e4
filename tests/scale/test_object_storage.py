"""Whole runs whose images, data and features lie in S3, as moto plays it on this machine."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pandas as pd
import pytest

from tests.conftest import PROJECT, fill, image_bytes

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'topwork[scale]'")
moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'topwork[scale]'")

BUCKET = "topwork-test"
_OF_THE_CLOCK = {"sha256", "seconds", "seconds_per_thousand", "megabytes"}
_JSON = ("leaderboard.json", "champion.json")
pytestmark = pytest.mark.slow
_ADDS_SHARDS = """
import sys
from tests.datasets.test_feature_store import shard
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.remote import place, set_up

cache, first = sys.argv[1], int(sys.argv[2])
set_up(cache, {})
for start in range(first, first + 20, 2):
    FolderFeatureStore(place("s3://topwork-test/store")).put(shard(range(start, start + 2)))
"""
_DIES_IN_A_PUT = """
import os, signal, sys
import s3fs
from topwork.datasets.atomic import appearing_whole
from topwork.datasets.remote import place, set_up

call, parts = s3fs.S3FileSystem._call_s3, []

async def dying(self, method, *arguments, **options):
    if method == "upload_part":
        parts.append(method)
        if len(parts) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return await call(self, method, *arguments, **options)

s3fs.S3FileSystem._call_s3 = dying
set_up(sys.argv[1], {})
with appearing_whole(place("s3://topwork-test/killed.bin")) as partial:
    with partial.open("wb") as file:
        file.truncate(101 * 2**20)  # more than is put in one request
"""


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """S3 with an empty bucket; the cache is the test's own."""
    import s3fs

    from topwork.datasets import remote

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address, port = server.get_host_and_port()
    urlopen(Request(f"http://{address}:{port}/moto-api/reset", method="POST")).close()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{address}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_storage", remote._Storage())
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # of moto: a line a request
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = s3fs.S3FileSystem(use_listings_cache=False)
    bucket.mkdir(BUCKET)
    yield bucket
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs of the images that are read from the storage."""
    from topwork.datasets.remote import Mirror

    seen: list[str] = []
    read = Mirror.read

    def noted(self: Mirror, url: str) -> bytes:
        seen.append(url)
        return read(self, url)

    monkeypatch.setattr(Mirror, "read", noted)
    return seen


def in_s3(*more: str, images: str = "images") -> str:
    own = [f"images=s3://{BUCKET}/{images}", f"data=s3://{BUCKET}/data", f"store=s3://{BUCKET}/features"]
    return ",".join([*own, *more])


def scores(text: str) -> Any:
    """What two runs over equal images have in common."""
    return [{name: value for name, value in row.items() if name not in _OF_THE_CLOCK} for row in json.loads(text)]


def run_apart(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=PROJECT)


def test_a_run_in_a_storage_is_the_run_in_folders(
    storage: Any, kedro: Callable[..., Any], tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = fill(tmp_path / "images", 10)
    storage.put(str(images), f"{BUCKET}/images", recursive=True)
    here = kedro(params=f"images={images}")
    assert here.exit_code == 0, here.output
    there = kedro(params=in_s3())
    assert there.exit_code == 0, there.output
    assert f"report  s3://{BUCKET}/data/08_reporting/report.html (here: " in there.output
    assert "the lock is of this machine alone" in there.output
    assert len(reads) == len(set(reads)) == 30  # each once, and then from the cache

    reports = tmp_path / "data" / "08_reporting"
    told = {name: storage.cat_file(f"{BUCKET}/data/08_reporting/{name}").decode() for name in _JSON}
    assert scores(told["leaderboard.json"]) == scores((reports / "leaderboard.json").read_text())
    for name in ("strategy", "oof_accuracy"):
        assert json.loads(told["champion.json"])[name] == json.loads((reports / "champion.json").read_text())[name]

    reads.clear()
    assert kedro(params=in_s3()).exit_code == 0
    assert reads == []

    storage.pipe_file(f"{BUCKET}/images/red/02000.png", image_bytes(77, (200, 50, 40)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another_machine"))
    changed = kedro("--pipelines", "ingestion", params=in_s3())
    assert changed.exit_code == 0, changed.output
    assert reads == [f"s3://{BUCKET}/images/red/02000.png"]

    storage.put(str(fill(tmp_path / "more", 2, 50)), f"{BUCKET}/more", recursive=True)
    predicted = kedro("--pipelines", "prediction", params=in_s3(f"new_images=s3://{BUCKET}/more"))
    assert predicted.exit_code == 0, predicted.output
    with storage.open(f"{BUCKET}/data/07_model_output/new/predictions.csv") as file:
        table = pd.read_csv(file)
    assert len(table) == 6


def test_credentials_of_kedro_are_used_and_stay_secret(
    storage: Any, kedro: Callable[..., Any], tmp_path: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import shutil

    from mlflow import MlflowClient

    conf = tmp_path / "conf"
    shutil.copytree(PROJECT / "conf", conf, ignore=shutil.ignore_patterns("local"))
    (conf / "local").mkdir()
    endpoint, secret = os.environ["AWS_ENDPOINT_URL"], "my-own-secret"
    told = {"storage": {"key": "me", "secret": secret, "client_kwargs": {"endpoint_url": endpoint}}}
    (conf / "local" / "credentials.yml").write_text(json.dumps(told))
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    storage.put(str(fill(tmp_path / "images", 4)), f"{BUCKET}/images", recursive=True)
    result = kedro("--pipelines", "ingestion", "--conf-source", str(conf), params=in_s3())
    assert result.exit_code == 0, result.output
    assert storage.exists(f"{BUCKET}/data/02_intermediate/manifest.parquet")
    client = MlflowClient(tracking_uri)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert runs
    assert secret not in result.output + "".join(str(run.to_dictionary()) for run in runs)
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*run.yml"))


def test_a_wrong_bucket_and_missing_credentials_are_said_before_any_work(
    storage: Any, kedro: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topwork.datasets import remote

    images = fill(tmp_path / "images", 3)
    no_bucket = kedro(params=f"images={images},data=s3://no-such-bucket/data")
    assert no_bucket.output.strip() == "Error: data=s3://no-such-bucket/data: there is no such bucket 'no-such-bucket'."
    no_images = kedro(params=f"images=s3://{BUCKET}/none")
    assert "there is no such folder or table" in no_images.output
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    type(storage).clear_instance_cache()
    monkeypatch.setattr(remote, "_storage", remote._Storage())
    refused = kedro(params=f"images={images},data=s3://{BUCKET}/data")
    assert f"Error: data=s3://{BUCKET}/data: refused, or no credentials found" in refused.output
    assert "conf/local/credentials.yml" in refused.output


def test_two_processes_add_to_one_store_at_once(storage: Any, tmp_path: Path) -> None:
    from tests.datasets.test_feature_store import KEY, sha
    from topwork.datasets.feature_store import FolderFeatureStore
    from topwork.datasets.remote import place

    writers = [run_apart(_ADDS_SHARDS, str(tmp_path / str(first)), str(first)) for first in (0, 20)]
    assert [each.wait() for each in writers] == [0, 0]
    vectors = FolderFeatureStore(place(f"s3://{BUCKET}/store")).get(KEY, [sha(number) for number in range(40)])
    assert vectors[:, 0].tolist() == list(range(40))


def test_a_kill_in_a_put_leaves_the_old_object(storage: Any, tmp_path: Path) -> None:
    storage.pipe_file(f"{BUCKET}/killed.bin", b"old")
    assert run_apart(_DIES_IN_A_PUT, str(tmp_path / "cache")).wait() == -9
    assert storage.cat_file(f"{BUCKET}/killed.bin") == b"old"
    assert [path.rsplit("/")[-1] for path in storage.find(BUCKET)] == ["killed.bin"]


def test_workers_read_the_images_themselves(storage: Any, kedro: Callable[..., Any], tmp_path: Path) -> None:
    storage.put(str(fill(tmp_path / "images", 10)), f"{BUCKET}/images", recursive=True)
    result = kedro("--pipelines", "ingestion,features", params=in_s3("workers=2"))
    assert result.exit_code == 0, result.output
    assert storage.exists(f"{BUCKET}/data/04_feature/features.safetensors")
