"""MLflow's scoring server inside limits, with a page to try it on: `python -m topwork.serving`.

MLflow reads the request, asks the model and writes the answer; what stands around it here bounds the body, says what
was wrong in one line and never shows a trace.
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

from topwork.models.engines.hardware import cores

MOST_BODY = 64 * 2**20
"""Bytes of one request."""
MOST_WAITING = 64
"""Requests that wait for their turn; one more is told to come again."""
KINDS = ("application/json", "text/csv")
"""What a request may be; MLflow would take Parquet too, of which a few bytes unpack to gigabytes."""
PATIENCE = 30.0
"""Seconds in which the head of a request, and then its body, have to arrive."""
_LONGEST_REASON = 500  # characters: MLflow repeats the whole request in its own
_UNKNOWN = "the request cannot be answered; see the server's log"

_log = logging.getLogger(__name__)
_Next = Callable[[Request], Awaitable[Response]]


class ImpatientProtocol(H11Protocol):
    """Uvicorn's protocol; who does not send the head of a request within `PATIENCE` is cut off."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._clock = asyncio.get_running_loop().call_later(PATIENCE, transport.close)

    def data_received(self, data: bytes) -> None:
        """Stop the clock with the first whole head."""
        super().data_received(data)
        if self.cycle is not None:
            self._clock.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._clock.cancel()
        super().connection_lost(exc)


def serving_app(model: PyFuncModel, name: str, hosts: Collection[str] = ()) -> FastAPI:
    """The web application that answers for a loaded Topwork classifier.

    Args:
        model: that answers.
        name: for the page.
        hosts: names under which the server may be reached, besides those of this machine and addresses.

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
        except Exception:  # FastAPI would show it to the client in debug mode, and MLflow does in its answers
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
    """A page of another site whose name was pointed here must not ask on behalf of its reader (DNS rebinding)."""
    name = (request.url.hostname or "").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return None if name in known else _told(421, f"this server is not called {name!r}; start it with --name={name}")
    return None


async def _refusal(request: Request) -> Response | None:
    """Why this request is not looked at, if it is not."""
    if request.method != "POST":
        return None
    if unfit := _unfit(request):
        return unfit
    try:
        await asyncio.wait_for(request.body(), PATIENCE)  # kept, and read again behind this
    except TimeoutError:
        return _told(408, f"the body did not arrive within {PATIENCE:.0f} s")
    return None


def _unfit(request: Request) -> Response | None:
    """What is wrong with the head of a request, if anything is."""
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
    """What MLflow says was wrong, without its trace and without the request that it repeats."""
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
