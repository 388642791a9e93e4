"""The server under load, and under malformed requests: `python -m bench.server MODEL IMAGES [--seconds 300]`.

MODEL is what `python -m topwork.serving` takes, IMAGES a folder of photographs. Everything stays on this machine, and
stops by itself.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from bench.measure import console

CLIENTS, MALFORMED = 4, 1000
_JSON = "application/json"


def main() -> None:
    """Print requests, errors, latencies, memory; then what malformed requests were told."""
    parser = argparse.ArgumentParser(prog="python -m bench.server", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("images", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    asked = parser.parse_args()
    photographs = [path.read_bytes() for path in sorted(asked.images.rglob("*.jpg"))[:200]]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "topwork.serving", asked.model, "--port", str(port)])
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address)
        _load(address, server.pid, photographs, asked.seconds)
        _malform(address, photographs)
    finally:
        server.terminate()
        server.wait()


def _load(address: str, process: int, photographs: list[bytes], seconds: float) -> None:
    latencies: list[float] = []
    answers: Counter[int] = Counter()
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        chooser = random.Random(number)
        while time.monotonic() < end:
            start = time.monotonic()
            status, _ = _ask(address, _body(_text(chooser.choice(photographs))), _JSON)
            latencies.append(time.monotonic() - start)
            answers[status] += 1

    _ask(address, _body(_text(photographs[0])), _JSON)
    before = _megabytes(process)
    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    median, worst = 1000 * np.quantile(latencies, [0.5, 0.99])
    console.print(
        f"{CLIENTS} clients, {seconds:.0f} s: {len(latencies)} requests ({len(latencies) / seconds:.1f}/s), answers "
        f"{dict(answers)}, median {median:.0f} ms, 99th percentile {worst:.0f} ms, memory {before:.0f} MB before, "
        f"{_megabytes(process):.0f} MB after"
    )


def _malform(address: str, photographs: list[bytes]) -> None:
    """Requests broken in eight ways, drawn at random; each answer by kind, and whether the server still lives."""
    chooser, told = random.Random(0), Counter[tuple[str, int, str]]()
    for _ in range(MALFORMED):
        photograph = chooser.choice(photographs)
        kinds = {
            "no image": (_body(_text(chooser.randbytes(500))), _JSON),
            "half an image": (_body(_text(photograph[: len(photograph) // 3])), _JSON),
            "no base64": (_body("§" * chooser.randint(1, 50)), _JSON),
            "another column": (json.dumps({"dataframe_split": {"columns": ["x"], "data": [["y"]]}}).encode(), _JSON),
            "half a JSON": (_body(_text(photograph))[: chooser.randint(0, 200)], _JSON),
            "noise": (chooser.randbytes(chooser.randint(0, 2000)), _JSON),
            "another type": (photograph, "image/jpeg"),
            "too many": (_body(*[_text(photographs[0])] * 65), _JSON),
        }
        kind = chooser.choice(list(kinds))
        status, text = _ask(address, *kinds[kind])
        told[kind, status, "a trace" if "Traceback" in text or "stack_trace" in text else "no trace"] += 1
    for (kind, status, trace), count in sorted(told.items()):
        console.print(f"{kind}: {status}, {trace}, {count} times")
    status, _ = _ask(address, _body(_text(photographs[0])), _JSON)
    console.print(f"afterwards a sound request gets {status}")


def _ask(address: str, body: bytes, kind: str) -> tuple[int, str]:
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def _body(*cells: str) -> bytes:
    return json.dumps({"dataframe_split": {"columns": ["image"], "data": [[cell] for cell in cells]}}).encode()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _wait(address: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/ping").close()
            return
        except OSError:
            time.sleep(1)
    raise SystemExit("The server did not start.")


def _megabytes(process: int) -> float:
    return float(psutil.Process(process).memory_info().rss / 1e6)


if __name__ == "__main__":
    main()
