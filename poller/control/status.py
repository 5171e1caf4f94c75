"""The routes that say how things are: /healthz, /readyz, /lag, /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from poller.core.model import Seconds
from poller.observe.board import STUCK_AFTER, Board
from poller.observe.metrics import Metrics


def status_routes(
    board: Board, metrics: Metrics, queues_overdue: Callable[[], Mapping[str, Seconds]]
) -> Sequence[web.AbstractRouteDef]:
    """The route table; each answers GET and HEAD.

    `queues_overdue`: of the queue of each function's events, see `EventQueues.overdue`.
    """

    async def healthz(request: web.Request) -> web.Response:
        """200 unless a machine is stuck, which only a restart can help."""
        stuck = _stuck(board, queues_overdue())
        if stuck:
            return web.json_response({"status": "stuck", "stuck": stuck}, status=503)
        return web.json_response({"status": "ok"})

    async def readyz(request: web.Request) -> web.Response:
        """200 once every enabled mapping of the file has polled, until shutdown."""
        if board.ready():
            return web.json_response({"status": "ready"})
        waiting = [
            {"mapping": each.uuid, "state": each.state, "reason": each.reason}
            for each in board.awaited()
        ]
        return web.json_response({"status": "not ready", "waiting_for": waiting}, status=503)

    async def lag(request: web.Request) -> web.Response:
        await board.ask_backlogs()
        return web.json_response(board.lag())

    async def scrape(request: web.Request) -> web.Response:
        body, content_type = await metrics.expose(",".join(request.headers.getall("Accept", ())))
        response = web.Response(body=body, headers={"Content-Type": content_type})
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            response.enable_compression(web.ContentCoding.gzip)  # Prometheus reads no other
        return response

    return (
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/lag", lag),
        web.get("/metrics", scrape),
    )


def _stuck(board: Board, queues_overdue: Mapping[str, Seconds]) -> list[dict[str, Any]]:
    """What should have happened more than a minute ago, and why it did not is not known."""
    of_mappings = [
        {
            "mapping": each.unit.mapping,
            "shard": each.unit.shard,
            "overdue_seconds": round(each.overdue, 3),
        }
        for each in board.stuck()
    ]
    of_events = [
        {"function": function, "overdue_seconds": round(overdue, 3)}
        for function, overdue in queues_overdue.items()
        if overdue > STUCK_AFTER
    ]
    return of_mappings + of_events
