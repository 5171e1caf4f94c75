"""Runtimes in several languages as child processes: commands, and processes attached to a host.

    with started(node(), address, FORWARD_TO=stub.url): ...

Each runs what handlers.py says.  The processes die with this one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ric.install import CLIENT, NATIVE
from tests.servers import LEASH

HERE = Path(__file__).resolve().parent
BUILD_TIMEOUT = 60.0

Command = list[str]


def python() -> Command:
    """awslambdaric, AWS's own client."""
    return [sys.executable, "-m", "awslambdaric", "handlers.handler"]


def node() -> Command:
    """A bootstrap without dependencies."""
    return [_program("node"), str(HERE / "bootstrap.mjs"), str(HERE / "handlers.mjs")]


def official_node() -> Command:
    """aws-lambda-ric, AWS's own client."""
    if not NATIVE.exists():
        pytest.skip("aws-lambda-ric is not built; make test-ric does that")
    return [_program("node"), str(CLIENT), "handlers.handler"]


def compiled() -> Command:
    """A bootstrap in C."""
    return [str(_built())]


LANGUAGES: list[Callable[[], Command]] = [python, node, official_node, compiled]


@contextlib.contextmanager
def started(
    command: Command, address: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A runtime that attaches to HOST:PORT, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", LEASH, str(os.getpid()), *command],
        cwd=HERE,
        env={
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_FUNCTION_NAME": "orders",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
            "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@functools.cache
def _built() -> Path:
    """The compiled bootstrap, built once for a run."""
    compiler = _program("cc")
    folder = Path(tempfile.mkdtemp(prefix="bootstrap-"))
    program = folder / "bootstrap"
    command = [compiler, "-O1", "-Wall", "-Werror", "-o", program, HERE / "bootstrap.c"]
    subprocess.run(command, check=True, timeout=BUILD_TIMEOUT)
    return program
