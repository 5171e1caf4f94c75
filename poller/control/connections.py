"""Connections of the HTTP server: also what is not HTTP is refused in our own form."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from poller.wire.problems import one_line

from .problems import problem

REASON_SHOWN_MAX = 300  # characters of what is wrong with a request
SERVER = "poller"  # aiohttp would tell which versions run here

# What clients do wrong on the wire; they are told, and it is no error of ours.
_FAULTS_OF_CLIENTS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


class Connection(web.RequestHandler):
    """aiohttp's own, but for the replies to what no handler gets or survives."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        reply = super().handle_error(request, status, exc, message)  # says it in the log
        if status < 500 and isinstance(reply, web.Response):
            reason, *_ = (message or "").splitlines() or [""]
            text = f"this is no sound HTTP request: {reason.rstrip(':')}"
            reply = problem(status, one_line(text, REASON_SHOWN_MAX))
        elif isinstance(reply, web.Response):
            reply = problem(status, "poller itself failed; its log has more")
        reply.headers["Server"] = SERVER
        reply.force_close()
        return reply


def server_log() -> logging.Logger:
    """Where connections report what goes wrong here."""
    logger = logging.getLogger("poller.http")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, _FAULTS_OF_CLIENTS)
