"""The AWS-compatible servers that tests know how to start, each with what it needs to behave."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.ministack import install as newer
from tests.npm.install import LOOPBACK, installed


@dataclass(frozen=True, slots=True)
class Program:
    """How one kind of server is started.

    `command` and `environment` are made for a port; `prepare` runs before and may raise
    Unavailable.
    """

    name: str
    command: Callable[[int], list[str]]
    environment: Callable[[int], Mapping[str, str]] = lambda _port: {}
    prepare: Callable[[], object] = lambda: None


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def node(script: str, *arguments: str) -> list[str]:
    """The command that runs a file of an installed npm package, listening on loopback only."""
    return ["node", "-r", str(LOOPBACK), str(installed() / "node_modules" / script), *arguments]


MOTO = Program(
    "moto",
    lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
)


def ministack(python: str, port: int) -> list[str]:
    # No workers: a worker is a process of its own that would outlive a killed hypercorn.
    place = ("--workers", "0", "-b", f"127.0.0.1:{port}")
    return [python, "-m", "hypercorn", "ministack.app:app", *place]


def ministack_environment(port: int) -> dict[str, str]:
    # Its MQTT listener has a port of its own, which a second ministack could not have.
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }


MINISTACK = Program(
    "ministack", lambda port: ministack(sys.executable, port), ministack_environment
)
NEWER_MINISTACK = Program(
    "newer-ministack",
    lambda port: ministack(str(newer.installed()), port),
    ministack_environment,
    prepare=newer.installed,
)
KINESALITE = Program(
    "kinesalite",
    lambda port: node(
        "kinesalite/cli.js",
        *("--port", str(port), "--shardLimit", "100"),
        *("--createStreamMs", "50", "--deleteStreamMs", "50", "--updateStreamMs", "50"),
    ),
    prepare=installed,
)
KINESIS_LOCAL = Program(
    "kinesis-local",
    lambda _port: node("kinesis-local/main.js"),
    lambda port: {
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(free_port()),
        "KINESIS_MOCK_CERT_PATH": str(installed() / "node_modules/kinesis-local/server.json"),
        "LOG_LEVEL": "WARN",
    },
    prepare=installed,
)
FAUXQS = Program(
    "fauxqs",
    lambda _port: node("fauxqs/dist/cli.js"),
    lambda port: {"FAUXQS_PORT": str(port), "FAUXQS_LOGGER": "false"},
    prepare=lambda: installed(needs_node=(22, 13)),  # for node:sqlite
)
