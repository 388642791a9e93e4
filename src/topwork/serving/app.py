"""MLflow's scoring server with limits, and a page to try it: `python -m topwork.serving`.

MLflow reads the request, calls the model and writes the answer. The code here limits the body, describes an error in
one line and never shows a traceback.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Collection
from html import escape
from importlib.resources import files
from textwrap import shorten
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import init
from uvicorn.protocols.http.h11_impl import H11Protocol

from topwork.workers import cores

MOST_BODY = 64 * 2**20
"""Largest number of bytes of one request."""
MOST_WAITING = 64
"""Largest number of requests that run or wait; one more is refused with status 503."""
KINDS = ("application/json", "text/csv")
"""Content types of requests; MLflow accepts Parquet too, but a few bytes of it can unpack to gigabytes."""
PATIENCE = 30.0
"""Seconds within which the headers of a request, and then its body, must arrive."""
_LONGEST_REASON = 500  # characters: MLflow repeats the whole request in its messages
_UNKNOWN = "the request cannot be answered; see the server's log"

_log = logging.getLogger(__name__)
_Next = Callable[[Request], Awaitable[Response]]


class ImpatientProtocol(H11Protocol):
    """Uvicorn's protocol; a client that does not send the headers of a request within `PATIENCE` is disconnected."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer."""
        super().connection_made(transport)
        self._clock = asyncio.get_running_loop().call_later(PATIENCE, transport.close)

    def data_received(self, data: bytes) -> None:
        """Stop the timer when the first headers are complete."""
        super().data_received(data)
        if self.cycle is not None:
            self._clock.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._clock.cancel()
        super().connection_lost(exc)


def serving_app(model: PyFuncModel, name: str, hosts: Collection[str] = ()) -> FastAPI:
    """The web application that answers for a loaded Topwork classifier.

    Args:
        model: the model that answers.
        name: the name of the model on the page.
        hosts: names of the server that are allowed besides the names of this machine and IP addresses.

    """
    app: FastAPI = init(model)
    known = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}
    turn, waiting = asyncio.Semaphore(cores()), 0

    @app.middleware("http")
    async def within_limits(request: Request, call_next: _Next) -> Response:
        nonlocal waiting
        if refusal := _strange_host(request, known) or await _refusal(request):
            return refusal
        if request.method != "POST":
            return await answered(request, call_next)
        if waiting >= MOST_WAITING:
            return _told(503, "too many requests at once; try again")
        waiting += 1
        try:
            async with turn:
                return await answered(request, call_next)
        finally:
            waiting -= 1

    async def answered(request: Request, call_next: _Next) -> Response:
        try:
            response = await call_next(request)
        except RecursionError:
            return _told(400, "nested too deeply")
        except Exception:  # FastAPI shows it to the client in debug mode, and MLflow in its answers
            _log.exception("a request failed")
            return _told(500, _UNKNOWN)
        return response if response.status_code < 400 else _told(response.status_code, await _reason(response))

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return (
            files("topwork.serving")
            .joinpath("try.html")
            .read_text(encoding="utf-8")
            .replace("{{ model }}", escape(name))
        )

    return app


def _strange_host(request: Request, known: Collection[str]) -> Response | None:
    """The refusal of a request to an unknown host name, or None.

    It prevents DNS rebinding: a page of another site points its name to this server and sends requests from the
    browser of its reader.
    """
    name = (request.url.hostname or "").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return None if name in known else _told(421, f"this server is not called {name!r}; start it with --name={name}")
    return None


async def _refusal(request: Request) -> Response | None:
    """The refusal of a request that is outside the limits, or None."""
    if request.method != "POST":
        return None
    if unfit := _unfit(request):
        return unfit
    try:
        await asyncio.wait_for(request.body(), PATIENCE)  # the request keeps it for the next handler
    except TimeoutError:
        return _told(408, f"the body did not arrive within {PATIENCE:.0f} s")
    return None


def _unfit(request: Request) -> Response | None:
    """The refusal of a request with wrong headers, or None."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    length = request.headers.get("content-length", "")
    if not kind:
        return _told(415, "no Content-Type; send application/json")
    if not length.isdigit():
        return _told(411, "no Content-Length")
    if int(length) > MOST_BODY:
        return _told(413, f"{int(length):,} bytes; {MOST_BODY:,} are the most")
    return None if kind in KINDS else _told(415, f"content types are {' and '.join(KINDS)}")


async def _reason(response: Any) -> str:
    """MLflow's error message, without its traceback and without the repeated request."""
    text = b"".join([chunk async for chunk in response.body_iterator]).decode("utf-8", "replace")
    try:
        told = json.loads(text)
        message = str(told.get("message") or told.get("detail") or _UNKNOWN) if isinstance(told, dict) else text
    except ValueError:
        message = text
    if "Failed to convert column image" in message:
        return "image: expected base64 text"
    return shorten(message.rpartition("\nError: ")[2].strip(), _LONGEST_REASON, placeholder=" …") or _UNKNOWN


def _told(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)
