"""CPU cost of one exchange: our client beside aiohttp's, against a server in another process.

Run: python -m tests.bench.http_client [EXCHANGES]
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp

from poller.transport.http1 import HttpPool

ROUNDS = 3
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-amzn-RequestId: 6f1c\r\n"
    b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}"
)
HEADERS = [
    ("Content-Type", "application/json"),
    ("X-Amzn-RequestId", "0b0c1f5e-6f0a-4b2f-9d5e-2f0f6e2f7a11"),
    ("X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"),
    ("X-Amz-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:orders"),
    ("Lambda-Runtime-Deadline-Ms", "1700000000000"),
]


def serve() -> None:
    """Answer every request on one connection after another with the same reply."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            with listener.accept()[0] as peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                answer(peer)


def answer(peer: socket.socket) -> None:
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = peer.recv(262144)
            if not more:
                return
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        missing = length - len(rest)
        while missing > 0:
            missing -= len(peer.recv(262144))
        data = b""
        peer.sendall(REPLY)


async def cost(exchange: Callable[[], Awaitable[object]], count: int) -> float:
    """CPU microseconds of this process for each exchange."""
    for _ in range(100):
        await exchange()
    start = time.process_time()
    for _ in range(count):
        await exchange()
    return (time.process_time() - start) / count * 1e6


async def ours(origin: str, body: bytes, count: int) -> float:
    async with HttpPool(origin) as pool:
        return await cost(lambda: pool.request("POST", "/x", HEADERS, body, timeout=30), count)


async def theirs(origin: str, body: bytes, count: int) -> float:
    async with aiohttp.ClientSession() as session:

        async def exchange() -> bytes:
            async with session.post(f"{origin}/x", headers=dict(HEADERS), data=body) as reply:
                return await reply.read()

        return await cost(exchange, count)


async def floor(origin: str, body: bytes, count: int) -> float:
    """A raw connection that only waits for bytes: the least that asyncio can do."""
    host, port = origin.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    waiters: list[asyncio.Future[None]] = []

    class Raw(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            waiters.pop().set_result(None)

    transport, _ = await loop.create_connection(Raw, host, int(port))
    head = f"POST /x HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def exchange() -> None:
        waiters.append(loop.create_future())
        transport.write(head + body)
        await waiters[-1]

    try:
        return await cost(exchange, count)
    finally:
        transport.abort()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    server = subprocess.Popen(
        [sys.executable, "-c", "from tests.bench.http_client import serve; serve()"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        origin = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        for title, body in (("small", b'{"Records":[]}'), ("80 KB", b"x" * 80_000)):
            for client in (floor, ours, theirs):
                best = min(asyncio.run(client(origin, body, count)) for _ in range(ROUNDS))
                print(f"{title:6} {client.__name__:7} {best:6.1f} us")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
