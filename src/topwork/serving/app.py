"""MLflow's scoring server inside limits, with a page to try it on: `python -m topwork.serving`.

MLflow reads the request, asks the model and writes the answer; what stands around it here bounds the body, says what
was wrong in one line and never shows a trace.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from html import escape
from importlib.resources import files
from textwrap import shorten
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import init

MOST_BODY = 64 * 2**20
"""Bytes of one request."""
_LONGEST_REASON = 500  # characters: MLflow repeats the whole request in its own
_UNKNOWN = "the request cannot be answered; see the server's log"

_log = logging.getLogger(__name__)
_Next = Callable[[Request], Awaitable[Response]]


def serving_app(model: PyFuncModel, name: str) -> FastAPI:
    """The web application that answers for a loaded Topwork classifier; the page shows the name."""
    app: FastAPI = init(model)

    @app.middleware("http")
    async def within_limits(request: Request, call_next: _Next) -> Response:
        if refusal := await _refusal(request):
            return refusal
        try:
            response = await call_next(request)
        except Exception:  # FastAPI would show it to the client in debug mode, and MLflow does in its answers
            _log.exception("a request failed")
            return _told(500, _UNKNOWN)
        return response if response.status_code < 400 else _told(response.status_code, await _reason(response))

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return (
            files("topwork")
            .joinpath("templates", "try.html")
            .read_text(encoding="utf-8")
            .replace("{{ model }}", escape(name))
        )

    return app


async def _refusal(request: Request) -> Response | None:
    """Why this request is not looked at, if it is not."""
    if request.method != "POST":
        return None
    if not request.headers.get("content-type"):
        return _told(415, "no Content-Type; send application/json")
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        return _told(411, "no Content-Length")
    if int(length) > MOST_BODY:
        return _told(413, f"{int(length):,} bytes; {MOST_BODY:,} are the most")
    return None


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
