"""The embedded AWS: ministack in a child process on loopback, which dies with this one.

    python -m poller.demo.emulator FD

runs that child; standard input is a pipe whose other end the parent holds, however it ends.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from poller.core.model import Seconds
from poller.errors import ConfigError, PollerError

READY_MAX: Seconds = 30.0
STOP_GRACE: Seconds = 2.0
SERVER = "ministack"
# Listeners of its own that nobody here asks for.
ENVIRONMENT = {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "LOG_LEVEL": "ERROR"}


@asynccontextmanager
async def embedded_aws() -> AsyncIterator[str]:
    """The endpoint of a fresh server.

    Raises ConfigError where it is not installed, PollerError where it does not come up.
    """
    if importlib.util.find_spec(SERVER) is None or importlib.util.find_spec("hypercorn") is None:
        raise ConfigError("the demo's server is not installed: run pip install 'poller[demo]'")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        environment = {**ENVIRONMENT, "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"}
        child = subprocess.Popen(  # noqa: ASYNC220 - starting it takes milliseconds
            [
                sys.executable,
                "-m",
                "poller.demo.emulator",
                str(listener.fileno()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a Ctrl-C is for the demo, which still needs its server
        )
    try:
        await _until_ready(child, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        try:
            await asyncio.to_thread(child.wait, STOP_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        assert child.stdin is not None
        child.stdin.close()


async def _until_ready(child: subprocess.Popen[bytes], port: int) -> None:
    give_up_at = time.monotonic() + READY_MAX
    while time.monotonic() < give_up_at:
        if child.poll() is not None:
            raise PollerError(f"the demo's server ended with exit code {child.returncode}")
        if await asyncio.to_thread(_answers, port):
            return
        await anyio.sleep(0.1)
    raise PollerError(f"the demo's server was not ready within {READY_MAX:g} s")


def _answers(port: int) -> bool:
    """Whether it serves: the socket itself listens from the start."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return connection.recv(1) != b""
    except OSError:
        return False


def main(descriptor: int) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    from hypercorn.asyncio import serve  # noqa: PLC0415 - the demo's own dependency
    from hypercorn.config import Config  # noqa: PLC0415
    from ministack.app import app  # noqa: PLC0415

    config = Config()
    config.bind = [f"fd://{descriptor}"]
    asyncio.run(serve(app, config))


def _die_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
