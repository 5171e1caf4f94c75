"""The routes that say how things are: /healthz, /readyz, /lag, /metrics."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from poller.observe.board import Board
from poller.observe.metrics import Metrics


def status_routes(board: Board, metrics: Metrics) -> Sequence[web.AbstractRouteDef]:
    """The route table; each answers GET and HEAD."""

    async def healthz(request: web.Request) -> web.Response:
        """200 unless a machine is stuck, which only a restart can help."""
        stuck = [
            {
                "mapping": each.unit.mapping,
                "shard": each.unit.shard,
                "overdue_seconds": round(each.overdue, 3),
            }
            for each in board.stuck()
        ]
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
